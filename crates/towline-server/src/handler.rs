//! What an application does with bytes and packets, whatever the strategy.

mod closures;
mod packets;
#[cfg(feature = "tower")]
mod tower;

use std::io;

use bytes::Bytes;

use crate::socket::{CloseReason, Socket};

pub use closures::{PacketFn, ReadFn};
pub use packets::{PacketState, Packets};
#[cfg(feature = "tower")]
pub use tower::TowerService;

/// Takes what is read from connections, as it comes. For packets, see [`PacketHandler`].
///
/// Calls for one connection never overlap, and come in the order of its bytes. While one is awaited,
/// nothing more is read from that connection, and its peer has to wait: a slow handler holds up nobody
/// else.
pub trait ReadHandler: Send + Sync + 'static {
    /// What is kept for each connection.
    type State: Send + 'static;

    /// A connection is there. Nothing was read yet.
    fn on_accept(&self, socket: &Socket) -> impl Future<Output = Self::State> + Send;

    /// Bytes have come. They are borrowed from a buffer that other connections use next.
    fn on_read(
        &self,
        state: &mut Self::State,
        socket: &Socket,
        bytes: &[u8],
    ) -> impl Future<Output = ()> + Send;

    /// No more bytes come. What waits is written when this returns, and the connection ends.
    fn on_end(
        &self,
        _state: Self::State,
        _socket: &Socket,
        _ended: Ended,
    ) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// Takes packets; [`Packets`] makes a [`ReadHandler`] of it.
///
/// Calls for one connection never overlap, and come in order.
pub trait PacketHandler: Send + Sync + 'static {
    /// What is kept for each connection.
    type State: Send + 'static;

    /// A connection is there. Nothing was read yet.
    fn on_accept(&self, socket: &Socket) -> impl Future<Output = Self::State> + Send;

    /// A packet has come, without what marks it. It is borrowed; what is to be kept must be copied.
    fn on_packet(
        &self,
        state: &mut Self::State,
        socket: &Socket,
        packet: &[u8],
    ) -> impl Future<Output = ()> + Send;

    /// A packet was larger than allowed and is being passed over.
    fn on_oversized(
        &self,
        _state: &mut Self::State,
        _socket: &Socket,
        _announced: Option<u64>,
    ) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// No more packets come; `unfinished` is how many bytes had come of one that never ended.
    fn on_end(
        &self,
        _state: Self::State,
        _socket: &Socket,
        _ended: Ended,
        _unfinished: usize,
    ) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// Why nothing more is read from a connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum Ended {
    /// The peer has ended its side; what is sent now may still reach it.
    ByPeer,
    /// Somebody here has closed the connection.
    Closed(CloseReason),
    /// The transport failed.
    Failed(io::Error),
    /// The server is stopping, and no packet was under way.
    Stopping,
}

/// Handles reads by a function that gets a copy of the bytes.
pub fn read_fn<H, F>(handler: H) -> ReadFn<H>
where
    H: Fn(Socket, Bytes) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send,
{
    ReadFn::new(handler)
}

/// Handles packets by a function that gets a copy of each.
pub fn packet_fn<H, F>(handler: H) -> PacketFn<H>
where
    H: Fn(Socket, Bytes) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send,
{
    PacketFn::new(handler)
}
