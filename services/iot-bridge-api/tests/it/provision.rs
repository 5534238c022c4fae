use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fakes::hawkbit::FakeHawkbit;
use fakes::thingsboard::{Behaviour, FakeThingsBoard};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thingsboard_is_prepared_and_can_be_again() {
    let thingsboard = FakeThingsBoard::start().await;
    thingsboard.behaves(Behaviour::Good);
    let environment = [
        ("THINGSBOARD_URL", thingsboard.url()),
        ("THINGSBOARD_API_KEY", FakeThingsBoard::API_KEY),
        ("THINGSBOARD_WEBHOOK_SECRET", "the-secret-of-the-rule-chain"),
    ];
    let arguments = ["provision", "thingsboard", "--bridge-url", "http://bridge.example:8000"];
    let mut ids = Vec::new();
    for _ in 0..2 {
        let output = run(&arguments, &environment);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let chain = thingsboard.rule_chain("iot-bridge device").unwrap();
        let profile = thingsboard.device_profile("iot-bridge").unwrap();
        assert_eq!(profile["defaultRuleChainId"], chain["id"]);
        assert_eq!(profile["provisionType"], "DISABLED");
        let nodes = chain["metadata"]["nodes"].as_array().unwrap();
        let webhook = nodes.iter().find(|node| node["name"] == "iot-bridge webhook").unwrap();
        let configuration = &webhook["configuration"];
        assert_eq!(
            configuration["restEndpointUrlPattern"],
            "http://bridge.example:8000/webhooks/thingsboard"
        );
        assert_eq!(
            configuration["headers"]["Authorization"],
            "Bearer the-secret-of-the-rule-chain"
        );
        ids.push((chain["id"].clone(), profile["id"].clone()));
    }
    assert_eq!(ids[0], ids[1]);
    let without_secret = run(&arguments, &environment[..2]);
    assert_eq!(without_secret.status.code(), Some(78));
}

/// From a ThingsBoard that was just installed to one that works with us, and again, with the same result.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_thingsboard_gets_its_tenant_people_key_login_and_every_file() {
    let thingsboard = FakeThingsBoard::start().await;
    thingsboard.behaves(Behaviour::Good);
    let folder = tempfile::tempdir().unwrap();
    let (arguments, key) = fresh_order(folder.path());
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let password = folder.path().join("tenant").display().to_string();
    let environment = [
        ("THINGSBOARD_URL", thingsboard.url()),
        ("THINGSBOARD_USER", "bridge@lab.example"),
        ("THINGSBOARD_PASSWORD_FILE", password.as_str()),
        ("THINGSBOARD_WEBHOOK_SECRET", "the-secret-of-the-rule-chain"),
    ];
    let mut seen = Vec::new();
    for _ in 0..2 {
        let output = run(&arguments, &environment);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said.lines().count(), 9, "{said}");
        assert!(thingsboard.accepts(FakeThingsBoard::SYSADMIN, "the password of the sysadmin"));
        assert!(thingsboard.accepts("bridge@lab.example", "the password of the tenant"));
        let client = thingsboard.kept("clients", "Keycloak").unwrap();
        assert_eq!(client["mapperConfig"]["basic"]["customerNamePattern"], "Fleet");
        assert_eq!(client["mapperConfig"]["basic"]["tenantNamePattern"], "Lab");
        assert_eq!(
            client["authorizationUri"],
            "https://login.example/realms/iot/protocol/openid-connect/auth"
        );
        assert_eq!(
            client["accessTokenUri"],
            "http://keycloak:8080/realms/iot/protocol/openid-connect/token"
        );
        let domain = thingsboard.kept("domains", "things.example").unwrap();
        assert_eq!(domain["oauth2ClientIds"], client["id"]["id"]);
        let widget = thingsboard.kept("widgetTypes", "Terminal").unwrap();
        assert_eq!(widget["descriptor"]["url"], "https://terminal.example/ui/");
        let dashboard = thingsboard.kept("dashboards", "Fleet").unwrap();
        assert_eq!(dashboard["assignedCustomers"][0]["title"], "Fleet");
        let rule = thingsboard.kept("rules", "iot-bridge alarms").unwrap();
        let target = thingsboard.kept("targets", "iot-bridge administrators").unwrap();
        assert_eq!(rule["recipientsConfig"]["escalationTable"]["0"][0], target["id"]["id"]);
        let template = thingsboard.kept("templates", "iot-bridge alarm").unwrap();
        assert_eq!(rule["templateId"], template["id"]);
        let kept = [
            "tenants/Lab",
            "users/bridge@lab.example",
            "dashboards/Fleet",
            "ruleChains/iot-bridge device",
        ];
        let ids = kept.map(|it| {
            let (list, name) = it.split_once('/').unwrap();
            let lists = ["tenants", "users", "dashboards", "ruleChains"];
            let list = lists.into_iter().find(|known| *known == list).unwrap();
            thingsboard.kept(list, name).unwrap()["id"].clone()
        });
        seen.push((ids, client["id"].clone(), fs::read_to_string(&key).unwrap()));
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
}

/// What is ordered for a ThingsBoard that was just installed, with its secrets and files in a folder; and where the API
/// key is to be.
fn fresh_order(folder: &Path) -> (Vec<String>, PathBuf) {
    let path = |name: &str| folder.join(name).display().to_string();
    for (name, secret) in [
        ("sysadmin", "the password of the sysadmin"),
        ("tenant", "the password of the tenant"),
        ("client", "the secret of the client"),
    ] {
        fs::write(folder.join(name), secret).unwrap();
    }
    let order = [
        ["--bridge-url", "http://bridge.example:8000"],
        ["--terminal-url", "https://terminal.example/"],
        ["--files", &files(folder)],
        ["--sysadmin-password-file", &path("sysadmin")],
        ["--tenant", "Lab"],
        ["--api-key-file", &path("key")],
        ["--login-issuer", "https://login.example/realms/iot"],
        ["--login-internal-issuer", "http://keycloak:8080/realms/iot"],
        ["--login-client-secret-file", &path("client")],
        ["--login-domain", "things.example"],
    ];
    let order = [&["provision", "thingsboard"][..], &order.concat()].concat();
    (order.into_iter().map(str::to_owned).collect(), folder.join("key"))
}

/// What is imported: files of ours, a widget and a dashboard.
fn files(folder: &Path) -> String {
    let files = folder.join("files");
    fs::create_dir(&files).unwrap();
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/thingsboard");
    for name in [
        "rule-chain.json",
        "device-profile.json",
        "oauth2-client.json",
        "notification.json",
    ] {
        fs::copy(ours.join(name), files.join(name)).unwrap();
    }
    let widget = json!({ "fqn": "iot.terminal", "name": "Terminal",
                         "descriptor": { "url": "${TERMINAL_PUBLIC_URL}/ui/" } });
    fs::write(files.join("widget.json"), widget.to_string()).unwrap();
    let dashboard = json!({ "title": "Fleet", "configuration": { "widgets": {} } });
    fs::write(files.join("dashboard.json"), dashboard.to_string()).unwrap();
    files.display().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hawkbit_is_prepared() {
    let hawkbit = FakeHawkbit::start().await;
    hawkbit.behaves(Behaviour::Good);
    let environment = [
        ("HAWKBIT_URL", hawkbit.url()),
        ("HAWKBIT_USER", FakeHawkbit::USER),
        ("HAWKBIT_PASSWORD", FakeHawkbit::PASSWORD),
    ];
    let output = run(&["provision", "hawkbit"], &environment);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(hawkbit.setting("authentication.targettoken.enabled"), Some(json!(true)));
    assert_eq!(run(&["provision", "hawkbit"], &[]).status.code(), Some(78));
}

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_iot-bridge-api"))
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .env("LOG_FILTER", "error")
        .output()
        .unwrap()
}
