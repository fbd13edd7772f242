//! Messages that wait to be sent, and what they cost.

use std::collections::VecDeque;
use std::task::Waker;

use bytes::{Buf, Bytes};
use tokio::time::Instant;

/// What keeping a message costs besides its bytes: 48 in a queue whose memory doubles as it grows, and what the system's
/// allocator takes for a block of its own.
pub(crate) const MESSAGE_COST: usize = 128;

/// What to do with a message for which there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shed {
    /// It is not taken.
    Refuse,
    /// The oldest whole messages go, as many as it takes.
    Oldest,
    /// All whole messages go that wait, room or not: only the latest counts.
    All,
    /// Those go that have the same key as this one: of each key only the latest counts.
    Key(u64),
}

/// A message that waits, and what it is about, if that was said.
pub(super) struct Waiting {
    pub(super) bytes: Bytes,
    pub(super) key: Option<u64>,
}

/// What waits.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) messages: VecDeque<Waiting>,
    pub(super) bytes: usize,
    /// The first message has left in part, and cannot be dropped any more.
    pub(super) begun: bool,
    /// Since when there is no progress; it counts as long as something or somebody waits.
    pub(super) stuck_since: Option<Instant>,
    /// What the transport has taken since then without all of it having left.
    pub(super) held: usize,
    /// Who waits to write when there are no messages.
    pub(super) writer: Option<Waker>,
}

impl Queue {
    /// What the messages take, all in all.
    pub(super) fn cost(&self) -> usize {
        self.bytes + self.messages.len() * MESSAGE_COST
    }

    /// Makes room below `max` for a message of `len` bytes; how many others were dropped for it, or `None` if there is
    /// no room. A message that has left in part always stays.
    pub(super) fn make_room(&mut self, len: usize, max: usize, shed: Shed) -> Option<usize> {
        let fits = |queue: &Self| fits(queue.cost(), len, max);
        let first = usize::from(self.begun && !self.messages.is_empty());
        let mut dropped = 0;
        match shed {
            Shed::Refuse => {}
            Shed::Oldest => {
                while !fits(self) && self.messages.len() > first {
                    if let Some(gone) = self.messages.remove(first) {
                        self.bytes -= gone.bytes.len();
                        dropped += 1;
                    }
                }
            }
            Shed::All => {
                dropped = self.messages.len() - first;
                let gone = self.messages.drain(first..).map(|gone| gone.bytes.len());
                self.bytes -= gone.sum::<usize>();
            }
            Shed::Key(key) => {
                let (mut number, mut gone) = (0, 0);
                self.messages.retain(|waiting| {
                    let goes = number >= first && waiting.key == Some(key);
                    number += 1;
                    if goes {
                        gone += waiting.bytes.len();
                        dropped += 1;
                    }
                    !goes
                });
                self.bytes -= gone;
            }
        }
        // A message for an empty queue is always taken.
        (self.messages.is_empty() || fits(self)).then_some(dropped)
    }

    /// What has left.
    pub(super) fn take_off(&mut self, mut left: usize) {
        self.bytes -= left;
        while let Some(first) = self.messages.front_mut() {
            if left < first.bytes.len() {
                first.bytes.advance(left);
                self.begun = self.begun || left > 0;
                return;
            }
            left -= first.bytes.len();
            self.messages.pop_front();
            self.begun = false;
        }
    }
}

/// Whether a message of `len` bytes has room besides what `waits` already.
pub(super) const fn fits(waits: usize, len: usize, max: usize) -> bool {
    waits.saturating_add(len).saturating_add(MESSAGE_COST) <= max
}
