//! Whether the people behind sessions are still who they were: the issuer is asked about each of them, again and again.
//! A token says who somebody was when it was made; a person who was disabled, or lost a role or a group, keeps theirs
//! for minutes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use common::chassis::token::{PersonNow, TokenRules, Userinfo, UserinfoError};
use common::domain::{GroupName, Operator, SessionId, TerminalPurpose};
use secrecy::SecretString;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Ending, Sessions};
use crate::access::{Access, Grant};

/// What the issuer gets to answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// A round ends when the issuer has not answered so often in it.
const MAX_FAILURES: u32 = 8;

/// The token that somebody showed last; sessions that were opened with one token share it.
pub(crate) type Badge = Arc<SecretString>;

/// Somebody who watches or types along.
pub(crate) struct Spectator {
    operator: Mutex<Operator>,
    badge: Badge,
    purpose: TerminalPurpose,
    group: GroupName,
    lost: CancellationToken,
}

/// Everybody who is behind one badge.
#[derive(Default)]
struct Holders {
    subject: String,
    sessions: Vec<SessionId>,
    spectators: Vec<Arc<Spectator>>,
}

impl Sessions {
    /// Asks about everybody, again and again, until the drain begins.
    pub(crate) async fn ask_about_people(self: Arc<Self>, issuer: Arc<Userinfo>, every: Duration) {
        let mut period = interval(every);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.rules.drain.cancelled() => return,
                _ = period.tick() => self.ask_about_all(&issuer).await,
            }
        }
    }

    /// Four questions at a time.
    async fn ask_about_all(&self, issuer: &Userinfo) {
        let holders = Mutex::new(self.holders());
        let failures = AtomicU32::new(0);
        let ask = async || {
            while failures.load(Ordering::Relaxed) < MAX_FAILURES {
                let next = holders.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let Some((badge, holders)) = next else { return };
                let answer = timeout(DEADLINE, issuer.ask(&badge)).await;
                let answer = answer.unwrap_or_else(|_| Err(UserinfoError::Unavailable("it took too long".to_owned())));
                if let Err(error @ UserinfoError::Unavailable(_)) = &answer
                    && failures.fetch_add(1, Ordering::Relaxed) == 0
                {
                    warn!(%error, "Nobody says whether the people behind sessions are still who they were");
                }
                self.believe(&badge, &holders, answer);
            }
        };
        tokio::join!(ask(), ask(), ask(), ask());
    }

    /// Whom to ask about: those whose token is not about to end anyway, by anybody's clock.
    fn holders(&self) -> Vec<(Badge, Holders)> {
        let soon = self.ports.clock.now() + TokenRules::MAX_LEEWAY;
        let mut all: HashMap<*const SecretString, (Badge, Holders)> = HashMap::new();
        for (id, live) in self.live().iter().filter(|(_, live)| live.operator.expires_at > soon) {
            let entry = all.entry(Arc::as_ptr(&live.badge));
            let (_, holders) = entry.or_insert_with(|| (Arc::clone(&live.badge), Holders::of(&live.operator)));
            holders.sessions.push(id);
        }
        for spectator in self.spectators() {
            let operator = spectator.operator().clone();
            if operator.expires_at > soon {
                let entry = all.entry(Arc::as_ptr(&spectator.badge));
                let (_, holders) = entry.or_insert_with(|| (Arc::clone(&spectator.badge), Holders::of(&operator)));
                holders.spectators.push(spectator);
            }
        }
        all.into_values().collect()
    }

    fn believe(&self, badge: &Badge, holders: &Holders, answer: Result<PersonNow, UserinfoError>) {
        let person = match answer {
            Ok(person) if person.subject == holders.subject => Some(person),
            Ok(_somebody_else) => None,
            Err(UserinfoError::Refused(_)) => None,
            Err(UserinfoError::Unavailable(_)) => return, // their tokens end soon enough
        };
        for id in &holders.sessions {
            self.judge_person(*id, badge, person.as_ref());
        }
        for spectator in &holders.spectators {
            spectator.judge(person.as_ref());
        }
    }

    /// The role decides at once, and the groups when the device's group is read next, in a moment. Who brought another
    /// token meanwhile is judged by that one.
    fn judge_person(&self, id: SessionId, badge: &Badge, person: Option<&PersonNow>) {
        let mut sessions = self.live();
        let Some(live) = sessions.get_mut(id).filter(|live| Arc::ptr_eq(&live.badge, badge)) else {
            return;
        };
        match person.and_then(|person| Some((person, person.role?))) {
            Some((person, role)) if role >= Access::least_role(TerminalPurpose::Open) => {
                live.operator.role = role;
                live.operator.groups.clone_from(&person.groups);
            }
            Some(_) | None => {
                info!(session.id = %id, "The person of session {id} may not open devices any more");
                live.line.stop(Ending::AccessLost);
            }
        }
    }

    /// Remembers somebody who watches as long as they do.
    pub(crate) fn spectator(&self, grant: &Grant, purpose: TerminalPurpose) -> Arc<Spectator> {
        let spectator = Arc::new(Spectator {
            operator: Mutex::new(grant.operator.clone()),
            badge: Arc::clone(&grant.badge),
            purpose,
            group: grant.device.group.clone(),
            lost: CancellationToken::new(),
        });
        let mut spectators = self.spectators.lock().unwrap_or_else(PoisonError::into_inner);
        spectators.retain(|spectator| spectator.strong_count() > 0);
        spectators.push(Arc::downgrade(&spectator));
        spectator
    }

    fn spectators(&self) -> Vec<Arc<Spectator>> {
        let spectators = self.spectators.lock().unwrap_or_else(PoisonError::into_inner);
        spectators.iter().filter_map(Weak::upgrade).collect()
    }
}

impl Holders {
    fn of(operator: &Operator) -> Self {
        Self {
            subject: operator.subject.clone(),
            ..Self::default()
        }
    }
}

impl Spectator {
    /// Waits until they may not watch any more.
    pub(crate) async fn lost(&self) {
        self.lost.cancelled().await;
    }

    fn judge(&self, person: Option<&PersonNow>) {
        let may_watch = person.is_some_and(|person| {
            let mut operator = self.operator();
            operator.groups.clone_from(&person.groups);
            person.role.is_some_and(|role| {
                operator.role = role;
                role >= Access::least_role(self.purpose) && operator.sees_group(&self.group)
            })
        });
        if !may_watch {
            self.lost.cancel();
        }
    }

    fn operator(&self) -> MutexGuard<'_, Operator> {
        self.operator.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
