use smoltcp::socket::tcp;
use smoltcp::time::Duration;
use smoltcp::wire::{IpEndpoint, IpProtocol, Ipv4Packet, TcpPacket};

/// Bytes of a connection that may wait in each direction: the largest window without scaling. With
/// larger ones a burst overflows the UDP socket's buffer, and throughput falls to a hundredth.
const BUFFER: usize = 65_535;

/// How often a silent peer is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// After this long without any answer a peer has vanished, and the connection ends. It must be more
/// than a minute: that is how rarely smoltcp asks a peer whose window is closed.
const VANISHED: Duration = Duration::from_secs(90);

/// A connection's socket; its buffers are most of what a connection costs.
pub(super) fn new_socket() -> tcp::Socket<'static> {
    let buffer = || tcp::SocketBuffer::new(vec![0; BUFFER]);
    let mut socket = tcp::Socket::new(buffer(), buffer());
    socket.set_nagle_enabled(false); // a keystroke is sent at once
    socket.set_keep_alive(Some(KEEPALIVE));
    socket.set_timeout(Some(VANISHED));
    socket
}

/// Whether the handshake is done and the connection not reset.
pub(super) fn is_complete(socket: &tcp::Socket<'_>) -> bool {
    socket.is_active() && socket.state() != tcp::State::SynReceived
}

/// Whether nothing more will be sent. TIME-WAIT is not kept: a repeated FIN gets a reset, which ends
/// the other side as well.
pub(super) fn is_over(socket: &tcp::Socket<'_>) -> bool {
    match socket.state() {
        tcp::State::TimeWait => true,
        tcp::State::Closed => socket.remote_endpoint().is_none(), // the reset has been sent
        tcp::State::Listen
        | tcp::State::SynSent
        | tcp::State::SynReceived
        | tcp::State::Established
        | tcp::State::FinWait1
        | tcp::State::FinWait2
        | tcp::State::CloseWait
        | tcp::State::Closing
        | tcp::State::LastAck => false,
    }
}

/// The first segment of a connection to this host.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opening {
    pub(super) remote: IpEndpoint,
    pub(super) local_port: u16,
}

impl Opening {
    pub(super) fn read(packet: &[u8]) -> Option<Self> {
        let ip = Ipv4Packet::new_checked(packet).ok()?;
        let tcp = TcpPacket::new_checked(ip.payload()).ok()?;
        let is_tcp = ip.next_header() == IpProtocol::Tcp;
        (is_tcp && tcp.syn() && !tcp.ack() && !tcp.rst()).then(|| Self {
            remote: (ip.src_addr(), tcp.src_port()).into(),
            local_port: tcp.dst_port(),
        })
    }
}
