//! Bytes through the tunnel: all of them, in order, and no more in memory than a window.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::stage::{EchoDevice, address, greet, join, soon, start_hub, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::timeout_at;
use wireguard::{EmbeddedHub, TunnelListener, TunnelStream};

const BULK_PORT: u16 = 7000;

/// Three megabytes in which every four bytes are different.
fn bulk() -> Vec<u8> {
    (0_u32..750_000).flat_map(u32::to_le_bytes).collect()
}

async fn connect(hub: &EmbeddedHub, device: &EchoDevice) -> (TunnelStream, TunnelStream, TunnelListener) {
    let listener = device.tunnel.listen(BULK_PORT).unwrap();
    let (dialled, accepted) = tokio::join!(hub.dial(device.address, BULK_PORT, soon()), listener.accept());
    (dialled.unwrap(), accepted.unwrap(), listener)
}

#[tokio::test]
async fn bulk_arrives_byte_for_byte_in_both_directions_at_once() {
    let hub = start_hub().await;
    let device = join(&hub, 2).await;
    let (hub_end, device_end, _listener) = connect(&hub, &device).await;

    let mut transfers = JoinSet::new();
    for end in [hub_end, device_end] {
        transfers.spawn(async move {
            let (mut reader, mut writer) = tokio::io::split(end);
            let bytes = bulk();
            let mut received = Vec::new();
            let send = async {
                writer.write_all(&bytes).await.unwrap();
                writer.shutdown().await.unwrap();
            };
            tokio::join!(send, async { reader.read_to_end(&mut received).await.unwrap() });
            received == bytes
        });
    }

    assert_eq!(timeout_at(soon(), transfers.join_all()).await.unwrap(), [true, true]);
}

#[tokio::test]
async fn a_reader_that_does_not_read_stops_the_writer_and_loses_nothing() {
    let hub = start_hub().await;
    let device = join(&hub, 2).await;
    let (mut hub_end, mut device_end, _listener) = connect(&hub, &device).await;
    let accepted = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&accepted);
    let mut writer = JoinSet::new();
    writer.spawn(async move {
        for part in bulk().chunks(1000) {
            device_end.write_all(part).await.unwrap();
            counter.fetch_add(part.len(), Ordering::Relaxed);
        }
    });

    // Two buffers of 64 KiB, and nothing else takes anything: the writer stands still.
    until("both buffers are full", async || {
        accepted.load(Ordering::Relaxed) >= 130_000
    })
    .await;
    assert_eq!(greet(&hub, &device).await, "hello"); // time passes, and the tunnel is alive
    let while_nobody_read = accepted.load(Ordering::Relaxed);
    assert!(while_nobody_read <= 2 * 65_535, "{while_nobody_read}");

    let mut received = Vec::new();
    let mut part = [0; 7];
    hub_end.read_exact(&mut part).await.unwrap();
    received.extend(part);
    timeout_at(soon(), hub_end.read_to_end(&mut received))
        .await
        .unwrap()
        .unwrap();
    assert!(received == bulk());
}

#[tokio::test]
async fn one_side_may_close_while_the_other_still_sends() {
    let hub = start_hub().await;
    let device = join(&hub, 2).await;
    let (mut hub_end, mut device_end, _listener) = connect(&hub, &device).await;

    hub_end.write_all(b"question").await.unwrap();
    hub_end.shutdown().await.unwrap();
    let mut question = String::new();
    device_end.read_to_string(&mut question).await.unwrap();
    device_end.write_all(b"answer").await.unwrap();
    drop(device_end);
    let mut answer = String::new();
    hub_end.read_to_string(&mut answer).await.unwrap();

    assert_eq!((question.as_str(), answer.as_str()), ("question", "answer"));
    assert_eq!(
        hub_end.write_all(b"more").await.unwrap_err().kind(),
        ErrorKind::BrokenPipe
    );
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_the_writer() {
    let hub = start_hub().await;
    let device = join(&hub, 2).await;
    let (hub_end, mut device_end, _listener) = connect(&hub, &device).await;
    device_end.write_all(b"unread").await.unwrap();

    drop(hub_end);

    let endless = async { while device_end.write_all(&[0; 1000]).await.is_ok() {} };
    timeout_at(soon(), endless).await.unwrap();
}

#[tokio::test]
async fn connections_beyond_the_backlog_wait_and_are_served() {
    let hub = start_hub().await;
    let device = join(&hub, 2).await;
    let listener = device.tunnel.listen(BULK_PORT).unwrap();
    let hub = Arc::new(hub);
    let mut diallers = JoinSet::new();
    for _ in 0..24 {
        let hub = Arc::clone(&hub);
        diallers.spawn(async move { hub.dial(address(2), BULK_PORT, soon()).await.unwrap() });
    }

    let mut accepted = Vec::new();
    for _ in 0..24 {
        accepted.push(timeout_at(soon(), listener.accept()).await.unwrap().unwrap());
    }

    assert_eq!(diallers.join_all().await.len(), 24);
}

#[tokio::test]
async fn a_port_is_listened_on_once_and_refuses_when_its_listener_is_gone() {
    let hub = start_hub().await;
    let device = join(&hub, 2).await;
    let listener = device.tunnel.listen(BULK_PORT).unwrap();
    assert_eq!(
        device.tunnel.listen(BULK_PORT).unwrap_err().kind(),
        ErrorKind::AddrInUse
    );

    drop(listener);

    assert!(hub.dial(device.address, BULK_PORT, soon()).await.is_err());
    device.tunnel.listen(BULK_PORT).unwrap();
}

#[tokio::test]
async fn a_tunnel_that_is_closed_ends_what_waits_for_it() {
    let hub = start_hub().await;
    let device = join(&hub, 2).await;
    let (_hub_end, mut device_end, listener) = connect(&hub, &device).await;

    device.tunnel.close().await;

    assert_eq!(
        device_end.read_u8().await.unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    assert_eq!(listener.accept().await.unwrap_err().kind(), ErrorKind::NotConnected);
    assert!(device.tunnel.listen(1).is_err());
}
