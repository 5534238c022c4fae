//! TCP over a tunnel, without the kernel: one smoltcp interface, driven by one task.
//!
//! Streams work on the sockets directly, under a lock that is held for microseconds, and then wake
//! the task, which lets smoltcp send. The task sleeps until a packet comes, a stream did something,
//! or smoltcp's next timer is due; an idle stack does nothing.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use gotatun::packet::{Ip, Packet};
use smoltcp::time::Instant as StackInstant;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

mod connection;
mod listener;
mod sockets;
mod stream;
mod wire;

#[cfg(test)]
mod tests;

pub use listener::TunnelListener;
use sockets::Sockets;
pub use stream::TunnelStream;
pub(crate) use wire::{FromStack, ToStack};

/// Shortest sleep between two looks at the timers; they are never so precise that less would help.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// One host inside the tunnel. Dropping it resets its connections and ends its task.
#[derive(Debug)]
pub(crate) struct Stack {
    shared: Arc<Shared>,
    refused: Arc<AtomicU64>,
    _task: JoinSet<()>,
}

/// What the stack, its task and its streams have in common.
#[derive(Debug)]
struct Shared {
    sockets: Mutex<Sockets>,
    /// A stream did something that the task has to act on.
    changed: Notify,
    started: Instant,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Sockets> {
        self.sockets.lock().expect("no code panics while it holds the sockets")
    }

    fn now(&self) -> StackInstant {
        let elapsed = self.started.elapsed().as_micros();
        StackInstant::from_micros(i64::try_from(elapsed).expect("a process runs less than 292,000 years"))
    }
}

impl Stack {
    /// Starts a host with this address, and returns the two ends for gotatun.
    pub(crate) fn start(address: Ipv4Addr) -> (Self, ToStack, FromStack) {
        let (to_stack, from_stack, inbound, wire) = wire::wire(address);
        let outgoing = wire.outgoing.clone();
        let shared = Arc::new(Shared {
            sockets: Mutex::new(Sockets::new(address, wire)),
            changed: Notify::new(),
            started: Instant::now(),
        });
        let mut task = JoinSet::new();
        task.spawn(run(Arc::clone(&shared), inbound, outgoing));
        (
            Self {
                shared,
                refused: to_stack.refused(),
                _task: task,
            },
            to_stack,
            from_stack,
        )
    }

    /// Begins to connect; [`TunnelStream::connected`] waits for the outcome.
    pub(crate) fn connect(&self, remote: SocketAddrV4) -> io::Result<TunnelStream> {
        let handle = self.shared.lock().connect(remote)?;
        self.shared.changed.notify_one();
        Ok(TunnelStream::new(Arc::clone(&self.shared), handle))
    }

    /// Listens on a port of this host.
    pub(crate) fn listen(&self, port: u16) -> io::Result<TunnelListener> {
        TunnelListener::new(Arc::clone(&self.shared), port)
    }

    /// Resets every connection with a host.
    pub(crate) fn abort_connections_with(&self, remote: Ipv4Addr) {
        self.shared.lock().abort_connections_with(remote);
        self.shared.changed.notify_one();
    }

    /// Resets every connection and refuses new ones.
    pub(crate) fn close(&self) {
        self.shared.lock().close();
        self.shared.changed.notify_one();
    }

    /// Returns how many packets came that were for another host.
    pub(crate) fn refused_packets(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.close();
    }
}

/// The stack's task: until gotatun lets go of its end.
async fn run(shared: Arc<Shared>, mut inbound: mpsc::Receiver<Packet<Ip>>, outgoing: mpsc::Sender<Packet<Ip>>) {
    let mut batch = Vec::with_capacity(wire::QUEUE);
    loop {
        let pause = shared.lock().poll(batch.drain(..), shared.now());
        tokio::select! {
            received = inbound.recv_many(&mut batch, wire::QUEUE) => {
                if received == 0 {
                    shared.lock().close();
                    return;
                }
            }
            () = shared.changed.notified() => {}
            () = pause.over(&outgoing) => {}
        }
    }
}

/// What ends the wait, if nothing else happens before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pause {
    /// smoltcp's next timer.
    Timer(Duration),
    /// No timer runs.
    Endless,
    /// smoltcp has more to send than the wire takes.
    UntilWireHasRoom,
}

impl Pause {
    async fn over(self, outgoing: &mpsc::Sender<Packet<Ip>>) {
        match self {
            Self::Timer(delay) => tokio::time::sleep(delay.max(SHORTEST_PAUSE)).await,
            Self::Endless => std::future::pending().await,
            Self::UntilWireHasRoom => drop(outgoing.reserve().await),
        }
    }
}
