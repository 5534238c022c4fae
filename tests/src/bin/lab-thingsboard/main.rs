//! ThingsBoard for `deploy/lab/run`, where its server cannot be had: the fake's REST interface, with genuine Mosquitto
//! as the MQTT transport: its log, and the messages that `mosquitto_sub` prints, come on standard input. Of the rule
//! chain that was provisioned it plays the webhook: with the address and the secret
//! that lie in it, three tries and no more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::error::Error;
use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use fakes::thingsboard::FakeThingsBoard;
use reqwest::Client;
use serde_json::Value;
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt as _, BufReader};

/// The node of the rule chain that tells the bridge.
const WEBHOOK_NODE: &str = "org.thingsboard.rule.engine.rest.TbRestApiCallNode";

/// The topic of what devices say of themselves.
const TELEMETRY: &str = "v1/devices/me/telemetry";

#[derive(Debug, Parser)]
struct Config {
    /// Where the REST interface listens.
    #[arg(long, default_value = "0.0.0.0:8080")]
    listen: String,
    /// The name of the rule chain.
    #[arg(long, default_value = "iot-bridge device")]
    rule_chain: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let config = Config::parse();
    let platform = FakeThingsBoard::start_at(&config.listen).await;
    let client = Client::builder()
        .no_proxy()
        .timeout(Duration::from_millis(1500))
        .build()?;
    say(&format!("the fake's REST interface is on {}", config.listen));
    let mut lab = Lab {
        platform,
        client,
        rule_chain: config.rule_chain,
        connected: BTreeMap::new(),
        told: BTreeSet::new(),
        senders: VecDeque::new(),
    };
    let mut lines = BufReader::new(File::open("/dev/stdin").await?).lines();
    while let Some(line) = lines.next_line().await? {
        lab.hear(&line).await;
    }
    Err("Mosquitto has ended".into())
}

struct Lab {
    platform: FakeThingsBoard,
    client: Client,
    rule_chain: String,
    /// The common name of each connected client's certificate.
    connected: BTreeMap<String, String>,
    /// The devices that are connected as the bridge knows it.
    told: BTreeSet<String>,
    /// Who sent the messages that come next.
    senders: VecDeque<String>,
}

impl Lab {
    async fn hear(&mut self, line: &str) {
        if let Some(message) = line.strip_prefix(TELEMETRY) {
            let sender = self.senders.pop_front();
            return self.keep(sender.as_deref(), message.trim()).await;
        }
        let Some((_, log)) = line.split_once(": ") else { return };
        if log.starts_with("New client connected") {
            if let Some((client, name)) = new_client(log) {
                self.connected.insert(client, name.clone());
                self.tell(&name, "CONNECT_EVENT").await;
            }
        } else if let Some(client) = after(log, "Received PUBLISH from ") {
            if log.contains(TELEMETRY) {
                self.senders.extend(self.connected.get(client).cloned());
            }
        } else if let Some(client) = gone_client(log)
            && let Some(name) = self.connected.remove(client)
        {
            self.tell(&name, "DISCONNECT_EVENT").await;
        }
    }

    /// A device that ThingsBoard does not know is not let in; Mosquitto has only seen that its chain is right.
    async fn keep(&mut self, sender: Option<&str>, message: &str) {
        let Some(name) = sender else { return };
        if !self.told.contains(name) {
            // ThingsBoard would have let it in only now.
            self.tell(name, "CONNECT_EVENT").await;
        }
        let values = serde_json::from_str::<Value>(message);
        let (Some(_), Ok(Value::Object(values))) = (self.platform.device(name), values) else {
            return say(&format!("refused telemetry of {name}"));
        };
        say(&format!("telemetry of {name}: {message}"));
        let now = milliseconds();
        self.platform.change(name, |device| {
            let points = values.into_iter().map(|(key, value)| ((now, key), value));
            device.telemetry.extend(points);
        });
    }

    async fn tell(&mut self, name: &str, event: &str) {
        if self.platform.device(name).is_none() {
            return say(&format!("{name} is not let in: no device has its certificate"));
        }
        let Some((url, secret)) = self.webhook() else {
            return say(&format!("{event} of {name}: there is no rule chain yet"));
        };
        let mut body = FakeThingsBoard::connect_event(name, milliseconds());
        body["event"] = event.into();
        for attempt in 1..=3 {
            let request = self.client.post(&url).header("authorization", &secret).json(&body);
            match request.send().await {
                Ok(answer) if answer.status().is_success() => {
                    self.told.remove(name);
                    if event == "CONNECT_EVENT" {
                        self.told.insert(name.to_owned());
                    }
                    return say(&format!("{event} of {name}: told"));
                }
                Ok(answer) => say(&format!("{event} of {name}: {} at try {attempt}", answer.status())),
                Err(error) => say(&format!("{event} of {name}: {error} at try {attempt}")),
            }
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    }

    /// What the node of the provisioned rule chain says.
    fn webhook(&self) -> Option<(String, String)> {
        let chain = self.platform.rule_chain(&self.rule_chain)?;
        let nodes = chain["metadata"]["nodes"].as_array()?;
        let node = nodes.iter().find(|node| node["type"] == WEBHOOK_NODE)?;
        let configuration = &node["configuration"];
        let url = configuration["restEndpointUrlPattern"].as_str()?;
        let secret = configuration["headers"]["Authorization"].as_str()?;
        Some((url.to_owned(), secret.to_owned()))
    }
}

/// Takes client and common name from `… as CLIENT (p2, c1, k60, u'NAME').`
fn new_client(log: &str) -> Option<(String, String)> {
    let client = after(log, " as ")?;
    let name = log.split("u'").nth(1)?.split('\'').next()?;
    Some((client.to_owned(), name.to_owned()))
}

fn gone_client(log: &str) -> Option<&str> {
    let client = after(log, "Client ")?;
    ["disconnected", "closed its connection", "exceeded timeout"]
        .iter()
        .any(|end| log.contains(end))
        .then_some(client)
}

fn after<'a>(log: &'a str, words: &str) -> Option<&'a str> {
    log.split_once(words)?.1.split_whitespace().next()
}

#[expect(clippy::disallowed_methods, reason = "the lab runs in real time")]
fn milliseconds() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
}

fn say(line: &str) {
    // A log that cannot be written stops nobody.
    writeln!(std::io::stdout(), "{line}").unwrap_or_default();
}
