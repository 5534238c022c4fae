//! The route table: one list makes both the router and what the authorisation test walks through.

use axum::Router;
use axum::routing::MethodRouter;

use super::state::AppState;

/// Who may call a route. The handler's first extractor enforces it; a test proves that it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Nobody is asked.
    Anyone,
    /// The holder of an enrollment token.
    EnrollmentToken,
    /// A device, by its certificate.
    Device,
    /// The device platform's rule chain, by its secret.
    Platform,
    /// The sender of the update server's news, by its secret.
    UpdateServer,
    /// A person with the viewer role or more.
    Viewer,
    /// A person with the admin role.
    Admin,
}

/// One row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteEntry {
    /// The method.
    pub method: &'static str,
    /// The path, parameters in braces.
    pub path: &'static str,
    /// Who may call it.
    pub who: Who,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    router: Router<AppState>,
    entries: Vec<RouteEntry>,
}

impl Table {
    pub(super) fn route(
        mut self,
        method: &'static str,
        path: &'static str,
        who: Who,
        handler: MethodRouter<AppState>,
    ) -> Self {
        self.entries.push(RouteEntry { method, path, who });
        Self {
            router: self.router.route(path, handler),
            entries: self.entries,
        }
    }

    pub(super) fn into_router(self) -> Router<AppState> {
        self.router
    }

    pub(super) fn into_entries(self) -> Vec<RouteEntry> {
        self.entries
    }
}
