//! Directories, links and deletions.

use std::io;

use super::apply::cannot_store;
use super::{Worker, failed};
use crate::engine::{Change, Failed, Listing};
use crate::fs::part::{self, Own, own};
use crate::fs::{Store, Wanted};
use crate::wire::{Kind, RelPath};

/// Mode of a new directory until everything in it is done: its owner must be able to fill it.
const WORKING_MODE: u32 = 0o700;
/// Most entries that are looked for beneath a directory that is to be deleted.
const WALK_MAX: usize = 1 << 20;

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
            Change::Link { from, to } => one(self.link(from, to)).into_iter().collect(),
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

    pub(super) fn walk(
        &self,
        path: &RelPath,
        dry_run: bool,
    ) -> Result<Vec<(RelPath, Kind)>, Failed> {
        let mut beneath = Vec::new();
        let mut dirs = vec![path.clone()];
        while let Some(dir) = dirs.pop() {
            let found = match dry_run {
                true => self.store.list(&dir),
                false => self.within(&dir, || self.store.list(&dir)),
            };
            let found = found.map_err(|error| failed(&dir, "cannot be listed", &error))?;
            for found in found {
                let path = dir.join(&found.name);
                if found.stat.kind == Kind::Dir {
                    dirs.push(path.clone());
                }
                beneath.push((path, found.stat.kind));
            }
            if beneath.len() > WALK_MAX {
                return Err(Failed {
                    text: format!("`{path}` holds more than {WALK_MAX} entries: delete it by hand"),
                    changed: false,
                    full: false,
                });
            }
        }
        // A directory was listed before what is in it.
        beneath.reverse();
        Ok(beneath)
    }
}

fn failures<T>(all: &[T], work: impl Fn(&T) -> Result<(), Failed>) -> Vec<(usize, Failed)> {
    all.iter()
        .enumerate()
        .filter_map(|(place, one)| work(one).err().map(|failed| (place, failed)))
        .collect()
}
