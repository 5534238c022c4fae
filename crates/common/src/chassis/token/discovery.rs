//! Where the issuer's endpoints are.

use serde_json::{Map, Value};
use url::Url;

use crate::chassis::json;

/// Where an endpoint of the issuer is.
#[derive(Debug, Clone)]
pub enum EndpointLocation {
    /// At this address; it may be an internal one that has nothing to do with the issuer's name.
    Url(Url),
    /// Where the issuer's own discovery document says (OpenID Connect Discovery §4), asked once.
    Discovery {
        /// The issuer's name, to which the document has to agree byte by byte.
        issuer: String,
    },
}

/// The issuer's discovery document, before it was read.
pub(super) struct Discovery<'a> {
    issuer: &'a str,
    address: Url,
}

/// Why the document does not say where an endpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotDiscovered {
    #[error("its name is no address")]
    Issuer,
    #[error("its discovery document does not name the endpoint")]
    Document,
    #[error("its discovery document is about another issuer")]
    AnotherIssuer,
}

impl<'a> Discovery<'a> {
    pub(super) fn of(issuer: &'a str) -> Result<Self, NotDiscovered> {
        let address = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let address = address.parse().map_err(|_| NotDiscovered::Issuer)?;
        Ok(Self { issuer, address })
    }

    pub(super) fn address(&self) -> Url {
        self.address.clone()
    }

    /// Reads where an endpoint is, whose name in the document is given.
    pub(super) fn endpoint(&self, document: &[u8], name: &str) -> Result<Url, NotDiscovered> {
        let document: Map<String, Value> = json::parse(document).map_err(|_| NotDiscovered::Document)?;
        let text = |name: &str| document.get(name).and_then(Value::as_str);
        let endpoint = text(name).and_then(|text| text.parse().ok());
        let endpoint: Url = endpoint.ok_or(NotDiscovered::Document)?;
        // What an https issuer has to say, and what it is told, does not travel in the clear.
        if text("issuer") != Some(self.issuer) || endpoint.scheme() != self.address.scheme() {
            return Err(NotDiscovered::AnotherIssuer);
        }
        Ok(endpoint)
    }
}
