//! The wire between WireGuard (gotatun) and TCP (smoltcp): two bounded queues of IP packets.

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::BytesMut;
use gotatun::packet::{Ip, Packet, PacketBufPool};
use gotatun::tun::{IpRecv, IpSend, MtuWatcher};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;
use tokio::sync::mpsc;

use crate::MTU;

/// Packets in each queue. More than the 47 segments of a full 64 KiB window; a full queue makes the
/// sender wait, it drops nothing.
pub(super) const QUEUE: usize = 64;

/// Makes the wire of a host with this address: the ends for gotatun, and those for the stack.
pub(super) fn wire(address: Ipv4Addr) -> (ToStack, FromStack, mpsc::Receiver<Packet<Ip>>, Wire) {
    let (to_stack, inbound) = mpsc::channel(QUEUE);
    let (outgoing, from_stack) = mpsc::channel(QUEUE);
    (
        ToStack {
            address,
            packets: to_stack,
            refused: Arc::default(),
        },
        FromStack {
            packets: from_stack,
            batch: Vec::new(),
        },
        inbound,
        Wire {
            incoming: VecDeque::new(),
            outgoing,
        },
    )
}

/// Where gotatun puts the packets that it has decrypted.
#[derive(Debug)]
pub(crate) struct ToStack {
    address: Ipv4Addr,
    packets: mpsc::Sender<Packet<Ip>>,
    refused: Arc<AtomicU64>,
}

impl ToStack {
    /// Returns the count of packets that were for somebody else.
    pub(crate) fn refused(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.refused)
    }
}

impl IpSend for ToStack {
    async fn send(&mut self, packet: Packet<Ip>) -> io::Result<()> {
        // The isolation of devices from each other: nothing is taken that is not for this very host.
        if packet.destination() != Some(IpAddr::V4(self.address)) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        // The stack ends only together with the tunnel; then there is nobody to tell.
        self.packets.send(packet).await.or(Ok(()))
    }
}

/// Where gotatun gets the packets that it shall encrypt.
pub(crate) struct FromStack {
    packets: mpsc::Receiver<Packet<Ip>>,
    batch: Vec<Packet<Ip>>,
}

impl IpRecv for FromStack {
    async fn recv<'a>(
        &'a mut self,
        _pool: &mut PacketBufPool,
    ) -> io::Result<impl Iterator<Item = Packet<Ip>> + Send + 'a> {
        if self.packets.recv_many(&mut self.batch, QUEUE).await == 0 {
            pending::<()>().await; // the stack has ended and gotatun will be stopped
        }
        Ok(self.batch.drain(..))
    }

    fn mtu(&self) -> MtuWatcher {
        MtuWatcher::new(MTU)
    }
}

/// The network device that smoltcp sees.
pub(super) struct Wire {
    pub(super) incoming: VecDeque<Packet<Ip>>,
    pub(super) outgoing: mpsc::Sender<Packet<Ip>>,
}

impl Wire {
    /// Whether smoltcp has to wait until gotatun has taken a packet.
    pub(super) fn is_full(&self) -> bool {
        self.outgoing.capacity() == 0
    }
}

impl Device for Wire {
    type RxToken<'a> = Received;
    type TxToken<'a> = Transmit<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Received, Transmit<'_>)> {
        let packet = self.incoming.pop_front()?;
        Some((Received(packet.into()), Transmit(&self.outgoing)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Transmit<'_>> {
        (!self.is_full()).then_some(Transmit(&self.outgoing))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MTU.into();
        capabilities
    }
}

/// One packet on its way into smoltcp.
pub(super) struct Received(Packet<[u8]>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, process: F) -> R {
        process(&self.0)
    }
}

/// The right to send one packet.
pub(super) struct Transmit<'a>(&'a mpsc::Sender<Packet<Ip>>);

impl TxToken for Transmit<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, fill: F) -> R {
        let mut buffer = BytesMut::zeroed(length);
        let result = fill(&mut buffer);
        if let Ok(packet) = Packet::from_bytes(buffer).try_into_ip() {
            // A full queue means an answer to an unexpected packet, at most a reset: it may be lost.
            drop(self.0.try_send(packet));
        }
        result
    }
}
