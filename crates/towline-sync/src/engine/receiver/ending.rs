//! How a large file's transfer ends: done, given up, or begun again.

use super::small::ATTEMPTS;
use super::transfer::Transfer;
use super::{Receiver, Target};
use crate::engine::{Job, Piece, Violation};
use crate::wire::Message;

/// A file that was given up while jobs of it run.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) applying: usize,
    beginning: bool,
    keep: bool,
    /// To be tried again.
    then: Option<Target>,
}

impl Ending {
    /// Its partial file is open, or could not be opened.
    pub(super) const fn has_begun(&mut self) {
        self.beginning = false;
    }
}

impl Receiver {
    /// Lets go of a file that is done, at both ends.
    pub(super) fn close(&mut self, id: u64, transfer: &Transfer) {
        self.out.push_back(Message::Close { id });
        self.release(transfer);
    }

    /// Lets go of a file at this end.
    fn release(&mut self, transfer: &Transfer) {
        if let Some(key) = transfer.basis_key {
            self.bases.remove(&key);
            self.jobs.push_back(Job::Close { key });
        }
        let held: usize = transfer
            .ops
            .iter()
            .flat_map(|op| &op.pieces)
            .chain(transfer.open.iter().flat_map(|open| &open.pieces))
            .map(|piece| match piece {
                Piece::Bytes(bytes) => bytes.len(),
                Piece::Copy { .. } => 0,
            })
            .sum();
        let filling = transfer.open.as_ref().map_or(0, |open| open.filling.len());
        self.held = self.held.saturating_sub(held + filling);
    }

    /// The transfer of a file that the sender speaks of; `None` if it was given up.
    pub(super) fn known(&mut self, id: u64) -> Result<Option<&mut Transfer>, Violation> {
        if !self.transfers.contains_key(&id) && !self.forget.contains(&id) {
            return Err(Violation::UnknownFile);
        }
        Ok(self.transfers.get_mut(&id))
    }

    /// A file cannot be had.
    pub(super) fn give_up(&mut self, id: u64, text: String, keep: bool) {
        let Some(transfer) = self.transfers.remove(&id) else {
            return;
        };
        self.close(id, &transfer);
        let target = transfer.target.clone();
        self.leave(id, transfer, keep, None);
        self.failed_file(&target, text);
    }

    /// Lets a partial file go when its jobs are done.
    pub(super) fn leave(&mut self, id: u64, transfer: Transfer, keep: bool, then: Option<Target>) {
        self.forget.insert(id);
        let ending = Ending {
            applying: transfer.applying,
            beginning: !transfer.begun,
            keep,
            then,
        };
        self.ending.insert(id, ending);
        self.end_ending(id);
    }

    pub(super) fn end_ending(&mut self, id: u64) {
        if let Some(ending) = self.ending.get(&id)
            && ending.applying == 0
            && !ending.beginning
        {
            let keep = ending.keep;
            self.jobs.push_back(Job::LeavePart { id, keep });
        }
    }

    pub(super) fn left(&mut self, id: u64) {
        if let Some(target) = self.ending.remove(&id).and_then(|ending| ending.then) {
            self.forget.remove(&id);
            self.large_todo.push_front(target);
        }
    }

    /// The sender cannot go on with a file.
    pub(super) fn fail_came(
        &mut self,
        id: u64,
        changed: bool,
        text: String,
    ) -> Result<(), Violation> {
        if self.small_failed(id, changed, &text) {
            return Ok(());
        }
        let Some(transfer) = self.known(id)? else {
            return Ok(());
        };
        let attempts = transfer.target.attempts + 1;
        if !changed || attempts >= ATTEMPTS {
            self.give_up(id, text, true);
            return Ok(());
        }
        let Some(transfer) = self.transfers.remove(&id) else {
            return Ok(());
        };
        self.release(&transfer);
        // What was written so far counts when the next attempt begins.
        let mut target = transfer.target.clone();
        target.attempts = attempts;
        target.counted = target.counted.max(transfer.counted);
        target.partial = true;
        self.leave(id, transfer, true, Some(target));
        Ok(())
    }
}
