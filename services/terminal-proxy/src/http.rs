//! Every route of the service, on one page.

mod auth;
mod doctor;
mod doors;
mod forwarding;
mod problem;
mod recordings;
mod sessions;
mod state;
mod terminal;
mod tickets;
mod ui;
mod watching;
mod websocket;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

pub(crate) use self::doors::Doors;
pub use self::problem::PROBLEMS;
pub(crate) use self::state::{AppState, Everything};
pub(crate) use self::ui::Page;

/// Each handler that is not for anyone takes the caller as its first argument.
pub(crate) fn router(state: AppState) -> Router {
    let about_sessions = about_one_session().route_layer(from_fn_with_state(state.clone(), forwarding::forward));
    Router::new()
        // Operators: a ticket for a shell on a device.
        .route("/terminal/tickets", post(tickets::issue))
        // Everyone their own sessions, admins all.
        .route("/sessions", get(sessions::list))
        // Viewers: the fleet, and why a device cannot be reached.
        .route("/ui/api/devices", get(ui::devices))
        .route("/doctor/{id}", get(doctor::examine))
        // Anyone: the page, which logs in.
        .route("/", get(ui::index))
        .route("/ui/callback", get(ui::index))
        .route("/ui/terminal/{id}", get(ui::widget))
        .route("/ui/config.json", get(ui::config))
        .route("/ui/assets/{*path}", get(ui::asset))
        .layer(from_fn_with_state(state.clone(), doors::check_host))
        // Asks the same, in the one layer that it has.
        .merge(about_sessions)
        .with_state(state)
}

/// What is answered by the process that serves the session, whichever is asked.
fn about_one_session() -> Router<AppState> {
    Router::new()
        // Operators: a shell on a device, or their shell of before.
        .route("/terminal", get(terminal::open_by_query))
        .route("/terminal/{id}", get(terminal::open_by_path))
        // Everyone their own sessions, admins all.
        .route(
            "/sessions/{sid}",
            get(sessions::show).patch(sessions::share).delete(sessions::kill),
        )
        // The session's person: another while with a fresh token.
        .route("/sessions/{sid}/token", post(sessions::renew))
        // Admins watch; operators type along where the session's person lets them.
        .route(
            "/sessions/{sid}/watch",
            get(watching::open).post(watching::ticket_to_watch),
        )
        .route("/sessions/{sid}/join", post(watching::ticket_to_join))
        // Admins: what a session showed.
        .route("/sessions/{sid}/recording", get(recordings::play))
}
