//! The query of a request, read strictly.

use std::collections::HashSet;

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::json::field_path;
use super::problem::Problem;

/// A query of the form `T`.
///
/// 400 is one that has a name twice, or a parameter that `T` does not know (it says `deny_unknown_fields`) or cannot
/// read; `field` names that. No answer repeats a value.
#[derive(Debug, Clone, Copy)]
pub struct StrictQuery<T>(pub T);

impl<S, T> FromRequestParts<S> for StrictQuery<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        parse(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

fn parse<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    let pairs = url::form_urlencoded::parse(query.as_bytes());
    let mut names = HashSet::new();
    if !pairs.into_iter().all(|(name, _value)| names.insert(name)) {
        return Err(Problem::ambiguous_parameter());
    }
    let query = serde_urlencoded::Deserializer::new(pairs);
    serde_path_to_error::deserialize(query).map_err(|error| {
        Problem::bad_request()
            .with_detail("A parameter of the query is unknown, missing or of the wrong kind.")
            .with_field(field_path(error.path()))
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wish {
        limit: Option<u16>,
        text: Option<String>,
    }

    #[test]
    fn a_query_is_read() {
        let wish: Wish = parse("limit=7&text=a%20b").unwrap();

        assert_eq!((wish.limit, wish.text.as_deref()), (Some(7), Some("a b")));
    }

    #[test]
    fn a_wrong_parameter_is_named_and_its_value_is_not_repeated() {
        for (query, field) in [
            ("limit=many", "limit"),
            ("limit=99999", "limit"),
            ("colour=secret", "colour"),
        ] {
            let document = parse::<Wish>(query).unwrap_err().document(None);

            assert_eq!(
                (&document["status"], &document["field"]),
                (&400.into(), &field.into()),
                "{query}"
            );
            assert!(!document.to_string().contains("secret"), "{document}");
        }
    }

    #[test]
    fn a_parameter_that_is_there_twice_is_ambiguous() {
        assert_eq!(
            parse::<Wish>("text=a&limit=1&te%78t=b").unwrap_err().slug(),
            "ambiguous-parameter"
        );
    }

    #[test]
    fn a_name_that_is_none_of_ours_is_not_repeated() {
        let document = parse::<Wish>("%3Cscript%3E=1").unwrap_err().document(None);

        assert!(document.get("field").is_none(), "{document}");
    }
}
