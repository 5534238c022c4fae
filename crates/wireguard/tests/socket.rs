//! The hub's socket: who may call, what may be said, and what happens when the other end dies.
#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]

use std::collections::BTreeSet;
use std::error::Error as _;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use common::chassis::shutdown::Shutdown;
use common::domain::{Timestamp, VpnNetwork, WireguardKey, WireguardPrivateKey};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use wireguard::{Callers, Hub, HubError, HubHealth, HubSocket, PeerConfig, PeerFault, PeerStatus, SocketHub};

#[tokio::test]
async fn the_socket_is_for_its_owner_and_group_only() {
    let stage = Stage::start(StaticHub::default()).await;

    let mode = std::fs::metadata(&stage.path).unwrap().permissions().mode();

    assert_eq!(mode & 0o777, 0o660);
}

#[tokio::test]
async fn a_process_of_another_user_gets_no_answer() {
    let stage = Stage::start_for(StaticHub::default(), BTreeSet::new()).await;

    let result = stage.client().identity().await;

    assert!(matches!(result, Err(HubError::Unavailable { .. })), "{result:?}");
}

#[tokio::test]
async fn a_hub_that_comes_back_is_spoken_to_again() {
    let stage = Stage::start(StaticHub::default()).await;
    let client = stage.client();
    let key = client.identity().await.unwrap();

    assert!(stage.shutdown.finish(Duration::from_secs(5)).await);
    let away = client.identity().await;
    let hub = StaticHub {
        key,
        ..StaticHub::default()
    };
    let _back = Stage::start_in(hub, stage.folder, own_uid()).await;

    assert!(matches!(away, Err(HubError::Unavailable { .. })), "{away:?}");
    assert_eq!(client.identity().await.unwrap(), key);
}

#[tokio::test]
async fn a_socket_that_somebody_answers_on_is_not_taken() {
    let stage = Stage::start(StaticHub::default()).await;

    let error = HubSocket::bind(&stage.path, None).await.unwrap_err();

    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    stage.client().identity().await.unwrap();
}

#[tokio::test]
async fn an_address_that_no_device_may_have_does_not_reach_the_hub() {
    let stage = Stage::start(StaticHub::default()).await;
    let key = WireguardPrivateKey::generate().public_key();
    for address in ["10.8.0.1", "192.168.1.1", "0.0.0.0"] {
        let answer = stage
            .say(&format!(
                r#"{{"ensure":{{"peers":[{{"key":"{key}","address":"{address}"}}]}}}}"#
            ))
            .await;
        assert!(answer.contains("not one of a device"), "{answer}");
    }
    let answer = stage
        .say(&format!(
            r#"{{"ensure":{{"peers":[{{"key":"{key}","address":"10.8.0.2"}}]}}}}"#
        ))
        .await;
    assert_eq!(answer, r#""done""#);
}

#[tokio::test]
async fn a_change_that_is_meant_for_another_hub_does_not_reach_this_one() {
    let stage = Stage::start(StaticHub::default()).await;
    let other = WireguardPrivateKey::generate().public_key();
    for question in [
        format!(r#"{{"ensure":{{"hub":"{other}","peers":[{{"key":"{other}","address":"10.8.0.2"}}]}}}}"#),
        format!(r#"{{"remove":{{"hub":"{other}","keys":["{other}"]}}}}"#),
    ] {
        let answer = stage.say(&question).await;
        assert!(answer.contains("wrong_identity"), "{answer}");
    }
}

#[tokio::test]
async fn a_network_that_cannot_be_is_not_served() {
    let stage = Stage::start(StaticHub::default()).await;
    for prefixes in [
        "[]",
        r#"[["8.8.8.0",24]]"#,
        r#"[["10.8.0.0",24],["10.8.0.0",16]]"#,
        r#"[["10.8.0.0",33]]"#,
    ] {
        let question = format!(r#"{{"serve":{{"hub":"10.8.0.1","prefixes":{prefixes}}}}}"#);
        let answer = stage.say(&question).await;
        assert!(answer.contains("unavailable"), "{prefixes}: {answer}");
    }
    let wider = network().and("10.9.0.0/24".parse().unwrap()).unwrap();
    stage.client().serve(wider).await.unwrap();
}

#[tokio::test]
async fn nonsense_is_answered_and_not_believed() {
    let stage = Stage::start(StaticHub::default()).await;
    for question in [
        "",
        "{",
        "null",
        r#""stop""#,
        r#"{"ensure":{"peers":[{"key":"AAAA","address":"10.8.0.2"}]}}"#,
        "\u{7f}\0",
    ] {
        let answer = stage.say(question).await;
        assert!(
            answer.starts_with(r#"{"failed":{"unavailable":"#),
            "{question:?}: {answer}"
        );
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_off_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let client = SocketHub::new(&path, network());

    let cut_off = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
        stream.write_all(br#"{"peers":[{"key":"#).await.unwrap();
    };
    let (result, ()) = tokio::join!(client.peers(), cut_off);

    assert!(matches!(result, Err(HubError::Unavailable { .. })), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_never_answers_costs_its_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.sock");
    let _silent = UnixListener::bind(&path).unwrap();

    let result = SocketHub::new(&path, network()).health().await;

    assert!(matches!(result, Err(HubError::Unavailable { .. })), "{result:?}");
}

#[tokio::test]
async fn every_failure_arrives_as_what_it_was() {
    let key = || WireguardPrivateKey::generate().public_key();
    let address = network().device_address(Ipv4Addr::new(10, 8, 0, 9)).unwrap();
    let failures: [fn(WireguardKey, common::domain::VpnAddress) -> HubError; 5] = [
        |expected, _| HubError::WrongIdentity {
            expected,
            found: expected,
        },
        |key, _| HubError::NotApplied { keys: vec![key] },
        |holder, address| HubError::AddressTaken { address, holder },
        |key, _| HubError::InvalidPeer {
            key,
            fault: PeerFault::OwnKey,
        },
        |_, _| HubError::Unavailable {
            source: "the interface is down".into(),
        },
    ];
    for failure in failures {
        let key = key();
        let stage = Stage::start(StaticHub {
            failure: Some((failure, key, address)),
            ..StaticHub::default()
        })
        .await;

        let error = stage.client().remove_peers(&[key]).await.unwrap_err();

        let expected = failure(key, address);
        assert_eq!(error.to_string(), expected.to_string());
        assert_eq!(std::mem::discriminant(&error), std::mem::discriminant(&expected));
        assert_eq!(
            error.source().map(ToString::to_string),
            expected.source().map(ToString::to_string)
        );
    }
}

#[tokio::test]
async fn a_list_of_sixty_thousand_peers_arrives() {
    let network = VpnNetwork::new("10.8.0.0/16".parse().unwrap(), None).unwrap();
    let key = WireguardPrivateKey::generate().public_key();
    let peers: Vec<_> = network
        .device_addresses()
        .take(60_000)
        .map(|address| busy_peer(key, address.ip()))
        .collect();
    let stage = Stage::start(StaticHub {
        peers,
        ..StaticHub::default()
    })
    .await;

    let list = stage.client().peers().await.unwrap();

    assert_eq!(list.len(), 60_000);
    assert_eq!(list[0], busy_peer(key, Ipv4Addr::new(10, 8, 0, 2)));
    assert_eq!(stage.client().health().await.unwrap().peers, 60_000);
}

fn busy_peer(key: WireguardKey, address: Ipv4Addr) -> PeerStatus {
    PeerStatus {
        key,
        allowed_addresses: vec![ipnet::Ipv4Net::from(address).into()],
        last_handshake: Some(Timestamp::UNIX_EPOCH + Duration::from_millis(1_790_000_000_123)),
        endpoint: "203.0.113.7:51820".parse().ok(),
        received_bytes: u64::MAX,
        sent_bytes: 123_456_789,
    }
}

type Failure = (
    fn(WireguardKey, common::domain::VpnAddress) -> HubError,
    WireguardKey,
    common::domain::VpnAddress,
);

/// A hub that does nothing, and has what it was told to have.
struct StaticHub {
    key: WireguardKey,
    peers: Vec<PeerStatus>,
    failure: Option<Failure>,
}

impl Default for StaticHub {
    fn default() -> Self {
        Self {
            key: WireguardPrivateKey::generate().public_key(),
            peers: Vec::new(),
            failure: None,
        }
    }
}

impl StaticHub {
    fn result(&self) -> Result<(), HubError> {
        self.failure
            .map_or(Ok(()), |(failure, key, address)| Err(failure(key, address)))
    }
}

#[async_trait]
impl Hub for StaticHub {
    async fn identity(&self) -> Result<WireguardKey, HubError> {
        Ok(self.key)
    }

    async fn ensure_peers(&self, _: &[PeerConfig]) -> Result<(), HubError> {
        self.result()
    }

    async fn remove_peers(&self, _: &[WireguardKey]) -> Result<(), HubError> {
        self.result()
    }

    async fn peers(&self) -> Result<Vec<PeerStatus>, HubError> {
        Ok(self.peers.clone())
    }

    async fn health(&self) -> Result<HubHealth, HubError> {
        Ok(HubHealth {
            identity: self.key,
            peers: self.peers.len(),
        })
    }

    async fn serve(&self, _network: VpnNetwork) -> Result<(), HubError> {
        Ok(())
    }
}

/// A socket with a hub behind it.
struct Stage {
    folder: Arc<TempDir>,
    path: PathBuf,
    shutdown: Shutdown,
}

impl Stage {
    async fn start(hub: StaticHub) -> Self {
        Self::start_for(hub, own_uid()).await
    }

    async fn start_for(hub: StaticHub, uids: BTreeSet<u32>) -> Self {
        Self::start_in(hub, Arc::new(tempfile::tempdir().unwrap()), uids).await
    }

    async fn start_in(hub: StaticHub, folder: Arc<TempDir>, uids: BTreeSet<u32>) -> Self {
        let path = folder.path().join("hub.sock");
        let shutdown = Shutdown::new();
        let socket = HubSocket::bind(&path, None).await.unwrap();
        socket.serve(
            Arc::new(hub),
            Callers {
                uids,
                network: network().into(),
            },
            &shutdown,
        );
        Self { folder, path, shutdown }
    }

    fn client(&self) -> SocketHub {
        SocketHub::new(&self.path, network())
    }

    async fn say(&self, question: &str) -> String {
        say(&self.path, question).await
    }
}

async fn say(path: &Path, question: &str) -> String {
    let mut stream = UnixStream::connect(path).await.unwrap();
    stream.write_all(question.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn own_uid() -> BTreeSet<u32> {
    [rustix::process::getuid().as_raw()].into()
}

fn network() -> VpnNetwork {
    VpnNetwork::new("10.8.0.0/24".parse().unwrap(), None).unwrap()
}
