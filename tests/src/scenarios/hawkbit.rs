//! Our hawkBit adapter against a genuine hawkBit: what it promises, seen from the operator's and the device's side.

use std::net::Ipv4Addr;
use std::time::Duration;

use common::chassis::http_client::{self, HttpClientOptions};
use common::domain::{DeviceId, DriftKind, GroupName, IssuedCertificate, Timestamp, UpdateStatus};
use futures_util::future::try_join_all;
use iot_bridge_api::adapters::hawkbit::{Hawkbit as Adapter, HawkbitOptions};
use iot_bridge_api::ports::{Neighbour as _, Passport, UpdateServer as _, UpstreamError};
use reqwest::{Method, StatusCode};
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::failure::{Failure, ensure};
use crate::real::hawkbit::Hawkbit;
use crate::stage::Stage;

/// More than a page of a list.
const FLEET: usize = 130;

pub(super) async fn play(stage: &Stage) -> Result<(), Failure> {
    let mut world = stage.step("hawkBit starts", World::new(stage)).await?;
    stage
        .step(
            "nobody gets in before it was prepared, and a target's secret after that",
            world.prepared(),
        )
        .await?;
    stage
        .step(
            "a target is made once, whoever makes it, and says what the passport says",
            world.ensured(),
        )
        .await?;
    stage
        .step(
            "what an operator changed is found and put right, his own notes are left",
            world.healed(),
        )
        .await?;
    stage
        .step(
            "a device that is shut out has no way in, and gets a new one when it returns",
            world.shut_out(),
        )
        .await?;
    stage
        .step(
            "the steps of an update are read once, in order, from where the last reading ended",
            world.read(),
        )
        .await?;
    stage
        .step("a list of several pages is read to its end", world.listed())
        .await?;
    stage
        .step(
            "while it is away nothing is believed, and after that nothing is missing",
            world.away(),
        )
        .await?;
    stage
        .step("what is removed is gone, however often", world.removed())
        .await
}

struct World {
    hawkbit: Hawkbit,
    adapter: Adapter,
}

impl World {
    async fn new(stage: &Stage) -> Result<Self, Failure> {
        let hawkbit = Hawkbit::start(stage).await?;
        let options = HawkbitOptions {
            url: hawkbit.url().clone(),
            user: Hawkbit::USER.to_owned(),
            password: hawkbit.password().clone(),
        };
        let adapter = Adapter::new(http_client::build(&HttpClientOptions::default())?, options);
        Ok(Self { hawkbit, adapter })
    }

    async fn prepared(&self) -> Result<(), Failure> {
        self.adapter.ensure(&passport("pump-7")?).await?;
        let secret = self.secret("pump-7").await?;
        let before = self.hawkbit.poll_as("pump-7", &secret).await?;
        for _ in 0..2 {
            self.adapter.provision().await?;
        }
        let after = self.hawkbit.poll_as("pump-7", &secret).await?;
        let stranger = self.hawkbit.poll_as("pump-7", "another-secret").await?;
        let seen = (before, after, stranger);
        let wanted = (StatusCode::UNAUTHORIZED, StatusCode::OK, StatusCode::UNAUTHORIZED);
        ensure(seen == wanted, format_args!("{seen:?}"))
    }

    async fn ensured(&self) -> Result<(), Failure> {
        let by_hand = json!([{ "controllerId": "by-hand", "name": "somebody's" }]);
        self.hawkbit.ask(Method::POST, &["targets"], Some(by_hand)).await?;
        for id in ["by-hand", "at-once"] {
            let passport = passport(id)?;
            // Four at a time: all but one are told that it exists.
            try_join_all((0..4).map(|_| self.adapter.ensure(&passport)))
                .await
                .or_else(passing)?;
            self.adapter.ensure(&passport).await?;
            let differences = self.adapter.differences(&passport).await?;
            ensure(differences.is_empty(), format_args!("{id}: {differences:?}"))?;
        }
        let (_, target) = self.hawkbit.ask(Method::GET, &["targets", "by-hand"], None).await?;
        ensure(target["name"] == "Name of by-hand", &target)?;
        let (_, metadata) = self
            .hawkbit
            .ask(Method::GET, &["targets", "by-hand", "metadata"], None)
            .await?;
        ensure(metadata["total"] == 6, metadata)
    }

    async fn healed(&self) -> Result<(), Failure> {
        let passport = passport("pump-7")?;
        let metadata = ["targets", "pump-7", "metadata"];
        let wrong = ["targets", "pump-7", "metadata", "bridge_vpn_address"];
        self.hawkbit
            .ask(Method::PUT, &wrong, Some(json!({ "value": "10.8.0.99" })))
            .await?;
        let more = json!([{ "key": "note", "value": "his own" }, { "key": "bridge_old", "value": "ours, once" }]);
        self.hawkbit.ask(Method::POST, &metadata, Some(more)).await?;
        let found = self.adapter.differences(&passport).await?;
        ensure(found == [DriftKind::WrongMetadata], format_args!("{found:?}"))?;

        self.adapter.ensure(&passport).await?;

        let left = self.adapter.differences(&passport).await?;
        ensure(left.is_empty(), format_args!("{left:?}"))?;
        let (_, now) = self.hawkbit.ask(Method::GET, &metadata, None).await?;
        let text = now.to_string();
        ensure(text.contains("his own") && !text.contains("bridge_old"), text)
    }

    async fn shut_out(&self) -> Result<(), Failure> {
        let passport = passport("pump-7")?;
        let before = self.secret("pump-7").await?;
        for _ in 0..2 {
            self.adapter.shut_out(&passport.id).await?;
        }
        ensure(!self.adapter.admits(&passport.id).await?, "it is still let in")?;
        let polled = self.hawkbit.poll_as("pump-7", &before).await?;
        ensure(polled == StatusCode::UNAUTHORIZED, polled)?;
        let found = self.adapter.differences(&passport).await?;
        ensure(found == [DriftKind::WrongCredentials], format_args!("{found:?}"))?;

        self.adapter.ensure(&passport).await?;

        ensure(self.adapter.admits(&passport.id).await?, "it is not let in again")?;
        let polled = self.hawkbit.poll_as("pump-7", &self.secret("pump-7").await?).await?;
        ensure(polled == StatusCode::OK, polled)
    }

    async fn read(&self) -> Result<(), Failure> {
        let set = self.hawkbit.distribute("first", b"not a bundle".to_vec()).await?;
        let action = self.hawkbit.assign("pump-7", set).await?;
        let first = self.adapter.changes(Timestamp::UNIX_EPOCH, 0).await?;
        let steps: Vec<_> = first.reports.iter().map(|it| (it.action_id, it.status)).collect();
        ensure(steps == [(action, UpdateStatus::Running)], format_args!("{steps:?}"))?;
        let since = first.last_changed_at.unwrap_or(Timestamp::UNIX_EPOCH);
        let again = self.adapter.changes(since, 0).await?;
        ensure(again.length == 1, format_args!("at the same time: {again:?}"))?;
        let later = self.adapter.changes(since + Duration::from_millis(1), 0).await?;
        ensure(later.length == 0, format_args!("after that: {later:?}"))
    }

    async fn listed(&self) -> Result<(), Failure> {
        let before = self.adapter.names().await?.len();
        for number in 0..FLEET {
            let name = format!("fleet-{number}");
            let body = json!([{ "controllerId": name, "name": name }]);
            self.hawkbit.ask(Method::POST, &["targets"], Some(body)).await?;
        }
        let names = self.adapter.names().await?;
        ensure(names.len() == before + FLEET, names.len())
    }

    async fn away(&mut self) -> Result<(), Failure> {
        let passport = passport("pump-7")?;
        let secret = self.secret("pump-7").await?;
        self.hawkbit.go_away().await?;
        for outcome in [
            self.adapter.ensure(&passport).await,
            self.adapter.remove(&passport.id).await,
        ] {
            let is_away = matches!(&outcome, Err(UpstreamError::Unavailable { .. }));
            ensure(is_away, format_args!("{outcome:?}"))?;
        }
        self.hawkbit.come_back().await?;
        ensure(
            self.adapter.differences(&passport).await?.is_empty(),
            "something is missing",
        )?;
        ensure(self.secret("pump-7").await? == secret, "the device has another secret")
    }

    async fn removed(&self) -> Result<(), Failure> {
        let passport = passport("pump-7")?;
        for _ in 0..2 {
            self.adapter.remove(&passport.id).await?;
        }
        let found = self.adapter.differences(&passport).await?;
        ensure(found == [DriftKind::Missing], format_args!("{found:?}"))?;
        ensure(
            self.adapter.credential(&passport.id).await?.is_none(),
            "it has a secret",
        )
    }

    async fn secret(&self, id: &str) -> Result<String, Failure> {
        let secret = self.adapter.credential(&DeviceId::parse(id)?).await?;
        let secret = secret.ok_or_else(|| Failure::new(format_args!("{id} is unknown")))?;
        Ok(secret.expose_secret().to_owned())
    }
}

/// Of several that make the same metadata at once, some are refused; the order is carried out again then.
fn passing(error: UpstreamError) -> Result<Vec<()>, UpstreamError> {
    if matches!(error, UpstreamError::Refused { .. }) {
        return Ok(Vec::new());
    }
    Err(error)
}

fn passport(id: &str) -> Result<Passport, Failure> {
    Ok(Passport {
        id: DeviceId::parse(id)?,
        display_name: Some(format!("Name of {id}")),
        device_type: Some("Pump MK II".to_owned()),
        group: GroupName::default(),
        address: Ipv4Addr::new(10, 8, 0, 2),
        certificate: IssuedCertificate {
            serial: "0a1b".to_owned(),
            leaf_pem: String::new(),
            ca_chain_pem: String::new(),
            intermediates: 1,
            not_before: Timestamp::UNIX_EPOCH,
            not_after: Timestamp::UNIX_EPOCH + Duration::from_hours(24),
        },
        update: None,
    })
}
