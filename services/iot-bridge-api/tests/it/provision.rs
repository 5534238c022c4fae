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
