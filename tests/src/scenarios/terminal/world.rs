//! Everything that stands between a person and a shell, and what an administrator does to it.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use common::domain::{Clock as _, SystemClock, UpdateLedger as _, UpdateReport, UpdateStatus, VpnNetwork};
use jsonwebtoken::decode_header;
use oidc_issuer::client::{self, Login, Tokens};
use reqwest::Client;
use secrecy::ExposeSecret as _;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::browser::{Browser, Tab};
use super::device::ShellDevice;
use super::passage::Passages;
use super::proxy::{self, Proxy, ProxySettings};
use super::{LINES, READER_RESTS};
use crate::failure::{Failure, ensure};
use crate::real::keycloak::{Keycloak, Person, patient_client};
use crate::real::postgres::Postgres;
use crate::real::random_password;
use crate::scenarios::ttyd::terminal::Terminal;
use crate::scenarios::wireguard::bridge::Bridge;
use crate::scenarios::wireguard::hub::HubProcess;
use crate::scenarios::wireguard::namespace::Namespace;
use crate::scenarios::wireguard::underlay::Underlay;
use crate::stage::{Stage, say};

/// The device's name; its namespace and its interface are called so as well.
pub(super) const DEVICE: &str = "iott-dev1";

const CLIENT: &str = "terminal-widget";
const NETWORK: &str = "10.8.0.0/16";
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 2);

/// How soon a session ends that its person may not have any more.
const RIGHTS_GO_WITHIN: Duration = Duration::from_mins(1);

/// In the order in which it has to go.
pub(super) struct World {
    browser: Browser,
    proxy: Proxy,
    port: u16,
    people: Vec<(Person, String)>,
    keycloak: Keycloak,
    http: Client,
    bridge: Bridge,
    _device: ShellDevice,
    _passages: Passages,
    _hub: HubProcess,
    _postgres: Postgres,
    _namespaces: [Arc<Namespace>; 2],
    _underlay: Underlay,
    _folder: TempDir,
}

impl World {
    pub(super) async fn build(stage: &Stage) -> Result<Self, Failure> {
        let entrance = TcpListener::bind("127.0.0.1:0").await?;
        let port = entrance.local_addr()?.port();
        let public_url = format!("http://localhost:{port}");
        let keycloak = stage
            .step("Keycloak starts with our realm", Keycloak::start(stage, &public_url))
            .await?;
        let people = stage
            .step("an administrator creates four people", people(&keycloak))
            .await?;
        let postgres = stage.step("PostgreSQL starts", Postgres::start(stage)).await?;
        let network = VpnNetwork::new(NETWORK.parse()?, None)?;
        let folder = tempfile::tempdir()?;
        let underlay = Underlay::new("iott-net").await?;
        let hub_namespace = underlay.attach("iott-hub", 1).await?;
        let device_namespace = underlay.attach(DEVICE, 11).await?;
        let mut hub = HubProcess::new(stage, folder.path(), network)?.with_interface("iott-hub0");
        stage
            .step("the hub process comes up", hub.start(&hub_namespace))
            .await?;
        let device = joins(stage, &hub, &device_namespace, network);
        let device = stage.step("a device joins with a genuine ttyd", device).await?;
        let bridge = Bridge::start(&hub.socket(), network, &postgres.url()).await?;
        bridge.enroll(&device.tunnel).await?;
        let mut passages = Passages::new(&hub_namespace);
        passages.inwards(entrance, proxy::PORT);
        passages.outwards(port_of(&postgres.url())?).await?;
        passages.outwards(port_of(keycloak.jwks_url()?.as_str())?).await?;
        let settings = ProxySettings {
            public_url,
            database_url: postgres.url(),
            issuer: keycloak.issuer()?.to_string(),
            jwks_url: keycloak.jwks_url()?.to_string(),
            frame_ancestors: "http://localhost:*".to_owned(),
            subnet: NETWORK.to_owned(),
        };
        let mut proxy = Proxy::new(stage, &hub_namespace, settings)?;
        let http = patient_client()?;
        let started = proxy.start(&http);
        stage.step("terminal-proxy starts beside the hub", started).await?;
        Ok(Self {
            browser: Browser::start(stage)?,
            proxy,
            port,
            people,
            keycloak,
            http,
            bridge,
            _device: device,
            _passages: passages,
            _hub: hub,
            _postgres: postgres,
            _namespaces: [hub_namespace, device_namespace],
            _underlay: underlay,
            _folder: folder,
        })
    }

    /// The browser of a person who is there.
    pub(super) fn tab(&self, who: &'static str) -> Tab<'_> {
        self.browser.tab(who)
    }

    /// Logs a person in, in a browser of their own.
    pub(super) async fn enters(&self, who: &'static str) -> Result<Tab<'_>, Failure> {
        let (person, _) = self.person(who)?;
        let tab = self.browser.tab(who);
        let with = json!([self.public_url(), person.username, person.password.expose_secret()]);
        tab.does("logIn", with).await?;
        tab.does("seesDevice", json!([DEVICE])).await?;
        Ok(tab)
    }

    /// The same way as a program: what a browser's driver would lose is counted here.
    pub(super) async fn sends_everything(&self) -> Result<(), Failure> {
        let token = self.log_in("olga").await?.access_token;
        let address = (Ipv4Addr::LOCALHOST, self.port).into();
        let mut terminal = Terminal::open(address, &format!("/terminal/{DEVICE}"), token.expose_secret()).await?;
        terminal.type_line("stty -echo; PS1=; echo re''ady").await?;
        terminal.until("ready\r\n").await?;
        terminal
            .type_line(&format!("echo beg''in; seq 1 {LINES}; echo e''nd"))
            .await?;
        terminal.until("begin\r\n").await?;
        tokio::time::sleep(READER_RESTS).await;
        let mut expected: String = (1..=LINES)
            .flat_map(|number| [number.to_string(), "\r\n".to_owned()])
            .collect();
        expected.push_str("end\r\n");
        ensure(expected.len() > 20_000_000, "the output is too short for this test")?;
        terminal.expect(expected.as_bytes()).await
    }

    /// What the update server says is on record as the bridge puts it there.
    pub(super) async fn announces_an_update(&self, olga: &Tab<'_>) -> Result<(), Failure> {
        for (status, is_shown) in [(UpdateStatus::Running, true), (UpdateStatus::Finished, false)] {
            let report = UpdateReport {
                action_id: 1,
                device_id: DEVICE.parse()?,
                status,
                subject: Some("firmware 2".to_owned()),
                changed_at: SystemClock.now(),
            };
            self.bridge.store.record_updates(&[report], None, &[]).await?;
            olga.does("seesUpdate", json!([is_shown])).await?;
        }
        Ok(())
    }

    /// The browser knows her, so nothing is asked.
    pub(super) async fn opens_in_a_frame(&self, olga: &Tab<'_>) -> Result<(), Failure> {
        let widget = format!("{}/ui/terminal/{DEVICE}", self.public_url());
        olga.does("opensFrame", json!([widget])).await?;
        olga.does("framePrints", json!(["echo framed-$((30+3))", "framed-33"]))
            .await?;
        olga.does("closesFrame", json!([])).await.map(drop)
    }

    pub(super) async fn rotates_keys(&self, who: &'static str) -> Result<(), Failure> {
        let olga = self.tab(who);
        let old = key_id(&self.log_in(who).await?)?;
        self.keycloak.admin.add_signing_key().await?;
        let new = key_id(&self.log_in(who).await?)?;
        ensure(new != old, "Keycloak still signs with the old key")?;
        olga.prints("kept=new-key; echo set-$kept.", "set-new-key.").await?;
        // The page comes back with a token of the new key, to the same shell.
        olga.does("reload", json!([])).await?;
        olga.prints("echo with-$kept.", "with-new-key.").await?;
        self.keycloak.admin.disable_key(&old).await?;
        olga.prints("echo still-$((40+2))", "still-42").await
    }

    pub(super) async fn restarts(&mut self, who: &'static str) -> Result<(), Failure> {
        self.browser
            .tab(who)
            .prints("kept=lost; echo set-$kept.", "set-lost.")
            .await?;
        self.proxy.end().await?;
        self.proxy.start(&self.http).await?;
        let tab = self.browser.tab(who);
        tab.does("comesBack", json!([])).await?;
        tab.sees("new shell").await?;
        tab.prints("echo kept-$kept.", "kept-.").await
    }

    /// Somebody works on the device, and an administrator does something to them.
    pub(super) async fn ends_while_typing(
        &self,
        who: &'static str,
        what: impl AsyncFnOnce(&Self, &str) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let tab = self.enters(who).await?;
        tab.does("openDevice", json!([DEVICE])).await?;
        let (_, id) = self.person(who)?;
        what(self, id).await?;
        let end = tab
            .does("typesUntilTheEnd", json!([RIGHTS_GO_WITHIN.as_secs()]))
            .await?;
        say(format_args!("  after {} s: {}", end["seconds"], end["notice"]));
        tab.does("close", json!([])).await.map(drop)
    }

    pub(super) async fn disables(&self, id: &str) -> Result<(), Failure> {
        self.keycloak.admin.disable_person(id).await
    }

    pub(super) async fn takes_the_role_away(&self, id: &str) -> Result<(), Failure> {
        self.keycloak.admin.take_role(id, "fleet-operator").await
    }

    async fn log_in(&self, who: &str) -> Result<Tokens, Failure> {
        let (person, _) = self.person(who)?;
        let login = Login {
            issuer: &self.keycloak.issuer()?,
            client_id: CLIENT,
            redirect_uri: &format!("{}/ui/callback", self.public_url()),
            username: person.username,
            password: &person.password,
        };
        Ok(client::login(&self.http, &login).await?)
    }

    fn public_url(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    fn person(&self, who: &str) -> Result<&(Person, String), Failure> {
        let mut people = self.people.iter();
        let person = people.find(|(person, _)| person.username == who);
        person.ok_or_else(|| Failure::new(format_args!("there is no {who}")))
    }
}

async fn people(keycloak: &Keycloak) -> Result<Vec<(Person, String)>, Failure> {
    let mut people = Vec::new();
    for (username, role) in [
        ("olga", "fleet-operator"),
        ("otto", "fleet-operator"),
        ("rita", "fleet-operator"),
        ("ada", "fleet-admin"),
    ] {
        let person = Person {
            username,
            password: random_password()?,
            role,
            groups: &["/fleets/default"],
        };
        let id = keycloak.admin.create_person(&person).await?;
        people.push((person, id));
    }
    Ok(people)
}

async fn joins(
    stage: &Stage,
    hub: &HubProcess,
    namespace: &Arc<Namespace>,
    network: VpnNetwork,
) -> Result<ShellDevice, Failure> {
    let address = network.device_address(ADDRESS);
    let address = address.ok_or_else(|| Failure::new("the network has no such address"))?;
    ShellDevice::join(stage, namespace, address, hub.key().await?).await
}

fn port_of(url: &str) -> Result<u16, Failure> {
    let port = url::Url::parse(url)?.port();
    port.ok_or_else(|| Failure::new(format_args!("{url} names no port")))
}

fn key_id(tokens: &Tokens) -> Result<String, Failure> {
    let key_id = decode_header(tokens.access_token.expose_secret())?.kid;
    key_id.ok_or_else(|| Failure::new("the token does not name its key"))
}
