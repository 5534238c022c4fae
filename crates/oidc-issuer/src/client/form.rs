use reqwest::Response;
use reqwest::header::{HeaderMap, SET_COOKIE};
use url::Url;

use super::LoginError;

/// A login form as a browser would hold it: where it is sent to, and what goes along.
#[derive(Debug)]
pub(super) struct LoginForm {
    /// The address that the form names; its page's own when it names none (as this issuer's form).
    pub(super) action: Url,
    /// The page's cookies as a `Cookie` header; Keycloak finds the login by them.
    pub(super) cookies: String,
}

impl LoginForm {
    /// Reads the form off its page.
    pub(super) async fn read(page: &Url, answer: Response) -> Result<Self, LoginError> {
        let cookies = cookies(answer.headers());
        let html = answer.text().await?;
        let tag = form_tag(&html).ok_or(LoginError::Unexpected("there is no login form"))?;
        let action = match attribute(tag, "action") {
            Some(action) => page.join(&action.replace("&amp;", "&")).ok(),
            None => Some(page.clone()),
        };
        let action = action.filter(|action| action.origin() == page.origin());
        let action = action.ok_or(LoginError::Unexpected("its login form goes elsewhere"))?;
        Ok(Self { action, cookies })
    }
}

/// Finds the attributes of the first form that is posted, a space before each.
fn form_tag(html: &str) -> Option<&str> {
    html.split("<form")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once('>')?.0))
        .find(|tag| attribute(tag, "method").is_some_and(|method| method.eq_ignore_ascii_case("post")))
}

fn attribute<'tag>(tag: &'tag str, name: &str) -> Option<&'tag str> {
    let (_, value) = tag.split_once(&format!(" {name}=\""))?;
    Some(value.split_once('"')?.0)
}

fn cookies(headers: &HeaderMap) -> String {
    let set = headers
        .get_all(SET_COOKIE)
        .iter()
        .filter_map(|cookie| cookie.to_str().ok());
    let pairs: Vec<_> = set.filter_map(|cookie| cookie.split(';').next()).collect();
    pairs.join("; ")
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn the_form_that_is_posted_is_found_among_others() {
        let html =
            r#"<form id="s" method="get" action="/search"><form class="x" action="/in?a=1&amp;b=2" method="POST">"#;

        let tag = form_tag(html).unwrap();

        assert_eq!(attribute(tag, "action"), Some("/in?a=1&amp;b=2"));
        assert_eq!(attribute(tag, "class"), Some("x"));
        assert_eq!(attribute(tag, "id"), None);
        assert_eq!(form_tag("<p>Sorry</p>"), None);
    }

    #[test]
    fn an_attribute_is_not_found_inside_the_name_of_another() {
        assert_eq!(attribute(r#" data-action="/evil" action="/in""#, "action"), Some("/in"));
    }

    #[test]
    fn cookies_are_sent_back_without_their_attributes() {
        let mut headers = HeaderMap::new();
        for cookie in ["a=1;Path=/realms/iot/;Secure", "b=2"] {
            headers.append(SET_COOKIE, HeaderValue::from_static(cookie));
        }

        assert_eq!(cookies(&headers), "a=1; b=2");
    }
}
