//! How much may wait. This is the one place that says whether more may be made of what came, and whether
//! a peer has sent more than it may.
//!
//! Both ends of a sync hold back what they make themselves, and wait; only what a peer sends against the
//! rules ends a sync (docs/wire D15).

use super::Receiver;
use crate::engine::Violation;
use crate::wire::Item;

/// Bytes of chunks that wait to be written, from which on nothing is read from the peer.
const HELD: usize = 16 << 20;
/// Jobs that may wait while more is read or made.
const WAITING_JOBS: usize = 4096;
/// Bytes of items that wait to be read, from which on no more are made.
const ITEMS: usize = 4 << 20;
/// Bytes of changes in jobs, from which on no more are made.
const CHANGES: usize = 4 << 20;
/// Bytes of links whose first name is under way, from which on no entries are gone through.
const LINKS: usize = 4 << 20;
/// Bytes of changes that are left for the end because it is better so.
const DELAYED: usize = 4 << 20;
/// Bytes of directories whose time and mode are left for the end, from which on those that can be are set.
const DIRS: usize = 32 << 20;
/// Bytes of entries that came and were not gone through: an honest peer stays far below it (D14).
const MOST_PENDING: usize = 64 << 20;
/// Bytes of directories that were announced and of first names: an honest peer stays far below it (D14).
const MOST_KEPT: usize = 256 << 20;
/// What an entry takes while it waits, beside what it holds.
const PENDING: usize = 160;
/// What a directory takes that is not complete, beside its path and what is to be set of it.
const DIR: usize = 400;

/// Bytes of what waits.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Items for the peer, and for people here.
    items: usize,
    events: usize,
    /// Changes in jobs.
    changes: usize,
    delayed: usize,
    /// Directories to be set at the end, and how many may be.
    touched: usize,
    touched_more: usize,
    /// What the peer sent: entries that wait, directories that are not complete.
    pending: usize,
    dirs: usize,
    /// Something waits until there is room.
    pub(super) stopped: bool,
}

impl Room {
    pub(super) fn item(&mut self, item: &Item, report: bool) {
        let weight = item_weight(item);
        self.events += weight;
        if report {
            self.items += weight;
        }
    }

    pub(super) fn reported(&mut self, item: &Item) {
        self.items -= item_weight(item);
    }

    pub(super) fn told(&mut self, item: &Item) {
        self.events -= item_weight(item);
    }

    pub(super) const fn change(&mut self, weight: usize) {
        self.changes += weight;
    }

    pub(super) const fn changed(&mut self, weight: usize) {
        self.changes -= weight;
    }

    /// True if a change of this weight may be left for the end.
    pub(super) const fn delay(&mut self, weight: usize) -> bool {
        let may = self.delayed + weight <= DELAYED;
        if may {
            self.delayed += weight;
        }
        may
    }

    pub(super) const fn delayed_runs(&mut self, weight: usize) {
        self.delayed -= weight;
    }

    pub(super) const fn touched(&mut self, weight: usize) {
        self.touched += weight;
    }

    pub(super) const fn touched_is_set(&mut self, weight: usize) {
        self.touched -= weight;
    }

    /// So many directories wait that some should be set.
    pub(super) const fn is_touched_enough(&self) -> bool {
        self.touched >= DIRS + self.touched_more
    }

    /// Those that wait now must.
    pub(super) const fn touched_must_wait(&mut self) {
        self.touched_more = self.touched;
    }

    pub(super) const fn pending(&mut self, weight: usize) {
        self.pending += weight + PENDING;
    }

    pub(super) const fn taken(&mut self, weight: usize) {
        self.pending -= weight + PENDING;
    }

    pub(super) const fn announced(&mut self, weight: usize) {
        self.dirs += weight + DIR;
    }

    pub(super) const fn completed(&mut self, weight: usize) {
        self.dirs -= weight + DIR;
    }
}

impl Receiver {
    /// Whether more may be told: of entries, of files that are asked for, of what is deleted.
    pub(super) const fn may_report(&self) -> bool {
        self.room.items < ITEMS && self.room.events < ITEMS
    }

    /// Whether more changes may be handed out.
    pub(super) fn may_change(&self) -> bool {
        self.room.changes < CHANGES && self.jobs.len() < WAITING_JOBS
    }

    /// Whether more entries may be gone through. What this waits for ends without any more of them.
    pub(super) fn may_list(&self) -> bool {
        self.may_report()
            && self.may_change()
            && self.links.bytes() < LINKS
            && self.attributes_have_room()
            && !self.room.is_touched_enough()
    }

    /// False while too much waits to be written here. Nothing that a peer must do is waited for: what was
    /// asked for can always come.
    pub fn wants_input(&self) -> bool {
        self.held < HELD && self.jobs.len() < WAITING_JOBS
    }

    /// docs/wire D15: an honest peer has not sent more than this, whatever waits here.
    pub(super) fn check_peer(&self) -> Result<(), Violation> {
        let kept = self.room.dirs + self.links.first_names();
        if self.room.pending > MOST_PENDING || kept > MOST_KEPT {
            return Err(Violation::TooMuch);
        }
        Ok(())
    }
}

/// Bytes that an item takes.
fn item_weight(item: &Item) -> usize {
    item.path.len() + item.text.len() + size_of::<Item>()
}
