//! A queue with bounds in packets and in bytes: what comes while it is full is dropped and counted.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use bytes::Bytes;
use tokio::sync::mpsc;

/// Bytes of a packet beside its data, for which a queue has room (docs/wire W2).
const OVERHEAD: usize = 640;

/// How much may wait in an inbox to be taken in: the least a session's inbox needs is its window, in the
/// peer's packets, and room for acknowledgements and signs of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InboxLimits {
    pub(crate) packets: usize,
    pub(crate) bytes: usize,
}

impl InboxLimits {
    /// At most `packets` packets of `bytes` bytes together; that much memory others can fill.
    #[must_use]
    pub fn new(packets: usize, bytes: usize) -> Self {
        Self {
            packets: packets.max(1),
            bytes: bytes.max(1),
        }
    }

    /// What sessions with this window need: twice the packets and 64, the bytes and what the packets take
    /// beside their data, and two packets of `max_packet` bytes.
    pub(crate) fn for_window(messages: u32, bytes: u64, max_packet: usize) -> Self {
        let packets = (messages as usize).saturating_mul(2).saturating_add(64);
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let overhead = packets.saturating_mul(OVERHEAD);
        let largest = max_packet.saturating_mul(2);
        Self::new(
            packets,
            bytes.saturating_add(overhead).saturating_add(largest),
        )
    }
}

/// What an inbox has seen: the original's `SubReport`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct InboxReport {
    /// Packets that were put into it.
    pub delivered: u64,
    /// Packets that were dropped because it was full.
    pub dropped: u64,
    /// Packets that the network did not let in: over UDP those that name another sender than the address
    /// that they come from (docs/wire W18).
    pub refused: u64,
    /// The most packets that ever waited.
    pub most_packets: usize,
    /// The most bytes that ever waited.
    pub most_bytes: usize,
    /// Packets that wait.
    pub pending_packets: usize,
    /// Bytes that wait.
    pub pending_bytes: usize,
    /// How many packets may wait.
    pub limit_packets: usize,
    /// How many bytes may wait.
    pub limit_bytes: usize,
}

impl InboxReport {
    /// Room that is left, in bytes and packets: the original's `BufferCaps`.
    pub fn room(&self) -> (usize, usize) {
        (
            self.limit_bytes.saturating_sub(self.pending_bytes),
            self.limit_packets.saturating_sub(self.pending_packets),
        )
    }
}

/// How many bytes something that waits takes.
pub(crate) trait Weight {
    fn weight(&self) -> usize;
}

impl Weight for Bytes {
    fn weight(&self) -> usize {
        self.len()
    }
}

#[derive(Debug)]
struct Counters {
    limits: InboxLimits,
    delivered: AtomicU64,
    dropped: AtomicU64,
    refused: AtomicU64,
    pending_packets: AtomicUsize,
    pending_bytes: AtomicUsize,
    most_packets: AtomicUsize,
    most_bytes: AtomicUsize,
}

/// The end into which packets are put.
#[derive(Debug)]
pub(crate) struct Entrance<T> {
    sender: mpsc::UnboundedSender<T>,
    counters: Arc<Counters>,
}

/// The end from which they are taken.
#[derive(Debug)]
pub(crate) struct Exit<T> {
    receiver: mpsc::UnboundedReceiver<T>,
    counters: Arc<Counters>,
}

pub(crate) fn queue<T: Weight>(limits: InboxLimits) -> (Entrance<T>, Exit<T>) {
    // The counters bound what is in it.
    let (sender, receiver) = mpsc::unbounded_channel();
    let counters = Arc::new(Counters {
        limits,
        delivered: AtomicU64::new(0),
        dropped: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        pending_packets: AtomicUsize::new(0),
        pending_bytes: AtomicUsize::new(0),
        most_packets: AtomicUsize::new(0),
        most_bytes: AtomicUsize::new(0),
    });
    let entrance = Entrance {
        sender,
        counters: Arc::clone(&counters),
    };
    (entrance, Exit { receiver, counters })
}

impl<T: Weight> Entrance<T> {
    /// Puts something in, or drops it if it is full; false if nobody takes anything out any more.
    pub(crate) fn put(&self, item: T) -> bool {
        let counters = &self.counters;
        let weight = item.weight();
        let packets = counters.pending_packets.fetch_add(1, Ordering::Relaxed) + 1;
        let bytes = counters.pending_bytes.fetch_add(weight, Ordering::Relaxed) + weight;
        // One packet always has room, or one above the limit would never come through.
        if packets > counters.limits.packets || (bytes > counters.limits.bytes && packets > 1) {
            counters.taken(1, weight);
            counters.dropped.fetch_add(1, Ordering::Relaxed);
            return !self.sender.is_closed();
        }
        counters.most_packets.fetch_max(packets, Ordering::Relaxed);
        counters.most_bytes.fetch_max(bytes, Ordering::Relaxed);
        counters.delivered.fetch_add(1, Ordering::Relaxed);
        self.sender.send(item).is_ok()
    }

    pub(crate) fn refuse(&self) {
        self.counters.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    pub(crate) async fn closed(&self) {
        self.sender.closed().await;
    }
}

impl<T> Clone for Entrance<T> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            counters: Arc::clone(&self.counters),
        }
    }
}

impl<T: Weight> Exit<T> {
    pub(crate) async fn take(&mut self) -> Option<T> {
        let item = self.receiver.recv().await?;
        self.counters.taken(1, item.weight());
        Some(item)
    }

    pub(crate) fn try_take(&mut self) -> Option<T> {
        let item = self.receiver.try_recv().ok()?;
        self.counters.taken(1, item.weight());
        Some(item)
    }

    /// Waits for at least one, and takes up to `most`; none if none will ever come.
    pub(crate) async fn take_many(&mut self, items: &mut Vec<T>, most: usize) -> usize {
        let before = items.len();
        let taken = self.receiver.recv_many(items, most).await;
        let weight = items[before..].iter().map(Weight::weight).sum();
        self.counters.taken(taken, weight);
        taken
    }

    pub(crate) fn report(&self) -> InboxReport {
        self.counters.report()
    }

    pub(crate) fn reporter(&self) -> Reporter {
        Reporter(Arc::clone(&self.counters))
    }
}

/// Tells how an inbox is that somebody else reads.
#[derive(Debug, Clone)]
pub(crate) struct Reporter(Arc<Counters>);

impl Reporter {
    pub(crate) fn report(&self) -> InboxReport {
        self.0.report()
    }
}

impl Counters {
    fn taken(&self, packets: usize, bytes: usize) {
        self.pending_packets.fetch_sub(packets, Ordering::Relaxed);
        self.pending_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn report(&self) -> InboxReport {
        InboxReport {
            delivered: self.delivered.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            most_packets: self.most_packets.load(Ordering::Relaxed),
            most_bytes: self.most_bytes.load(Ordering::Relaxed),
            pending_packets: self.pending_packets.load(Ordering::Relaxed),
            pending_bytes: self.pending_bytes.load(Ordering::Relaxed),
            limit_packets: self.limits.packets,
            limit_bytes: self.limits.bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(len: usize) -> Bytes {
        Bytes::from(vec![0; len])
    }

    #[test]
    fn both_limits_hold_and_what_is_dropped_is_counted() {
        let (entrance, mut exit) = queue(InboxLimits::new(3, 100));
        assert!(entrance.put(bytes(60)));
        assert!(entrance.put(bytes(60)), "dropped, but somebody is there");
        assert!(entrance.put(bytes(40)));
        assert!(entrance.put(bytes(0)));
        assert!(entrance.put(bytes(0)), "the fourth");
        let report = exit.report();
        assert_eq!((report.delivered, report.dropped), (3, 2));
        assert_eq!((report.pending_packets, report.pending_bytes), (3, 100));
        assert_eq!((report.most_packets, report.most_bytes), (3, 100));
        assert_eq!(report.room(), (0, 0));
        assert_eq!(exit.try_take().map(|packet| packet.len()), Some(60));
        assert_eq!(exit.report().room(), (60, 1));
        assert!(entrance.put(bytes(60)));
    }

    #[test]
    fn a_packet_above_the_limit_comes_through_alone() {
        let (entrance, mut exit) = queue(InboxLimits::new(3, 100));
        assert!(entrance.put(bytes(500)));
        assert!(entrance.put(bytes(1)));
        assert_eq!(exit.report().dropped, 1);
        assert!(exit.try_take().is_some());
        drop(exit);
        assert!(!entrance.put(bytes(1)));
    }
}
