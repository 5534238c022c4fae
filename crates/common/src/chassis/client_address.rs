//! Who called: the socket's address, or what a trusted proxy says about it.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use axum::extract::{ConnectInfo, FromRequestParts};
use http::request::Parts;
use http::{Extensions, HeaderMap};
use ipnet::IpNet;

/// The address of the client, as far as we can know it; limits and log lines go by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

impl<S: Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        let known = parts.extensions.get::<Self>().copied();
        Ok(known.unwrap_or_else(|| Self(peer_address(&parts.extensions))))
    }
}

/// The networks of the proxies whose `X-Forwarded-For` is believed; empty by default.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Trusts these networks.
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self(networks.into_iter().collect())
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the client of a request: the peer, unless it is a trusted proxy; then the rightmost
    /// address of `X-Forwarded-For` that is none. What is left of it can be invented by anyone.
    pub fn client_address(&self, extensions: &Extensions, headers: &HeaderMap) -> ClientAddress {
        let mut client = peer_address(extensions);
        let forwarded: Vec<&str> = headers
            .get_all("x-forwarded-for")
            .iter()
            .flat_map(|line| line.to_str().unwrap_or("?").split(','))
            .collect();
        let mut rightmost_first = forwarded.into_iter().rev();
        while self.trusts(client) {
            let Some(next) = rightmost_first.next().and_then(parse_address) else {
                break;
            };
            client = next;
        }
        ClientAddress(client)
    }

    /// Whether this is one of them.
    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl FromStr for TrustedProxies {
    type Err = InvalidTrustedProxies;

    /// Reads networks and single addresses, separated by commas; nothing is nobody.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let networks = entries.map(|entry| {
            let network = IpNet::from_str(entry).or_else(|_| IpAddr::from_str(entry).map(IpNet::from));
            network.map_err(|_| InvalidTrustedProxies)
        });
        networks.collect::<Result<_, _>>().map(Self)
    }
}

/// The text is not a list of networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("trusted proxies are networks such as `10.0.0.0/8`, separated by commas")]
pub struct InvalidTrustedProxies;

/// The other end of the socket; `0.0.0.0` where there is no socket, as in a test without a server.
fn peer_address(extensions: &Extensions) -> IpAddr {
    let peer = extensions.get::<ConnectInfo<SocketAddr>>();
    peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip().to_canonical())
}

/// Proxies write an address with or without its port.
fn parse_address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let address = IpAddr::from_str(text)
        .ok()
        .or_else(|| SocketAddr::from_str(text).ok().map(|socket| socket.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_trust_the_header_is_ignored() {
        assert_eq!(client(&[], "203.0.113.9", &["198.51.100.1"]), "203.0.113.9");
        assert_eq!(client(&["10.0.0.0/8"], "203.0.113.9", &["198.51.100.1"]), "203.0.113.9");
    }

    #[test]
    fn a_trusted_proxy_is_believed_up_to_the_first_address_that_is_not_trusted() {
        let trusted = &["10.0.0.0/8"];

        assert_eq!(client(trusted, "10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(
            client(trusted, "10.0.0.1", &["1.2.3.4, 198.51.100.1, 10.0.0.2"]),
            "198.51.100.1"
        );
        assert_eq!(
            client(trusted, "10.0.0.1", &["1.2.3.4", "198.51.100.1:4711"]),
            "198.51.100.1"
        );
        assert_eq!(client(trusted, "::ffff:10.0.0.1", &["2001:db8::1"]), "2001:db8::1");
    }

    #[test]
    fn nonsense_ends_the_search_at_the_last_known_address() {
        let trusted = &["10.0.0.0/8"];

        assert_eq!(client(trusted, "10.0.0.1", &["198.51.100.1, unknown"]), "10.0.0.1");
        assert_eq!(client(trusted, "10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn a_list_may_be_empty_and_name_networks_and_addresses() {
        assert!("".parse::<TrustedProxies>().unwrap().0.is_empty());
        assert_eq!("10.0.0.0/8, ::1".parse::<TrustedProxies>().unwrap().0.len(), 2);
        assert_eq!(
            "10.0.0.0/8, proxy".parse::<TrustedProxies>().unwrap_err(),
            InvalidTrustedProxies
        );
    }

    fn client(trusted: &[&str], peer: &str, forwarded: &[&str]) -> String {
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 4711)));
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        let trusted = TrustedProxies::new(trusted.iter().map(|network| network.parse().unwrap()));
        trusted.client_address(&extensions, &headers).0.to_string()
    }
}
