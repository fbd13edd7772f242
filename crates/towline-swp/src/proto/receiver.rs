//! The receiving half: putting packets in order, within the window.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use towline_codec::greenpack::Timestamp;

/// The most arrivals whose acknowledgements wait to be sent; older ones are given up, their packets
/// are covered by later acknowledgements or sent again.
const MAX_ECHOES: usize = 256;

/// When more than this part of the window waits, what comes on top is copied out of the network's memory.
const LEFT_IN_PLACE: u64 = 8;

/// What an acknowledgement copies from the packet that it answers (docs/wire W29).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Echo {
    /// `DataSendTm` and `SeqRetry`.
    Classic(Option<Timestamp>, i64),
    /// The number of the transmission.
    Compact(u64),
}

/// What became of a data packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The next in order; others that waited for it may be ready with it.
    InOrder,
    /// Kept until what is missing before it arrives.
    OutOfOrder,
    /// Known already.
    Duplicate,
    /// Beyond the window: not kept.
    Outside,
}

#[derive(Debug)]
struct Held {
    data: Bytes,
    echo: Echo,
}

/// A packet's data, in order.
#[derive(Debug)]
struct Ready {
    data: Bytes,
    echo: Echo,
    /// Bytes of it that the application has taken already.
    taken: usize,
}

#[derive(Debug)]
pub(crate) struct Receiver {
    window_messages: u64,
    window_bytes: u64,
    /// The next packet that is due; all before it are ready or consumed.
    next: u64,
    /// How many packets the application has taken whole.
    consumed: u64,
    ready: VecDeque<Ready>,
    ready_bytes: u64,
    held: BTreeMap<u64, Held>,
    held_bytes: u64,
    /// How many packets there are, once the peer said so (docs/wire W51).
    end: Option<u64>,
    /// True if nobody reads any more: what comes is taken and forgotten.
    discards: bool,
    echoes: VecDeque<Echo>,
    last_consumed_echo: Option<Echo>,
    received_bytes: u64,
}

impl Receiver {
    pub(crate) fn new(window_messages: u32, window_bytes: u64) -> Self {
        Self {
            window_messages: u64::from(window_messages),
            window_bytes,
            next: 0,
            consumed: 0,
            ready: VecDeque::new(),
            ready_bytes: 0,
            held: BTreeMap::new(),
            held_bytes: 0,
            end: None,
            discards: false,
            echoes: VecDeque::new(),
            last_consumed_echo: None,
            received_bytes: 0,
        }
    }

    /// Takes a data packet. Nothing changes unless it lies in the window (docs/wire W23).
    pub(crate) fn on_data(&mut self, seq: u64, data: Bytes, echo: Echo) -> Arrival {
        if seq < self.next || self.held.contains_key(&seq) {
            return Arrival::Duplicate;
        }
        let past_end = self.end.is_some_and(|end| seq >= end);
        if past_end || seq - self.consumed >= self.window_messages {
            return Arrival::Outside;
        }
        if seq > self.next {
            if self.is_full_for(&data) {
                return Arrival::Outside;
            }
            let data = self.kept(data);
            self.held_bytes += data.len() as u64;
            self.held.insert(seq, Held { data, echo });
            return Arrival::OutOfOrder;
        }
        // A sender that keeps to the window never fills it with what lies beyond a gap; one that does
        // not loses the end of it, so that the gap can be filled.
        while self.is_full_for(&data) {
            let Some((_, last)) = self.held.pop_last() else {
                return Arrival::Outside;
            };
            self.held_bytes -= last.data.len() as u64;
        }
        let data = self.kept(data);
        self.make_ready(data, echo);
        while let Some(held) = self.held.remove(&self.next) {
            self.held_bytes -= held.data.len() as u64;
            self.make_ready(held.data, held.echo);
        }
        Arrival::InOrder
    }

    /// One packet may reach beyond the window in bytes (docs/wire W33), an empty one takes nothing of it.
    fn is_full_for(&self, data: &Bytes) -> bool {
        self.buffered_bytes() >= self.window_bytes && !data.is_empty()
    }

    /// Data as it may wait. A slice of a receive buffer holds the whole of it, several times what it has, so
    /// that a window of slices would hold several windows of memory. A little is soon taken, and stays.
    fn kept(&self, data: Bytes) -> Bytes {
        let waiting = self.buffered() as u64;
        let is_little = waiting < self.window_messages / LEFT_IN_PLACE
            && self.buffered_bytes() < self.window_bytes / LEFT_IN_PLACE;
        if is_little || self.discards {
            data
        } else {
            Bytes::copy_from_slice(&data)
        }
    }

    fn make_ready(&mut self, data: Bytes, echo: Echo) {
        self.next += 1;
        self.received_bytes += data.len() as u64;
        if self.discards {
            self.consumed += 1;
            self.last_consumed_echo = Some(echo);
            return;
        }
        self.ready_bytes += data.len() as u64;
        self.ready.push_back(Ready {
            data,
            echo,
            taken: 0,
        });
    }

    /// The next message, or what a reader of bytes has left of it.
    pub(crate) fn take_message(&mut self) -> Option<Bytes> {
        let ready = self.ready.pop_front()?;
        self.ready_bytes -= (ready.data.len() + ready.taken) as u64;
        self.consumed += 1;
        self.last_consumed_echo = Some(ready.echo);
        Some(ready.data)
    }

    /// Up to `max` bytes of the next message that has any. A packet counts as consumed when its last
    /// byte is taken.
    pub(crate) fn take_bytes(&mut self, max: usize) -> Option<Bytes> {
        loop {
            let ready = self.ready.front_mut()?;
            if ready.data.len() > max {
                if max == 0 {
                    return None;
                }
                ready.taken += max;
                return Some(ready.data.split_to(max));
            }
            let data = self.take_message()?;
            // An empty packet carries no bytes to a reader of bytes.
            if !data.is_empty() {
                return Some(data);
            }
        }
    }

    /// Nobody reads any more: what is here and what comes is forgotten.
    pub(crate) fn discard(&mut self) {
        self.discards = true;
        while self.take_message().is_some() {}
    }

    /// The peer says how many packets there are.
    pub(crate) fn set_end(&mut self, packets: u64) {
        if self.end.is_none() && packets >= self.next {
            self.end = Some(packets);
            while let Some((&seq, _)) = self.held.last_key_value()
                && seq >= packets
                && let Some((_, last)) = self.held.pop_last()
            {
                self.held_bytes -= last.data.len() as u64;
            }
        }
    }

    /// True if everything the peer sent has arrived.
    pub(crate) fn is_complete(&self) -> bool {
        self.end == Some(self.next)
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// True if packets wait for one that is missing.
    pub(crate) fn has_gap(&self) -> bool {
        !self.held.is_empty() || self.end.is_some_and(|end| end > self.next)
    }

    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    pub(crate) fn consumed(&self) -> u64 {
        self.consumed
    }

    pub(crate) fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    pub(crate) fn buffered(&self) -> usize {
        self.ready.len() + self.held.len()
    }

    pub(crate) fn buffered_bytes(&self) -> u64 {
        self.ready_bytes + self.held_bytes
    }

    /// The first packet number that is not acceptable: the window, from what is consumed on
    /// (docs/wire W33).
    pub(crate) fn edge(&self) -> u64 {
        self.consumed + self.window_messages
    }

    /// What may follow `ack_next`, in messages and bytes (docs/wire W33).
    pub(crate) fn window_after(&self, ack_next: u64) -> (u64, u64) {
        let messages = self.edge().saturating_sub(ack_next);
        // What is ready counts against the window unless it is not acknowledged yet: then the sender
        // counts it.
        let counted = if ack_next >= self.next {
            self.ready_bytes
        } else {
            0
        };
        (messages, self.window_bytes.saturating_sub(counted))
    }

    /// Runs of packets that arrived above `ack_next`: first, and the one behind the last.
    pub(crate) fn ranges(&self, ack_next: u64, max: usize) -> Vec<(u64, u64)> {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        if ack_next < self.next {
            ranges.push((ack_next, self.next));
        }
        for &seq in self.held.keys() {
            let is_full = ranges.len() >= max;
            match ranges.last_mut() {
                Some(last) if last.1 == seq => last.1 += 1,
                _ if is_full => break,
                _ => ranges.push((seq, seq + 1)),
            }
        }
        ranges
    }

    /// Notes that a packet is to be answered.
    pub(crate) fn push_echo(&mut self, echo: Echo) {
        if self.echoes.len() >= MAX_ECHOES {
            self.echoes.pop_front();
        }
        self.echoes.push_back(echo);
    }

    pub(crate) fn pop_echo(&mut self) -> Option<Echo> {
        self.echoes.pop_front()
    }

    /// The newest of the packets to be answered; the others are answered with it.
    pub(crate) fn take_newest_echo(&mut self) -> Option<Echo> {
        let newest = self.echoes.pop_back();
        self.echoes.clear();
        newest
    }

    pub(crate) fn has_echoes(&self) -> bool {
        !self.echoes.is_empty()
    }

    /// The echo of the last packet that was consumed.
    pub(crate) fn consumed_echo(&self) -> Option<Echo> {
        self.last_consumed_echo
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    const ECHO: Echo = Echo::Compact(1);

    fn bytes(len: usize) -> Bytes {
        Bytes::from(vec![b'x'; len])
    }

    /// docs/wire W23
    #[test]
    fn what_lies_outside_the_window_changes_nothing() {
        let mut receiver = Receiver::new(4, 1000);
        assert_eq!(receiver.on_data(4, bytes(1), ECHO), Arrival::Outside);
        assert_eq!(receiver.on_data(u64::MAX, bytes(1), ECHO), Arrival::Outside);
        assert_eq!(receiver.on_data(3, bytes(1), ECHO), Arrival::OutOfOrder);
        assert_eq!(receiver.on_data(3, bytes(1), ECHO), Arrival::Duplicate);
        assert_eq!(receiver.on_data(0, bytes(1), ECHO), Arrival::InOrder);
        assert_eq!(receiver.on_data(0, bytes(1), ECHO), Arrival::Duplicate);
        assert_eq!((receiver.next(), receiver.buffered()), (1, 2));
        assert_eq!(receiver.window_after(1), (3, 999));
    }

    /// docs/wire W33: what waits holds its own bytes, not the buffers of the network that it came in.
    #[test]
    fn a_window_that_waits_holds_no_more_memory_than_it_has() {
        struct Buffer(Arc<[u8; 1000]>);
        impl AsRef<[u8]> for Buffer {
            fn as_ref(&self) -> &[u8] {
                &*self.0
            }
        }
        let mut receiver = Receiver::new(80, 1 << 20);
        let memory = Arc::new([b'x'; 1000]);
        for seq in (1..40).chain([0]).chain(40..80) {
            let slice = Bytes::from_owner(Buffer(Arc::clone(&memory))).slice(..10);
            receiver.on_data(seq, slice, ECHO);
            assert!(Arc::strong_count(&memory) <= 1 + 10, "{seq}");
        }
        assert_eq!((receiver.next(), receiver.buffered_bytes()), (80, 800));
        while let Some(data) = receiver.take_message() {
            assert_eq!(data, bytes(10));
        }
        assert_eq!(receiver.consumed(), 80);
    }

    /// docs/wire W33: a sender that ignores the window in bytes cannot keep the gap from being filled.
    #[test]
    fn a_window_full_of_what_lies_beyond_a_gap_makes_room_for_the_gap() {
        let mut receiver = Receiver::new(100, 1000);
        for seq in 1..=10 {
            assert_eq!(receiver.on_data(seq, bytes(100), ECHO), Arrival::OutOfOrder);
        }
        assert_eq!(receiver.on_data(11, bytes(100), ECHO), Arrival::Outside);
        assert_eq!(receiver.on_data(0, bytes(100), ECHO), Arrival::InOrder);
        assert_eq!((receiver.next(), receiver.buffered_bytes()), (10, 1000));
        assert_eq!(receiver.on_data(10, bytes(100), ECHO), Arrival::Outside);
    }

    proptest! {
        /// docs/wire W23, W33: whatever comes, the buffers stay within the window and what is read is
        /// in order.
        #[test]
        fn buffers_stay_within_the_window(
            arrivals in proptest::collection::vec((0..40_u64, 0..100_usize, any::<bool>()), 0..300),
            window in 1..20_u32,
        ) {
            let mut receiver = Receiver::new(window, 1000);
            let mut read = 0;
            for (ahead, len, reads) in arrivals {
                let seq = (receiver.next() + ahead).saturating_sub(5);
                receiver.on_data(seq, bytes(len), ECHO);
                prop_assert!(receiver.buffered() <= window as usize);
                prop_assert!(receiver.buffered_bytes() < 1000 + 100);
                if reads && receiver.take_message().is_some() {
                    read += 1;
                }
                prop_assert_eq!(receiver.consumed(), read);
                prop_assert!(receiver.edge() >= receiver.next());
            }
        }
    }

    #[test]
    fn a_message_is_consumed_with_its_last_byte() {
        let mut receiver = Receiver::new(4, 1000);
        receiver.on_data(0, bytes(5), ECHO);
        receiver.on_data(1, bytes(0), ECHO);
        receiver.on_data(2, bytes(2), ECHO);
        assert_eq!(receiver.take_bytes(3).unwrap().len(), 3);
        assert_eq!((receiver.consumed(), receiver.buffered_bytes()), (0, 7));
        assert_eq!(receiver.take_bytes(3).unwrap().len(), 2);
        assert_eq!((receiver.consumed(), receiver.buffered_bytes()), (1, 2));
        assert_eq!(receiver.take_bytes(3).unwrap().len(), 2);
        assert_eq!((receiver.consumed(), receiver.buffered_bytes()), (3, 0));
        assert_eq!(receiver.take_bytes(3), None);
    }

    #[test]
    fn ranges_name_what_arrived_beyond_what_is_acknowledged() {
        let mut receiver = Receiver::new(100, 1000);
        for seq in [0, 1, 3, 4, 7] {
            receiver.on_data(seq, bytes(1), ECHO);
        }
        assert_eq!(receiver.ranges(2, 9), [(3, 5), (7, 8)]);
        assert_eq!(receiver.ranges(2, 1), [(3, 5)]);
        assert_eq!(receiver.ranges(0, 9), [(0, 2), (3, 5), (7, 8)]);
    }
}
