//! How people log in: with our issuer, as customers of our tenant.

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use url::Url;

use super::{Session, find, number, post};
use crate::ports::UpstreamError;

/// What it is called there, and on the button.
const TITLE: &str = "iot-bridge";

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
pub(super) async fn ensure(administrator: &Session, order: &LoginOrder) -> Result<String, UpstreamError> {
    let mut client = client(order);
    if let Some(id) = find(administrator, &["oauth2", "client", "infos"], TITLE).await? {
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

fn client(order: &LoginOrder) -> Value {
    let endpoint = |realm: &Url, name: &str| {
        let realm = realm.as_str().trim_end_matches('/');
        format!("{realm}/protocol/openid-connect/{name}")
    };
    json!({
        "title": TITLE, "clientId": order.client_id, "clientSecret": order.client_secret.expose_secret(),
        "authorizationUri": endpoint(&order.issuer, "auth"),
        "accessTokenUri": endpoint(&order.internal_issuer, "token"),
        "userInfoUri": endpoint(&order.internal_issuer, "userinfo"),
        "jwkSetUri": endpoint(&order.internal_issuer, "certs"),
        "scope": ["openid", "profile", "email"], "userNameAttributeName": "email",
        "clientAuthenticationMethod": "POST", "loginButtonLabel": TITLE, "platforms": ["WEB"],
        "additionalInfo": { "providerName": "Keycloak" },
        "mapperConfig": {
            "type": "BASIC", "allowUserCreation": true, "activateUser": true,
            "basic": {
                "emailAttributeKey": "email", "firstNameAttributeKey": "given_name",
                "lastNameAttributeKey": "family_name", "tenantNameStrategy": "CUSTOM",
                "tenantNamePattern": order.tenant, "customerNamePattern": "Operators", "alwaysFullScreen": false,
            },
        },
    })
}
