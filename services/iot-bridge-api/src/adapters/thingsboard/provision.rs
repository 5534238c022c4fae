//! What ThingsBoard needs once before it works with us: a tenant with its administrator and our API key, the device
//! profile, the rule chain and whatever else is in `deploy/thingsboard`, and the login. May be repeated: what is there
//! is brought to the same state.

mod files;
mod login;
mod tenant;

use std::path::PathBuf;

use common::domain::System;
use reqwest::{Client, Method, StatusCode};
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use self::files::{FileError, Placeholders};
pub use self::login::LoginOrder;
pub use self::tenant::TenantOrder;
use super::ThingsBoardOptions;
use super::session::Session;
use crate::adapters::rest::Rest;
use crate::ports::UpstreamError;

/// Whom devices, dashboards and the people of the realm belong to. The rule chain and the login name it too.
const CUSTOMER: &str = "Fleet";

/// What is to be prepared.
#[derive(Debug)]
pub struct Order {
    /// The tenant; without it, it is there.
    pub tenant: Option<TenantOrder>,
    /// How people log in; without it, as before.
    pub login: Option<LoginOrder>,
    /// Where our API key is written, unless a good one is there.
    pub api_key_file: Option<PathBuf>,
    /// A folder with files to import, instead of those that the program cannot do without.
    pub files: Option<PathBuf>,
    /// What stands where in the files.
    pub placeholders: Placeholders,
}

/// Why it is not prepared.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// The other system.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// Our files.
    #[error(transparent)]
    File(#[from] FileError),
}

#[derive(Deserialize)]
struct Named {
    id: Value,
    #[serde(alias = "title")]
    name: String,
}

#[derive(Deserialize)]
struct NamedList {
    data: Vec<Named>,
}

/// Prepares everything; returns what is as it should be, for people.
pub async fn provision(
    client: Client,
    options: ThingsBoardOptions,
    order: &Order,
) -> Result<Vec<String>, ProvisionError> {
    let mut done = Vec::new();
    let files = files::read(order.files.as_deref(), &order.placeholders)?;
    let rest = || Rest::new(client.clone(), options.url.clone(), System::DevicePlatform);
    if let Some(tenant) = &order.tenant {
        let administrator = tenant::administrator(&rest, tenant).await?;
        done.extend(tenant::ensure(&rest, &administrator, tenant, &options.login).await?);
        if let Some(login) = &order.login {
            done.push(login::ensure(&administrator, login, files.login).await?);
        }
    }
    let session = Session::new(rest(), options.login);
    if let Some(file) = &order.api_key_file {
        done.push(tenant::ensure_api_key(&rest, &session, file).await?);
    }
    done.extend(files::import(&session, files.imports, &options.profile).await?);
    Ok(done)
}

/// Finds what has this name among all of a list.
async fn find(session: &Session, list: &[&str], name: &str) -> Result<Option<Value>, UpstreamError> {
    let path = [&["api"], list].concat();
    let query = [("pageSize", "100"), ("page", "0"), ("textSearch", name)];
    let answer = session.call(Method::GET, &path, &query, None).await?;
    let found: NamedList = answer.json(StatusCode::OK)?;
    let mut found = found.data.into_iter();
    Ok(found.find(|present| present.name == name).map(|present| present.id))
}

async fn post<T: DeserializeOwned>(
    session: &Session,
    path: &[&str],
    query: &[(&str, &str)],
    body: &Value,
) -> Result<T, UpstreamError> {
    let path = [&["api"], path].concat();
    let answer = session.call(Method::POST, &path, query, Some(body)).await?;
    answer.json(StatusCode::OK)
}

/// What an id is in a path, and wherever its kind is known.
fn number(id: &Value) -> Result<String, UpstreamError> {
    let text = id["id"].as_str().map(str::to_owned);
    text.ok_or_else(|| super::unexpected("an id is none"))
}

/// A person's name and password.
#[derive(Debug, Clone)]
pub struct Account {
    /// An e-mail address.
    pub user: String,
    /// The password.
    pub password: SecretString,
}
