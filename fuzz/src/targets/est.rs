//! The body of an EST request: PKCS #10 in base64, for the device that it names.

use std::time::Duration;

use iot_bridge_api::app::csr;

/// What reading a body and its request may take.
const LIMIT: Duration = Duration::from_millis(50);

/// Tries the bytes as a body; what is accepted is accepted for the device that the request names.
pub fn check(bytes: &[u8]) {
    let Ok((id, pem)) = crate::within(LIMIT, || csr::from_base64(bytes)) else {
        return;
    };
    if let Ok(accepted) = crate::within(LIMIT, || csr::accept(&id, &pem)) {
        assert_eq!(csr::requested_id(&accepted.der), Ok(id), "one request, two devices");
    }
}
