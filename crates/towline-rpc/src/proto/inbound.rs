//! Parts of a stream that came and wait to be taken.

use std::collections::VecDeque;

use super::{Limits, Message};

/// A stream part came out of order; the stream ends, the connection goes on (docs/wire S9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stream out of sync, expected next StreamPart to be {expected}; but we see {got}")]
pub struct OutOfSync {
    /// The number that was due.
    pub expected: i64,
    /// The number that came.
    pub got: i64,
}

/// Parts in order, counted against a budget (docs/wire S13).
#[derive(Debug, Default)]
pub(crate) struct InboundQueue {
    parts: VecDeque<Message>,
    bytes: usize,
    next: i64,
}

/// What a part costs beside its body.
const PART_OVERHEAD: usize = 512;

impl InboundQueue {
    /// A queue whose first part has the number `next`.
    pub(crate) fn starting_at(next: i64) -> Self {
        Self {
            next,
            ..Self::default()
        }
    }

    pub(crate) fn push(&mut self, part: Message) -> Result<(), OutOfSync> {
        let got = part.hdr.stream_part;
        if got != self.next {
            return Err(OutOfSync {
                expected: self.next,
                got,
            });
        }
        self.next += 1;
        self.bytes += part.body.len() + PART_OVERHEAD;
        self.parts.push_back(part);
        Ok(())
    }

    pub(crate) fn pop(&mut self) -> Option<Message> {
        let part = self.parts.pop_front()?;
        self.bytes -= part.body.len() + PART_OVERHEAD;
        Some(part)
    }

    pub(crate) fn is_full(&self, limits: &Limits) -> bool {
        self.bytes >= limits.queue_bytes || self.parts.len() >= limits.queue_parts
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
}
