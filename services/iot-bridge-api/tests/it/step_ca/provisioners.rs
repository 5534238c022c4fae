//! The provisioner's key, which an authority with many provisioners publishes on a later page.

use std::collections::HashMap;

use axum::Json;
use axum::extract::Query;
use iot_bridge_api::adapters::step_ca::{ProvisionerSecret, StepCa, StepCaOptions};
use iot_bridge_api::ports::{CertificateAuthority as _, UpstreamError};
use serde_json::{Value, json};

use super::{World, clock, intent};

/// Encrypted with `correct horse battery staple`.
const JWE: &str = include_str!("../../../src/adapters/step_ca/provisioner/key.jwe");

#[tokio::test]
async fn the_provisioner_is_found_on_a_later_page() {
    let world = World::new().await;
    let of_name = |provisioner: &str| {
        let options = StepCaOptions {
            provisioner: provisioner.to_owned(),
            secret: ProvisionerSecret::Password("correct horse battery staple".into()),
            ..world.options()
        };
        StepCa::new(options, clock())
    };

    of_name("iot-bridge").sign(&intent("pump-7")).await.unwrap();
    let unknown = of_name("nobody").sign(&intent("pump-7")).await;

    assert_eq!(world.server.tokens.lock().unwrap()[0]["iss"], "iot-bridge");
    assert!(matches!(unknown, Err(UpstreamError::Unexpected { .. })), "{unknown:?}");
    assert_eq!(world.server.tokens.lock().unwrap().len(), 1);
}

/// A hundred others first, one of our name and another kind among them.
pub(super) async fn page(Query(query): Query<HashMap<String, String>>) -> Json<Value> {
    let cursor = query.get("cursor").map(String::as_str).unwrap_or_default();
    Json(match cursor {
        "" => {
            let other =
                |number| json!({ "type": "JWK", "name": format!("other-{number}"), "encryptedKey": "a.b.c.d.e" });
            let mut provisioners: Vec<_> = (1..100).map(other).collect();
            provisioners.push(json!({ "type": "ACME", "name": "iot-bridge" }));
            json!({ "provisioners": provisioners, "nextCursor": "page-2" })
        }
        "page-2" => {
            let ours = json!({ "type": "JWK", "name": "iot-bridge", "encryptedKey": JWE.trim() });
            json!({ "provisioners": [ours], "nextCursor": "" })
        }
        _ => json!({ "provisioners": [], "nextCursor": "" }),
    })
}
