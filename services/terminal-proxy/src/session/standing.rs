//! Whether open sessions may go on: one query for all of them, again and again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use common::chassis::problem::error_chain;
use common::domain::{DeviceState, SessionEnding, SessionId, SessionStanding, StoreError};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::warn;

use super::live::Live;
use super::{Ending, Sessions};

/// A decommissioned device loses its sessions within 5 s; this leaves room for a slow answer.
const PERIOD: Duration = Duration::from_secs(2);

/// How a session ended whose record was left open, for example because its client vanished while the device
/// was dialled.
const ABANDONED: SessionEnding = SessionEnding {
    reason: "abandoned",
    output_bytes: 0,
    input_bytes: 0,
    recording: None,
};

impl Sessions {
    /// Watches the standing of all sessions until the drain begins.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut period = interval(PERIOD);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.rules.drain.cancelled() => return,
                _ = period.tick() => self.look().await,
            }
        }
    }

    /// Looks once.
    async fn look(&self) {
        let expected = self.recorded_ids();
        let answer = tokio::time::timeout(PERIOD, self.ports.ledger.standings(&self.rules.instance)).await;
        match answer {
            Ok(Ok(standings)) => {
                *self.directory_seen() = Instant::now();
                self.judge(&expected, standings).await;
            }
            Ok(Err(error)) => self.endure(Some(&error)),
            Err(_elapsed) => self.endure(None),
        }
    }

    async fn judge(&self, expected: &HashSet<SessionId>, standings: Vec<SessionStanding>) {
        let standings: HashMap<SessionId, SessionStanding> =
            standings.into_iter().map(|standing| (standing.id, standing)).collect();
        let mut verdicts = Vec::new();
        let mut abandoned = Vec::new();
        {
            let live = self.live();
            for id in expected {
                if let Some(session) = live.get(*id)
                    && let Some(ending) = verdict(session, standings.get(id))
                {
                    verdicts.push((*id, ending));
                }
            }
            // What ended meanwhile was recorded before it gave its seat back; closing again changes nothing.
            abandoned.extend(standings.keys().filter(|id| live.get(**id).is_none()));
        }
        for (id, ending) in verdicts {
            self.stop(id, ending);
        }
        for id in abandoned {
            if let Err(error) = self.close_abandoned(id).await {
                warn!(session.id = %id, error = error_chain(&error), "An abandoned session is not closed yet");
            }
        }
    }

    async fn close_abandoned(&self, id: SessionId) -> Result<(), StoreError> {
        match self.ports.ledger.session(id).await? {
            Some(record) => self.close(&record.session, &ABANDONED).await,
            None => Ok(()),
        }
    }

    /// Without the database nobody knows whether a session may go on; for a while it may.
    fn endure(&self, error: Option<&StoreError>) {
        let away_for = self.directory_seen().elapsed();
        let seconds = away_for.as_secs();
        let error = error.map(|error| error_chain(error));
        warn!(
            error,
            seconds, "The standing of sessions cannot be read for {seconds} s"
        );
        if away_for > self.rules.limits.directory_patience() {
            for id in self.recorded_ids() {
                self.stop(id, Ending::DirectoryLost);
            }
        }
    }
}

/// Decides about one session. No standing means that its record is closed or gone.
fn verdict(session: &Live, standing: Option<&SessionStanding>) -> Option<Ending> {
    let Some(standing) = standing else {
        return Some(Ending::Killed);
    };
    if standing.device_state == DeviceState::Retired {
        Some(Ending::DeviceRetired)
    } else if standing.end_requested {
        Some(Ending::Killed)
    } else if standing.device_state != DeviceState::Enrolled
        || standing.device_epoch != session.device_epoch
        || !session.operator.sees_group(&standing.group)
    {
        Some(Ending::AccessLost)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use common::domain::{GroupName, Operator, Role, Timestamp};

    use super::*;
    use crate::session::line::Line;
    use crate::session::live::Presence;
    use crate::tap::OutputLog;

    #[test]
    fn a_session_goes_on_only_while_everything_it_was_authorised_by_stands() {
        let good = SessionStanding {
            id: SessionId::generate(),
            device_state: DeviceState::Enrolled,
            device_epoch: 3,
            group: GroupName::default(),
            end_requested: false,
        };
        let session = live();
        let judge = |standing: SessionStanding| verdict(&session, Some(&standing));

        assert_eq!(judge(good.clone()), None);
        assert_eq!(
            judge(SessionStanding {
                end_requested: true,
                ..good.clone()
            }),
            Some(Ending::Killed)
        );
        assert_eq!(
            judge(SessionStanding {
                device_epoch: 4,
                ..good.clone()
            }),
            Some(Ending::AccessLost)
        );
        let other = GroupName::parse("other").unwrap();
        assert_eq!(
            judge(SessionStanding {
                group: other,
                ..good.clone()
            }),
            Some(Ending::AccessLost)
        );
        for (device_state, ending) in [
            (DeviceState::Retired, Ending::DeviceRetired),
            (DeviceState::Quarantined, Ending::AccessLost),
            (DeviceState::Admitted, Ending::AccessLost),
        ] {
            assert_eq!(
                judge(SessionStanding {
                    device_state,
                    device_epoch: 4,
                    ..good.clone()
                }),
                Some(ending)
            );
        }
        assert_eq!(verdict(&session, None), Some(Ending::Killed));
    }

    fn live() -> Live {
        let operator = Operator {
            subject: "4711".to_owned(),
            username: "alice".to_owned(),
            role: Role::Operator,
            groups: [GroupName::default()].into(),
            expires_at: Timestamp::UNIX_EPOCH,
        };
        let device_id = "pump-7".parse().unwrap();
        Live {
            operator,
            badge: Arc::new("token".into()),
            device_id,
            device_epoch: 3,
            is_on_record: true,
            presence: Presence::BEGINNING,
            line: Arc::new(Line::new(Instant::now())),
            log: Arc::new(OutputLog::new(1)),
        }
    }
}
