//! What is here and was not listed: counted before any of it goes, then deleted, a directory at a time.

mod walk;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::Receiver;
use crate::fs::name_hash;
use crate::wire::{Hash16, Kind, RelPath};
pub(super) use walk::Walk;
use walk::Walked;

/// Entries that are deleted in one sync, at most, unless it says how many.
const MOST_DELETED: u64 = 1 << 20;
/// Bytes of names that are remembered as they are; of more, hashes are.
const NAMES: usize = 8 << 20;
/// What a name takes beside itself.
const NAME: usize = 64;

/// What is to be deleted.
#[derive(Debug, Default)]
pub(super) struct Deleting {
    extras: VecDeque<Extras>,
    /// How many there are of these, without what is beneath.
    noted: u64,
    /// Bytes of their names.
    names: usize,
    /// How many there are, with what is beneath, and directories that give way.
    count: u64,
    /// Which of the directories that give way, and then of the extras, is counted.
    next: usize,
    pub(super) walk: Option<Walk>,
    /// What was gone through and is to be removed.
    batch: Vec<(RelPath, Kind)>,
}

/// What of a directory is to be deleted.
#[derive(Debug)]
struct Extras {
    dir: RelPath,
    /// Names as they are, and what further names are known by.
    names: Vec<(RelPath, Kind)>,
    hashes: Arc<Vec<Hash16>>,
    /// Some are directories.
    deep: bool,
}

impl Deleting {
    /// Directories of which something is to be deleted.
    pub(super) fn dirs(&self) -> HashSet<RelPath> {
        self.extras
            .iter()
            .map(|extras| extras.dir.clone())
            .collect()
    }
}

impl Receiver {
    fn most_deleted(&self) -> u64 {
        self.options.max_delete.unwrap_or(MOST_DELETED)
    }

    /// Remembers something to be deleted.
    pub(super) fn note_extra(&mut self, dir: &RelPath, name: &[u8], kind: Kind) {
        let (most, deleting) = (self.most_deleted(), &mut self.deleting);
        deleting.noted += 1;
        if deleting.noted > most {
            // docs/wire D21: with more than may be deleted, nothing is.
            deleting.extras = VecDeque::new();
            return;
        }
        if deleting.extras.back().is_none_or(|last| last.dir != *dir) {
            deleting.extras.push_back(Extras {
                dir: dir.clone(),
                names: Vec::new(),
                hashes: Arc::default(),
                deep: false,
            });
        }
        let Some(extras) = deleting.extras.back_mut() else {
            return;
        };
        extras.deep |= kind == Kind::Dir;
        if deleting.names < NAMES {
            deleting.names += name.len() + NAME;
            extras.names.push((RelPath::root().join(name), kind));
        } else if let Some(hashes) = Arc::get_mut(&mut extras.hashes) {
            hashes.push(name_hash(name));
        }
    }

    /// Counts what would be deleted, and decides. False while that waits for something.
    pub(super) fn count_deletions(&mut self) -> bool {
        loop {
            if self.deleting.walk.is_some() {
                let Some(walked) = self.walk_on() else {
                    return false;
                };
                self.counted(&walked);
            }
            let next = self.deleting.next;
            let givings = self.givings.all.len();
            if let Some(giving) = self.givings.all.get(next) {
                let path = giving.path.clone();
                self.begin_walk(Walk::of(path, false));
            } else if let Some(extras) = self.deleting.extras.get_mut(next - givings) {
                if let Some(hashes) = Arc::get_mut(&mut extras.hashes) {
                    hashes.sort_unstable();
                }
                let walk = extras.walk(false);
                if extras.deep {
                    self.begin_walk(walk);
                } else {
                    self.deleting.count += (extras.names.len() + extras.hashes.len()) as u64;
                    self.deleting.next += 1;
                }
            } else {
                self.check_deletions();
                return true;
            }
        }
    }

    fn counted(&mut self, walked: &Walked) {
        let next = self.deleting.next;
        self.deleting.next += 1;
        if let Some(giving) = self.givings.all.get_mut(next) {
            giving.stays = walked.stays;
            if walked.stays {
                return;
            }
        }
        self.deleting.count += walked.count;
    }

    /// docs/wire D21: too many deletions are none.
    fn check_deletions(&mut self) {
        let most = self.most_deleted();
        let noted_all = self.deleting.noted <= most;
        let count = match noted_all {
            true => self.deleting.count,
            false => self.deleting.count + self.deleting.noted,
        };
        if count <= most {
            return;
        }
        self.deleting.extras = VecDeque::new();
        let givings = self
            .givings
            .all
            .iter()
            .filter(|giving| !giving.stays)
            .count();
        let of_these = match givings {
            0 => String::new(),
            1 => ", among them a directory that would give way to something else".to_owned(),
            many => {
                format!(", among them {many} directories that would give way to something else")
            }
        };
        // Directories that were noted when there were too many already were not looked into.
        let about = if noted_all { "" } else { "at least " };
        let limit = match self.options.max_delete {
            Some(_) => "--max-delete allows",
            None => "a sync without --max-delete allows",
        };
        let text = format!(
            "nothing was deleted: {about}{count} entries would be{of_these}, and {limit} {most}; \
             if all of them are to go, sync again with --max-delete {count} or more"
        );
        self.fail(&RelPath::root(), text);
        for giving in std::mem::take(&mut self.givings.all) {
            let path = &giving.path;
            let text = format!("`{path}` is a directory here and stays: nothing was deleted");
            self.does_not_give_way(&giving, text);
        }
    }

    /// Has directories give way. False while that waits for something.
    pub(super) fn give_way(&mut self) -> bool {
        loop {
            if self.deleting.walk.is_some() {
                let Some(walked) = self.walk_on() else {
                    return false;
                };
                if let Some(giving) = self.givings.all.pop_front() {
                    let path = &giving.path;
                    match walked.stays || walked.failed {
                        true => {
                            let text = format!(
                                "`{path}` is a directory here, and something in it could not be deleted"
                            );
                            self.does_not_give_way(&giving, text);
                        }
                        false => self.has_given_way(giving),
                    }
                }
            }
            if !self.may_report() {
                self.room.stopped = true;
                return false;
            }
            let Some(giving) = self.givings.all.front() else {
                return true;
            };
            let path = giving.path.clone();
            if giving.stays {
                let text = format!("`{path}` is a directory with entries that must not be deleted");
                if let Some(giving) = self.givings.all.pop_front() {
                    self.does_not_give_way(&giving, text);
                }
                continue;
            }
            self.begin_walk(Walk::of(path, true));
        }
    }

    /// Deletes what was not listed. False while that waits for something.
    pub(super) fn delete_extras(&mut self) -> bool {
        loop {
            if self.deleting.walk.is_some() && self.walk_on().is_none() {
                return false;
            }
            let Some(mut extras) = self.deleting.extras.pop_front() else {
                if !self.deleting.batch.is_empty() {
                    self.remove();
                }
                return self.wrap.running.is_empty();
            };
            if let Some(hashes) = Arc::get_mut(&mut extras.hashes) {
                hashes.sort_unstable();
            }
            self.begin_walk(extras.walk(true));
        }
    }
}

impl Extras {
    fn walk(&self, removes: bool) -> Walk {
        let hashes = (!self.hashes.is_empty()).then(|| Arc::clone(&self.hashes));
        Walk::among(self.dir.clone(), self.names.clone(), hashes, removes)
    }
}
