//! What the products beside us are given: JSON that they take, and no right too many.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::{json, names, read, root, services, strings, text};

#[test]
fn people_of_the_realm_never_administer_the_tenant() {
    let client = json("deploy/thingsboard/oauth2-client.json");
    let mapping = &client["mapperConfig"]["basic"];
    assert_eq!(mapping["customerNamePattern"], "Fleet");
    assert!(client["clientSecret"].is_null());
}

#[test]
fn a_realm_brings_no_secret_of_its_own_and_no_login_by_password() {
    let realm = json("deploy/keycloak/realm.json");
    assert_eq!(realm["users"], serde_json::json!([]));
    let platform = json("deploy/keycloak/platform.json");
    let clients = [&realm, &platform].map(|file| file["clients"].as_array().unwrap());
    for client in clients.into_iter().flatten() {
        assert_eq!(client["directAccessGrantsEnabled"], false, "{client}");
        assert_eq!(client["implicitFlowEnabled"], false, "{client}");
        assert_eq!(
            client["publicClient"] == false,
            is_placeholder(&client["secret"]),
            "{client}"
        );
        for address in strings(&client["redirectUris"]) {
            assert!(!address.starts_with('*') && !address.contains("//*"), "{client}");
        }
    }
    for person in platform["users"].as_array().unwrap() {
        // An import does not look at `temporary`.
        assert_eq!(
            person["requiredActions"],
            serde_json::json!(["UPDATE_PASSWORD"]),
            "{person}"
        );
        for credential in person["credentials"].as_array().unwrap() {
            assert!(is_placeholder(&credential["value"]), "{person}");
        }
    }
}

#[test]
fn every_placeholder_of_the_realm_is_given_a_value() {
    let services = services();
    let command = strings(&services["provision-keycloak"]["command"]);
    let given = |name: &str| {
        let ends = [format!("--set={name}="), format!("--set-file={name}=/secrets/")];
        command
            .iter()
            .any(|argument| ends.iter().any(|end| argument.starts_with(end)))
    };
    for file in ["realm.json", "platform.json"] {
        assert!(command.contains(&format!("--realm-file=/deploy/{file}")));
        let text = read(&format!("deploy/keycloak/{file}"));
        for name in text.split("${").skip(1).map(|rest| rest.split('}').next().unwrap()) {
            assert!(given(name), "{file}: nothing stands for {name}");
        }
    }
}

#[test]
fn the_rule_chain_leads_from_node_to_node() {
    let chain = json("deploy/thingsboard/rule-chain.json");
    let nodes = chain["metadata"]["nodes"].as_array().unwrap();
    let mut reached = BTreeSet::from([chain["metadata"]["firstNodeIndex"].as_u64().unwrap()]);
    for connection in chain["metadata"]["connections"].as_array().unwrap() {
        let (from, to) = (connection["fromIndex"].as_u64(), connection["toIndex"].as_u64());
        assert!(nodes.len() as u64 > from.unwrap().max(to.unwrap()), "{connection}");
        reached.insert(to.unwrap());
    }
    assert_eq!(reached.len(), nodes.len(), "a node that nothing leads to");
    let names: BTreeSet<_> = nodes.iter().map(|node| text(&node["name"])).collect();
    assert_eq!(names.len(), nodes.len(), "two nodes of one name");
    for alarm in ["High CPU", "Offline", "Update failed", "Certificate near its end"] {
        assert!(names.contains(format!("raise {alarm}").as_str()), "no alarm `{alarm}`");
        assert!(
            names.contains(format!("clear {alarm}").as_str()),
            "`{alarm}` never ends"
        );
    }
}

#[test]
fn the_widget_and_the_dashboard_fit_each_other() {
    let widget = json("deploy/thingsboard/terminal-widget.json");
    let descriptor = &widget["descriptor"];
    assert_eq!(descriptor["type"], "latest");
    let defaults: Value = serde_json::from_str(text(&descriptor["defaultConfig"])).unwrap();
    assert_eq!(defaults["settings"]["proxyUrl"], "${TERMINAL_PUBLIC_URL}");
    assert!(text(&descriptor["controllerScript"]).contains("/ui/terminal/"));

    let dashboard = json("deploy/thingsboard/dashboards/fleet.json");
    let configuration = &dashboard["configuration"];
    let widgets = configuration["widgets"].as_object().unwrap();
    let mut placed = BTreeSet::new();
    for state in configuration["states"].as_object().unwrap().values() {
        placed.extend(names(&state["layouts"]["main"]["widgets"]));
    }
    assert_eq!(placed, widgets.keys().cloned().collect());
    let own = format!("tenant.{}", text(&widget["fqn"]));
    assert!(widgets.values().any(|widget| widget["typeFullFqn"] == own));
    for widget in widgets.values() {
        let config = &widget["config"];
        let sources = config["datasources"].as_array().unwrap().iter();
        for source in sources.chain([&config["alarmSource"]].into_iter().filter(|it| !it.is_null())) {
            let alias = text(&source["entityAliasId"]);
            assert!(!configuration["entityAliases"][alias].is_null(), "no alias {alias}");
        }
    }
}

#[test]
fn the_dashboards_of_grafana_ask_the_store_that_is_there() {
    let source = read("deploy/grafana/provisioning/datasources/influxdb.yml");
    assert!(source.contains("uid: influx") && source.contains("token: $INFLUX_TOKEN"));
    let metrics = [
        read("services/terminal-proxy/src/session/metrics.rs"),
        read("crates/common/src/chassis/metrics.rs"),
        read("services/iot-bridge-api/src/app/backlog.rs"),
    ]
    .concat();
    let mut uids = BTreeSet::new();
    for file in fs::read_dir(root().join("deploy/grafana/dashboards")).unwrap() {
        let dashboard: Value = serde_json::from_str(&fs::read_to_string(file.unwrap().path()).unwrap()).unwrap();
        assert!(dashboard["id"].is_null());
        assert!(
            uids.insert(text(&dashboard["uid"]).to_owned()),
            "two dashboards of one uid"
        );
        for panel in dashboard["panels"].as_array().unwrap() {
            assert_eq!(panel["datasource"]["uid"], "influx");
            for target in panel["targets"].as_array().unwrap() {
                let query = text(&target["query"]);
                assert!(query.contains("v.timeRangeStart"), "{query}");
                our_metrics_exist(query, &metrics);
            }
        }
    }
    assert_eq!(uids.len(), 3);
}

/// A query for our own metrics names one that a service registers.
fn our_metrics_exist(query: &str, metrics: &str) {
    if !query.contains("terminal_proxy") && !query.contains("iot_bridge_api") {
        return;
    }
    for field in query.split("r._field == \"").skip(1) {
        let field = field.split('"').next().unwrap();
        let registered = field.trim_end_matches("_total").trim_end_matches("_seconds");
        assert!(
            metrics.contains(&format!("\"{registered}\"")),
            "nobody counts `{field}`"
        );
    }
}

fn is_placeholder(value: &Value) -> bool {
    let text = text(value);
    text.starts_with("${") && text.ends_with('}')
}
