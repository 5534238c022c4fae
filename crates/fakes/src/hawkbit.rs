//! hawkBit 1.1's management interface, as far as the bridge uses it: the same paths, bodies and statuses, and the
//! same quirks. A list of new targets with one that exists is refused as a whole; a page has 50 entries unless asked
//! otherwise, and never more than 500; times are its own clock's.

mod routes;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

pub use crate::mischief::Behaviour;
use crate::mischief::Mischief;
use crate::serving::Serving;

/// A hawkBit that runs until it is dropped.
#[derive(Debug)]
pub struct FakeHawkbit {
    tenant: Arc<Tenant>,
    mischief: Arc<Mischief>,
    serving: Serving,
}

#[derive(Debug)]
struct Tenant {
    state: Mutex<State>,
    /// Its clock, in milliseconds.
    clock: AtomicI64,
}

#[derive(Debug, Default)]
struct State {
    targets: BTreeMap<String, FakeTarget>,
    types: BTreeMap<String, i64>,
    actions: BTreeMap<i64, FakeAction>,
    settings: serde_json::Map<String, serde_json::Value>,
    counter: i64,
}

/// A target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FakeTarget {
    /// What people call it.
    pub name: String,
    /// Its group.
    pub group: Option<String>,
    /// The secret with which the device fetches its updates.
    pub security_token: String,
    /// The number of its type.
    pub type_id: Option<i64>,
    /// What is said of it.
    pub metadata: BTreeMap<String, String>,
}

/// An action.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FakeAction {
    controller_id: String,
    status: String,
    modified_at: i64,
}

impl FakeHawkbit {
    /// The user of the management interface.
    pub const USER: &str = "bridge";
    /// The user's password.
    pub const PASSWORD: &str = "a password of a fake";
    /// What its clock shows at the beginning.
    pub const BEGINNING: i64 = 1_777_636_800_000;

    /// Starts an empty tenant on a free port of the loopback interface.
    pub async fn start() -> Self {
        Self::start_with_seed(1).await
    }

    /// As [`start`](Self::start); the seed decides which answers are trouble.
    pub async fn start_with_seed(seed: u64) -> Self {
        let tenant = Arc::new(Tenant {
            state: Mutex::default(),
            clock: AtomicI64::new(Self::BEGINNING),
        });
        let mischief = Arc::new(Mischief::new(seed));
        let serving = Serving::start(routes::router(Arc::clone(&tenant)), &mischief).await;
        Self {
            tenant,
            mischief,
            serving,
        }
    }

    /// Returns its address.
    pub fn url(&self) -> &str {
        &self.serving.url
    }

    /// Changes how it answers from now on.
    pub fn behaves(&self, behaviour: Behaviour) {
        self.mischief.set(behaviour);
    }

    /// Returns how many requests came.
    pub fn requests(&self) -> usize {
        self.mischief.requests()
    }

    /// Returns a target as it is now.
    pub fn target(&self, id: &str) -> Option<FakeTarget> {
        self.tenant.state().targets.get(id).cloned()
    }

    /// Returns the key of a target's type.
    pub fn type_of(&self, id: &str) -> Option<String> {
        let state = self.tenant.state();
        let number = state.targets.get(id)?.type_id?;
        state
            .types
            .iter()
            .find(|(_, known)| **known == number)
            .map(|(key, _)| key.clone())
    }

    /// Lists the ids of all targets.
    pub fn ids(&self) -> Vec<String> {
        self.tenant.state().targets.keys().cloned().collect()
    }

    /// Deletes a target by hand.
    pub fn delete(&self, id: &str) {
        self.tenant.state().targets.remove(id);
    }

    /// Changes a target by hand, or makes one.
    pub fn change(&self, id: &str, change: impl FnOnce(&mut FakeTarget)) {
        change(self.tenant.state().targets.entry(id.to_owned()).or_default());
    }

    /// Returns a setting of the tenant.
    pub fn setting(&self, key: &str) -> Option<serde_json::Value> {
        self.tenant.state().settings.get(key).cloned()
    }

    /// Forgets every type of target.
    pub fn delete_types(&self) {
        self.tenant.state().types.clear();
    }

    /// Moves its clock, also backwards.
    pub fn move_clock(&self, milliseconds: i64) {
        self.tenant.clock.fetch_add(milliseconds, Ordering::Relaxed);
    }

    /// Assigns an update to a target; returns the action's number.
    pub fn assign(&self, id: &str) -> i64 {
        let now = self.tenant.now();
        let mut state = self.tenant.state();
        let number = state.number();
        let action = FakeAction {
            controller_id: id.to_owned(),
            status: "running".to_owned(),
            modified_at: now,
        };
        state.actions.insert(number, action);
        number
    }

    /// Lets an action come to another status.
    pub fn progress(&self, action: i64, status: &str) {
        let now = self.tenant.now();
        if let Some(action) = self.tenant.state().actions.get_mut(&action) {
            status.clone_into(&mut action.status);
            action.modified_at = now;
        }
    }
}

impl Tenant {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds the state")
    }

    fn now(&self) -> i64 {
        self.clock.load(Ordering::Relaxed)
    }
}

impl State {
    fn number(&mut self) -> i64 {
        self.counter += 1;
        self.counter
    }
}
