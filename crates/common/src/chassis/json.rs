//! JSON bodies, read strictly: what two parsers could read differently is refused.

use std::collections::HashSet;
use std::fmt;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use axum::response::IntoResponse as _;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde::de::{DeserializeOwned, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

use super::problem::Problem;

/// Longest field path that an answer repeats.
const MAX_FIELD_PATH: usize = 64;

/// A body that is one JSON object (RFC 8259) of the form `T`.
///
/// Refused are another content type (415), what is not JSON, has a name twice at any depth, or goes on
/// after its end (400), and fields that `T` does not know or read (422; `T` says `deny_unknown_fields`).
/// No answer repeats a value.
#[derive(Debug, Clone, Copy)]
pub struct StrictJson<T>(pub T);

impl<S, T> FromRequest<S> for StrictJson<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::unsupported_media_type().with_detail("The body must be `application/json`."));
        }
        let body = Bytes::from_request(request, state).await.map_err(unreadable_body)?;
        parse(&body).map(Self)
    }
}

/// Reads one JSON object as strictly as [`StrictJson`] does.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let is_object = body.trim_ascii_start().first() == Some(&b'{');
    if !is_object || serde_json::from_slice::<UniqueNames>(body).is_err() {
        return Err(Problem::malformed_json());
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        if error.inner().classify() == Category::Data {
            Problem::invalid_field(field_path(error.path()))
        } else {
            Problem::malformed_json()
        }
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(CONTENT_TYPE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return false;
    };
    let media_type = line.to_str().ok().and_then(|line| line.split(';').next());
    media_type.is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case("application/json"))
}

fn unreadable_body(rejection: BytesRejection) -> Problem {
    match rejection.into_response().status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::payload_too_large(),
        _ => Problem::bad_request().with_detail("The body ended early."),
    }
}

/// A path is repeated to the caller only when it looks like the name of one of our fields.
pub(super) fn field_path(path: &serde_path_to_error::Path) -> Option<String> {
    let path = path.to_string();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'[' | b']');
    (path != "." && path.len() <= MAX_FIELD_PATH && path.bytes().all(plain)).then_some(path)
}

/// Any JSON value whose objects have each name once; what it holds is thrown away.
struct UniqueNames;

impl<'de> serde::Deserialize<'de> for UniqueNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueNamesVisitor)
    }
}

struct UniqueNamesVisitor;

impl<'de> Visitor<'de> for UniqueNamesVisitor {
    type Value = UniqueNames;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value with unique names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UniqueNames, A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if !names.insert(name) {
                return Err(A::Error::custom("a name is there twice"));
            }
            map.next_value::<UniqueNames>()?;
        }
        Ok(UniqueNames)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<UniqueNames, A::Error> {
        while items.next_element::<UniqueNames>()?.is_some() {}
        Ok(UniqueNames)
    }

    fn visit_bool<E>(self, _value: bool) -> Result<UniqueNames, E> {
        Ok(UniqueNames)
    }

    fn visit_i64<E>(self, _value: i64) -> Result<UniqueNames, E> {
        Ok(UniqueNames)
    }

    fn visit_u64<E>(self, _value: u64) -> Result<UniqueNames, E> {
        Ok(UniqueNames)
    }

    fn visit_f64<E>(self, _value: f64) -> Result<UniqueNames, E> {
        Ok(UniqueNames)
    }

    fn visit_str<E>(self, _value: &str) -> Result<UniqueNames, E> {
        Ok(UniqueNames)
    }

    fn visit_unit<E>(self) -> Result<UniqueNames, E> {
        Ok(UniqueNames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Order {
        csr: String,
        #[serde(default)]
        nested: Option<Nested>,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nested {
        count: u32,
    }

    #[test]
    fn one_object_in_our_form_is_read() {
        let order: Order = parse(br#" {"csr": "x", "nested": {"count": 3}} "#).unwrap();

        assert_eq!((order.csr.as_str(), order.nested.unwrap().count), ("x", 3));
    }

    #[test]
    fn what_two_parsers_could_read_differently_is_malformed() {
        let deep = format!("{{\"csr\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        let bad: [&[u8]; 15] = [
            b"",
            b"null",
            b"\"x\"",
            br#"["x"]"#,
            br#"{"csr":"x""#,
            br#"{"csr":"x"} x"#,
            br#"{"csr":"x"}{"csr":"y"}"#,
            b"\xef\xbb\xbf{\"csr\":\"x\"}",
            br#"{"csr":NaN}"#,
            br#"{"csr":"x","csr":"y"}"#,
            br#"{"csr":"x","nested":{"count":1,"count":2}}"#,
            br#"{"csr":"x","nested":{"count":1},"\u006eested":null}"#,
            br#"{"csr":"\ud800"}"#,
            b"{\"csr\":\"\xc0\xaf\"}",
            deep.as_bytes(),
        ];
        for body in bad {
            let problem = parse::<Order>(body).unwrap_err();
            let start = String::from_utf8_lossy(body).chars().take(60).collect::<String>();
            assert_eq!(problem.slug(), "malformed-json", "{start}");
        }
    }

    #[test]
    fn a_field_that_is_wrong_is_named_and_its_value_is_not() {
        let cases: [(&str, Option<&str>); 4] = [
            (r#"{"csr":7}"#, Some("csr")),
            (r#"{"csr":"x","nested":{"count":"hunter2"}}"#, Some("nested.count")),
            (r#"{"csr":"x","wg_private_key":"hunter2"}"#, Some("wg_private_key")),
            (r#"{"csr":"x","<script>":"hunter2"}"#, None),
        ];
        for (body, field) in cases {
            let problem = parse::<Order>(body.as_bytes()).unwrap_err();
            let document = problem.document(None);
            assert_eq!(problem.slug(), "invalid-field", "{body}");
            assert_eq!(document.get("field").and_then(|field| field.as_str()), field, "{body}");
            assert!(!document.to_string().contains("hunter2"), "{document}");
        }
    }

    #[test]
    fn a_missing_field_is_ours_to_name() {
        let problem = parse::<Order>(b"{}").unwrap_err();

        assert_eq!(problem.slug(), "invalid-field");
    }
}
