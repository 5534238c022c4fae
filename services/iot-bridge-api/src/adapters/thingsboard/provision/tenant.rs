//! The tenant that our devices belong to, its administrator, and the key that we work with.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::{Account, FileError, ProvisionError, Session, find, number, post};
use crate::adapters::rest::{Answer, Rest};
use crate::adapters::thingsboard::{ThingsBoardLogin, unexpected};
use crate::ports::UpstreamError;

/// What a ThingsBoard that was just installed has; it is replaced, and never accepted from a setting.
const FIRST_PASSWORD: &str = "sysadmin";

/// Who may make a tenant, and which.
#[derive(Debug)]
pub struct TenantOrder {
    /// The system administrator, with the password that he gets unless he has it.
    pub administrator: Account,
    /// The tenant's title.
    pub title: String,
}

#[derive(Deserialize)]
struct Person {
    id: Value,
    email: String,
}

#[derive(Deserialize)]
struct People {
    data: Vec<Person>,
}

#[derive(Deserialize)]
struct ApiKey {
    value: String,
}

fn session(rest: Rest, account: &Account) -> Session {
    let Account { user, password } = account.clone();
    Session::new(rest, ThingsBoardLogin::Password { user, password })
}

/// Logs the system administrator in; one who still has the first password gets the new one.
pub(super) async fn administrator(rest: &impl Fn() -> Rest, order: &TenantOrder) -> Result<Session, UpstreamError> {
    let wanted = session(rest(), &order.administrator);
    if wanted.is_believed().await? {
        return Ok(wanted);
    }
    let first = Account {
        user: order.administrator.user.clone(),
        password: FIRST_PASSWORD.into(),
    };
    let first = session(rest(), &first);
    let new = order.administrator.password.expose_secret();
    let body = json!({ "currentPassword": FIRST_PASSWORD, "newPassword": new });
    call(&first, &["auth", "changePassword"], &body).await?.done()?;
    Ok(wanted)
}

/// Makes the tenant and its administrator, unless they are there.
pub(super) async fn ensure(
    rest: &impl Fn() -> Rest,
    administrator: &Session,
    order: &TenantOrder,
    login: &ThingsBoardLogin,
) -> Result<Vec<String>, UpstreamError> {
    let tenant = if let Some(id) = find(administrator, &["tenants"], &order.title).await? {
        id
    } else {
        let made: Value = post(administrator, &["tenant"], &[], &json!({ "title": order.title })).await?;
        made["id"].clone()
    };
    let mut done = vec![format!("The tenant `{}`", order.title)];
    let ThingsBoardLogin::Password { user, password } = login else {
        return Ok(done);
    };
    let person = if let Some(id) = find_person(administrator, &tenant, user).await? {
        id
    } else {
        let body = json!({ "email": user, "authority": "TENANT_ADMIN", "tenantId": tenant });
        let query = [("sendActivationMail", "false")];
        let made: Value = post(administrator, &["user"], &query, &body).await?;
        made["id"].clone()
    };
    let account = Account {
        user: user.clone(),
        password: password.clone(),
    };
    // Someone who was made and not activated, because the power went, has no password yet.
    if !session(rest(), &account).is_believed().await? {
        activate(administrator, &person, password).await?;
    }
    done.push(format!("Its administrator `{user}`"));
    Ok(done)
}

async fn find_person(administrator: &Session, tenant: &Value, user: &str) -> Result<Option<Value>, UpstreamError> {
    let path = ["api", "tenant", &number(tenant)?, "users"];
    let query = [("pageSize", "100"), ("page", "0"), ("textSearch", user)];
    let answer = administrator.call(Method::GET, &path, &query, None).await?;
    let people: People = answer.json(StatusCode::OK)?;
    let mut people = people.data.into_iter();
    Ok(people.find(|person| person.email == user).map(|person| person.id))
}

async fn activate(administrator: &Session, id: &Value, password: &SecretString) -> Result<(), UpstreamError> {
    let path = ["api", "user", &number(id)?, "activationLink"];
    let answer = administrator.call(Method::GET, &path, &[], None).await?;
    let link: Url = answer
        .text(StatusCode::OK)?
        .parse()
        .map_err(|_| unexpected("an activation link is none"))?;
    let token = link.query_pairs().find(|(key, _)| key == "activateToken");
    let (_, token) = token.ok_or_else(|| unexpected("an activation link has no token"))?;
    let body = json!({ "activateToken": token, "password": password.expose_secret() });
    call(administrator, &["noauth", "activate"], &body).await?.done()
}

/// Keeps the key that is in the file while it is good; else makes one. ThingsBoard shows it this once.
pub(super) async fn ensure_api_key(
    rest: &impl Fn() -> Rest,
    session: &Session,
    file: &Path,
) -> Result<String, ProvisionError> {
    let done = format!("The API key in {}", file.display());
    let path = ["api", "auth", "user"];
    if let Ok(key) = fs::read_to_string(file) {
        let with_key = Session::new(rest(), ThingsBoardLogin::ApiKey(key.trim().into()));
        if with_key.call(Method::GET, &path, &[], None).await?.status == StatusCode::OK {
            return Ok(done);
        }
    }
    let ourselves = session.call(Method::GET, &path, &[], None).await?;
    let ourselves: Value = ourselves.json(StatusCode::OK)?;
    let body = json!({
        "userId": ourselves["id"], "description": "iot-bridge", "enabled": true, "expirationTime": 0,
    });
    let key: ApiKey = post(session, &["apiKey"], &[], &body).await?;
    write_secret(file, &key.value).map_err(|source| FileError::new(file, source))?;
    Ok(done)
}

/// The old key or the new one, never half of one.
fn write_secret(file: &Path, secret: &str) -> std::io::Result<()> {
    let unfinished = file.with_extension("new");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut new = options.open(&unfinished)?;
    new.write_all(secret.as_bytes())?;
    new.sync_all()?;
    fs::rename(unfinished, file)
}

async fn call(session: &Session, path: &[&str], body: &Value) -> Result<Answer, UpstreamError> {
    let path = [&["api"], path].concat();
    session.call(Method::POST, &path, &[], Some(body)).await
}
