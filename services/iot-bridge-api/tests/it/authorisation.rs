use http::StatusCode;
use iot_bridge_api::http::{RouteEntry, Who, routes};

use crate::support::{NOW, World};

#[tokio::test]
async fn every_route_asks_for_the_credential_that_the_table_says() {
    let world = World::new().await;
    let viewer = world.people.token(NOW, "fleet-viewer", &[]);
    let operator = world.people.token(NOW, "fleet-operator", &[]);
    let nobody = world.people.token(NOW, "offline_access", &[]);
    let admin = world.people.token(NOW, "fleet-admin", &[]);

    for RouteEntry { method, path, who } in routes() {
        let concrete = path
            .replace("{id}", "pump-7")
            .replace("{tid}", &uuid())
            .replace("{jid}", &uuid());
        let status = async |token: Option<&str>| world.ask(method, &concrete, token, None).await.status;
        let (without, weak) = (status(None).await, status(Some(&nobody)).await);
        let (as_viewer, as_operator) = (status(Some(&viewer)).await, status(Some(&operator)).await);
        let as_admin = status(Some(&admin)).await;
        let refused = |status: StatusCode| status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN;
        match who {
            Who::Anyone => assert!(!refused(without), "{method} {path}"),
            Who::Device | Who::EnrollmentToken | Who::Platform | Who::UpdateServer => {
                let answers = [without, weak, as_viewer, as_operator, as_admin];
                assert_eq!(answers, [StatusCode::UNAUTHORIZED; 5], "{method} {path}");
            }
            Who::Viewer => {
                assert_eq!(
                    (without, weak),
                    (StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN),
                    "{method} {path}"
                );
                assert!(
                    !refused(as_viewer) && !refused(as_operator) && !refused(as_admin),
                    "{method} {path}"
                );
            }
            Who::Admin => {
                assert_eq!(
                    (without, weak),
                    (StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN),
                    "{method} {path}"
                );
                assert_eq!(
                    (as_viewer, as_operator),
                    (StatusCode::FORBIDDEN, StatusCode::FORBIDDEN),
                    "{method} {path}"
                );
                assert!(!refused(as_admin), "{method} {path}: {as_admin}");
            }
        }
    }
}

#[tokio::test]
async fn a_challenge_comes_with_every_401() {
    let world = World::new().await;
    for RouteEntry { method, path, who } in routes() {
        let answer = world.ask(method, &path.replace("{id}", "pump-7"), None, None).await;
        if who != Who::Anyone {
            assert!(answer.headers.contains_key("www-authenticate"), "{method} {path}");
        }
    }
}

fn uuid() -> String {
    "0197b3a0-0000-7000-8000-000000000000".to_owned()
}
