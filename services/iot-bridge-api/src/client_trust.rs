//! Whose client certificates the TLS listener believes: those of the authority's pinned roots.

use std::sync::Arc;
use std::time::Duration;

use common::chassis::problem::error_chain;
use common::chassis::server::ClientAuthorities;
use iot_bridge_api::app::Authority;
use iot_bridge_api::ports::UpstreamError;
use tokio_util::sync::CancellationToken;

/// How often the roots are asked for until they are known.
const RETRY: Duration = Duration::from_secs(2);
/// How often afterwards; they change by a setting, and at an authority of our own.
const REFRESH: Duration = Duration::from_mins(10);

/// Keeps the listener's authorities those of the bridge until `stop`. An authority that is away at the start is no
/// reason not to serve: until it is known, nobody with a certificate is let in.
pub(crate) async fn keep(authority: Arc<Authority>, clients: ClientAuthorities, stop: CancellationToken) {
    loop {
        let known = refresh(&authority, &clients).await;
        let pause = tokio::time::sleep(if known { REFRESH } else { RETRY });
        if stop.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}

async fn refresh(authority: &Authority, clients: &ClientAuthorities) -> bool {
    let known = async { Ok::<_, UpstreamError>((authority.roots().await?, authority.intermediates().await?)) };
    let (roots, intermediates) = match known.await {
        Ok(known) => known,
        Err(error) => {
            tracing::warn!(
                error = error_chain(&error),
                "The roots of devices' certificates are not known yet"
            );
            return false;
        }
    };
    match clients.set(&roots, &intermediates) {
        Ok(()) => true,
        Err(error) => {
            tracing::error!(
                error = error_chain(&error),
                "The roots of devices' certificates cannot be used"
            );
            false
        }
    }
}
