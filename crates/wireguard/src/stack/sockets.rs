use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::vec;

use gotatun::packet::{Ip, Packet};
use smoltcp::iface::{Config, Interface, PollResult, SocketHandle, SocketSet};
use smoltcp::socket::AnySocket as _;
use smoltcp::socket::tcp;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};
use tokio::sync::Notify;

use super::Pause;
use super::connection::{Opening, is_complete, is_over, new_socket};
use super::wire::Wire;

/// How long a connection whose stream is gone may take to deliver what is left and to close.
const FAREWELL: Duration = Duration::from_secs(30);

/// Connections that may wait to be accepted; the next one is not answered, and its sender repeats it.
const BACKLOG: usize = 16;

/// The ports of outgoing connections (RFC 6335 §6).
const EPHEMERAL_PORTS: RangeInclusive<u16> = 49_152..=65_535;

/// The host's interface and all of its sockets.
pub(super) struct Sockets {
    interface: Interface,
    set: SocketSet<'static>,
    wire: Wire,
    address: Ipv4Addr,
    next_port: u16,
    backlogs: HashMap<u16, Backlog>,
    /// Sockets whose stream is gone, until they are closed on both sides.
    orphans: Vec<Orphan>,
    closed: bool,
}

struct Orphan {
    handle: SocketHandle,
    deadline: Instant,
}

/// The connections to one port that nobody has accepted yet.
struct Backlog {
    pending: Vec<SocketHandle>,
    ready: Arc<Notify>,
}

impl fmt::Debug for Sockets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Sockets")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Sockets {
    pub(super) fn new(address: Ipv4Addr, mut wire: Wire) -> Self {
        let mut seed = [0; 10];
        aws_lc_rs::rand::fill(&mut seed).expect("the operating system gives randomness");
        let [port_high, port_low, sequence @ ..] = seed;

        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = u64::from_ne_bytes(sequence);
        let mut interface = Interface::new(config, &mut wire, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            addresses
                .push(IpCidr::new(address.into(), 32))
                .expect("there is room for one address");
        });
        interface
            .routes_mut()
            .add_default_ipv4_route(address)
            .expect("there is room for one route");
        Self {
            interface,
            set: SocketSet::new(vec![]),
            wire,
            address,
            next_port: EPHEMERAL_PORTS.start() | u16::from_ne_bytes([port_high, port_low]),
            backlogs: HashMap::new(),
            orphans: Vec::new(),
            closed: false,
        }
    }

    /// Takes in packets, lets every socket send what it can, and says how long nothing more is due.
    pub(super) fn poll(&mut self, packets: vec::Drain<'_, Packet<Ip>>, now: Instant) -> Pause {
        for packet in packets {
            self.take_in(packet, now);
        }
        self.abort_hopeless_orphans(now);
        while self.interface.poll_egress(now, &mut self.wire, &mut self.set) == PollResult::SocketStateChanged {}
        self.forget_closed_orphans();
        self.wake_listeners();

        if self.wire.is_full() {
            return Pause::UntilWireHasRoom;
        }
        let next_timer = self.interface.poll_at(now, &self.set);
        match self
            .orphans
            .iter()
            .map(|orphan| orphan.deadline)
            .chain(next_timer)
            .min()
        {
            Some(at) => Pause::Timer((at.max(now) - now).into()),
            None => Pause::Endless,
        }
    }

    pub(super) fn socket(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.set.get_mut(handle)
    }

    /// Begins to connect.
    pub(super) fn connect(&mut self, remote: SocketAddrV4) -> io::Result<SocketHandle> {
        if self.closed {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let port = self.free_port().ok_or(io::ErrorKind::AddrInUse)?;
        let mut socket = new_socket();
        socket
            .connect(self.interface.context(), remote, (self.address, port))
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        Ok(self.set.add(socket))
    }

    /// Begins to answer connections to a port; `ready` is notified when one is complete.
    pub(super) fn listen(&mut self, port: u16, ready: Arc<Notify>) -> io::Result<()> {
        if self.closed {
            return Err(io::ErrorKind::NotConnected.into());
        }
        if port == 0 || self.backlogs.contains_key(&port) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        self.backlogs.insert(
            port,
            Backlog {
                pending: Vec::new(),
                ready,
            },
        );
        Ok(())
    }

    /// Ends a listener and the connections that nobody has accepted.
    pub(super) fn stop_listening(&mut self, port: u16, now: Instant) {
        for handle in self
            .backlogs
            .remove(&port)
            .into_iter()
            .flat_map(|backlog| backlog.pending)
        {
            self.socket(handle).abort();
            self.orphans.push(Orphan { handle, deadline: now });
        }
    }

    /// Takes the next complete connection to a port.
    pub(super) fn accept(&mut self, port: u16) -> io::Result<Option<SocketHandle>> {
        if self.closed {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let Some(backlog) = self.backlogs.get_mut(&port) else {
            return Ok(None);
        };
        let complete = |handle: &SocketHandle| is_complete(self.set.get(*handle));
        Ok(backlog
            .pending
            .iter()
            .position(complete)
            .map(|index| backlog.pending.remove(index)))
    }

    /// Takes over a socket whose stream is gone: delivers what is left, then closes.
    pub(super) fn release(&mut self, handle: SocketHandle, now: Instant) {
        self.socket(handle).close();
        self.orphans.push(Orphan {
            handle,
            deadline: now + FAREWELL,
        });
    }

    pub(super) fn abort_connections_with(&mut self, remote: Ipv4Addr) {
        for socket in self
            .set
            .iter_mut()
            .filter_map(|(_, socket)| tcp::Socket::downcast_mut(socket))
        {
            if socket
                .remote_endpoint()
                .is_some_and(|endpoint| endpoint.addr == IpAddress::Ipv4(remote))
            {
                socket.abort();
            }
        }
    }

    /// Resets every connection; nothing works afterwards.
    pub(super) fn close(&mut self) {
        self.closed = true;
        for socket in self
            .set
            .iter_mut()
            .filter_map(|(_, socket)| tcp::Socket::downcast_mut(socket))
        {
            socket.abort();
        }
        for backlog in self.backlogs.values() {
            backlog.ready.notify_one();
        }
    }

    /// Returns how many sockets there are.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.set.iter().count()
    }

    /// Gives one packet to smoltcp, which wants a socket of its own for each connection to come.
    fn take_in(&mut self, packet: Packet<Ip>, now: Instant) {
        let bytes: Packet<[u8]> = packet.into();
        let opening = Opening::read(&bytes).filter(|opening| !self.is_known(opening));
        let port = opening
            .map(|opening| opening.local_port)
            .filter(|port| self.backlogs.contains_key(port));
        if port.is_some_and(|port| self.backlogs[&port].pending.len() >= BACKLOG) {
            return;
        }
        let new = port.map(|port| (port, self.add_listening(port)));

        if let Ok(packet) = bytes.try_into_ip() {
            self.wire.incoming.push_back(packet);
        }
        self.interface.poll_ingress_single(now, &mut self.wire, &mut self.set);

        let Some((port, handle)) = new else {
            return;
        };
        // A segment that only looked like an opening (bad checksum) leaves the socket as it was.
        if self.socket(handle).is_listening() {
            self.set.remove(handle);
        } else if let Some(backlog) = self.backlogs.get_mut(&port) {
            backlog.pending.push(handle);
        }
    }

    fn add_listening(&mut self, port: u16) -> SocketHandle {
        let mut socket = new_socket();
        socket
            .listen((self.address, port))
            .expect("a new socket can listen on a port that is not 0");
        self.set.add(socket)
    }

    /// Whether it is a repetition, for a socket that exists.
    fn is_known(&self, opening: &Opening) -> bool {
        self.tcp().any(|socket| {
            socket.remote_endpoint() == Some(opening.remote)
                && socket
                    .local_endpoint()
                    .is_some_and(|local| local.port == opening.local_port)
        })
    }

    fn tcp(&self) -> impl Iterator<Item = &tcp::Socket<'static>> {
        self.set.iter().filter_map(|(_, socket)| tcp::Socket::downcast(socket))
    }

    fn free_port(&mut self) -> Option<u16> {
        let used: HashSet<u16> = self
            .tcp()
            .filter_map(tcp::Socket::local_endpoint)
            .map(|local| local.port)
            .collect();
        let after = self.next_port..=*EPHEMERAL_PORTS.end();
        let port = after.chain(EPHEMERAL_PORTS).find(|port| !used.contains(port))?;
        self.next_port = port.checked_add(1).unwrap_or(*EPHEMERAL_PORTS.start());
        Some(port)
    }

    /// Data that nobody will read is answered with a reset (RFC 9293 §3.6.1), and so is a peer that
    /// never closes.
    fn abort_hopeless_orphans(&mut self, now: Instant) {
        for orphan in &self.orphans {
            let socket = self.set.get_mut::<tcp::Socket<'_>>(orphan.handle);
            let is_unread = socket.can_recv() && socket.send_queue() == 0;
            if socket.is_open() && (is_unread || orphan.deadline <= now) {
                socket.abort();
            }
        }
    }

    fn forget_closed_orphans(&mut self) {
        let set = &mut self.set;
        self.orphans.retain(|orphan| {
            let closed = is_over(set.get(orphan.handle));
            if closed {
                set.remove(orphan.handle);
            }
            !closed
        });
    }

    fn wake_listeners(&mut self) {
        for backlog in self.backlogs.values_mut() {
            let (over, alive): (Vec<_>, Vec<_>) = backlog
                .pending
                .drain(..)
                .partition(|handle| is_over(self.set.get(*handle)));
            backlog.pending = alive;
            for handle in over {
                self.set.remove(handle);
            }
            if backlog.pending.iter().any(|handle| is_complete(self.set.get(*handle))) {
                backlog.ready.notify_one();
            }
        }
    }
}
