//! A server, by default on a free port of the loopback interface, until it is dropped.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::mischief::{Mischief, misbehave};

/// A free port of the loopback interface.
pub(crate) const ANY_PORT: &str = "127.0.0.1:0";

#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) url: String,
    _task: JoinSet<()>,
}

impl Serving {
    pub(crate) async fn start(router: Router, mischief: &Arc<Mischief>) -> Self {
        Self::start_at(ANY_PORT, router, mischief).await
    }

    pub(crate) async fn start_at(address: &str, router: Router, mischief: &Arc<Mischief>) -> Self {
        let listener = TcpListener::bind(address).await.expect("the address is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let router = router.layer(from_fn_with_state(Arc::clone(mischief), misbehave));
        let mut task = JoinSet::new();
        task.spawn(async move {
            axum::serve(listener, router)
                .await
                .expect("accepting on the loopback interface does not fail");
        });
        Self {
            url: format!("http://{address}/"),
            _task: task,
        }
    }
}
