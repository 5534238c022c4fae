//! The whole of an update: a device enrolls and connects, an operator gives it an update at a genuine hawkBit, the
//! genuine rauc-hawkbit-updater fetches it with the file that our agent wrote, the genuine RAUC installs it, and the
//! device platform shows what came of it.

mod field;
mod outage;

use std::time::Duration;

use common::domain::DeviceId;
use device::agent::{Device, Enrolled};
use device::agents::{AgentsSettings, FOLDER, UPDATER_FILE};
use device::enroll::{EnrollSettings, Patience, ServerTrust};
use fakes::mischief::Behaviour;
use fakes::thingsboard::FakeThingsBoard;
use reqwest::{Method, StatusCode};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use self::field::until;
use self::outage::MovableClock;
use crate::failure::{Failure, ensure};
use crate::real::bridge::Bridge;
use crate::real::hawkbit::Hawkbit;
use crate::real::step_ca::StepCa;
use crate::real::updater::Updater;
use crate::stage::Stage;

const DEVICE: &str = "pump-7";
const LATE: &str = "pump-8";
const SECRET: &str = "the-secret-of-the-rule-chain";
/// How long the bridge may take to tell somebody what it knows.
const PATIENCE: Duration = Duration::from_mins(1);

pub(super) async fn play(stage: &Stage) -> Result<(), Failure> {
    let mut world = stage
        .step("the platform starts, with a genuine hawkBit", World::new(stage))
        .await?;
    stage
        .step(
            "a device that enrolled and connected is in hawkBit with its metadata",
            world.appears(),
        )
        .await?;
    stage
        .step(
            "hawkBit answers 429, a page of HTML and loses what it says, and is told all the same",
            world.troubled(),
        )
        .await?;
    stage
        .step("our agent writes the updater's file", world.configured())
        .await?;
    stage
        .step(
            "an update is fetched, installed, and shown as finished",
            world.updated(),
        )
        .await?;
    stage
        .step(
            "one that nobody trusted signed is refused, and shown as failed",
            world.refused(),
        )
        .await?;
    stage
        .step(
            "hawkBit is killed in the middle, and the update is finished after that",
            world.interrupted(),
        )
        .await?;
    stage
        .step(
            "a device that is decommissioned cannot fetch any more",
            world.decommissioned(),
        )
        .await?;
    stage
        .step(
            "hawkBit is away for a day of the bridge's clock, and knows everything soon after",
            world.a_day_without(),
        )
        .await
}

struct World {
    thingsboard: FakeThingsBoard,
    hawkbit: Hawkbit,
    bridge: Bridge,
    updater: Updater,
    device: Enrolled,
    /// Connects only while hawkBit is away.
    late: Enrolled,
    clock: MovableClock,
    home: TempDir,
    _authority: StepCa,
}

impl World {
    async fn new(stage: &Stage) -> Result<Self, Failure> {
        let updater = Updater::new(stage).await?;
        let (authority, hawkbit) = (StepCa::start(stage).await?, Hawkbit::start(stage).await?);
        let thingsboard = FakeThingsBoard::start().await;
        let home = tempfile::tempdir()?;
        let password = home.path().join("hawkbit-password");
        std::fs::write(&password, hawkbit.password().expose_secret())?;
        let clock = MovableClock::new(home.path().join("clock"))?;
        let mut beside = vec![
            ("HAWKBIT_URL", hawkbit.url().to_string()),
            ("HAWKBIT_USER", Hawkbit::USER.to_owned()),
            ("HAWKBIT_PASSWORD_FILE", password.display().to_string()),
            ("HAWKBIT_DEVICE_URL", hawkbit.device_url().to_string()),
            ("HAWKBIT_READ_SECONDS", "1".to_owned()),
            ("THINGSBOARD_URL", thingsboard.url().to_owned()),
            ("THINGSBOARD_API_KEY", FakeThingsBoard::API_KEY.to_owned()),
            ("THINGSBOARD_WEBHOOK_SECRET", SECRET.to_owned()),
        ];
        beside.extend(clock.settings());
        let bridge = Bridge::start_beside(stage, &authority, beside).await?;
        bridge.run(&["provision", "hawkbit"]).await?;
        let device = enroll(&bridge, &authority, &home, DEVICE).await?;
        let late = enroll(&bridge, &authority, &home, LATE).await?;
        Ok(Self {
            thingsboard,
            hawkbit,
            bridge,
            updater,
            device,
            late,
            clock,
            home,
            _authority: authority,
        })
    }

    async fn appears(&self) -> Result<(), Failure> {
        let event = FakeThingsBoard::connect_event(DEVICE, 1);
        let status = self.bridge.tell("webhooks/thingsboard", SECRET, &event).await?;
        ensure(status == StatusCode::ACCEPTED, status)?;
        let metadata = ["targets", DEVICE, "metadata"];
        until("the target", PATIENCE, async || {
            let (_, found) = self.hawkbit.ask(Method::GET, &metadata, None).await?;
            let address = self.device.address().to_string();
            Ok(found.to_string().contains(&address))
        })
        .await?;
        let is_known = async || Ok(self.thingsboard.lets_in(self.device.certificate_pem()).is_some());
        until("the device at ThingsBoard", PATIENCE, is_known).await
    }

    /// Each time a name is changed, and seen at hawkBit when that answers well again.
    async fn troubled(&self) -> Result<(), Failure> {
        let troubles = [
            Behaviour::TooManyRequests(1),
            Behaviour::Html,
            Behaviour::AnswersAreLost,
            Behaviour::ALittleTrouble,
        ];
        for behaviour in troubles {
            self.hawkbit.behaves(behaviour);
            let name = format!("{behaviour:?}");
            let change = json!({ "device_name": name });
            let (status, answer) = self
                .bridge
                .ask(Method::PATCH, &format!("devices/{DEVICE}"), Some(change))
                .await?;
            ensure(status == StatusCode::OK, format_args!("{status} {answer}"))?;
            let has_waited = async || {
                let (_, found) = self.bridge.ask(Method::GET, "jobs", None).await?;
                Ok(!found.to_string().contains("\"attempts\":0"))
            };
            until("the first try", PATIENCE, has_waited).await?;
            self.hawkbit.behaves(Behaviour::Good);
            let is_told = async || {
                let (_, target) = self.hawkbit.ask(Method::GET, &["targets", DEVICE], None).await?;
                Ok(target["name"] == name)
            };
            until(&name, PATIENCE, is_told).await?;
        }
        Ok(())
    }

    async fn configured(&self) -> Result<(), Failure> {
        let settings = AgentsSettings {
            url: self.bridge.devices().clone(),
            changed: None,
            every: PATIENCE,
        };
        let agents = self.device.agents(settings);
        ensure(agents.update().await?, "nothing was written")?;
        ensure(!agents.update().await?, "it was written again")
    }

    async fn updated(&self) -> Result<(), Failure> {
        let image = b"the first image".repeat(4096);
        let said = self.give("first", Updater::TRUSTED, &image).await?;
        self.updater
            .has_installed(&image)
            .map_err(|failure| failure.during(&said))?;
        self.is_shown("finished", "first:1").await
    }

    async fn refused(&self) -> Result<(), Failure> {
        // The updater ends with a failure then.
        drop(
            self.give("unsigned", Updater::STRANGER, b"an image of a stranger")
                .await,
        );
        self.is_shown("failed", "unsigned:1").await
    }

    async fn interrupted(&mut self) -> Result<(), Failure> {
        let image: Vec<u8> = (0_u32..8 * 1024 * 1024).flat_map(u32::to_le_bytes).collect();
        let bundle = self.updater.bundle("large", Updater::TRUSTED, &image).await?;
        let set = self.hawkbit.distribute("large", bundle).await?;
        let action = self.hawkbit.assign(DEVICE, set).await?.to_string();
        let file = self.settings_file();
        let steps = ["targets", DEVICE, "actions", &action, "status"];
        let download = until("the download", PATIENCE, async || {
            let (_, found) = self.hawkbit.ask(Method::GET, &steps, None).await?;
            Ok(found.to_string().contains("\"download\""))
        });
        tokio::select! {
            seen = download => seen?,
            said = self.updater.look(&file) => drop(said),
        }
        self.hawkbit.go_away().await?;
        self.hawkbit.come_back().await?;
        let is_over = async || {
            // Also a look that failed is one.
            drop(self.updater.look(&file).await);
            Ok(self.shown() == Some(("finished".to_owned(), "large:1".to_owned())))
        };
        until("the end of the update", PATIENCE * 2, is_over).await?;
        self.updater.has_installed(&image)
    }

    async fn decommissioned(&self) -> Result<(), Failure> {
        let (status, answer) = self
            .bridge
            .ask(Method::DELETE, &format!("devices/{DEVICE}"), None)
            .await?;
        ensure(status == StatusCode::OK, format_args!("{status} {answer}"))?;
        let is_gone = async || {
            let (status, _) = self.hawkbit.ask(Method::GET, &["targets", DEVICE], None).await?;
            Ok(status == StatusCode::NOT_FOUND && self.thingsboard.device(DEVICE).is_none())
        };
        until("everybody to forget the device", PATIENCE, is_gone).await?;
        let said = self.updater.look(&self.settings_file()).await;
        ensure(said.is_err() || said?.contains("401"), "the updater was let in")
    }

    /// The bridge asks about once in ten hours at the end; what comes while it waits is not lost.
    async fn a_day_without(&mut self) -> Result<(), Failure> {
        self.hawkbit.go_away().await?;
        let event = FakeThingsBoard::connect_event(LATE, 1);
        let status = self.bridge.tell("webhooks/thingsboard", SECRET, &event).await?;
        ensure(status == StatusCode::ACCEPTED, status)?;
        let a_day_is_over = async || {
            self.clock.advance(Duration::from_mins(10))?;
            Ok(self.clock.ahead() >= Duration::from_hours(24))
        };
        until("a day", PATIENCE, a_day_is_over).await?;
        self.hawkbit.come_back().await?;
        let metadata = ["targets", LATE, "metadata"];
        until("the target", PATIENCE, async || {
            self.clock.advance(Duration::from_hours(1))?;
            let (_, found) = self.hawkbit.ask(Method::GET, &metadata, None).await?;
            Ok(found.to_string().contains(&self.late.address().to_string()))
        })
        .await
    }

    /// Gives a fresh update to the device and lets it look.
    async fn give(&self, name: &str, signer: &str, image: &[u8]) -> Result<String, Failure> {
        let bundle = self.updater.bundle(name, signer, image).await?;
        let set = self.hawkbit.distribute(name, bundle).await?;
        self.hawkbit.assign(DEVICE, set).await?;
        self.updater.look(&self.settings_file()).await
    }

    /// Waits until the device's page has a result, as an attribute and in the history.
    async fn is_shown(&self, status: &str, about: &str) -> Result<(), Failure> {
        let is_shown = async || {
            let points = self
                .thingsboard
                .device(DEVICE)
                .map(|device| device.telemetry)
                .unwrap_or_default();
            let is_told = points
                .iter()
                .any(|((_, key), value)| key == "ota_status" && value == status);
            let is_current = |(word, of): (String, String)| word == status && of == about;
            Ok(is_told && self.shown().is_some_and(is_current))
        };
        until(&format!("`{status}` on the device's page"), PATIENCE, is_shown).await
    }

    fn shown(&self) -> Option<(String, String)> {
        let device = self.thingsboard.device(DEVICE)?;
        let text = |key: &str| device.attributes.get(key).and_then(Value::as_str).map(str::to_owned);
        Some((text("otaStatus")?, text("otaSubject")?))
    }

    fn settings_file(&self) -> std::path::PathBuf {
        self.home.path().join(DEVICE).join(FOLDER).join(UPDATER_FILE)
    }
}

async fn enroll(bridge: &Bridge, authority: &StepCa, home: &TempDir, name: &str) -> Result<Enrolled, Failure> {
    let device = Device::prepare(home.path().join(name), Some(DeviceId::parse(name)?)).await?;
    let settings = EnrollSettings {
        url: bridge.devices().clone(),
        trust: ServerTrust::Roots(authority.root_pem()?),
        token: bridge.token(name, 1).await?,
        device_type: Some("pump".to_owned()),
        device_name: None,
        patience: Patience::default(),
    };
    Ok(device.enroll(&settings).await?)
}
