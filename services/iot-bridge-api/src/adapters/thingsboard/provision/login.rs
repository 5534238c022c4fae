//! How people log in: with our issuer, as customers of our tenant.

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use url::Url;

use super::files::fill_in;
use super::{Session, find, number, post};
use crate::ports::UpstreamError;

/// An OpenID Connect client of a Keycloak realm.
#[derive(Debug)]
pub struct LoginOrder {
    /// The realm as browsers see it.
    pub issuer: Url,
    /// The realm as ThingsBoard sees it.
    pub internal_issuer: Url,
    /// The client's name.
    pub client_id: String,
    /// The client's secret.
    pub client_secret: SecretString,
    /// ThingsBoard's `host[:port]` as browsers see it.
    pub domain: String,
    /// The title of the tenant that people come to.
    pub tenant: String,
}

/// Makes the client and the domain that uses it, or brings them up to date. Whoever comes this way is a customer's
/// user: a person of the realm is no administrator of the tenant by that alone.
pub(super) async fn ensure(
    administrator: &Session,
    order: &LoginOrder,
    mut client: Value,
) -> Result<String, UpstreamError> {
    let values = [
        ("LOGIN_ISSUER", order.issuer.as_str().trim_end_matches('/')),
        (
            "LOGIN_INTERNAL_ISSUER",
            order.internal_issuer.as_str().trim_end_matches('/'),
        ),
        ("LOGIN_CLIENT", &order.client_id),
        ("TENANT", &order.tenant),
    ];
    fill_in(&mut client, &values);
    client["clientSecret"] = json!(order.client_secret.expose_secret());
    let title = client["title"].as_str().unwrap_or_default().to_owned();
    if let Some(id) = find(administrator, &["oauth2", "client", "infos"], &title).await? {
        client["id"] = id;
    }
    let saved: Value = post(administrator, &["oauth2", "client"], &[], &client).await?;
    let client = number(&saved["id"])?;

    let mut domain = json!({ "name": order.domain, "oauth2Enabled": true, "propagateToEdge": false });
    if let Some(id) = find(administrator, &["domain", "infos"], &order.domain).await? {
        domain["id"] = id;
    }
    let query = [("oauth2ClientIds", client.as_str())];
    let _saved: Value = post(administrator, &["domain"], &query, &domain).await?;
    Ok(format!("The login at `{}`", order.domain))
}
