use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRef;
use common::chassis::rate_limit::FailureLimiter;
use common::chassis::shutdown::Shutdown;
use common::domain::DeviceDirectory;

use super::doors::Doors;
use super::ui::Page;
use crate::access::Access;
use crate::doctor::Doctor;
use crate::neighbours::Neighbours;
use crate::ports::RecordingShelf;
use crate::session::Sessions;
use crate::terminals::Terminals;
use crate::watching::Watching;

/// Everything that handlers are made of; each takes its part as `State<Arc<…>>`. Every layer has a clone of it for every
/// request, so that one is a pointer.
#[derive(Clone)]
pub(crate) struct AppState(Arc<Everything>);

pub(crate) struct Everything {
    pub(crate) access: Arc<Access>,
    pub(crate) terminals: Arc<Terminals>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) neighbours: Arc<Neighbours>,
    pub(crate) watching: Arc<Watching>,
    pub(crate) recordings: Option<Arc<dyn RecordingShelf>>,
    pub(crate) doctor: Arc<Doctor>,
    pub(crate) directory: Arc<dyn DeviceDirectory>,
    pub(crate) doors: Arc<Doors>,
    pub(crate) page: Arc<Page>,
    pub(crate) failures: Arc<FailureLimiter>,
    pub(crate) shutdown: Shutdown,
}

impl From<Everything> for AppState {
    fn from(everything: Everything) -> Self {
        Self(Arc::new(everything))
    }
}

impl Deref for AppState {
    type Target = Everything;

    fn deref(&self) -> &Everything {
        &self.0
    }
}

macro_rules! part {
    ($field:ident: $type:ty) => {
        impl FromRef<AppState> for $type {
            fn from_ref(state: &AppState) -> Self {
                state.$field.clone()
            }
        }
    };
}

part!(access: Arc<Access>);
part!(terminals: Arc<Terminals>);
part!(failures: Arc<FailureLimiter>);
part!(sessions: Arc<Sessions>);
part!(doctor: Arc<Doctor>);
part!(directory: Arc<dyn DeviceDirectory>);
part!(doors: Arc<Doors>);
part!(page: Arc<Page>);
part!(shutdown: Shutdown);
