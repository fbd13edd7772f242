//! What is listed, and the directories it is listed of.

mod root;

use std::collections::VecDeque;

use bytes::Bytes;

use super::attributes::Due;
use super::{LEAST_SOURCE, Receiver};
use crate::engine::{Change, Failed, Job, Listing, Violation};
use crate::fs::{Found, Stat, stem};
use crate::wire::{Entry, Kind, Meta, PATH_MAX, RelPath};

/// Messages that may wait for their directory: twice what an honest sender has listed.
const MOST_WAITING: usize = 32 << 10;
/// Bytes of patterns of all directories.
const MOST_PATTERNS: usize = 1 << 20;
/// Directories that may be announced and not yet listed: far more than an honest sender has.
const MOST_DIRS: usize = 128 << 10;

/// A directory that was announced and is not complete.
#[derive(Debug)]
pub(super) struct Dir {
    pub(super) path: RelPath,
    /// The path of the directory that it is in.
    at: RelPath,
    meta: Option<Meta>,
    /// What is there; `None` until that is known.
    here: Option<Here>,
    last_name: Bytes,
    /// The sender could not list it wholly.
    doubtful: bool,
    /// Its own time must be set again.
    pub(super) touched: bool,
    pub(super) refused: bool,
    /// Something in it has too long a path; that was said.
    too_long: bool,
    /// What is to be set when it is there.
    pub(super) due: Due,
    /// Bytes of that.
    sets: usize,
    /// Of the root, time and mode as they are here.
    own: Option<Meta>,
}

/// What is there of a directory.
#[derive(Debug, Default)]
pub(super) struct Here {
    left: VecDeque<Found>,
    pub(super) partial: Vec<Bytes>,
}

impl Dir {
    /// Bytes that it holds of what the peer sent.
    fn weight(&self) -> usize {
        self.path.len() + self.sets
    }
}

impl Here {
    fn next_if(&mut self, wanted: impl Fn(&Found) -> bool) -> Option<Found> {
        if wanted(self.left.front()?) {
            self.left.pop_front()
        } else {
            None
        }
    }
}

/// Entries that wait.
#[derive(Debug)]
pub(super) struct Pending {
    dir: u64,
    /// The number of the first entry that was not gone through.
    next: u64,
    last: bool,
    error: Option<String>,
    patterns: Bytes,
    entries: VecDeque<Entry>,
    /// Bytes of the error and the patterns, until they were gone through.
    weight: Option<usize>,
}

impl Receiver {
    /// Expects the entries of a directory.
    pub(super) fn announce(
        &mut self,
        id: u64,
        (at, path): (RelPath, RelPath),
        entry: Option<&Entry>,
        (new, due): (bool, Due),
    ) {
        let dry_run = self.options.dry_run;
        let mut dir = Dir {
            path: path.clone(),
            at,
            meta: entry.map(|entry| entry.meta),
            here: None,
            last_name: Bytes::new(),
            doubtful: false,
            touched: new,
            refused: false,
            too_long: false,
            sets: match &entry.and_then(|entry| entry.attributes.as_ref()) {
                Some(attributes) if due.is_something() => attributes.weight(),
                _ => 0,
            },
            due,
            own: None,
        };
        if new && dry_run {
            dir.here = Some(Here::default());
        } else {
            self.jobs.push_back(Job::Prepare {
                dir: id,
                path,
                make: new,
                dry_run,
                wanted: self.options.wanted(),
            });
        }
        self.room.announced(dir.weight());
        self.dirs.insert(id, dir);
    }

    /// Takes in entries. Their directory may be one whose own entry waits still.
    pub(super) fn listed(
        &mut self,
        dir: u64,
        first: u64,
        last: bool,
        error: Option<String>,
        patterns: Bytes,
        entries: Vec<Entry>,
    ) -> Result<(), Violation> {
        if first != self.next_id || self.list_ended {
            return Err(Violation::Order);
        }
        self.next_id += entries.len() as u64;
        if self.pending.len() > MOST_WAITING || self.dirs.len() > MOST_DIRS {
            return Err(Violation::TooMuch);
        }
        self.pattern_bytes += patterns.len();
        if !patterns.is_empty() && (!self.options.patterns || self.pattern_bytes > MOST_PATTERNS) {
            return Err(Violation::TooMuch);
        }
        self.totals.entries += entries.len() as u64;
        entries
            .iter()
            .for_each(|entry| self.room.pending(entry.weight()));
        let weight = patterns.len() + error.as_ref().map_or(0, String::len);
        self.room.pending(weight);
        self.pending.push_back(Pending {
            dir,
            next: first,
            last,
            error,
            patterns,
            entries: entries.into(),
            weight: Some(weight),
        });
        Ok(())
    }

    pub(super) fn prepared(&mut self, id: u64, result: Result<Listing, Failed>) {
        let Some(dir) = self.dirs.get_mut(&id) else {
            return;
        };
        match result {
            Ok(listing) => {
                dir.touched |= listing.created || listing.swept;
                dir.own = listing.root;
                let (path, due) = (dir.path.clone(), std::mem::take(&mut dir.due));
                dir.here = Some(Here {
                    left: listing.found.into(),
                    partial: listing.partial,
                });
                self.set_due(path, Kind::Dir, Meta::default(), due);
            }
            Err(failed) => {
                dir.here = Some(Here::default());
                dir.refused = true;
                dir.due = Due::default();
                let path = dir.path.clone();
                self.failed(&path, failed);
            }
        }
    }

    /// Goes through the entries whose directories are ready, in the order in which they came, as far as what
    /// comes of them has room.
    pub(super) fn process_lists(&mut self) -> Result<(), Violation> {
        while let Some(mut pending) = self.pending.pop_front() {
            let Some(mut dir) = self.dirs.remove(&pending.dir) else {
                return Err(Violation::UnknownDir);
            };
            let ready = dir.here.is_some() && !self.are_unknown(&pending.entries);
            let Some(mut here) = dir.here.take_if(|_| ready) else {
                self.dirs.insert(pending.dir, dir);
                self.pending.push_front(pending);
                break;
            };
            self.begin_list(&mut dir, &mut pending);
            let whole = self.go_through(&mut dir, &mut here, &mut pending)?;
            if whole && pending.last {
                self.dir_complete(dir, here);
                continue;
            }
            dir.here = Some(here);
            self.dirs.insert(pending.dir, dir);
            if !whole {
                self.room.stopped = true;
                self.pending.push_front(pending);
                break;
            }
        }
        if self.is_listed() && !self.dirs.is_empty() {
            return Err(Violation::UnknownDir);
        }
        self.totals.listed = self.is_listed();
        Ok(())
    }

    /// All that is listed was gone through.
    pub(super) fn is_listed(&self) -> bool {
        self.list_ended && self.pending.is_empty()
    }

    /// What a message says beside its entries.
    fn begin_list(&mut self, dir: &mut Dir, pending: &mut Pending) {
        if let Some(weight) = pending.weight.take() {
            self.room.taken(weight);
        }
        if dir.path.is_root() && pending.next == 1 {
            self.root_listed(dir);
        }
        if !pending.patterns.is_empty() {
            let patterns = std::mem::take(&mut pending.patterns);
            self.filter.add(&dir.path, &patterns);
        }
        if let Some(text) = pending.error.take() {
            dir.doubtful = true;
            self.fail(&dir.path, text);
        }
    }

    /// False if there was no room for all.
    fn go_through(
        &mut self,
        dir: &mut Dir,
        here: &mut Here,
        pending: &mut Pending,
    ) -> Result<bool, Violation> {
        while !pending.entries.is_empty() {
            if !self.may_list() {
                return Ok(false);
            }
            let Some(mut entry) = pending.entries.pop_front() else {
                break;
            };
            self.room.taken(entry.weight());
            let id = pending.next;
            pending.next += 1;
            // docs/wire D14: names ascend, so that none comes twice.
            if entry.name <= dir.last_name {
                return Err(Violation::Order);
            }
            let alone = self.options.only.is_some() && dir.path.is_root();
            if alone && (!dir.last_name.is_empty() || entry.kind == Kind::Dir) {
                return Err(Violation::UnknownFile);
            }
            dir.last_name = entry.name.clone();
            if let Some(name) = self.options.rename.as_ref().filter(|_| dir.path.is_root()) {
                entry.name = name.clone();
            }
            // What is there and was not listed, up to this name.
            while let Some(found) = here.next_if(|found| found.name < entry.name) {
                self.extra(dir, &found);
            }
            let local = here.next_if(|found| found.name == entry.name);
            let ended = entry.link.filter(|_| entry.ends);
            self.entry((pending.dir, dir), here, id, entry, local)?;
            if let Some(leader) = ended {
                self.link_ended(leader);
            }
        }
        Ok(true)
    }

    /// Nothing more comes of a directory.
    fn dir_complete(&mut self, mut dir: Dir, mut here: Here) {
        for found in std::mem::take(&mut here.left) {
            self.extra(&mut dir, &found);
        }
        // Of others than this file, or in a directory that is not known wholly, they may be of use.
        let only = self.options.rename.as_ref().or(self.options.only.as_ref());
        let only = only.filter(|_| dir.path.is_root()).map(|name| stem(name));
        let discards = !self.options.dry_run && !dir.doubtful;
        let mut discarded = here.partial;
        discarded.retain(|stem| discards && only.as_ref().is_none_or(|only| only == stem));
        for stem in discarded {
            dir.touched = true;
            let dir = dir.path.clone();
            if let Err(change) = self.delay(Change::Discard { dir, stem }) {
                self.run_change(change);
            }
        }
        self.room.completed(dir.weight());
        if let Some(meta) = dir.meta.filter(|_| dir.touched && !dir.refused) {
            self.set_dir_later(&dir.path, dir.at, meta);
        }
    }

    /// What is here and was not listed.
    fn extra(&mut self, dir: &mut Dir, found: &Found) {
        let path = dir.path.join(&found.name);
        self.remember_size(&path, &found.stat);
        // docs/wire D21: what the sender could not list is not deleted.
        if !self.options.delete || dir.doubtful || self.options.only.is_some() {
            return;
        }
        if self.filter.excludes(&path, found.stat.kind == Kind::Dir) {
            return;
        }
        if path.len() > PATH_MAX {
            if !std::mem::replace(&mut dir.too_long, true) {
                let text = format!("`{}`: a path in it is too long to be deleted", dir.path);
                self.fail(&dir.path.clone(), text);
            }
            return;
        }
        dir.touched = true;
        self.note_extra(&dir.path, &found.name, found.stat.kind);
    }

    /// A file that may be the old version of another of the same size.
    pub(super) fn remember_size(&mut self, path: &RelPath, stat: &Stat) {
        if stat.kind == Kind::File && stat.meta.size >= LEAST_SOURCE {
            self.sizes.insert(stat.meta.size, path);
        }
    }
}
