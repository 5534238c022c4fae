//! Places where a test cuts the power: between every two steps of an enrollment. Release builds have none of them.

/// A place between two steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[clap(rename_all = "UPPER")]
pub enum KillPoint {
    /// Nothing is on record.
    K0,
    /// The intent is on record.
    K1,
    /// The one-time token is made, and not sent.
    K2,
    /// The authority has signed, its answer is not read.
    K3,
    /// The certificate is here, and not checked.
    K4,
    /// The certificate is on record, and the device is not on the hub.
    K5,
    /// The device is on the hub, and nobody has looked again whether it belongs there.
    K6,
    /// The device is in service, and not told.
    K7,
    /// The update server has a target, and nothing is said of it yet.
    K9,
}

#[cfg(debug_assertions)]
mod chosen {
    use std::sync::OnceLock;

    use super::KillPoint;

    static CHOSEN: OnceLock<KillPoint> = OnceLock::new();

    /// Chooses where this process stops; the first choice stays.
    pub fn choose(point: KillPoint) {
        CHOSEN.get_or_init(|| point);
    }

    /// Stops here for ever, if this is the chosen place: whoever chose it kills the process now.
    pub(crate) async fn reach(point: KillPoint) {
        if CHOSEN.get() == Some(&point) {
            tracing::warn!("Stopped at {point:?}");
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(debug_assertions)]
pub use chosen::choose;
#[cfg(debug_assertions)]
pub(crate) use chosen::reach;

#[cfg(not(debug_assertions))]
pub(crate) async fn reach(_point: KillPoint) {}
