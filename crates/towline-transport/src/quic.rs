//! QUIC: one bidirectional stream is one connection (docs/wire F36).
//!
//! TLS inside is as on `tls`: the same certificates, trust and suites, and no application protocol is
//! negotiated. Early data is never sent or taken.

mod dial;
mod error;
mod listen;
mod session;
mod shared;
mod stream;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{EndpointConfig, TransportConfig, VarInt};
use socket2::{Domain, Protocol, Socket, Type};

pub(crate) use dial::{Connected, DialError, Dialled, dial};
pub(crate) use listen::{Found, Listener, Opened, Unopened};
pub(crate) use session::QuicSession;
pub use shared::SharedUdp;
use stream::Stream;

/// Both sides give an unused connection up after this time, as the original does.
const IDLE: Duration = Duration::from_secs(30);
/// A client keeps its connection alive by a packet after so much silence.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How much may come before it is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Windows {
    /// Of one stream, in bytes.
    stream: u32,
    /// Of all streams of a connection together.
    connection: u32,
    /// Streams that the other side may have open at once.
    streams: u32,
}

/// Streams that are connections of their own: mostly one.
pub(crate) const CONNECTIONS: Windows = Windows {
    stream: 6 << 20,
    connection: 15 << 20,
    streams: 100,
};
/// Streams of a session: all of both sides have room, so that one that is not read holds up no other.
pub(crate) const SESSIONS: Windows = Windows {
    stream: 2 << 20,
    connection: 512 << 20,
    streams: 128,
};
/// What we keep of what was not acknowledged yet, in bytes, for all streams of a connection together.
const SEND_WINDOW: u64 = 8 << 20;
/// The only code that either side closes with.
const CLOSED: VarInt = VarInt::from_u32(0);

/// How packets are sent. The end that dialled keeps the connection alive, and so does one that is to notice when the other
/// is gone (docs/wire K6).
fn transport(dialled: bool, dead_peer: Option<Duration>, windows: Windows) -> Arc<TransportConfig> {
    let idle = dead_peer.map_or(IDLE, |limit| limit.min(IDLE));
    let keep_alive = (dialled || dead_peer.is_some()).then(|| KEEP_ALIVE.min(idle / 3));
    let mut config = TransportConfig::default();
    config
        .max_idle_timeout(idle.try_into().ok())
        .keep_alive_interval(keep_alive)
        .stream_receive_window(VarInt::from_u32(windows.stream))
        .receive_window(VarInt::from_u32(windows.connection))
        .send_window(SEND_WINDOW)
        .max_concurrent_bidi_streams(VarInt::from_u32(windows.streams))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None);
    Arc::new(config)
}

/// A UDP socket with its task. `[::]` takes IPv4 as well.
fn endpoint(
    address: SocketAddr,
    server: Option<quinn::ServerConfig>,
) -> io::Result<quinn::Endpoint> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.bind(&address.into())?;
    quinn::Endpoint::new(
        EndpointConfig::default(),
        server,
        socket.into(),
        Arc::new(quinn::TokioRuntime),
    )
}

/// `udp://127.0.0.1:59705`, as the original writes it; IPv4 in its own form.
pub(crate) fn text(address: SocketAddr) -> String {
    format!(
        "udp://{}",
        SocketAddr::new(address.ip().to_canonical(), address.port())
    )
}
