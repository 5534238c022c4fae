//! Two hosts with a cable between them instead of WireGuard, and a clock that jumps.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gotatun::packet::PacketBufPool;
use gotatun::tun::{IpRecv as _, IpSend as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::{FromStack, Stack, ToStack, TunnelStream};

const LEFT: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 1);
const RIGHT: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 2);
const PORT: u16 = 7681;

/// More than any timer of a connection.
const LONG: Duration = Duration::from_secs(200);

struct Hosts {
    left: Stack,
    right: Stack,
    is_cut: Arc<AtomicBool>,
    _cable: JoinSet<()>,
}

#[tokio::test(start_paused = true)]
async fn a_connection_ends_when_its_peer_vanishes() {
    let hosts = connect_hosts();
    let (mut left, mut right) = open(&hosts).await;

    hosts.is_cut.store(true, Ordering::Relaxed);
    let cut = Instant::now();

    let (left, right) = tokio::join!(timeout(LONG, left.read_u8()), timeout(LONG, right.read_u8()));
    assert!(left.unwrap().is_err() && right.unwrap().is_err());
    assert!(cut.elapsed() >= Duration::from_mins(1), "{:?}", cut.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_lives_on() {
    let hosts = connect_hosts();
    let (mut left, mut right) = open(&hosts).await;

    sleep(Duration::from_hours(1)).await;

    left.write_all(b"!").await.unwrap();
    assert_eq!(right.read_u8().await.unwrap(), b'!');
}

#[tokio::test(start_paused = true)]
async fn a_writer_waits_for_a_slow_reader_as_long_as_it_lives() {
    let hosts = connect_hosts();
    let (mut left, mut right) = open(&hosts).await;
    let sent: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let expected = sent.clone();
    let mut writer = JoinSet::new();
    writer.spawn(async move { left.write_all(&sent).await.unwrap() });

    sleep(Duration::from_mins(10)).await;
    let mut received = Vec::new();
    timeout(LONG, right.read_to_end(&mut received)).await.unwrap().unwrap();

    assert!(received == expected);
}

#[tokio::test(start_paused = true)]
async fn a_closed_connection_leaves_nothing_behind() {
    let hosts = connect_hosts();
    let (left, mut right) = open(&hosts).await;

    drop(left);
    assert_eq!(right.read(&mut [0]).await.unwrap(), 0);
    drop(right);

    sleep(Duration::from_secs(1)).await;
    assert_eq!((sockets(&hosts.left), sockets(&hosts.right)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_closes_does_not_hold_a_connection() {
    let hosts = connect_hosts();
    let (left, _right) = open(&hosts).await;

    drop(left);

    sleep(LONG).await;
    assert_eq!(sockets(&hosts.left), 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_written_before_the_end_arrives() {
    let hosts = connect_hosts();
    let (mut left, mut right) = open(&hosts).await;
    right.write_all(b"keys that nobody reads").await.unwrap();
    sleep(Duration::from_secs(1)).await;

    left.write_all(b"last words").await.unwrap();
    drop(left);

    let mut words = [0; 10];
    right.read_exact(&mut words).await.unwrap();
    assert_eq!(&words, b"last words");
}

#[tokio::test(start_paused = true)]
async fn connections_that_nobody_accepts_are_forgotten_with_their_listener() {
    let hosts = connect_hosts();
    let listener = hosts.right.listen(PORT).unwrap();
    let stream = dial(&hosts).await;

    drop(listener);

    sleep(Duration::from_secs(1)).await;
    assert_eq!(sockets(&hosts.right), 0);
    drop(stream);
}

fn connect_hosts() -> Hosts {
    let (left, to_left, from_left) = Stack::start(LEFT);
    let (right, to_right, from_right) = Stack::start(RIGHT);
    let is_cut = Arc::new(AtomicBool::new(false));
    let mut cable = JoinSet::new();
    cable.spawn(carry(from_left, to_right, Arc::clone(&is_cut)));
    cable.spawn(carry(from_right, to_left, Arc::clone(&is_cut)));
    Hosts {
        left,
        right,
        is_cut,
        _cable: cable,
    }
}

async fn carry(mut from: FromStack, mut to: ToStack, is_cut: Arc<AtomicBool>) {
    let mut pool = PacketBufPool::new(0);
    while let Ok(packets) = from.recv(&mut pool).await {
        for packet in packets.collect::<Vec<_>>() {
            if !is_cut.load(Ordering::Relaxed) {
                to.send(packet).await.unwrap();
            }
        }
    }
}

async fn dial(hosts: &Hosts) -> TunnelStream {
    let mut stream = hosts.left.connect(SocketAddrV4::new(RIGHT, PORT)).unwrap();
    stream.connected().await.unwrap();
    stream
}

async fn open(hosts: &Hosts) -> (TunnelStream, TunnelStream) {
    let listener = hosts.right.listen(PORT).unwrap();
    let (left, right) = tokio::join!(dial(hosts), listener.accept());
    (left, right.unwrap())
}

fn sockets(stack: &Stack) -> usize {
    stack.shared.lock().count()
}
