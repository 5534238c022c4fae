//! The files of `deploy/thingsboard`: what each is, is seen from what is in it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};
use url::Url;

use super::{Named, ProvisionError, Session, find, post};
use crate::ports::UpstreamError;

const RULE_CHAIN: &str = include_str!("../../../../../../deploy/thingsboard/rule-chain.json");
const DEVICE_PROFILE: &str = include_str!("../../../../../../deploy/thingsboard/device-profile.json");

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
        } else {
            None
        }
    }
}

/// Reads every JSON file of a folder and of those below it, or the two that we bring. What is none of the kinds is
/// somebody else's.
pub(super) fn read(folder: Option<&Path>, placeholders: &Placeholders) -> Result<Vec<Import>, FileError> {
    let mut imports = Vec::new();
    let Some(folder) = folder else {
        for (name, text) in [("rule-chain.json", RULE_CHAIN), ("device-profile.json", DEVICE_PROFILE)] {
            imports.extend(import_of(Path::new(name), text, placeholders)?);
        }
        return Ok(imports);
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
                imports.extend(import_of(&path, &text, placeholders)?);
            }
        }
    }
    imports.sort_by_key(|import| import.kind);
    Ok(imports)
}

fn import_of(path: &Path, text: &str, placeholders: &Placeholders) -> Result<Option<Import>, FileError> {
    let content: Value = serde_json::from_str(text)
        .map_err(|error| FileError::new(path, io::Error::new(io::ErrorKind::InvalidData, error)))?;
    let Value::Object(mut content) = content else {
        return Ok(None);
    };
    let Some(kind) = Kind::of(&content) else {
        return Ok(None);
    };
    content.values_mut().for_each(|value| fill_in(value, placeholders));
    Ok(Some(Import { kind, content }))
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
        let path = ["api", "widgetsBundle", &super::number(&saved.id)?, "widgetTypeFqns"];
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
    Ok(format!("The dashboard `{}`", saved.name))
}

/// Puts what we want over what is there under the same name, if it is.
async fn merged(session: &Session, list: &[&str], key: &str, mut wanted: Value) -> Result<Value, UpstreamError> {
    let name = wanted[key].as_str().unwrap_or_default().to_owned();
    if let Some(id) = find(session, list, &name).await? {
        wanted["id"] = id;
    }
    Ok(wanted)
}

/// Replaces the placeholders of a file, wherever they stand.
fn fill_in(value: &mut Value, with: &Placeholders) {
    match value {
        Value::String(text) => {
            *text = text
                .replace("${IOT_BRIDGE_URL}", with.bridge.as_str().trim_end_matches('/'))
                .replace("${TERMINAL_PUBLIC_URL}", with.terminal.as_str().trim_end_matches('/'))
                .replace("${THINGSBOARD_WEBHOOK_SECRET}", with.secret.expose_secret());
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill_in(item, with)),
        Value::Object(fields) => fields.values_mut().for_each(|field| fill_in(field, with)),
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
            let imports = read(folder, &placeholders).unwrap();

            let chain = imports.iter().find(|import| import.kind == Kind::RuleChain).unwrap();
            let metadata = &chain.content["metadata"];
            let nodes = metadata["nodes"].as_array().unwrap().len() as u64;
            for connection in metadata["connections"].as_array().unwrap() {
                let ends = ["fromIndex", "toIndex"].map(|end| connection[end].as_u64().unwrap());
                assert!(ends.iter().all(|end| *end < nodes), "{connection}");
            }
            let text = metadata.to_string();
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
