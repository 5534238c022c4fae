use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::failure::Failure;

/// Looks until something is so.
pub(super) async fn until(
    what: &str,
    patience: Duration,
    mut is_so: impl AsyncFnMut() -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let mut looks = interval(Duration::from_millis(250));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let look = async {
        while !is_so().await? {
            looks.tick().await;
        }
        Ok(())
    };
    let elapsed = |_| Failure::new(format_args!("waited too long for {what}"));
    timeout(patience, look).await.map_err(elapsed)?
}
