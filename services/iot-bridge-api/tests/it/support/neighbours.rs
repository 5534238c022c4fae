//! A service beside a ThingsBoard and a hawkBit that can be broken and looked at.

use std::time::Duration;

use common::chassis::http_client::{self, HttpClientOptions};
use common::domain::Clock as _;
use fakes::hawkbit::FakeHawkbit;
use fakes::thingsboard::{Behaviour, FakeThingsBoard};
use iot_bridge_api::NeighbourParts;
use iot_bridge_api::adapters::hawkbit::{Hawkbit, HawkbitOptions};
use iot_bridge_api::adapters::thingsboard::{ThingsBoard, ThingsBoardLogin, ThingsBoardOptions};
use iot_bridge_api::app::webhook_secret::WebhookSecrets;
use serde_json::{Value, json};

use super::{Answer, World};

pub(crate) const SECRET: &str = "the-secret-of-the-rule-chain";
pub(crate) const OLD_SECRET: &str = "the-secret-before-that-one";

pub(crate) struct Neighbourhood {
    pub(crate) world: World,
    pub(crate) thingsboard: FakeThingsBoard,
    pub(crate) hawkbit: FakeHawkbit,
}

impl Neighbourhood {
    /// Neighbours that always answer as they should.
    pub(crate) async fn good() -> Self {
        let neighbourhood = Self::with_seed(1).await;
        neighbourhood.both_behave(Behaviour::Good);
        neighbourhood
    }

    /// Neighbours with a little trouble, which the seed decides.
    pub(crate) async fn with_seed(seed: u64) -> Self {
        let thingsboard = FakeThingsBoard::start_with_seed(seed).await;
        let hawkbit = FakeHawkbit::start_with_seed(seed + 1).await;
        let login = ThingsBoardLogin::ApiKey(FakeThingsBoard::API_KEY.into());
        let world = World::beside(parts(&thingsboard, login, &hawkbit)).await;
        Self {
            world,
            thingsboard,
            hawkbit,
        }
    }

    pub(crate) fn both_behave(&self, behaviour: Behaviour) {
        self.thingsboard.behaves(behaviour);
        self.hawkbit.behaves(behaviour);
    }

    /// Posts a message as the rule chain does.
    pub(crate) async fn tell(&self, message: &Value) -> Answer {
        self.world
            .ask("POST", "/webhooks/thingsboard", Some(SECRET), Some(message))
            .await
    }

    /// A device connects, now.
    pub(crate) async fn connects(&self, name: &str) -> Answer {
        let now = self.world.clock.now().unix_timestamp() * 1000;
        self.tell(&FakeThingsBoard::connect_event(name, now)).await
    }

    /// Carries out what is due, once.
    pub(crate) async fn work(&self) {
        self.world.work().await;
    }

    /// Works until nothing is left to do, hours if need be.
    pub(crate) async fn settle(&self) {
        for _ in 0..200 {
            self.work().await;
            if self.world.services.jobs.list(None).await.unwrap().is_empty() {
                return;
            }
            self.world.clock.advance(Duration::from_secs(30));
        }
        assert_eq!(self.world.services.jobs.list(None).await.unwrap(), []);
    }

    /// The leaf that a device enrolled with.
    pub(crate) async fn leaf(&self, name: &str) -> String {
        use common::domain::DeviceDirectory as _;
        let id = common::domain::DeviceId::parse(name).unwrap();
        let view = self.world.store.view(&id).await.unwrap().unwrap();
        view.certificate.unwrap().issued.unwrap().leaf_pem
    }

    pub(crate) async fn drift(&self) -> Value {
        self.world.admin("GET", "/drift").await.json()["drift"].clone()
    }
}

pub(crate) fn parts(thingsboard: &FakeThingsBoard, login: ThingsBoardLogin, hawkbit: &FakeHawkbit) -> NeighbourParts {
    let client = http_client::build(&HttpClientOptions::default()).unwrap();
    let secrets = || WebhookSecrets::new(vec![SECRET.into(), OLD_SECRET.into()]);
    NeighbourParts {
        platform: Some(std::sync::Arc::new(ThingsBoard::new(
            client.clone(),
            ThingsBoardOptions {
                url: thingsboard.url().parse().unwrap(),
                login,
                profile: "iot-bridge".to_owned(),
            },
        ))),
        updates: Some(std::sync::Arc::new(Hawkbit::new(
            client,
            HawkbitOptions {
                url: hawkbit.url().parse().unwrap(),
                user: FakeHawkbit::USER.to_owned(),
                password: FakeHawkbit::PASSWORD.into(),
            },
        ))),
        platform_secrets: secrets(),
        updates_secrets: secrets(),
        ..NeighbourParts::default()
    }
}

/// One row of what differs.
pub(crate) fn row(system: &str, name: &str, kind: &str) -> Value {
    json!({ "system": system, "name": name, "kind": kind })
}
