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
const ANOTHER: &str = "another";

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
            self.provision(&[&file], terminal_url).await?;
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

    /// The files of the platform: the realm, and what it has for other systems and its first person.
    async fn makes_another(&self, file: &Path, terminal_url: &str) -> Result<(), Failure> {
        let folder = tempfile::tempdir()?;
        let other = |file: &Path| {
            let mut realm: Value = serde_json::from_slice(&fs::read(file)?)?;
            realm["realm"] = json!(ANOTHER);
            let file = folder.path().join(file.file_name().unwrap_or_default());
            fs::write(
                &file,
                realm.to_string().replace("default-roles-iot", "default-roles-another"),
            )?;
            Ok::<_, Failure>(file)
        };
        let (realm, platform) = (other(file)?, other(&project("deploy/keycloak/platform.json"))?);
        self.provision(&[&realm, &platform], terminal_url).await?;
        for client in ["terminal-widget", "thingsboard", "grafana"] {
            let clients = self
                .admin
                .get(&format!("../{ANOTHER}/clients?clientId={client}"))
                .await?;
            ensure(clients.as_array().is_some_and(|clients| clients.len() == 1), clients)?;
        }
        let people = self
            .admin
            .get(&format!("../{ANOTHER}/users?username=operator&exact=true"))
            .await?;
        let person = format!("../{ANOTHER}/users/{}", people[0]["id"].as_str().unwrap_or_default());
        ensure(people[0]["requiredActions"] == json!(["UPDATE_PASSWORD"]), &people)?;
        let groups = self.admin.get(&format!("{person}/groups")).await?;
        ensure(groups[0]["path"] == "/fleets/default", &groups)?;
        let roles = format!("{person}/role-mappings/realm");
        let administers = async || {
            let roles = self.admin.get(&roles).await?;
            let mut roles = roles.as_array().into_iter().flatten();
            Ok::<_, Failure>(roles.any(|role| role["name"] == "fleet-admin"))
        };
        ensure(administers().await?, "the first person is no administrator")?;

        // Whoever was there is left alone, also what somebody took away.
        let role = self.admin.get(&format!("../{ANOTHER}/roles/fleet-admin")).await?;
        self.admin.send(Method::DELETE, &roles, Some(&json!([role]))).await?;
        self.provision(&[&realm, &platform], terminal_url).await?;
        ensure(!administers().await?, "a role that was taken away has come back")
    }

    async fn provision(&self, realm_files: &[&Path], terminal_url: &str) -> Result<(), Failure> {
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
            .arg(format!("--set=TERMINAL_PUBLIC_URL={terminal_url}"))
            .arg("--set=IOT_DOMAIN=iot.example");
        for secret in ["THINGSBOARD_CLIENT_SECRET", "GRAFANA_CLIENT_SECRET", "FIRST_PASSWORD"] {
            command.arg(format!("--set-file={secret}={}", password.display()));
        }
        for file in realm_files {
            command.arg("--realm-file").arg(file);
        }
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
