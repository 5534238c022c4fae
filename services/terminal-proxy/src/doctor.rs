//! Why a device cannot be reached: the chain from the person to the shell, link by link.

use std::sync::Arc;

use common::chassis::token::{Userinfo, UserinfoError};
use common::domain::{
    CertificateState, Clock, DeviceDirectory, DeviceId, DeviceState, DeviceView, Operator, Role, SessionId, StoreError,
    is_online, rfc3339,
};
use serde::Serialize;

use crate::access::{Grant, Visitor};
use crate::addresses::Addresses;
use crate::ports::Storage;
use crate::session::Sessions;
use crate::upstream::{Upstream, UpstreamError};

/// What one link of the chain is worth.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    /// The link: `token`, `policy`, `device`, `certificate`, `mqtt`, `handshake`, `tcp` or `ttyd`.
    check: &'static str,
    /// Whether it holds; none when it could not be looked at.
    ok: Option<bool>,
    /// What was found, and what to do about it.
    detail: String,
}

impl Verdict {
    fn new(check: &'static str, ok: bool, detail: impl Into<String>) -> Self {
        Self {
            check,
            ok: Some(ok),
            detail: detail.into(),
        }
    }

    fn unknown(check: &'static str, detail: &str) -> Self {
        Self {
            check,
            ok: None,
            detail: detail.to_owned(),
        }
    }
}

/// The use case.
pub(crate) struct Doctor {
    directory: Arc<dyn DeviceDirectory>,
    /// None where nobody can be asked who a person is now.
    people: Option<Arc<Userinfo>>,
    clock: Arc<dyn Clock>,
    addresses: Addresses,
    sessions: Arc<Sessions>,
    upstream: Arc<Upstream>,
}

impl Doctor {
    pub(crate) fn new(
        storage: &Storage,
        (people, clock): (Option<Arc<Userinfo>>, Arc<dyn Clock>),
        addresses: Addresses,
        sessions: Arc<Sessions>,
        upstream: Arc<Upstream>,
    ) -> Self {
        Self {
            directory: Arc::clone(&storage.directory),
            people,
            clock,
            addresses,
            sessions,
            upstream,
        }
    }

    /// Examines a device that the person may see; none when there is no such device for them. Only who may
    /// open the device makes us knock at it; no process is started there.
    pub(crate) async fn examine(&self, visitor: &Visitor, id: &DeviceId) -> Result<Option<Vec<Verdict>>, StoreError> {
        let operator = &visitor.operator;
        let view = self
            .directory
            .view(id)
            .await?
            .filter(|view| operator.may_see(&view.device));
        let Some(view) = view else {
            return Ok(None);
        };
        let mut chain = vec![
            self.token(visitor).await,
            policy(operator),
            device(&view),
            self.certificate(&view),
            self.mqtt(&view),
            self.handshake(&view),
        ];
        chain.extend(self.knock(visitor, &view).await);
        Ok(Some(chain))
    }

    /// Whoever asks has a good token; what it says may be old.
    async fn token(&self, visitor: &Visitor) -> Verdict {
        let Visitor { operator, badge } = visitor;
        let seconds = (operator.expires_at - self.clock.now()).whole_seconds().max(0);
        let good = format!("Your token is good for another {seconds} s");
        let Some(people) = &self.people else {
            return Verdict::new("token", true, format!("{good}."));
        };
        match people.ask(badge).await {
            Ok(person) if person.subject != operator.subject => {
                Verdict::new("token", false, "The login takes you for somebody else; log in again.")
            }
            Ok(person) if person.role == Some(operator.role) && person.groups == operator.groups => {
                Verdict::new("token", true, format!("{good}, and the login says the same about you."))
            }
            Ok(_changed) => Verdict::new(
                "token",
                false,
                "Your role or your groups have changed since your token was made; log in again.",
            ),
            Err(UserinfoError::Refused(_)) => Verdict::new(
                "token",
                false,
                "The login does not know you any more: you are logged out or disabled, or it does not send `openid` in \
                 your token's scope; log in again.",
            ),
            Err(UserinfoError::Unavailable(_)) => Verdict {
                check: "token",
                ok: None,
                detail: format!("{good}; the login could not be asked about you."),
            },
        }
    }

    /// What the device platform told when the device connected.
    fn mqtt(&self, view: &DeviceView) -> Verdict {
        match view.device.last_connected_at {
            Some(when) => {
                let age = (self.clock.now() - when).whole_seconds().max(0);
                let detail = format!(
                    "The device last connected to the device platform {age} s ago, at {}.",
                    rfc3339(when)
                );
                Verdict::new("mqtt", true, detail)
            }
            None => Verdict::new(
                "mqtt",
                false,
                "The device platform has never told of a connection of this device; check the MQTT client on the device \
                 and the platform's webhook. The terminal works without.",
            ),
        }
    }

    fn certificate(&self, view: &DeviceView) -> Verdict {
        let active = view
            .certificate
            .as_ref()
            .filter(|record| record.state == CertificateState::Active);
        match active.and_then(|record| record.issued.as_ref()) {
            None => Verdict::new(
                "certificate",
                false,
                "The device has no certificate in use; it has to enroll.",
            ),
            Some(issued) if issued.not_after < self.clock.now() => {
                let when = rfc3339(issued.not_after);
                Verdict::new(
                    "certificate",
                    false,
                    format!("The certificate ended at {when}; the device has to come back with a return ticket."),
                )
            }
            Some(issued) => Verdict::new(
                "certificate",
                true,
                format!("Valid until {}.", rfc3339(issued.not_after)),
            ),
        }
    }

    fn handshake(&self, view: &DeviceView) -> Verdict {
        let last = view.live.as_ref().and_then(|live| live.last_handshake_at);
        let Some(last) = last else {
            return Verdict::new(
                "handshake",
                false,
                "The device's tunnel has not been seen since the hub knows it; check the device's network and its WireGuard settings.",
            );
        };
        let now = self.clock.now();
        let age = (now - last).whole_seconds();
        if is_online(Some(last), now) {
            Verdict::new(
                "handshake",
                true,
                format!("The tunnel's last handshake was {age} s ago."),
            )
        } else {
            Verdict::new(
                "handshake",
                false,
                format!("The tunnel's last handshake was {age} s ago; the device has no power or no network."),
            )
        }
    }

    async fn knock(&self, visitor: &Visitor, view: &DeviceView) -> [Verdict; 2] {
        let operator = &visitor.operator;
        // When the database goes away just now, there is nothing to try either.
        let address = self.addresses.of_device(view.device.address).await.unwrap_or(None);
        let Some(address) = address.filter(|_| operator.may_open(&view.device)) else {
            let reason = "Not tried: you may not open this device, or it has no address in the device network.";
            return [Verdict::unknown("tcp", reason), Verdict::unknown("ttyd", reason)];
        };
        // A knock costs the device and us what a session costs, and is counted as one while it lasts.
        let grant = Grant {
            operator: operator.clone(),
            badge: Arc::clone(&visitor.badge),
            device: view.device.clone(),
            session_id: SessionId::generate(),
        };
        let _seat = match self.sessions.take_seat(&grant) {
            Ok(seat) => seat,
            Err(error) => {
                let reason = format!("Not tried: {error}.");
                return [Verdict::unknown("tcp", &reason), Verdict::unknown("ttyd", &reason)];
            }
        };
        let tcp = |ok, detail: String| Verdict::new("tcp", ok, detail);
        match self.upstream.connect(address, operator).await {
            Ok(_connection) => [
                tcp(true, "The terminal port answers.".to_owned()),
                Verdict::new("ttyd", true, "ttyd is ready."),
            ],
            Err(UpstreamError::Dial(error)) => [
                tcp(false, format!("The terminal port cannot be reached: {error}.")),
                Verdict::unknown("ttyd", "Not tried."),
            ],
            Err(UpstreamError::BadAnswer(error)) => {
                let detail =
                    format!("It is no willing ttyd: {error}. Check its options on the device (-W, -H, no -c).");
                [
                    tcp(true, "The terminal port answers.".to_owned()),
                    Verdict::new("ttyd", false, detail),
                ]
            }
        }
    }
}

fn policy(operator: &Operator) -> Verdict {
    if operator.role >= Role::Operator {
        Verdict::new(
            "policy",
            true,
            "Your role and your groups let you open this device while it is in service.",
        )
    } else {
        Verdict::new(
            "policy",
            false,
            "Your role lets you see this device and not open it; ask for the operator role.",
        )
    }
}

fn device(view: &DeviceView) -> Verdict {
    match view.device.state {
        DeviceState::Enrolled => Verdict::new("device", true, "The device is in service."),
        DeviceState::Admitted => Verdict::new("device", false, "The device's enrollment is not complete."),
        DeviceState::Quarantined => Verdict::new(
            "device",
            false,
            "The device is in quarantine; an administrator can release it.",
        ),
        DeviceState::Retired => Verdict::new("device", false, "The device was decommissioned."),
    }
}
