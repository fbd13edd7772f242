//! Parts of a stream that came and wait to be taken.

use std::collections::VecDeque;

use super::{
    Limits, Message,
    credit::{Credit, Granting},
};

/// A stream part came out of order; the stream ends, the connection goes on (docs/wire S9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stream out of sync, expected next StreamPart to be {expected}; but we see {got}")]
pub struct OutOfSync {
    /// The number that was due.
    pub expected: i64,
    /// The number that came.
    pub got: i64,
}

/// Parts of one stream, in order (docs/wire S13).
#[derive(Debug, Default)]
pub(crate) struct InboundQueue {
    parts: VecDeque<Message>,
    bytes: usize,
    next: i64,
    counted_full: bool,
    came: Credit,
    taken: Credit,
    granting: Option<Granting>,
}

/// What the queues of a connection hold together, and how many of them are full.
#[derive(Debug, Default)]
pub(crate) struct Inflow {
    bytes: usize,
    full: usize,
    /// What the senders of all streams with credit may have on its way together.
    windows: usize,
}

/// What a part costs beside its body.
pub(crate) const PART_OVERHEAD: usize = 512;

/// What a message that waits costs: a header of ordinary size is in the overhead, one that somebody
/// stuffed with parameters counts in full.
pub(crate) fn cost(message: &Message) -> usize {
    weight(message) + PART_OVERHEAD
}

/// What a message costs beyond a header of ordinary size.
pub(crate) fn weight(message: &Message) -> usize {
    let header = message.hdr.held().saturating_sub(PART_OVERHEAD);
    message.body.len() + message.error.len() + header
}

impl InboundQueue {
    /// A queue whose first part has the number `next`.
    pub(crate) fn starting_at(next: i64) -> Self {
        Self {
            next,
            ..Self::default()
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// True once its sender keeps to what it is told.
    pub(crate) const fn gives_credit(&self) -> bool {
        self.granting.is_some()
    }

    fn is_full(&self, limits: &Limits) -> bool {
        self.bytes >= limits.queue_bytes || self.parts.len() >= limits.queue_parts
    }
}

impl Inflow {
    /// True if the connection may read on: no queue is full, and neither are all together
    /// (docs/wire S14). One that is filled by no more than the credit that was given is no reason.
    pub(crate) const fn is_open(&self, limits: &Limits) -> bool {
        self.full == 0 && self.bytes < limits.connection_bytes
    }

    pub(crate) fn push(
        &mut self,
        queue: &mut InboundQueue,
        part: Message,
        limits: &Limits,
    ) -> Result<(), OutOfSync> {
        let got = part.hdr.stream_part;
        if got != queue.next {
            return Err(OutOfSync {
                expected: queue.next,
                got,
            });
        }
        queue.next += 1;
        self.add(queue, part, limits);
        Ok(())
    }

    /// Appends a message whatever its part number.
    pub(crate) fn add(&mut self, queue: &mut InboundQueue, part: Message, limits: &Limits) {
        let cost = cost(&part);
        let granting = queue.granting.as_ref();
        let has_credit = granting.is_some_and(|granting| granting.covers(queue.came));
        queue.came.add_part(part.body.len());
        queue.bytes += cost;
        self.bytes += cost;
        queue.parts.push_back(part);
        if !queue.counted_full && !has_credit && queue.is_full(limits) {
            queue.counted_full = true;
            self.full += 1;
        }
    }

    pub(crate) fn pop(&mut self, queue: &mut InboundQueue, limits: &Limits) -> Option<Message> {
        let part = queue.parts.pop_front()?;
        queue.taken.add_part(part.body.len());
        let cost = cost(&part);
        queue.bytes -= cost;
        self.bytes -= cost;
        if queue.counted_full && !queue.is_full(limits) {
            queue.counted_full = false;
            self.full -= 1;
        }
        Some(part)
    }

    /// Drops what a queue holds: nobody will take it (docs/wire S14).
    pub(crate) fn discard(&mut self, queue: &mut InboundQueue) {
        self.bytes -= queue.bytes;
        self.full -= usize::from(queue.counted_full);
        queue.parts.clear();
        queue.bytes = 0;
        queue.counted_full = false;
        if let Some(granting) = queue.granting.take() {
            self.windows -= granting.window();
        }
    }

    /// From now on the sender of this queue's parts keeps to what it is told.
    pub(crate) fn begin_granting(&mut self, queue: &mut InboundQueue, limits: &Limits) {
        if queue.granting.is_none() {
            let granting = Granting::first(limits);
            self.windows += granting.window();
            queue.granting = Some(granting);
        }
    }

    /// What the sender is to be told, after parts have been taken.
    pub(crate) fn due(&mut self, queue: &mut InboundQueue, limits: &Limits) -> Option<Credit> {
        // The other half stays free, so that streams which begin later get their first window.
        let spare = (limits.connection_bytes / 2).saturating_sub(self.windows);
        let (credit, growth) = queue.granting.as_mut()?.due(queue.taken, spare, limits)?;
        self.windows += growth;
        Some(credit)
    }
}
