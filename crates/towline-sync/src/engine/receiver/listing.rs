//! Comparing what is listed with what is there.

mod root;

use std::collections::VecDeque;

use bytes::Bytes;

use super::attributes::Due;
use super::wrap::MOST_DELETED;
use super::{KEPT, MOST_SIZES, Receiver, Target};
use crate::engine::{Change, Failed, Job, Listing, SMALL, Violation};
use crate::fs::{Found, Stat, is_own, stem};
use crate::wire::{Entry, Kind, Meta, Outcome, RelPath};

/// Entries that may wait for their directory.
const MOST_WAITING: usize = 128 << 10;
/// Files that may wait to be asked for: twice what an honest sender has listed.
const MOST_TODO: usize = 32 << 10;
/// Bytes of patterns of all directories.
const MOST_PATTERNS: usize = 1 << 20;
/// Directories that may be announced and not yet listed.
const MOST_DIRS: usize = 1 << 20;
/// Components of a path.
const MOST_DEPTH: usize = 256;
/// Bytes of a path.
const MOST_PATH: usize = 4096;
/// Smallest file that may serve as the old version of another.
const LEAST_SOURCE: u64 = 64 << 10;

/// A directory that was announced and is not complete.
#[derive(Debug)]
pub(super) struct Dir {
    path: RelPath,
    meta: Option<Meta>,
    /// What is there; `None` until that is known.
    here: Option<Here>,
    last_name: Bytes,
    /// The sender could not list it wholly.
    doubtful: bool,
    /// Its own time must be set again.
    touched: bool,
    refused: bool,
    /// What is to be set when it is there.
    due: Due,
    /// Of the root, time and mode as they are here.
    own: Option<Meta>,
}

#[derive(Debug, Default)]
struct Here {
    left: VecDeque<Found>,
    partial: Vec<Bytes>,
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
    first: u64,
    last: bool,
    error: Option<String>,
    patterns: Bytes,
    entries: VecDeque<Entry>,
}

impl Receiver {
    /// Expects the entries of a directory.
    pub(super) fn announce(&mut self, id: u64, path: RelPath, entry: Option<Meta>, new: bool) {
        let dry_run = self.options.dry_run;
        let mut dir = Dir {
            path: path.clone(),
            meta: entry,
            here: None,
            last_name: Bytes::new(),
            doubtful: false,
            touched: new,
            refused: false,
            due: Due::default(),
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
        self.keeps(&dir.path);
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
        self.pending_entries += entries.len();
        let waiting = self.pending_entries > MOST_WAITING || self.pending.len() > MOST_WAITING;
        if waiting || self.dirs.len() > MOST_DIRS {
            return Err(Violation::TooMuch);
        }
        self.pattern_bytes += patterns.len();
        if !patterns.is_empty() && (!self.options.patterns || self.pattern_bytes > MOST_PATTERNS) {
            return Err(Violation::TooMuch);
        }
        self.totals.entries += entries.len() as u64;
        self.attributes_came(&entries);
        self.pending.push_back(Pending {
            dir,
            first,
            last,
            error,
            patterns,
            entries: entries.into(),
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
                self.release_due(&path, due, true);
            }
            Err(failed) => {
                dir.here = Some(Here::default());
                dir.refused = true;
                let (path, due) = (dir.path.clone(), std::mem::take(&mut dir.due));
                self.release_due(&path, due, false);
                self.failed(&path, failed);
            }
        }
    }

    /// Goes through the entries whose directories are ready, in the order in which they came.
    pub(super) fn process_lists(&mut self) -> Result<(), Violation> {
        while let Some(mut pending) = self.pending.pop_front() {
            let Some(mut dir) = self.dirs.remove(&pending.dir) else {
                return Err(Violation::UnknownDir);
            };
            let ready = dir.here.is_some() && !self.are_unknown(&pending.entries);
            let Some(mut here) = dir.here.take_if(|_| ready) else {
                self.dirs.insert(pending.dir, dir);
                self.pending.push_front(pending);
                return Ok(());
            };
            if dir.path.is_root() && pending.first == 1 {
                self.root_listed(&mut dir);
            }
            if !pending.patterns.is_empty() {
                let patterns = std::mem::take(&mut pending.patterns);
                self.filter.add(&dir.path, &patterns);
            }
            if let Some(text) = pending.error.take() {
                dir.doubtful = true;
                self.fail(&dir.path, text);
            }
            self.pending_entries -= pending.entries.len();
            self.attributes_taken(&pending.entries);
            let count = pending.entries.len() as u64;
            for (id, mut entry) in (pending.first..pending.first + count).zip(pending.entries) {
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
                    self.extra(&mut dir, found);
                }
                let local = here.next_if(|found| found.name == entry.name);
                self.entry(&mut dir, &mut here, id, entry, local)?;
            }
            self.kept -= dir.path.as_bytes().len() + KEPT;
            if !pending.last {
                self.keeps(&dir.path);
                dir.here = Some(here);
                self.dirs.insert(pending.dir, dir);
                continue;
            }
            for found in std::mem::take(&mut here.left) {
                self.extra(&mut dir, found);
            }
            // Of others than this file, or in a directory that is not known wholly, they may be of use.
            let only = self.options.rename.as_ref().or(self.options.only.as_ref());
            let only = only.filter(|_| dir.path.is_root()).map(|name| stem(name));
            let discarded = here.partial.drain(..).filter(|partial| {
                !self.options.dry_run
                    && !dir.doubtful
                    && only.as_ref().is_none_or(|only| only == partial)
            });
            for stem in discarded {
                dir.touched = true;
                let dir = dir.path.clone();
                self.wrap.changes.push(Change::Discard { dir, stem });
            }
            if let Some(meta) = dir.meta.filter(|_| dir.touched && !dir.refused) {
                self.keeps(&dir.path);
                self.wrap.dirs.push((dir.path, Kind::Dir, meta));
            }
        }
        if self.list_ended && !self.dirs.is_empty() {
            return Err(Violation::UnknownDir);
        }
        self.totals.listed = self.list_ended;
        Ok(())
    }

    /// What is here and was not listed.
    fn extra(&mut self, dir: &mut Dir, found: Found) {
        let path = dir.path.join(&found.name);
        self.remember_size(&path, &found.stat);
        // docs/wire D21: what the sender could not list is not deleted.
        if !self.options.delete || dir.doubtful || self.options.only.is_some() {
            return;
        }
        if self.filter.excludes(&path, found.stat.kind == Kind::Dir) {
            return;
        }
        if path.as_bytes().len() > MOST_PATH {
            let text = format!("`{}`: a path in it is too long to be deleted", dir.path);
            return self.fail(&dir.path.clone(), text);
        }
        dir.touched = true;
        self.wrap.extra_count += 1;
        // With more than may be deleted, nothing is.
        let most = self.options.max_delete.unwrap_or(MOST_DELETED as u64);
        if self.wrap.extra_count <= most {
            self.keeps(&path);
            self.wrap.extra.push((path, found.stat.kind));
        } else {
            self.wrap.extra = Vec::new();
        }
    }

    /// A file that may be the old version of another of the same size.
    fn remember_size(&mut self, path: &RelPath, stat: &Stat) {
        if stat.kind == Kind::File
            && stat.meta.size >= LEAST_SOURCE
            && self.sizes.len() < MOST_SIZES
        {
            self.sizes.insert(stat.meta.size, path.clone());
        }
    }

    fn entry(
        &mut self,
        dir: &mut Dir,
        here: &mut Here,
        id: u64,
        entry: Entry,
        local: Option<Found>,
    ) -> Result<(), Violation> {
        let path = dir.path.join(&entry.name);
        if path.as_bytes().len() > MOST_PATH || path.depth() > MOST_DEPTH {
            return Err(Violation::TooLong);
        }
        if dir.refused {
            // Said once, for the directory.
            if entry.kind == Kind::Dir {
                self.refuse_dir(id, path);
            } else {
                self.drop_id(id);
            }
            return Ok(());
        }
        // docs/wire D20: it would be taken for what is left of a transfer, or removed with it.
        if is_own(&entry.name) {
            let text = format!("`{path}` has a name that is kept for files being received");
            self.fail(&path, text);
            match entry.kind {
                Kind::Dir => self.refuse_dir(id, path),
                _ => self.drop_id(id),
            }
            return Ok(());
        }
        if self.small_todo.len() + self.large_todo.len() > MOST_TODO {
            return Err(Violation::TooMuch);
        }
        self.tell_incomplete(&path, &entry);
        // docs/wire D21: a directory gives way to something else only where deleting is allowed.
        if let Some(found) = &local
            && found.stat.kind == Kind::Dir
            && !matches!(entry.kind, Kind::Dir | Kind::Other)
        {
            if !self.options.delete {
                self.drop_id(id);
                let text = format!("`{path}` is a directory here; --delete lets it be replaced");
                self.fail(&path, text);
                return Ok(());
            }
            dir.touched = true;
            if entry.leads {
                self.keeps(&path);
                self.wrap.leaders.insert(id, (path.clone(), None));
            }
            self.replace_dir(id, path, entry);
            return Ok(());
        }
        let due = self.due(&entry, local.as_ref());
        let local = local.map(|found| (found.stat, found.target));
        if self.options.regular && entry.kind != Kind::File {
            self.drop_id(id);
            let text = format!("`{path}` is no regular file there, and only files can be pulled");
            self.fail(&path, text);
            return Ok(());
        }
        match entry.kind {
            Kind::Dir => {
                let local = local.map(|(stat, _)| stat);
                self.dir_entry(dir, id, path, &entry, (local, due));
            }
            Kind::File => {
                let stem = stem(&entry.name);
                let partial = here.partial.iter().position(|partial| *partial == stem);
                let wanted = self.file_entry(id, path, &entry, local, (due, partial.is_some()));
                if wanted {
                    dir.touched = true;
                    if let Some(partial) = partial {
                        here.partial.swap_remove(partial);
                    }
                }
            }
            Kind::Symlink => {
                self.drop_id(id);
                if self.symlink_entry(path, &entry, local, due) {
                    dir.touched = true;
                }
            }
            Kind::Other => {
                self.drop_id(id);
                let text = "sockets, pipes and devices are not copied".to_owned();
                self.item(Outcome::Skipped, &path, 0, text);
            }
        }
        Ok(())
    }

    fn dir_entry(
        &mut self,
        parent: &mut Dir,
        id: u64,
        path: RelPath,
        entry: &Entry,
        (local, due): (Option<Stat>, Due),
    ) {
        let there = local.filter(|stat| stat.kind == Kind::Dir);
        let new = there.is_none();
        if new {
            parent.touched = true;
            self.item(Outcome::Created, &path, 0, String::new());
        }
        self.announce(id, path.clone(), Some(entry.meta), new);
        // Of a directory that is not made nothing is set.
        let due = match new {
            true if self.options.dry_run => Due::default(),
            true => self.due(entry, None),
            false => due,
        };
        let meta = |meta: &Meta| (meta.mtime, meta.mode);
        let differs =
            there.is_some_and(|stat| meta(&stat.meta) != meta(&entry.meta) || due.is_something());
        if differs {
            self.item(Outcome::Touched, &path, 0, String::new());
        }
        self.hold_due(&due);
        if let Some(dir) = self.dirs.get_mut(&id) {
            dir.touched |= differs;
            dir.due = due;
        }
    }

    /// True if its content is asked for, or it becomes a link.
    pub(super) fn file_entry(
        &mut self,
        id: u64,
        path: RelPath,
        entry: &Entry,
        local: Option<(Stat, Option<Bytes>)>,
        (due, partial): (Due, bool),
    ) -> bool {
        let old = local.map(|(stat, _)| stat);
        let kept = old.filter(|stat| stat.kind == Kind::File);
        if let Some(stat) = &kept {
            self.remember_size(&path, stat);
        }
        if let Some(leader) = entry.link {
            self.drop_id(id);
            return self.link_entry(leader, path, kept);
        }
        let meta = entry.meta;
        // A file that shares its content here and not there must get one of its own.
        let shared = kept.is_some_and(|stat| {
            stat.links > 1 && (!entry.leads || !self.wrap.led.insert((stat.dev, stat.ino)))
        });
        let equal = kept.is_some_and(|stat| {
            (stat.meta.size, stat.meta.mtime) == (meta.size, meta.mtime) && !self.options.checksum
        }) && !shared;
        if entry.leads {
            // Where contents are compared, this is decided by what is there in the end.
            let ino = kept
                .filter(|_| equal || self.options.checksum && !shared)
                .map(|stat| (stat.dev, stat.ino));
            self.keeps(&path);
            self.wrap.leaders.insert(id, (path.clone(), ino));
        }
        if let Some(stat) = kept.filter(|_| equal) {
            self.drop_id(id);
            self.totals.unchanged = self.totals.unchanged.saturating_add(meta.size);
            let differs = stat.meta.mode != meta.mode;
            if differs || due.is_something() {
                self.item(Outcome::Touched, &path, meta.size, String::new());
            }
            if due.is_something() {
                self.set_due(path, Kind::File, meta, due);
            } else if differs {
                self.set_meta(path, Kind::File, meta);
            }
            return false;
        }
        if meta.size > self.options.max_file {
            self.drop_id(id);
            let most = self.options.max_file;
            let text = format!(
                "`{path}` has {} bytes, at most {most} are taken here",
                meta.size
            );
            self.fail(&path, text);
            return false;
        }
        let target = Target {
            id,
            path,
            meta,
            old: kept,
            shared,
            partial,
            kept: due,
            fresh: self.due(entry, None),
            attempts: 0,
            counted: 0,
            waits: 0,
        };
        self.totals.files += 1;
        self.totals.bytes = self.totals.bytes.saturating_add(meta.size);
        let compare = self.options.checksum
            && !shared
            && kept.is_some_and(|stat| stat.meta.size == meta.size);
        if self.options.dry_run && !compare {
            self.drop_id(id);
            self.would_write(&target);
            return true;
        }
        if meta.size <= SMALL && !compare {
            self.small_todo.push_back(target);
        } else {
            self.large_todo.push_back(target);
        }
        true
    }

    /// Says what a real run would do with a file.
    pub(super) fn would_write(&mut self, target: &Target) {
        self.totals.files_done += 1;
        self.stored(target, target.meta.size);
    }

    /// Says that a file was written.
    pub(super) fn stored(&mut self, target: &Target, size: u64) {
        let outcome = match target.old {
            Some(_) => Outcome::Updated,
            None => Outcome::Created,
        };
        self.item(outcome, &target.path, size, String::new());
    }
}
