//! Where pages come from (RFC 6454).

use std::fmt;
use std::str::FromStr;

use url::{Origin, Url};

/// The origin of a page, written as browsers write it: scheme, host, and the port when it is not the
/// scheme's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebOrigin {
    text: String,
    scheme_bytes: usize,
}

/// The text is not an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an origin is `http://` or `https://`, a host, and a port if it is not the scheme's own; nothing behind it")]
pub struct InvalidOrigin;

impl WebOrigin {
    /// Returns the origin of an address; none when it has none or carries a password.
    pub fn of(url: &Url) -> Option<Self> {
        let is_web = matches!(url.scheme(), "http" | "https");
        let has_user = !url.username().is_empty() || url.password().is_some();
        match url.origin() {
            Origin::Tuple(scheme, _, _) if is_web && !has_user => Some(Self {
                text: url.origin().ascii_serialization(),
                scheme_bytes: scheme.len(),
            }),
            Origin::Tuple(..) | Origin::Opaque(_) => None,
        }
    }

    /// Whether an `Origin` header names it. Browsers write it in one way only, so the bytes are compared.
    pub fn is(&self, header: &str) -> bool {
        self.text == header
    }

    /// Returns host and port as `Host` has them.
    pub fn authority(&self) -> &str {
        self.text.get(self.scheme_bytes + "://".len()..).unwrap_or_default()
    }
}

impl FromStr for WebOrigin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let url = Url::parse(text).map_err(|_malformed| InvalidOrigin)?;
        let origin = Self::of(&url).ok_or(InvalidOrigin)?;
        if text.trim_end_matches('/').eq_ignore_ascii_case(&origin.text) {
            Ok(origin)
        } else {
            Err(InvalidOrigin)
        }
    }
}

/// A list of origins, separated by commas; nothing is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebOrigins(pub Vec<WebOrigin>);

impl FromStr for WebOrigins {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        entries(text)
            .map(WebOrigin::from_str)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// The entries of a list that is separated by commas.
pub(crate) fn entries(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

impl fmt::Display for WebOrigin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_origin_is_the_origin() {
        let origin: WebOrigin = "https://app.example.com".parse().unwrap();

        assert!(origin.is("https://app.example.com"));
        assert_eq!(origin.authority(), "app.example.com");
        for other in [
            "https://app.example.com.evil.tld",
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://APP.example.com",
            "https://app.example.com.",
            "https://user@app.example.com",
            "https://app.example.com/",
            "null",
            "",
        ] {
            assert!(!origin.is(other), "{other}");
        }
    }

    #[test]
    fn a_list_may_be_empty() {
        assert_eq!("".parse::<WebOrigins>().unwrap().0, []);
        assert_eq!("http://a, http://b:81".parse::<WebOrigins>().unwrap().0.len(), 2);
        assert_eq!("http://a,b".parse::<WebOrigins>(), Err(InvalidOrigin));
    }

    #[test]
    fn what_is_more_or_less_than_an_origin_is_refused() {
        for text in [
            "",
            "null",
            "*",
            "app.example.com",
            "https://app.example.com/path",
            "ftp://a",
            "https://a:b@c",
        ] {
            assert_eq!(text.parse::<WebOrigin>(), Err(InvalidOrigin), "{text}");
        }
        assert_eq!(
            "http://127.0.0.1:8888".parse::<WebOrigin>().unwrap().authority(),
            "127.0.0.1:8888"
        );
    }
}
