//! Tasks that wait for the same thing, in the order in which they came.

use std::{collections::VecDeque, task::Waker};

/// A queue of wakers, each with the number of who waits.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    waiting: VecDeque<(u64, Waker)>,
    next: u64,
}

impl Waiters {
    /// Notes that the owner of `ticket` waits. It keeps its place while it waits.
    pub(crate) fn wait(&mut self, ticket: &mut Option<u64>, waker: &Waker) {
        if let Some(number) = *ticket
            && let Some((_, old)) = self.waiting.iter_mut().find(|(of, _)| *of == number)
        {
            old.clone_from(waker);
            return;
        }
        let number = *ticket.get_or_insert(self.next);
        if number == self.next {
            self.next += 1;
        }
        self.waiting.push_back((number, waker.clone()));
    }

    /// Takes who has waited longest.
    pub(crate) fn next(&mut self) -> Option<Waker> {
        self.waiting.pop_front().map(|(_, waker)| waker)
    }

    /// The owner of `ticket` waits no more. True if it had been woken: then its turn is somebody else's.
    pub(crate) fn leave(&mut self, ticket: Option<u64>) -> bool {
        let Some(number) = ticket else {
            return false;
        };
        let before = self.waiting.len();
        self.waiting.retain(|(of, _)| *of != number);
        self.waiting.len() == before
    }

    /// True if somebody waits.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}
