//! Where handlers work: a buffer, and the memory of a handler's future, for the time of a call.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use bytes::BytesMut;

use super::reading::{Done, Turn, turn};
use crate::handler::ReadHandler;

/// A place to work at.
pub(super) struct Desk<F> {
    pub(super) buffer: BytesMut,
    /// Empty but during a turn.
    pub(super) turn: Pin<Box<Option<F>>>,
}

/// What all connections of a strategy share: desks, and how long one may go on.
pub(super) struct Desks<H: ReadHandler, F> {
    /// Makes the future of a turn, which has no name.
    turn: fn(Turn<H>) -> F,
    buffer_size: usize,
    /// Bytes after which others get their turn.
    budget: usize,
    spare: Mutex<Vec<Desk<F>>>,
    max_spare: usize,
}

/// Desks that are kept for the next reader, at most.
const SPARE: usize = 64;

/// Desks for a handler, `handlers` of which may be at work at once.
pub(super) fn desks<H: ReadHandler>(
    buffer_size: usize,
    budget: usize,
    handlers: Option<usize>,
) -> Desks<H, impl Future<Output = Done<H>> + Send + 'static> {
    Desks {
        turn: turn::<H>,
        buffer_size,
        budget,
        spare: Mutex::default(),
        max_spare: handlers.map_or(SPARE, |most| most.min(SPARE)),
    }
}

impl<H: ReadHandler, F> Desks<H, F> {
    pub(super) const fn budget(&self) -> usize {
        self.budget
    }

    pub(super) fn turn(&self, turn: Turn<H>) -> F {
        (self.turn)(turn)
    }

    pub(super) fn take(&self) -> Desk<F> {
        let spare = self
            .spare
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        spare.unwrap_or_else(|| Desk {
            buffer: BytesMut::with_capacity(self.buffer_size),
            turn: Box::pin(None),
        })
    }

    pub(super) fn give_back(&self, mut desk: Desk<F>) {
        desk.buffer.clear();
        // Full size again, or let it go: reads never become smaller.
        if desk.buffer.try_reclaim(self.buffer_size) {
            let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
            if spare.len() < self.max_spare {
                spare.push(desk);
            }
        }
    }
}
