//! Functions as handlers.

use std::fmt;

use bytes::Bytes;

use super::{PacketHandler, ReadHandler};
use crate::socket::Socket;

/// A function that takes what is read ([`read_fn`](super::read_fn)).
pub struct ReadFn<H>(H);

/// A function that takes packets ([`packet_fn`](super::packet_fn)).
pub struct PacketFn<H>(H);

impl<H> ReadFn<H> {
    pub(super) const fn new(handler: H) -> Self {
        Self(handler)
    }
}

impl<H> PacketFn<H> {
    pub(super) const fn new(handler: H) -> Self {
        Self(handler)
    }
}

impl<H, F> ReadHandler for ReadFn<H>
where
    H: Fn(Socket, Bytes) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send,
{
    type State = ();

    async fn on_accept(&self, _socket: &Socket) {}

    async fn on_read(&self, (): &mut (), socket: &Socket, bytes: &[u8]) {
        (self.0)(socket.clone(), Bytes::copy_from_slice(bytes)).await;
    }
}

impl<H, F> PacketHandler for PacketFn<H>
where
    H: Fn(Socket, Bytes) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send,
{
    type State = ();

    async fn on_accept(&self, _socket: &Socket) {}

    async fn on_packet(&self, (): &mut (), socket: &Socket, packet: &[u8]) {
        (self.0)(socket.clone(), Bytes::copy_from_slice(packet)).await;
    }
}

impl<H> fmt::Debug for ReadFn<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReadFn")
    }
}

impl<H> fmt::Debug for PacketFn<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PacketFn")
    }
}
