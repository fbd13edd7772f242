//! What carries packets between inboxes.

#[cfg(feature = "sim")]
pub mod sim;
pub mod udp;

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use tokio::sync::mpsc;
use towline_codec::Text;

/// The result of a network's operation, later.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// What carries packets between inboxes: as they are, whole, perhaps. It may lose them, delay them,
/// swap them and repeat them.
pub trait Network: Send + Sync + 'static {
    /// Hears on an inbox. The result comes only when packets that are sent from then on do arrive
    /// (docs/wire W1).
    fn listen<'a>(&'a self, inbox: &'a Text) -> Pending<'a, Inbox>;

    /// Sends a packet to an inbox, as far as the network can. May wait for room at this end.
    fn send<'a>(&'a self, dest: &'a Text, packet: Bytes) -> Pending<'a, ()>;

    /// The largest packet that the network carries, in bytes.
    fn max_packet(&self) -> usize;
}

/// Packets that arrive at an inbox. Dropping it ends the hearing.
pub struct Inbox {
    packets: mpsc::Receiver<Bytes>,
    dropped: Arc<AtomicU64>,
    /// Ends the hearing when it is dropped.
    hearing: Option<Box<dyn Send + Sync>>,
}

/// The network's end of an [`Inbox`].
#[derive(Debug, Clone)]
pub struct Delivery {
    packets: mpsc::Sender<Bytes>,
    dropped: Arc<AtomicU64>,
}

impl Inbox {
    /// An inbox that holds at most `packets` packets; what comes while it is full is dropped and
    /// counted.
    pub fn new(packets: usize) -> (Delivery, Self) {
        let (sender, receiver) = mpsc::channel(packets.max(1));
        let dropped = Arc::new(AtomicU64::new(0));
        let delivery = Delivery {
            packets: sender,
            dropped: Arc::clone(&dropped),
        };
        let inbox = Self {
            packets: receiver,
            dropped,
            hearing: None,
        };
        (delivery, inbox)
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
        self.packets.recv().await
    }

    /// How many packets were dropped because the inbox was full.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(crate) fn try_receive(&mut self) -> Option<Bytes> {
        self.packets.try_recv().ok()
    }

    pub(crate) async fn receive_many(&mut self, packets: &mut Vec<Bytes>, most: usize) -> usize {
        self.packets.recv_many(packets, most).await
    }
}

impl Delivery {
    /// Puts a packet into the inbox; false if nobody hears there any more. A full inbox drops it.
    pub fn deliver(&self, packet: Bytes) -> bool {
        match self.packets.try_send(packet) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }

    /// Completes when nobody hears on the inbox any more.
    pub async fn closed(&self) {
        self.packets.closed().await;
    }
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox")
            .field("dropped", &self.dropped())
            .field("has_hearing", &self.hearing.is_some())
            .finish_non_exhaustive()
    }
}
