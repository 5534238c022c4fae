//! The roots of the bridge's authority: several while one takes the place of another. The bridge's own certificate may
//! then come from any of them, whichever the device's came from.

use common::chassis::http_client;
use common::domain::Digest;
use reqwest::{Client, StatusCode};
use url::Url;

use super::{EnrollError, MAX_BODY_BYTES, route};
use crate::state::{StateDirectory, StateError};
use crate::x509;

/// Those that the bridge named when it last proved itself, PEM.
const ROOTS_FILE: &str = "roots.pem";

/// Asks the bridge for them; none when it does not know them now. They are as good as what the connection proves.
pub(crate) async fn fetch(url: &Url, client: &Client) -> Result<Vec<Vec<u8>>, EnrollError> {
    let request = client.get(route(url, &["ca", "roots"])?);
    let response = request.send().await.map_err(EnrollError::unavailable)?;
    if response.status() != StatusCode::OK {
        return Ok(Vec::new());
    }
    let body = http_client::read_limited(response, MAX_BODY_BYTES).await;
    let body = body.map_err(EnrollError::unavailable)?;
    let roots = str::from_utf8(&body).ok().and_then(x509::certificates);
    Ok(roots.unwrap_or_default())
}

/// Keeps them in the place of those that were known. Blocks on the disk.
pub(crate) fn keep(state: &StateDirectory, roots: &[Vec<u8>]) -> Result<(), StateError> {
    let pem: String = roots.iter().map(|root| x509::to_pem(root)).collect();
    state.write_if_other(ROOTS_FILE, &pem)
}

/// Adds the roots that are known to a text of certificates, but for those that stand in it. Blocks on the disk.
pub(super) fn with_known(state: &StateDirectory, certificates: &str) -> Result<String, StateError> {
    let read = |pem: &str| x509::certificates(pem).unwrap_or_default();
    // Damaged, they are asked for again.
    let known = state.read(ROOTS_FILE)?.map(|pem| read(&pem)).unwrap_or_default();
    let present: Vec<Digest> = read(certificates).iter().map(|der| Digest::of(der)).collect();
    let others = known.iter().filter(|root| !present.contains(&Digest::of(root)));
    Ok(others.fold(certificates.to_owned(), |text, root| text + &x509::to_pem(root)))
}
