//! Comparing what is listed with what is there.

use bytes::Bytes;

use super::attributes::Due;
use super::links::State;
use super::listing::{Dir, Here};
use super::{Receiver, Target};
use crate::engine::{SMALL, Violation};
use crate::fs::{Found, Stat, is_own, stem};
use crate::wire::{Entry, Kind, Meta, Outcome, PATH_MAX, RelPath};

/// Files that may wait to be asked for: twice what an honest sender has listed.
const MOST_TODO: usize = 32 << 10;
/// Components of a path.
const MOST_DEPTH: usize = 256;

impl Receiver {
    /// Compares an entry with what is there.
    pub(super) fn entry(
        &mut self,
        (number, dir): (u64, &mut Dir),
        here: &mut Here,
        id: u64,
        entry: Entry,
        local: Option<Found>,
    ) -> Result<(), Violation> {
        let path = dir.path.join(&entry.name);
        if path.len() > PATH_MAX || path.depth() > MOST_DEPTH {
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
            self.give_way_later((number, &dir.path), id, path, entry);
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
                let due = (due, partial.is_some());
                let wanted = self.file_entry((number, &dir.path), id, path, &entry, local, due);
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
        self.drop_id(id);
        let at = parent.path.clone();
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
        self.announce(id, (at, path), Some(entry), (new, due));
        if let Some(dir) = self.dirs.get_mut(&id) {
            dir.touched |= differs;
        }
    }

    /// True if its content is asked for, or it becomes a link.
    fn file_entry(
        &mut self,
        dir: (u64, &RelPath),
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
            return self.link_entry(leader, &path, kept);
        }
        let meta = entry.meta;
        // A file that shares its content here and not there must get one of its own.
        let shared = kept.is_some_and(|stat| {
            stat.links > 1 && (!entry.leads || !self.links.led.insert((stat.dev, stat.ino)))
        });
        let equal = kept.is_some_and(|stat| {
            (stat.meta.size, stat.meta.mtime) == (meta.size, meta.mtime) && !self.options.checksum
        }) && !shared;
        if entry.leads {
            // Where contents are compared, this is decided by what is there in the end.
            let ino = kept
                .filter(|_| equal || self.options.checksum && !shared)
                .map(|stat| (stat.dev, stat.ino));
            let state = if equal { State::Settled } else { State::Open };
            self.leads(id, dir, &path, ino, state);
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
        self.new_file(id, path, entry, (kept, shared), (due, partial))
    }

    /// Has the content of a file brought over. True unless it is too large.
    pub(super) fn new_file(
        &mut self,
        id: u64,
        path: RelPath,
        entry: &Entry,
        (old, shared): (Option<Stat>, bool),
        (kept, partial): (Due, bool),
    ) -> bool {
        let meta = entry.meta;
        let target = Target {
            id,
            path,
            meta,
            old,
            leads: entry.leads,
            shared,
            partial,
            kept,
            fresh: self.due(entry, None),
            attempts: 0,
            counted: 0,
            waits: 0,
        };
        if meta.size > self.options.max_file {
            self.drop_id(id);
            let (path, size, most) = (&target.path, meta.size, self.options.max_file);
            let text = format!("`{path}` has {size} bytes, at most {most} are taken here");
            self.failed_file(&target, text);
            return false;
        }
        self.totals.files += 1;
        self.totals.bytes = self.totals.bytes.saturating_add(meta.size);
        let compare =
            self.options.checksum && !shared && old.is_some_and(|stat| stat.meta.size == meta.size);
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

    /// A file is not brought over.
    pub(super) fn failed_file(&mut self, target: &Target, text: String) {
        self.fail(&target.path, text);
        self.is_over(target);
    }

    /// Nothing more happens to a file: what waited for it goes on.
    pub(super) fn is_over(&mut self, target: &Target) {
        if target.leads {
            self.settled(target.id);
        }
    }

    /// Says that a file was written.
    pub(super) fn stored(&mut self, target: &Target, size: u64) {
        self.is_over(target);
        let outcome = match target.old {
            Some(_) => Outcome::Updated,
            None => Outcome::Created,
        };
        self.item(outcome, &target.path, size, String::new());
    }
}
