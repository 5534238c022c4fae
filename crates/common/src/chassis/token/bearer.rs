use http::HeaderMap;
use http::header::AUTHORIZATION;

/// The `Authorization` header cannot be read as one credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// There are two; which one counts is for the sender to say: 400 `ambiguous-credentials`.
    #[error("the request carries more than one credential")]
    Ambiguous,
    /// There is one, and it has no token of RFC 6750's grammar: 401.
    #[error("the Authorization header is malformed")]
    Malformed,
}

/// Finds the token of `Authorization: Bearer <token>` (RFC 6750 §2.1).
///
/// Without such a header, or with one of another scheme, there is no token. The scheme's name is
/// case-insensitive (RFC 9110 §11.1), exactly one space follows it.
pub fn bearer(headers: &HeaderMap) -> Result<Option<&str>, CredentialError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(CredentialError::Ambiguous);
    }
    let text = value.to_str().map_err(|_| CredentialError::Malformed)?;
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Ok(None);
    }
    if is_b64token(token) {
        Ok(Some(token))
    } else {
        Err(CredentialError::Malformed)
    }
}

/// Whether the text is RFC 6750's `b64token`.
fn is_b64token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    !body.is_empty() && body.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_bearer_token_is_found_whatever_the_case_of_its_scheme() {
        for text in [
            "Bearer abc.def-_~+/123==",
            "bearer abc.def-_~+/123==",
            "BEARER abc.def-_~+/123==",
        ] {
            assert_eq!(bearer(&headers(&[text])), Ok(Some("abc.def-_~+/123==")), "{text}");
        }
    }

    #[test]
    fn without_a_bearer_header_there_is_no_token() {
        assert_eq!(bearer(&HeaderMap::new()), Ok(None));
        assert_eq!(bearer(&headers(&["Basic dTpw"])), Ok(None));
    }

    #[test]
    fn a_malformed_bearer_header_is_refused() {
        for text in [
            "Bearer",
            "Bearer ",
            "Bearer  abc",
            "Bearer abc def",
            "Bearer abc ",
            "Bearer a=b",
            "Bearer a,b",
        ] {
            assert_eq!(bearer(&headers(&[text])), Err(CredentialError::Malformed), "{text:?}");
        }
        let mut not_ascii = HeaderMap::new();
        not_ascii.insert(AUTHORIZATION, HeaderValue::from_bytes(b"Bearer \xff").unwrap());
        assert_eq!(bearer(&not_ascii), Err(CredentialError::Malformed));
    }

    #[test]
    fn two_headers_are_ambiguous_even_when_they_agree() {
        assert_eq!(
            bearer(&headers(&["Bearer a", "Bearer a"])),
            Err(CredentialError::Ambiguous)
        );
        assert_eq!(
            bearer(&headers(&["Bearer a", "Basic dTpw"])),
            Err(CredentialError::Ambiguous)
        );
    }

    fn headers(values: &[&'static str]) -> HeaderMap {
        values
            .iter()
            .map(|value| (AUTHORIZATION, HeaderValue::from_static(value)))
            .collect()
    }
}
