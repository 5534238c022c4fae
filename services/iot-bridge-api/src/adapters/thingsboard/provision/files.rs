//! The files of `deploy/thingsboard`: what each is, is seen from what is in it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};
use url::Url;

use super::{CUSTOMER, Named, ProvisionError, Session, find, number, post};
use crate::ports::UpstreamError;

const RULE_CHAIN: &str = include_str!("../../../../../../deploy/thingsboard/rule-chain.json");
const DEVICE_PROFILE: &str = include_str!("../../../../../../deploy/thingsboard/device-profile.json");
const LOGIN_CLIENT: &str = include_str!("../../../../../../deploy/thingsboard/oauth2-client.json");

/// What stands where in the files.
#[derive(Debug)]
pub struct Placeholders {
    /// Our address as ThingsBoard sees it, for `${IOT_BRIDGE_URL}`.
    pub bridge: Url,
    /// The secret that the rule chain sends, for `${THINGSBOARD_WEBHOOK_SECRET}`.
    pub secret: SecretString,
    /// The terminal's page as browsers see it, for `${TERMINAL_PUBLIC_URL}`.
    pub terminal: Url,
}

/// A file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be used", .path.display())]
pub struct FileError {
    path: PathBuf,
    source: io::Error,
}

impl FileError {
    pub(super) fn new(path: &Path, source: io::Error) -> Self {
        Self {
            path: path.to_owned(),
            source,
        }
    }
}

/// Something to import, in the order in which one needs the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    RuleChain,
    DeviceProfile,
    WidgetType,
    WidgetsBundle,
    Dashboard,
    Notification,
}

/// What the files are.
#[derive(Debug)]
pub(super) struct Files {
    /// How people log in: a client of somebody else's issuer.
    pub(super) login: Value,
    /// Everything else.
    pub(super) imports: Vec<Import>,
}

/// A file, read.
#[derive(Debug)]
pub(super) struct Import {
    kind: Kind,
    content: Map<String, Value>,
}

impl Kind {
    fn of(content: &Map<String, Value>) -> Option<Self> {
        let has = |key: &str| content.contains_key(key);
        if has("ruleChain") && has("metadata") {
            Some(Self::RuleChain)
        } else if has("provisionType") {
            Some(Self::DeviceProfile)
        } else if has("descriptor") {
            Some(Self::WidgetType)
        } else if has("widgetsBundle") || (has("alias") && has("title")) {
            Some(Self::WidgetsBundle)
        } else if has("title") && has("configuration") {
            Some(Self::Dashboard)
        } else if has("target") && has("template") && has("rule") {
            Some(Self::Notification)
        } else {
            None
        }
    }
}

/// Reads every JSON file of a folder and of those below it, or those that the program cannot do without. What is none of
/// the kinds is somebody else's.
pub(super) fn read(folder: Option<&Path>, placeholders: &Placeholders) -> Result<Files, FileError> {
    let mut files = Files {
        login: parse(Path::new("oauth2-client.json"), LOGIN_CLIENT)?,
        imports: Vec::new(),
    };
    let Some(folder) = folder else {
        for (name, text) in [("rule-chain.json", RULE_CHAIN), ("device-profile.json", DEVICE_PROFILE)] {
            files.take(parse(Path::new(name), text)?, placeholders);
        }
        return Ok(files);
    };
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let unreadable = |source| FileError::new(&folder, source);
        for entry in fs::read_dir(&folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "json") {
                let text = fs::read_to_string(&path).map_err(|source| FileError::new(&path, source))?;
                files.take(parse(&path, &text)?, placeholders);
            }
        }
    }
    files.imports.sort_by_key(|import| import.kind);
    Ok(files)
}

fn parse(path: &Path, text: &str) -> Result<Value, FileError> {
    serde_json::from_str(text).map_err(|error| FileError::new(path, io::Error::new(io::ErrorKind::InvalidData, error)))
}

impl Files {
    fn take(&mut self, content: Value, placeholders: &Placeholders) {
        if content.get("mapperConfig").is_some() {
            self.login = content;
            return;
        }
        let Value::Object(mut content) = content else { return };
        let Some(kind) = Kind::of(&content) else { return };
        let values = [
            ("IOT_BRIDGE_URL", placeholders.bridge.as_str().trim_end_matches('/')),
            (
                "TERMINAL_PUBLIC_URL",
                placeholders.terminal.as_str().trim_end_matches('/'),
            ),
            ("THINGSBOARD_WEBHOOK_SECRET", placeholders.secret.expose_secret()),
        ];
        content.values_mut().for_each(|value| fill_in(value, &values));
        self.imports.push(Import { kind, content });
    }
}

/// Imports them; returns their names.
pub(super) async fn import(
    session: &Session,
    imports: Vec<Import>,
    profile_name: &str,
) -> Result<Vec<String>, ProvisionError> {
    let (mut names, mut chain) = (Vec::new(), Value::Null);
    for Import { kind, content } in imports {
        let name = match kind {
            Kind::RuleChain => {
                let (name, id) = rule_chain(session, content).await?;
                chain = id;
                format!("The rule chain `{name}`")
            }
            Kind::DeviceProfile => device_profile(session, content, profile_name, &chain).await?,
            Kind::WidgetType => widget_type(session, content).await?,
            Kind::WidgetsBundle => widgets_bundle(session, content).await?,
            Kind::Dashboard => dashboard(session, content).await?,
            Kind::Notification => notification(session, content).await?,
        };
        names.push(name);
    }
    Ok(names)
}

async fn rule_chain(session: &Session, mut file: Map<String, Value>) -> Result<(String, Value), UpstreamError> {
    let mut chain = merged(
        session,
        &["ruleChains"],
        "name",
        file.remove("ruleChain").unwrap_or_default(),
    )
    .await?;
    if !chain["id"].is_null() {
        // Nodes are replaced below; the chain itself points at its first node.
        chain.as_object_mut().map(|chain| chain.remove("firstRuleNodeId"));
    }
    let chain: Named = post(session, &["ruleChain"], &[], &chain).await?;
    let mut metadata = file.remove("metadata").unwrap_or_default();
    metadata["ruleChainId"] = chain.id.clone();
    let _saved: Value = post(session, &["ruleChain", "metadata"], &[], &metadata).await?;
    Ok((chain.name, chain.id))
}

async fn device_profile(
    session: &Session,
    file: Map<String, Value>,
    name: &str,
    chain: &Value,
) -> Result<String, UpstreamError> {
    let mut profile = Value::Object(file);
    profile["name"] = json!(name);
    let mut profile = merged(session, &["deviceProfiles"], "name", profile).await?;
    if !chain.is_null() {
        profile["defaultRuleChainId"] = chain.clone();
    }
    let saved: Named = post(session, &["deviceProfile"], &[], &profile).await?;
    Ok(format!("The device profile `{}`", saved.name))
}

async fn widget_type(session: &Session, file: Map<String, Value>) -> Result<String, UpstreamError> {
    let query = [("updateExistingByFqn", "true")];
    let saved: Named = post(session, &["widgetType"], &query, &Value::Object(file)).await?;
    Ok(format!("The widget `{}`", saved.name))
}

async fn widgets_bundle(session: &Session, mut file: Map<String, Value>) -> Result<String, UpstreamError> {
    let widgets = file.remove("widgetTypeFqns");
    let bundle = file.remove("widgetsBundle").unwrap_or(Value::Object(file));
    let bundle = merged(session, &["widgetsBundles"], "title", bundle).await?;
    let saved: Named = post(session, &["widgetsBundle"], &[], &bundle).await?;
    if let Some(widgets) = widgets {
        let path = ["api", "widgetsBundle", &number(&saved.id)?, "widgetTypeFqns"];
        session
            .call(reqwest::Method::POST, &path, &[], Some(&widgets))
            .await?
            .done()?;
    }
    Ok(format!("The widgets bundle `{}`", saved.name))
}

async fn dashboard(session: &Session, file: Map<String, Value>) -> Result<String, UpstreamError> {
    let dashboard = merged(session, &["tenant", "dashboards"], "title", Value::Object(file)).await?;
    let saved: Named = post(session, &["dashboard"], &[], &dashboard).await?;
    // Who comes by the login belongs to the customer, and sees what is the customer's.
    let customer = merged(session, &["customers"], "title", json!({ "title": CUSTOMER })).await?;
    let customer: Named = post(session, &["customer"], &[], &customer).await?;
    let path = ["customer", &number(&customer.id)?, "dashboard", &number(&saved.id)?];
    let _assigned: Value = post(session, &path, &[], &Value::Null).await?;
    Ok(format!("The dashboard `{}`", saved.name))
}

/// Who is told of what, and in which words.
async fn notification(session: &Session, mut file: Map<String, Value>) -> Result<String, UpstreamError> {
    let mut part = |key: &str| file.remove(key).unwrap_or_default();
    let (target, template, mut rule) = (part("target"), part("template"), part("rule"));
    let target = merged(session, &["notification", "targets"], "name", target).await?;
    let target: Named = post(session, &["notification", "target"], &[], &target).await?;
    let template = merged(session, &["notification", "templates"], "name", template).await?;
    let template: Named = post(session, &["notification", "template"], &[], &template).await?;
    rule["templateId"] = template.id;
    rule["recipientsConfig"]["escalationTable"] = json!({ "0": [number(&target.id)?] });
    let rule = merged(session, &["notification", "rules"], "name", rule).await?;
    let saved: Named = post(session, &["notification", "rule"], &[], &rule).await?;
    Ok(format!("The notification `{}`", saved.name))
}

/// Puts what we want over what is there under the same name, if it is.
async fn merged(session: &Session, list: &[&str], key: &str, mut wanted: Value) -> Result<Value, UpstreamError> {
    let name = wanted[key].as_str().unwrap_or_default().to_owned();
    if let Some(id) = find(session, list, &name).await? {
        wanted["id"] = id;
    }
    Ok(wanted)
}

/// Puts values in the place of `${NAME}`, wherever it stands.
pub(super) fn fill_in(value: &mut Value, values: &[(&str, &str)]) {
    match value {
        Value::String(text) => {
            for (name, value) in values {
                *text = text.replace(&format!("${{{name}}}"), value);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill_in(item, values)),
        Value::Object(fields) => fields.values_mut().for_each(|field| fill_in(field, values)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_that_we_bring_are_whole() {
        let placeholders = Placeholders {
            bridge: "https://bridge.example:8000/".parse().unwrap(),
            secret: "s3cret".into(),
            terminal: "https://terminal.example/".parse().unwrap(),
        };
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/thingsboard");
        for folder in [None, Some(Path::new(folder))] {
            let Files { login, imports } = read(folder, &placeholders).unwrap();
            assert_eq!(login["mapperConfig"]["basic"]["customerNamePattern"], CUSTOMER);

            let chain = imports.iter().find(|import| import.kind == Kind::RuleChain).unwrap();
            let metadata = &chain.content["metadata"];
            let nodes = metadata["nodes"].as_array().unwrap().len() as u64;
            for connection in metadata["connections"].as_array().unwrap() {
                let ends = ["fromIndex", "toIndex"].map(|end| connection[end].as_u64().unwrap());
                assert!(ends.iter().all(|end| *end < nodes), "{connection}");
            }
            let text = metadata.to_string();
            assert!(
                text.contains(&format!("\"customerNamePattern\":\"{CUSTOMER}\"")),
                "{text}"
            );
            assert!(text.contains("\"https://bridge.example:8000/webhooks/thingsboard\""));
            assert!(
                text.contains("\"Bearer s3cret\"") && !text.contains("${IOT_BRIDGE"),
                "{text}"
            );
            let profile = imports
                .iter()
                .find(|import| import.kind == Kind::DeviceProfile)
                .unwrap();
            assert_eq!(profile.content["provisionType"], "DISABLED");
            assert_eq!(
                profile.content["profileData"]["provisionConfiguration"]["type"],
                "DISABLED"
            );
        }
    }
}
