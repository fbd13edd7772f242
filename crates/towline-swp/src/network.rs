//! What carries packets between inboxes.

#[cfg(feature = "broker")]
pub mod broker;
#[cfg(feature = "nats")]
pub mod nats;
pub(crate) mod queue;
#[cfg(feature = "sim")]
pub mod sim;
pub mod udp;

use std::{future::Future, io, pin::Pin};

use bytes::Bytes;
use towline_codec::Text;

use self::queue::{Entrance, Exit, Reporter, queue};
pub use self::queue::{InboxLimits, InboxReport};

/// The result of a network's operation, later.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// What carries packets between inboxes: as they are, whole, perhaps. It may lose them, delay them,
/// swap them and repeat them.
pub trait Network: Send + Sync + 'static {
    /// Hears on an inbox. The result comes only when packets that are sent from then on do arrive
    /// (docs/wire W1).
    fn listen<'a>(&'a self, inbox: &'a Text, limits: InboxLimits) -> Pending<'a, Inbox>;

    /// Sends a packet to an inbox, as far as the network can. May wait for room at this end, but not
    /// for a network that is gone: that is an error, and the packet is lost. An error of the kind
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) says that this packet can never be sent, and ends the
    /// session with its text ([`CloseReason::Unsendable`](crate::proto::CloseReason::Unsendable)); after
    /// any other the packet is sent again.
    fn send<'a>(&'a self, dest: &'a Text, packet: Bytes) -> Pending<'a, ()>;

    /// Waits until what was sent has left this end. Nothing by default.
    fn flush(&self) -> Pending<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// The largest packet that the network carries, in bytes.
    fn max_packet(&self) -> usize;

    /// How many packets may be on their way to an inbox before the network drops some: windows are no
    /// larger. `None`, by default, if it has no such limit.
    fn capacity(&self) -> Option<usize> {
        None
    }
}

/// Packets that arrive at an inbox. Dropping it ends the hearing.
pub struct Inbox {
    packets: Exit<Bytes>,
    /// Ends the hearing when it is dropped.
    hearing: Option<Box<dyn Send + Sync>>,
}

/// The network's end of an [`Inbox`].
#[derive(Debug, Clone)]
pub struct Delivery {
    packets: Entrance<Bytes>,
}

impl Inbox {
    /// An inbox with bounds; what comes while it is full is dropped and counted.
    pub fn new(limits: InboxLimits) -> (Delivery, Self) {
        let (entrance, exit) = queue(limits);
        let inbox = Self {
            packets: exit,
            hearing: None,
        };
        (Delivery { packets: entrance }, inbox)
    }

    /// The same inbox, with something that is dropped with it.
    #[must_use]
    pub fn with_hearing(mut self, hearing: Box<dyn Send + Sync>) -> Self {
        self.hearing = Some(hearing);
        self
    }

    /// The next packet; `None` when the network is gone.
    ///
    /// # Cancel safety
    ///
    /// No packet is lost if the future is dropped.
    pub async fn receive(&mut self) -> Option<Bytes> {
        self.packets.take().await
    }

    /// What it has seen.
    pub fn report(&self) -> InboxReport {
        self.packets.report()
    }

    pub(crate) fn reporter(&self) -> Reporter {
        self.packets.reporter()
    }

    pub(crate) fn try_receive(&mut self) -> Option<Bytes> {
        self.packets.try_take()
    }

    pub(crate) async fn receive_many(&mut self, packets: &mut Vec<Bytes>, most: usize) -> usize {
        self.packets.take_many(packets, most).await
    }
}

impl Delivery {
    /// Puts a packet into the inbox; false if nobody hears there any more. A full inbox drops it.
    pub fn deliver(&self, packet: Bytes) -> bool {
        self.packets.put(packet)
    }

    /// Counts a packet that the network does not let in, since it is not from who it says.
    pub fn refuse(&self) {
        self.packets.refuse();
    }

    /// Completes when nobody hears on the inbox any more.
    pub async fn closed(&self) {
        self.packets.closed().await;
    }
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox")
            .field("report", &self.report())
            .field("has_hearing", &self.hearing.is_some())
            .finish()
    }
}
