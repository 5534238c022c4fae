//! Certificate signing requests, as they come with an enrollment and a renewal.

use std::time::Duration;

use common::domain::DeviceId;
use iot_bridge_api::app::csr;

/// What the rules may take for one request.
const LIMIT: Duration = Duration::from_millis(50);

/// Tries the bytes as the DER inside a PEM block, for the device that they name, and as the text of a request.
pub fn check(bytes: &[u8]) {
    let someone = DeviceId::parse("pump-7").expect("a good id");
    let named = within_limit(|| csr::requested_id(bytes));
    let pem = csr::to_pem(bytes);
    let accepted = within_limit(|| csr::accept(named.as_ref().unwrap_or(&someone), &pem));
    if let Ok(accepted) = accepted {
        assert!(named.is_ok(), "accepted, and names nobody");
        assert_eq!(accepted.der, bytes, "what goes on is what was checked");
        assert!(
            csr::accept(&DeviceId::parse("another").expect("a good id"), &pem).is_err(),
            "accepted for another device"
        );
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(accepted) = within_limit(|| csr::accept(&someone, text))
    {
        assert!(csr::accept(&someone, &csr::to_pem(&accepted.der)).is_ok());
    }
}

fn within_limit<T>(step: impl Fn() -> T) -> T {
    crate::within(LIMIT, step)
}
