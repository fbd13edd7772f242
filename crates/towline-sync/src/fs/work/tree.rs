//! Directories, links and deletions.

use std::io;

use super::apply::cannot_store;
use super::{Worker, failed};
use crate::engine::{Beneath, Change, Failed, Listing};
use crate::fs::manifest::short;
use crate::fs::part::{self, Own, own};
use crate::fs::{Store, Wanted};
use crate::wire::{Hash16, Kind, RelPath};

/// Mode of a new directory until everything in it is done: its owner must be able to fill it.
const WORKING_MODE: u32 = 0o700;
/// Entries beneath a directory up to which they are listed together.
const WALKED: usize = 4096;

impl<S: Store> Worker<S> {
    pub(super) fn prepare(
        &self,
        path: &RelPath,
        (make, dry_run): (bool, bool),
        wanted: Wanted,
    ) -> Result<Listing, Failed> {
        let cannot = |error: io::Error| cannot_store(path, &error);
        if make && !path.is_root() {
            let parent = path.parent();
            match self.within(&parent, || self.store.stat(path)) {
                Ok(stat) if stat.kind == Kind::Dir => {}
                old => {
                    if old.is_ok() {
                        self.within(&parent, || self.store.remove_file(path))
                            .map_err(cannot)?;
                    }
                    self.within(&parent, || self.store.make_dir(path, WORKING_MODE))
                        .map_err(cannot)?;
                    return Ok(Listing {
                        created: true,
                        ..Listing::default()
                    });
                }
            }
        }
        let list = || match dry_run {
            true => self.list_with(path, wanted),
            false => self.within(path, || self.list_with(path, wanted)),
        };
        let mut closed = false;
        let found = list().and_then(|found| {
            let journals = found.iter().filter(|_| !dry_run);
            for found in journals.filter(|found| own(&found.name) == Some(Own::Modes)) {
                closed |= self.give_back(&path.join(&found.name));
            }
            // Modes are others now.
            if closed { list() } else { Ok(found) }
        });
        let found = match found {
            Ok(found) => found,
            // Not made because nothing is to be changed.
            Err(error) if dry_run && error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed(path, "cannot be listed", &error)),
        };
        let mut listing = Listing {
            root: self.root_meta(path),
            swept: closed,
            ..Listing::default()
        };
        for found in found {
            match own(&found.name) {
                None => listing.found.push(found),
                Some(Own::Left(stem)) if !listing.partial.contains(&stem) => {
                    listing.partial.push(stem);
                }
                Some(Own::Temporary) if !dry_run => {
                    listing.swept |= self.sweep(&path.join(&found.name));
                }
                Some(Own::Temporary | Own::Left(_) | Own::Modes) => {}
            }
        }
        Ok(listing)
    }

    /// Removes a file of ours that nobody holds.
    fn sweep(&self, path: &RelPath) -> bool {
        match self.store.stat(path) {
            Ok(stat) if stat.kind == Kind::File => {}
            // Links have no locks; they get their names at once.
            Ok(stat) if stat.kind == Kind::Symlink => {
                let removed = self.within(&path.parent(), || self.store.remove_file(path));
                return removed.is_ok();
            }
            _ => return false,
        }
        // The lock is held until the name is gone.
        let held = self.store.open_own(path);
        held.is_ok() && {
            let removed = self.within(&path.parent(), || self.store.remove_file(path));
            removed.is_ok()
        }
    }

    pub(super) fn change(&self, change: &Change) -> Vec<(usize, Failed)> {
        let one = |result: Result<(), Failed>| result.err().map(|failed| (0, failed));
        match change {
            Change::Symlink {
                path,
                target,
                meta,
                owner,
            } => {
                let temporary = self.temporary(path);
                let mut given = Ok(());
                let dir = path.parent();
                let made = self
                    .within(&dir, || self.store.symlink(target, &temporary))
                    .and_then(|()| self.store.set_path_meta(&temporary, Kind::Symlink, meta))
                    .and_then(|()| {
                        // A link of somebody else is better than none.
                        if let Some(owner) = owner {
                            given = self.give(&temporary, path, *owner);
                        }
                        self.store.rename(&temporary, path)
                    });
                let made = made.map_err(|error| {
                    drop(self.store.remove_file(&temporary));
                    cannot_store(path, &error)
                });
                one(made.and(given)).into_iter().collect()
            }
            Change::Links(all) => failures(all, |(from, to)| self.link(from, to)),
            Change::Meta(all) => failures(all, |(path, kind, meta)| {
                if *kind == Kind::Dir {
                    self.close_beneath(path);
                }
                let set = self.within(&path.parent(), || {
                    self.store.set_path_meta(path, *kind, meta)
                });
                if *kind == Kind::Dir && set.is_ok() {
                    self.has_its_mode(path);
                }
                set.map_err(|error| failed(path, "keeps its old time and mode", &error))
            }),
            Change::Attributes(all) => failures(all, |one| self.set_attributes(one)),
            Change::Remove(all) => failures(all, |(path, kind)| {
                let removed = self.within(&path.parent(), || match kind {
                    Kind::Dir => self.store.remove_dir(path),
                    _ => self.store.remove_file(path),
                });
                match removed {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                    removed => removed.map_err(|error| failed(path, "cannot be deleted", &error)),
                }
            }),
            Change::Discard { dir, stem } => {
                let [partial, journal] = part::left(dir, stem);
                // Whoever receives the file holds both.
                if self.sweep(&partial) || self.store.stat(&partial).is_err() {
                    self.sweep(&journal);
                }
                Vec::new()
            }
        }
    }

    fn link(&self, from: &RelPath, to: &RelPath) -> Result<(), Failed> {
        let link = || -> io::Result<()> {
            let first = self.store.stat(from)?;
            if let Ok(second) = self.store.stat(to)
                && (first.dev, first.ino) == (second.dev, second.ino)
            {
                return Ok(());
            }
            let temporary = self.temporary(to);
            self.within(&to.parent(), || self.store.hard_link(from, &temporary))?;
            let renamed = self.store.rename(&temporary, to);
            if renamed.is_err() {
                drop(self.store.remove_file(&temporary));
            }
            renamed
        };
        link().map_err(|error| failed(to, &format!("cannot become a link to `{from}`"), &error))
    }

    /// What is in a directory, and beneath it if that is little.
    pub(super) fn walk(
        &self,
        path: &RelPath,
        among: Option<&[Hash16]>,
        dry_run: bool,
    ) -> Result<Beneath, Failed> {
        let list = |dir: &RelPath| {
            let found = match dry_run {
                true => self.store.list(dir),
                false => self.within(dir, || self.store.list(dir)),
            };
            found.map_err(|error| failed(dir, "cannot be listed", &error))
        };
        let root = RelPath::root();
        let own = list(path)?.into_iter();
        let own = own.map(|found| (root.join(&found.name), found.stat.kind));
        if let Some(among) = among {
            let known = |name: &RelPath| among.binary_search(&name_hash(name.as_bytes())).is_ok();
            let found = own.filter(|(name, _)| known(name)).collect();
            let whole = false;
            return Ok(Beneath { found, whole });
        }
        let mut found: Vec<(RelPath, Kind)> = own.collect();
        let count = found.len();
        let mut at = 0;
        // A directory comes before what is in it.
        while let Some((dir, kind)) = found.get(at).cloned().filter(|_| found.len() <= WALKED) {
            at += 1;
            if kind == Kind::Dir {
                let more = list(&path.join(dir.as_bytes()))?.into_iter();
                found.extend(more.map(|found| (dir.join(&found.name), found.stat.kind)));
            }
        }
        let whole = at == found.len();
        if whole {
            found.reverse();
        } else {
            found.truncate(count);
        }
        Ok(Beneath { found, whole })
    }
}

/// By what the name of something that is to be deleted is remembered.
pub(crate) fn name_hash(name: &[u8]) -> Hash16 {
    short(blake3::hash(name).as_bytes())
}

fn failures<T>(all: &[T], work: impl Fn(&T) -> Result<(), Failed>) -> Vec<(usize, Failed)> {
    all.iter()
        .enumerate()
        .filter_map(|(place, one)| work(one).err().map(|failed| (place, failed)))
        .collect()
}
