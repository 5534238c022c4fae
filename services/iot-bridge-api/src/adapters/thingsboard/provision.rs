//! What ThingsBoard needs once before it works with us: the device profile and the rule chain of
//! `deploy/thingsboard`. May be repeated: what is there is brought to the same state.

use common::domain::System;
use reqwest::{Client, Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use super::ThingsBoardOptions;
use super::session::Session;
use crate::adapters::rest::Rest;
use crate::ports::UpstreamError;

const RULE_CHAIN: &str = include_str!("../../../../../deploy/thingsboard/rule-chain.json");
const DEVICE_PROFILE: &str = include_str!("../../../../../deploy/thingsboard/device-profile.json");

/// Where the rule chain sends its messages, and with which secret.
#[derive(Debug)]
pub struct WebhookAddress {
    /// Our address as ThingsBoard sees it.
    pub bridge: Url,
    /// The secret that it sends.
    pub secret: SecretString,
}

#[derive(Deserialize)]
struct Named {
    id: Value,
    name: String,
}

#[derive(Deserialize)]
struct NamedList {
    data: Vec<Named>,
}

/// Makes profile and rule chain, or brings them up to date; returns their names.
pub async fn provision(
    client: Client,
    options: ThingsBoardOptions,
    webhook: &WebhookAddress,
) -> Result<Vec<String>, UpstreamError> {
    let rest = Rest::new(client, options.url, System::DevicePlatform);
    let session = Session::new(rest, options.login);
    let mut file = object(RULE_CHAIN);
    let chain = merged(&session, "ruleChains", &file["ruleChain"]).await?;
    let chain_name = chain["name"].to_string();
    let chain: Named = post(&session, &["ruleChain"], &chain).await?;

    let mut metadata = file.remove("metadata").expect("the file has metadata");
    fill_in(&mut metadata, webhook);
    metadata["ruleChainId"] = chain.id.clone();
    let _saved: Value = post(&session, &["ruleChain", "metadata"], &metadata).await?;

    let mut profile = Value::Object(object(DEVICE_PROFILE));
    profile["name"] = json!(options.profile);
    let mut profile = merged(&session, "deviceProfiles", &profile).await?;
    profile["defaultRuleChainId"] = chain.id;
    let saved: Named = post(&session, &["deviceProfile"], &profile).await?;
    Ok(vec![chain_name, saved.name])
}

/// Puts what we want over what is there under the same name, if it is.
async fn merged(session: &Session, list: &str, wanted: &Value) -> Result<Value, UpstreamError> {
    let name = wanted["name"].as_str().expect("the file has a name");
    let query = [("pageSize", "100"), ("page", "0"), ("textSearch", name)];
    let answer = session.call(Method::GET, &["api", list], &query, None).await?;
    let found: NamedList = answer.json(StatusCode::OK)?;
    let mut wanted = wanted.clone();
    if let Some(present) = found.data.into_iter().find(|present| present.name == name) {
        wanted["id"] = present.id;
        if list == "ruleChains" {
            // Nodes are replaced below; the chain itself points at its first node.
            wanted.as_object_mut().map(|chain| chain.remove("firstRuleNodeId"));
        }
    }
    Ok(wanted)
}

async fn post<T: serde::de::DeserializeOwned>(
    session: &Session,
    path: &[&str],
    body: &Value,
) -> Result<T, UpstreamError> {
    let path = [&["api"], path].concat();
    let answer = session.call(Method::POST, &path, &[], Some(body)).await?;
    answer.json(StatusCode::OK)
}

fn object(file: &str) -> Map<String, Value> {
    serde_json::from_str(file).expect("the files of `deploy` are JSON objects; a test reads them")
}

/// Replaces the placeholders of the file, wherever they stand.
fn fill_in(value: &mut Value, webhook: &WebhookAddress) {
    match value {
        Value::String(text) => {
            *text = text
                .replace("${IOT_BRIDGE_URL}", webhook.bridge.as_str().trim_end_matches('/'))
                .replace("${THINGSBOARD_WEBHOOK_SECRET}", webhook.secret.expose_secret());
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill_in(item, webhook)),
        Value::Object(fields) => fields.values_mut().for_each(|field| fill_in(field, webhook)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_chain_is_whole() {
        let mut file = object(RULE_CHAIN);
        let nodes = file["metadata"]["nodes"].as_array().unwrap().len() as u64;
        for connection in file["metadata"]["connections"].as_array().unwrap() {
            let (from, to) = (
                connection["fromIndex"].as_u64().unwrap(),
                connection["toIndex"].as_u64().unwrap(),
            );
            assert!(from < nodes && to < nodes, "{connection}");
        }
        let webhook = WebhookAddress {
            bridge: "https://bridge.example:8000/".parse().unwrap(),
            secret: "s3cret".into(),
        };

        fill_in(file.get_mut("metadata").unwrap(), &webhook);

        let text = file["metadata"].to_string();
        assert!(text.contains("\"https://bridge.example:8000/webhooks/thingsboard\""));
        assert!(text.contains("\"Bearer s3cret\"") && !text.contains("${"), "{text}");
    }

    #[test]
    fn the_profile_provisions_nobody() {
        let profile = object(DEVICE_PROFILE);
        assert_eq!(profile["provisionType"], "DISABLED");
        assert_eq!(profile["profileData"]["provisionConfiguration"]["type"], "DISABLED");
    }
}
