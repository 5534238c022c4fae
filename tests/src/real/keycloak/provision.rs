//! `iot-bridge-api provision keycloak`, run by an administrator.

use std::fs;
use std::path::Path;

use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio::process::Command;

use super::{Admin, Keycloak};
use crate::failure::{Failure, ensure};
use crate::real::bridge::built;
use crate::real::step_ca::printed;
use crate::stage::project;

const CLIENT: &str = "terminal-widget";

impl Keycloak {
    /// Spoils the realm by hand and has it put right; then has another one made from nothing, twice.
    pub(crate) async fn is_put_right(&self, terminal_url: &str) -> Result<(), Failure> {
        let client = self.admin.client(CLIENT).await?;
        let path = format!("clients/{}", client["id"].as_str().unwrap_or_default());
        let mut spoiled = client.clone();
        spoiled["redirectUris"] = json!(["https://somebody.example/*"]);
        spoiled["directAccessGrantsEnabled"] = json!(true);
        self.admin.send(Method::PUT, &path, Some(&spoiled)).await?;
        let mapper = client["protocolMappers"][0]["id"].as_str().unwrap_or_default();
        let mapper = format!("{path}/protocol-mappers/models/{mapper}");
        self.admin.send(Method::DELETE, &mapper, None).await?;
        self.admin.send(Method::DELETE, "roles/fleet-viewer", None).await?;

        let file = project("deploy/keycloak/realm.json");
        for _ in 0..2 {
            self.provision(&file, terminal_url).await?;
        }

        let now = self.admin.client(CLIENT).await?;
        let is_restored = |key: &str| now[key] == client[key];
        ensure(
            is_restored("redirectUris") && is_restored("directAccessGrantsEnabled"),
            &now,
        )?;
        let mappers = |client: &Value| client["protocolMappers"].as_array().map(Vec::len);
        ensure(mappers(&now) == mappers(&client), "a mapper is missing, or there twice")?;
        self.admin.get("roles/fleet-viewer").await?;
        self.makes_another(&file, terminal_url).await
    }

    async fn makes_another(&self, file: &Path, terminal_url: &str) -> Result<(), Failure> {
        let folder = tempfile::tempdir()?;
        let mut realm: Value = serde_json::from_slice(&fs::read(file)?)?;
        realm["realm"] = json!("another");
        let file = folder.path().join("realm.json");
        fs::write(&file, realm.to_string())?;
        for _ in 0..2 {
            self.provision(&file, terminal_url).await?;
        }
        let clients = self.admin.get("../another/clients?clientId=terminal-widget").await?;
        ensure(clients.as_array().is_some_and(|clients| clients.len() == 1), clients)
    }

    async fn provision(&self, realm_file: &Path, terminal_url: &str) -> Result<(), Failure> {
        let folder = tempfile::tempdir()?;
        let password = folder.path().join("password");
        fs::write(&password, self.admin.password.expose_secret())?;
        let mut command = Command::new(built("iot-bridge-api")?);
        command
            .env_clear()
            .args(["provision", "keycloak", "--admin", Admin::USERNAME])
            .args(["--keycloak-url", self.internal.as_str()])
            .arg("--admin-password-file")
            .arg(&password)
            .arg("--realm-file")
            .arg(realm_file)
            .arg(format!("--set=TERMINAL_PUBLIC_URL={terminal_url}"));
        printed(command).await.map(drop)
    }
}

impl Admin {
    async fn client(&self, name: &str) -> Result<Value, Failure> {
        let clients = self.get(&format!("clients?clientId={name}")).await?;
        let client = clients.as_array().and_then(|clients| clients.first());
        client
            .cloned()
            .ok_or_else(|| Failure::new(format_args!("there is no client {name}")))
    }
}
