//! One connection, as everybody sees it: who, since when, how much, and a queue to send through.

mod closing;
mod halves;
mod output;
mod queue;
mod sending;
mod shared;
mod stream;
mod traffic;
mod writer;

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use tokio_util::sync::CancellationToken;
use towline_codec::framing::FramingProtocol;
use towline_identity::Peer;
use towline_transport::Remote;

use crate::time_limits::TimeLimits;

pub use closing::CloseReason;
pub(crate) use output::Room;
pub use output::{Pushed, SendError};
pub(crate) use queue::Shed;
pub(crate) use sending::Message;
pub(crate) use shared::Inner;
pub(crate) use stream::Driven;
pub use stream::{SocketStream, UnwrapError};
pub(crate) use traffic::{Traffic, Watch};

/// A connection, shared: cheap to clone, and safe to keep after the connection has ended.
///
/// Whoever holds a clone may send, look and close. The bytes that come are read by one owner, the
/// [`SocketStream`]; it sends through the same queue as everybody else, so that what is sent arrives
/// in the order in which it was sent, whole message by whole message.
#[derive(Clone)]
pub struct Socket(pub(crate) Arc<Inner>);

impl Socket {
    /// A number that no other socket of this server ever had, from 1 on.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// When it was accepted or had connected.
    pub fn connected_at(&self) -> SystemTime {
        self.0.connected_at()
    }

    /// Who is at the other end, as far as it has proven itself.
    pub fn peer(&self) -> Peer {
        self.0.peer()
    }

    /// Where its bytes come from.
    pub fn remote(&self) -> Remote {
        self.0.remote()
    }

    /// The host alone: no port, and no brackets around an IPv6 address. A Unix socket's peer has a name.
    pub fn remote_address(&self) -> String {
        self.0.remote().host()
    }

    /// Bytes read so far, as the application sees them: after decryption, before any wrapper.
    pub fn total_read(&self) -> u64 {
        self.0.traffic.read()
    }

    /// Bytes written so far: before encryption, behind any wrapper. Whatever the peer can have read is counted.
    pub fn total_written(&self) -> u64 {
        self.0.settle();
        self.0.traffic.written()
    }

    /// Bytes read in the last full interval of the server's clock, by default one second.
    pub fn read_per_interval(&self) -> u64 {
        self.0.traffic.read_rate()
    }

    /// Bytes written in the last full interval of the server's clock.
    pub fn written_per_interval(&self) -> u64 {
        self.0.traffic.written_rate()
    }

    /// Bytes that wait to be written.
    pub fn queued(&self) -> usize {
        self.0.queued()
    }

    /// Whether more should be sent: false from when more than the high water mark waits until no more
    /// than the low one does ([`Builder::water_marks`](crate::Builder::water_marks)), and when it has
    /// ended. Advice only: [`send`](Self::send) has a limit of its own.
    pub fn is_writable(&self) -> bool {
        self.0.is_writable()
    }

    /// Waits until it [is writable](Self::is_writable): for producers that go on only when somebody takes
    /// what they make.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn writable(&self) -> Result<(), SendError> {
        self.0.wait_for(Room::Some).await
    }

    /// How long it may take for what: the server's limits, unless it has its own.
    pub fn time_limits(&self) -> TimeLimits {
        let own = self.0.own_limits();
        own.unwrap_or_else(|| self.0.registry.time_limits())
    }

    /// Gives it limits of its own. They count from when it has them for what is under way; a server's
    /// change of settings leaves them alone. Sockets of a [`Client`](crate::Client) have nobody who looks
    /// at their time.
    pub fn set_time_limits(&self, limits: TimeLimits) {
        self.0.set_limits(limits);
    }

    /// Sends `bytes` as one message: at once if nothing waits, else behind what waits. Never blocks.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`] if something waits and together more than the server's
    /// [`max_queued`](crate::Builder::max_queued) would; nothing of the message is sent. [`SendError::Closed`].
    pub fn send(&self, bytes: impl Into<Bytes>) -> Result<Pushed, SendError> {
        self.0.push(bytes.into(), Shed::Refuse)
    }

    /// As [`send`](Self::send), from borrowed bytes: only what cannot leave at once is copied.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_slice(&self, bytes: &[u8]) -> Result<Pushed, SendError> {
        self.0.push_slice(bytes)
    }

    /// Sends `payload` as one packet.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send); [`SendError::Packet`] if it cannot be a packet of this kind.
    pub fn send_packet(
        &self,
        protocol: &(impl FramingProtocol + ?Sized),
        payload: &[u8],
    ) -> Result<Pushed, SendError> {
        let mut packet = BytesMut::new();
        protocol
            .encode(payload, &mut packet)
            .map_err(SendError::Packet)?;
        self.send(packet.freeze())
    }

    /// Waits until nothing waits to be written, or the connection has ended.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn flushed(&self) -> Result<(), SendError> {
        self.0.wait_for(Room::Empty).await
    }

    /// Sends as [`send`](Self::send), and waits for room before.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the message is sent whole or not at all.
    pub async fn send_when_ready(&self, bytes: impl Into<Bytes>) -> Result<Pushed, SendError> {
        let bytes = bytes.into();
        loop {
            match self.0.push(bytes.clone(), Shed::Refuse) {
                Err(SendError::Full { .. }) => self.0.wait_for(Room::For(bytes.len())).await?,
                sent => return sent,
            }
        }
    }

    /// Ends the connection at once; what waits to be written is dropped. Never blocks, may be called
    /// from anywhere, and does nothing the second time.
    pub fn close(&self, reason: CloseReason) {
        self.0.close(reason);
    }

    /// Whether it has ended, by whomever.
    pub fn is_closed(&self) -> bool {
        self.0.close_reason().is_some()
    }

    /// Whether the peer ended a TLS connection without saying so: what it had to say may be incomplete.
    pub fn is_truncated(&self) -> bool {
        self.0.truncated.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Why it has ended, if it has.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.0.close_reason()
    }

    /// Waits for its end, and says why.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn closed(&self) -> CloseReason {
        self.0.closed().await
    }

    /// Waits until the server is asked to stop: finish what must be finished, and return. Handlers of
    /// reads and packets need not: they are told between two packets.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn stopping(&self) {
        self.0.registry.stop().cancelled().await;
    }

    /// What is cancelled when the server is asked to stop, as [`stopping`](Self::stopping) waits for: to be
    /// handed on.
    pub fn stopping_token(&self) -> CancellationToken {
        self.0.registry.stop().clone()
    }

    /// Calls `hook` once when the connection ends, or now if it has ended. Hooks run in the reverse order
    /// of their coming, in whatever task ends the connection: they must be short. They may call
    /// everything here.
    pub fn on_close(&self, hook: impl FnOnce(&Self, CloseReason) + Send + 'static) {
        self.0.on_close(Box::new(hook));
    }

    /// A reference that does not keep its memory.
    pub fn downgrade(&self) -> WeakSocket {
        WeakSocket(Arc::downgrade(&self.0))
    }
}

impl PartialEq for Socket {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Socket {}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("id", &self.id())
            .field("remote", &format_args!("{}", self.remote()))
            .field("close_reason", &self.close_reason())
            .finish_non_exhaustive()
    }
}

/// A [`Socket`] that may be gone.
#[derive(Clone)]
pub struct WeakSocket(Weak<Inner>);

impl WeakSocket {
    /// The socket, if anybody still holds it.
    pub fn upgrade(&self) -> Option<Socket> {
        self.0.upgrade().map(Socket)
    }
}

impl fmt::Debug for WeakSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakSocket")
    }
}
