use reqwest::header::LOCATION;
use reqwest::{Client, Method, Response};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;

use super::Keycloak;
use crate::failure::{Failure, ensure};

/// What an administrator does to the realm, by Keycloak's Admin REST API.
#[derive(Debug)]
pub(crate) struct Admin {
    http: Client,
    /// `…/admin/realms/{realm}/`
    realm: Url,
    token: Url,
    pub(super) password: SecretString,
}

/// A person of the realm.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    /// What they type to log in.
    pub(crate) username: &'static str,
    /// What only they know.
    pub(crate) password: SecretString,
    /// Their realm role.
    pub(crate) role: &'static str,
    /// The full paths of their groups.
    pub(crate) groups: &'static [&'static str],
}

impl Admin {
    /// The administrator that the first start makes.
    pub(crate) const USERNAME: &str = "scenario-admin";

    pub(super) fn new(http: Client, server: &Url, password: SecretString) -> Result<Self, Failure> {
        Ok(Self {
            http,
            realm: server.join(&format!("admin/realms/{}/", Keycloak::REALM))?,
            token: server.join("realms/master/protocol/openid-connect/token")?,
            password,
        })
    }

    /// Creates a person and returns their id.
    pub(crate) async fn create_person(&self, person: &Person) -> Result<String, Failure> {
        let Person {
            username,
            password,
            role,
            groups,
        } = person;
        let user = json!({
            "username": username, "enabled": true, "groups": groups,
            // Without these the first login asks for them.
            "email": format!("{username}@example.com"), "emailVerified": true,
            "firstName": username, "lastName": "Scenario",
            "credentials": [{"type": "password", "value": password.expose_secret(), "temporary": false}],
        });
        let id = self.create("users", &user).await?;
        let role = self.get(&format!("roles/{role}")).await?;
        self.send(
            Method::POST,
            &format!("users/{id}/role-mappings/realm"),
            Some(&json!([role])),
        )
        .await?;
        Ok(id)
    }

    /// Bars a person from now on.
    pub(crate) async fn disable_person(&self, id: &str) -> Result<(), Failure> {
        let path = format!("users/{id}");
        let mut user = self.get(&path).await?;
        user["enabled"] = json!(false);
        self.send(Method::PUT, &path, Some(&user)).await.map(drop)
    }

    /// Takes a realm role away.
    pub(crate) async fn take_role(&self, id: &str, role: &str) -> Result<(), Failure> {
        let role = self.get(&format!("roles/{role}")).await?;
        let path = format!("users/{id}/role-mappings/realm");
        self.send(Method::DELETE, &path, Some(&json!([role]))).await.map(drop)
    }

    /// Gives a realm role.
    pub(crate) async fn give_role(&self, id: &str, role: &str) -> Result<(), Failure> {
        let role = self.get(&format!("roles/{role}")).await?;
        let path = format!("users/{id}/role-mappings/realm");
        self.send(Method::POST, &path, Some(&json!([role]))).await.map(drop)
    }

    /// Takes a person out of all their groups.
    pub(crate) async fn take_groups(&self, id: &str) -> Result<(), Failure> {
        let groups = self.get(&format!("users/{id}/groups")).await?;
        for group in groups.as_array().into_iter().flatten() {
            let path = format!("users/{id}/groups/{}", text(&group["id"])?);
            self.send(Method::DELETE, &path, None).await?;
        }
        Ok(())
    }

    /// Creates a client.
    pub(crate) async fn create_client(&self, client: &Value) -> Result<(), Failure> {
        self.create("clients", client).await.map(drop)
    }

    /// Makes a new key that signs from now on, as an administrator who rotates keys.
    pub(crate) async fn add_signing_key(&self) -> Result<(), Failure> {
        let provider = json!({
            "name": "rotated", "providerId": "rsa-generated", "providerType": "org.keycloak.keys.KeyProvider",
            "config": {"priority": ["500"], "enabled": ["true"], "active": ["true"], "algorithm": ["RS256"]},
        });
        self.create("components", &provider).await.map(drop)
    }

    /// Disables a key: it signs nothing and verifies nothing any more.
    pub(crate) async fn disable_key(&self, key_id: &str) -> Result<(), Failure> {
        let keys = self.get("keys").await?;
        let mut all = keys["keys"].as_array().into_iter().flatten();
        let key = all
            .find(|key| key["kid"] == key_id)
            .ok_or_else(|| Failure::new("Keycloak does not list its key"))?;
        let path = format!("components/{}", text(&key["providerId"])?);
        let mut provider = self.get(&path).await?;
        provider["config"]["enabled"] = json!(["false"]);
        self.send(Method::PUT, &path, Some(&provider)).await.map(drop)
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, Failure> {
        Ok(self.send(Method::GET, path, None).await?.json().await?)
    }

    /// Creates something and returns its id, the end of its address.
    async fn create(&self, path: &str, body: &Value) -> Result<String, Failure> {
        let answer = self.send(Method::POST, path, Some(body)).await?;
        let address = answer.headers().get(LOCATION).and_then(|address| address.to_str().ok());
        let id = address.and_then(|address| Some(address.rsplit_once('/')?.1));
        Ok(id
            .ok_or_else(|| Failure::new("Keycloak does not say what it created"))?
            .to_owned())
    }

    pub(super) async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Response, Failure> {
        let token = self.log_in().await?;
        let mut request = self
            .http
            .request(method.clone(), self.realm.join(path)?)
            .bearer_auth(token.expose_secret());
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await?;
        let status = answer.status();
        ensure(
            status.is_success(),
            format_args!("{method} {path} was answered with {status}"),
        )?;
        Ok(answer)
    }

    /// Gets a token for one call: it lives a minute only.
    async fn log_in(&self) -> Result<SecretString, Failure> {
        let form = [
            ("grant_type", "password"),
            ("client_id", "admin-cli"),
            ("username", Self::USERNAME),
            ("password", self.password.expose_secret()),
        ];
        let answer = self
            .http
            .post(self.token.clone())
            .form(&form)
            .send()
            .await?
            .error_for_status()?;
        let answer: Value = answer.json().await?;
        Ok(SecretString::from(text(&answer["access_token"])?))
    }
}

fn text(value: &Value) -> Result<&str, Failure> {
    value
        .as_str()
        .ok_or_else(|| Failure::new("Keycloak's answer is not in its form"))
}
