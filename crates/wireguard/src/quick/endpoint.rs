use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// The host and UDP port of a hub; safe to be written into a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubEndpoint {
    host: String,
    port: u16,
}

/// The text is not a host and a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an endpoint (a DNS name, an IPv4 address or an IPv6 address in brackets, ':' and a port)")]
pub struct InvalidHubEndpoint;

impl HubEndpoint {
    /// Returns the host: a DNS name, an IPv4 address, or an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the UDP port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for HubEndpoint {
    type Err = InvalidHubEndpoint;

    fn from_str(text: &str) -> Result<Self, InvalidHubEndpoint> {
        let (host, port) = text.rsplit_once(':').ok_or(InvalidHubEndpoint)?;
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port
            .parse()
            .ok()
            .filter(|port| digits && *port > 0)
            .ok_or(InvalidHubEndpoint)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let valid = match bracketed {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => is_dns_name(host),
        };
        if valid {
            Ok(Self {
                host: host.to_owned(),
                port,
            })
        } else {
            Err(InvalidHubEndpoint)
        }
    }
}

impl fmt::Display for HubEndpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.host, self.port)
    }
}

/// Whether it is a name by RFC 1123 §2.1; IPv4 addresses are among them.
fn is_dns_name(host: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    host.len() <= 253 && host.split('.').all(is_label)
}
