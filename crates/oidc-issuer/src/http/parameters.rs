use std::collections::HashMap;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use url::form_urlencoded;

/// The parameters of a query or of a form, each at most once and none empty.
///
/// RFC 6749 §3.1: a parameter must not be sent twice, and one without a value counts as not sent.
#[derive(Debug)]
pub(super) struct Parameters(HashMap<String, String>);

/// A parameter was sent more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Repeated;

impl Parameters {
    fn parse(text: &[u8]) -> Result<Self, Repeated> {
        let mut parameters = HashMap::new();
        for (name, value) in form_urlencoded::parse(text) {
            if parameters.insert(name.into_owned(), value.into_owned()).is_some() {
                return Err(Repeated);
            }
        }
        parameters.retain(|_, value| !value.is_empty());
        Ok(Self(parameters))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Whether the parameter has exactly this value.
    pub(super) fn is(&self, name: &str, value: &str) -> bool {
        self.get(name) == Some(value)
    }
}

/// The parameters of the address.
#[derive(Debug)]
pub(super) struct Query(pub(super) Result<Parameters, Repeated>);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(Parameters::parse(
            parts.uri.query().unwrap_or_default().as_bytes(),
        )))
    }
}

/// The parameters of a form that was sent as `application/x-www-form-urlencoded`.
#[derive(Debug)]
pub(super) struct Form(pub(super) Result<Parameters, Repeated>);

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = StatusCode;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        if !is_form(request.headers()) {
            return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        let body = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| rejection.status())?;
        Ok(Self(Parameters::parse(&body)))
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let media_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok()?.split(';').next());
    media_type.is_some_and(|text| text.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_empty_ones_count_as_not_sent() {
        let parameters = Parameters::parse(b"a=1+2%20%C3%A4&b=&c").unwrap();

        assert_eq!(parameters.get("a"), Some("1 2 ä"));
        assert_eq!((parameters.get("b"), parameters.get("c")), (None, None));
    }

    #[test]
    fn a_repeated_parameter_is_refused() {
        assert_eq!(Parameters::parse(b"a=1&a=1").err(), Some(Repeated));
        assert_eq!(Parameters::parse(b"a=&%61=1").err(), Some(Repeated));
    }
}
