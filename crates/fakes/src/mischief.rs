//! How a fake server misbehaves: on demand, and a little by default, the same way each time.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{LOCATION, RETRY_AFTER};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse as _, Response};

/// How a server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Behaviour {
    /// About one answer in sixteen is a 503, a 429, or is lost after the work was done. The seed decides which.
    #[default]
    ALittleTrouble,
    /// Always as it should.
    Good,
    /// 503 to everything.
    Down,
    /// 429 to everything, with so many seconds of `Retry-After`.
    TooManyRequests(u64),
    /// A page of HTML with status 200, as a proxy's maintenance page.
    Html,
    /// 301 to an address of the inside.
    Redirect,
    /// Everything is done, and answered with 502: the answer is lost.
    AnswersAreLost,
}

/// The state of a server's mischief.
#[derive(Debug)]
pub struct Mischief {
    behaviour: Mutex<Behaviour>,
    seed: AtomicU64,
    requests: AtomicUsize,
}

impl Mischief {
    /// Begins with a little trouble.
    pub fn new(seed: u64) -> Self {
        Self {
            behaviour: Mutex::default(),
            seed: AtomicU64::new(seed | 1),
            requests: AtomicUsize::new(0),
        }
    }

    /// From now on.
    pub fn set(&self, behaviour: Behaviour) {
        *self
            .behaviour
            .lock()
            .expect("no test panics while it holds the mischief") = behaviour;
    }

    /// How many requests came.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// Returns how this request is answered.
    fn next(&self) -> Behaviour {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let behaviour = *self
            .behaviour
            .lock()
            .expect("no test panics while it holds the mischief");
        if behaviour != Behaviour::ALittleTrouble {
            return behaviour;
        }
        match self.random() % 48 {
            0 => Behaviour::Down,
            1 => Behaviour::TooManyRequests(0),
            2 => Behaviour::AnswersAreLost,
            _ => Behaviour::Good,
        }
    }

    /// xorshift64 (Marsaglia): the same numbers for the same seed.
    fn random(&self) -> u64 {
        let mut number = self.seed.load(Ordering::Relaxed);
        number ^= number << 13;
        number ^= number >> 7;
        number ^= number << 17;
        self.seed.store(number, Ordering::Relaxed);
        number >> 8
    }
}

/// A layer (`axum::middleware::from_fn_with_state`) before whatever is to misbehave.
pub async fn misbehave(State(mischief): State<Arc<Mischief>>, request: Request, next: Next) -> Response {
    match mischief.next() {
        Behaviour::Good | Behaviour::ALittleTrouble => next.run(request).await,
        Behaviour::Down => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Behaviour::TooManyRequests(seconds) => {
            (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, seconds.to_string())]).into_response()
        }
        Behaviour::Html => Html("<html><body>We will be back soon.</body></html>").into_response(),
        Behaviour::Redirect => (StatusCode::MOVED_PERMANENTLY, [(LOCATION, "http://169.254.169.254/")]).into_response(),
        Behaviour::AnswersAreLost => {
            next.run(request).await;
            StatusCode::BAD_GATEWAY.into_response()
        }
    }
}
