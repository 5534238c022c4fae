//! Keycloak's realm, prepared by its administration interface (Keycloak 26): what the file says is made where it is
//! missing, and brought to the same state where it is there. People and what people added are left alone.

use common::domain::System;
use reqwest::{Client, Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use super::rest::{Answer, Rest};
use crate::ports::UpstreamError;

/// What a realm's file has beside the settings of the realm itself; each is brought up to date on its own.
const PARTS: [&str; 5] = ["roles", "groups", "clients", "scopeMappings", "users"];

/// What is to be prepared, and with whose rights.
#[derive(Debug)]
pub struct KeycloakOrder {
    /// Keycloak's address.
    pub url: Url,
    /// An administrator of the realm `master`.
    pub admin: String,
    /// The administrator's password.
    pub password: SecretString,
    /// What realms are to be; several may be about one, each with a part of it.
    pub realms: Vec<RealmFile>,
}

/// A realm as a file says it, every placeholder filled in.
#[derive(Debug)]
pub struct RealmFile(Map<String, Value>);

/// A realm's file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidRealmFile {
    /// It is not JSON, or not an object with a name.
    #[error("it is no realm")]
    Malformed,
    /// Nobody said what stands there.
    #[error("nothing stands for ${{{0}}}")]
    Missing(String),
}

impl RealmFile {
    /// Reads a file and puts values in the place of `${NAME}`.
    pub fn parse(text: &str, settings: &[(String, SecretString)]) -> Result<Self, InvalidRealmFile> {
        let mut realm: Value = serde_json::from_str(text).map_err(|_| InvalidRealmFile::Malformed)?;
        fill_in(&mut realm, settings)?;
        if let Value::Object(realm) = realm
            && realm.get("realm").is_some_and(Value::is_string)
        {
            return Ok(Self(realm));
        }
        Err(InvalidRealmFile::Malformed)
    }

    fn name(&self) -> &str {
        self.0["realm"].as_str().unwrap_or_default()
    }

    /// The realm alone, and its parts as a list each.
    fn split(&self) -> (Value, Value) {
        let (parts, settings) = self
            .0
            .clone()
            .into_iter()
            .partition(|(key, _)| PARTS.contains(&key.as_str()));
        (Value::Object(settings), Value::Object(parts))
    }
}

#[derive(Deserialize)]
struct Token {
    access_token: String,
}

/// Who we are there, and which realm it is about.
struct Admin<'a> {
    rest: &'a Rest,
    token: &'a SecretString,
    realm: &'a str,
}

/// Makes the realms, or brings them up to date; returns what is as it should be, for people.
pub async fn provision(client: Client, order: &KeycloakOrder) -> Result<Vec<String>, UpstreamError> {
    // It is the login of people, and no system that is told of devices; its troubles are logged like theirs.
    let rest = Rest::new(client, order.url.clone(), System::DevicePlatform);
    let token = log_in(&rest, order).await?;
    let mut done = Vec::new();
    for file in &order.realms {
        let admin = Admin {
            rest: &rest,
            token: &token,
            realm: file.name(),
        };
        done.extend(admin.realm(file).await?);
    }
    Ok(done)
}

async fn log_in(rest: &Rest, order: &KeycloakOrder) -> Result<SecretString, UpstreamError> {
    let url = rest.url(&["realms", "master", "protocol", "openid-connect", "token"]);
    let form = [
        ("grant_type", "password"),
        ("client_id", "admin-cli"),
        ("username", order.admin.as_str()),
        ("password", order.password.expose_secret()),
    ];
    let token: Token = rest
        .send(rest.client().post(url).form(&form))
        .await?
        .json(StatusCode::OK)?;
    Ok(token.access_token.into())
}

impl Admin<'_> {
    async fn realm(&self, file: &RealmFile) -> Result<Vec<String>, UpstreamError> {
        let (settings, parts) = file.split();
        let mut done = vec![format!("The realm `{}`", self.realm)];
        let found = self.call(Method::GET, &[], None).await?;
        if found.status == StatusCode::NOT_FOUND {
            // Whole, so that it never is a realm without its clients' restrictions.
            let whole = Value::Object(file.0.clone());
            self.create(&["admin", "realms"], &whole).await?;
        } else {
            found.done()?;
            self.call(Method::PUT, &[], Some(&settings)).await?.done()?;
        }
        for role in list(&parts["roles"]["realm"]) {
            done.push(self.role(role).await?);
        }
        for group in list(&parts["groups"]) {
            done.extend(self.group(group).await?);
        }
        for client in list(&parts["clients"]) {
            done.push(self.client(client).await?);
        }
        for mapping in list(&parts["scopeMappings"]) {
            self.scope_mapping(mapping).await?;
        }
        done.extend(self.people(&parts["users"]).await?);
        Ok(done)
    }

    /// Asks about the realm.
    async fn call(&self, method: Method, path: &[&str], body: Option<&Value>) -> Result<Answer, UpstreamError> {
        self.send(method, &[&["admin", "realms", self.realm], path].concat(), body)
            .await
    }

    async fn send(&self, method: Method, path: &[&str], body: Option<&Value>) -> Result<Answer, UpstreamError> {
        let request = self.rest.client().request(method, self.rest.url(path));
        let request = request.bearer_auth(self.token.expose_secret());
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        self.rest.send(request).await
    }

    /// Makes something; what came between is as good.
    async fn create(&self, path: &[&str], body: &Value) -> Result<(), UpstreamError> {
        let answer = self.send(Method::POST, path, Some(body)).await?;
        if answer.status == StatusCode::CONFLICT {
            return Ok(());
        }
        answer.done()
    }

    async fn create_in_realm(&self, path: &[&str], body: &Value) -> Result<(), UpstreamError> {
        self.create(&[&["admin", "realms", self.realm], path].concat(), body)
            .await
    }

    async fn role(&self, role: &Value) -> Result<String, UpstreamError> {
        let name = text(role, "name");
        self.create_in_realm(&["roles"], role).await?;
        self.call(Method::PUT, &["roles", name], Some(role)).await?.done()?;
        Ok(format!("The role `{name}`"))
    }

    /// A group and its own groups, one level deep.
    async fn group(&self, group: &Value) -> Result<Vec<String>, UpstreamError> {
        let name = text(group, "name");
        self.create_in_realm(&["groups"], &json!({ "name": name })).await?;
        let mut done = vec![format!("The group `/{name}`")];
        let path = ["group-by-path", name];
        let found: Value = self.call(Method::GET, &path, None).await?.json(StatusCode::OK)?;
        for below in list(&group["subGroups"]) {
            let (id, below) = (text(&found, "id"), text(below, "name"));
            let path = ["groups", id, "children"];
            self.create_in_realm(&path, &json!({ "name": below })).await?;
            done.push(format!("The group `/{name}/{below}`"));
        }
        Ok(done)
    }

    async fn client(&self, wanted: &Value) -> Result<String, UpstreamError> {
        let name = text(wanted, "clientId");
        self.create_in_realm(&["clients"], wanted).await?;
        let found = self.find_client(name).await?;
        let id = text(&found, "id");
        self.call(Method::PUT, &["clients", id], Some(wanted)).await?.done()?;
        self.mappers(id, wanted, &found).await?;
        Ok(format!("The client `{name}`"))
    }

    async fn find_client(&self, name: &str) -> Result<Value, UpstreamError> {
        let url = self.rest.url(&["admin", "realms", self.realm, "clients"]);
        let request = self.rest.client().get(url).query(&[("clientId", name)]);
        let request = request.bearer_auth(self.token.expose_secret());
        let found: Vec<Value> = self.rest.send(request).await?.json(StatusCode::OK)?;
        let gone = || UpstreamError::unexpected(System::DevicePlatform, "a client is gone");
        found.into_iter().next().ok_or_else(gone)
    }

    /// Which roles a client's tokens may carry: it goes with a role that somebody deleted.
    async fn scope_mapping(&self, mapping: &Value) -> Result<(), UpstreamError> {
        let client = self.find_client(text(mapping, "client")).await?;
        let mut roles = Vec::new();
        for name in list(&mapping["roles"]).filter_map(Value::as_str) {
            let role: Value = self
                .call(Method::GET, &["roles", name], None)
                .await?
                .json(StatusCode::OK)?;
            roles.push(role);
        }
        let path = ["clients", text(&client, "id"), "scope-mappings", "realm"];
        self.call(Method::POST, &path, Some(&Value::Array(roles))).await?.done()
    }

    /// People who are there are left alone; the others are made in one request, roles and groups included.
    async fn people(&self, users: &Value) -> Result<Vec<String>, UpstreamError> {
        let names = list(users).map(|user| format!("The person `{}`", text(user, "username")));
        let names: Vec<_> = names.collect();
        if !names.is_empty() {
            let body = json!({ "ifResourceExists": "SKIP", "users": users });
            let answer = self.call(Method::POST, &["partialImport"], Some(&body)).await?;
            let _report: Value = answer.json(StatusCode::OK)?;
        }
        Ok(names)
    }

    /// Changing a client leaves its mappers as they are; those of the file are put in the place of theirs.
    async fn mappers(&self, client: &str, wanted: &Value, found: &Value) -> Result<(), UpstreamError> {
        let models = ["clients", client, "protocol-mappers", "models"];
        for mapper in list(&wanted["protocolMappers"]) {
            let present = list(&found["protocolMappers"]).find(|it| it["name"] == mapper["name"]);
            match present {
                Some(present) => {
                    let mut mapper = mapper.clone();
                    mapper["id"] = present["id"].clone();
                    let path = [&models[..], &[text(present, "id")]].concat();
                    self.call(Method::PUT, &path, Some(&mapper)).await?.done()?;
                }
                None => self.create_in_realm(&models, mapper).await?,
            }
        }
        Ok(())
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text<'value>(value: &'value Value, key: &str) -> &'value str {
    value[key].as_str().unwrap_or_default()
}

fn fill_in(value: &mut Value, settings: &[(String, SecretString)]) -> Result<(), InvalidRealmFile> {
    match value {
        Value::String(text) => {
            for (name, setting) in settings {
                *text = text.replace(&format!("${{{name}}}"), setting.expose_secret());
            }
            match text.split_once("${").and_then(|(_, rest)| rest.split_once('}')) {
                Some((name, _)) => Err(InvalidRealmFile::Missing(name.to_owned())),
                None => Ok(()),
            }
        }
        Value::Array(items) => items.iter_mut().try_for_each(|item| fill_in(item, settings)),
        Value::Object(fields) => fields.values_mut().try_for_each(|field| fill_in(field, settings)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_realm_is_usable_when_everything_is_said() {
        let file = include_str!("../../../../deploy/keycloak/realm.json");
        let settings = |names: &[&str]| -> Vec<_> {
            names
                .iter()
                .map(|name| ((*name).to_owned(), "https://x.example".into()))
                .collect()
        };
        let missing = RealmFile::parse(file, &settings(&[])).unwrap_err();
        assert!(
            matches!(&missing, InvalidRealmFile::Missing(name) if name == "TERMINAL_PUBLIC_URL"),
            "{missing}"
        );

        assert!(RealmFile::parse("[]", &[]).is_err());
        assert!(RealmFile::parse("{}", &[]).is_err());
    }
}
