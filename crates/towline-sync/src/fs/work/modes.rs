//! Directories whose mode keeps their owner out, opened for the time of a sync.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::Ordering;

use super::{Worker, failed, lock};
use crate::engine::Failed;
use crate::fs::Store;
use crate::fs::opened::{self, Mode};
use crate::fs::part;
use crate::wire::{Kind, Meta, RelPath};

/// What the owner of a directory needs to change it.
const OWNER: u32 = 0o700;

/// Directories that were opened up.
pub(super) struct Opened<F> {
    modes: BTreeMap<RelPath, Mode>,
    journal: Option<Journal<F>>,
}

/// Where they are noted, so that whoever is killed does not leave them open for good.
struct Journal<F> {
    path: RelPath,
    file: F,
    end: u64,
}

impl<F> Default for Opened<F> {
    fn default() -> Self {
        Self {
            modes: BTreeMap::new(),
            journal: None,
        }
    }
}

impl<S: Store> Worker<S> {
    /// Does something in a directory. Where its mode does not permit that, its owner gets all rights for the
    /// time of the sync (docs/wire D22).
    pub(super) fn within<T>(
        &self,
        dir: &RelPath,
        work: impl Fn() -> io::Result<T>,
    ) -> io::Result<T> {
        match work() {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && self.open_up(dir) => {
                work()
            }
            result => result,
        }
    }

    /// True if something may be possible now in a directory that was not before.
    fn open_up(&self, dir: &RelPath) -> bool {
        // From the top: what is in a directory can be looked at only when that can be entered.
        let mut paths = vec![dir.clone()];
        while let Some(path) = paths.last().filter(|path| !path.is_root()) {
            paths.push(path.parent());
        }
        let mut done = false;
        for path in paths.into_iter().rev() {
            let mut opened = lock(&self.opened);
            if opened.modes.contains_key(&path) {
                done = true;
                continue;
            }
            let Ok(stat) = self.store.stat(&path) else {
                return done;
            };
            let closed = stat.kind == Kind::Dir && stat.meta.mode & OWNER != OWNER;
            // Nothing can be noted anywhere of a root that is closed. The next run of a sync that sets its mode
            // knows it without; where the root keeps its own, nobody would.
            if !closed || path.is_root() && self.keep_root {
                continue;
            }
            let old = Mode {
                mode: stat.meta.mode,
                ino: stat.ino,
            };
            if !path.is_root() && self.note(&mut opened, &path, Some(old)).is_err() {
                return done;
            }
            let mode = stat.meta.mode | OWNER;
            let meta = Meta { mode, ..stat.meta };
            if self.store.set_path_meta(&path, Kind::Dir, &meta).is_ok() {
                opened.modes.insert(path, old);
                done = true;
            }
        }
        done
    }

    /// Appends to the journal that a directory is about to be opened up, or has the mode that it keeps.
    fn note(
        &self,
        opened: &mut Opened<S::File>,
        path: &RelPath,
        old: Option<Mode>,
    ) -> io::Result<()> {
        let mut bytes = Vec::new();
        let journal = match &mut opened.journal {
            Some(journal) => journal,
            none => {
                let path = part::modes(self.random());
                let file = self.quietly(|| self.store.create(&path, 0o600))?;
                none.insert(Journal { path, file, end: 0 })
            }
        };
        if journal.end == 0 {
            bytes.extend(opened::head());
        }
        opened::record(path, old, &mut bytes);
        let end = journal.end + bytes.len() as u64;
        if end > opened::MOST {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.store.write_at(&journal.file, &bytes, journal.end)?;
        journal.end = end;
        Ok(())
    }

    /// Changes names of our own in the root without changing its time, which is the sync's to set.
    fn quietly<T>(&self, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let root = RelPath::root();
        let stat = self.store.stat(&root)?;
        let done = work()?;
        if !self.keep_root {
            drop(self.store.set_path_meta(&root, Kind::Dir, &stat.meta));
        }
        Ok(done)
    }

    /// Closes what is beneath a directory that gets the mode it is to keep: then perhaps nobody reaches that
    /// any more.
    pub(super) fn close_beneath(&self, dir: &RelPath) {
        let above = [dir.as_bytes(), b"/"].concat();
        // What cannot be closed yet is tried again in the end, and told then.
        drop(self.close(|path| {
            !path.is_root() && (dir.is_root() || path.as_bytes().starts_with(&above))
        }));
        if dir.is_root() {
            self.end_journal();
        }
    }

    /// A directory has the mode that it is to keep.
    pub(super) fn has_its_mode(&self, dir: &RelPath) {
        let mut opened = lock(&self.opened);
        if opened.modes.remove(dir).is_some() && !dir.is_root() {
            // Without it, the next run after a kill gives the old mode back, and then sets this one again.
            drop(self.note(&mut opened, dir, None));
        }
    }

    /// Gives directories that were opened up, and that nobody gave another mode, theirs back.
    pub(super) fn close_up(&self) -> Vec<(usize, Failed)> {
        let mut failures = self.close(|path| !path.is_root());
        // Before the root is closed.
        self.end_journal();
        failures.extend(self.close(RelPath::is_root));
        failures.into_iter().map(|failed| (0, failed)).collect()
    }

    fn close(&self, which: impl Fn(&RelPath) -> bool) -> Vec<Failed> {
        let mut failures = Vec::new();
        let mut opened = lock(&self.opened);
        let paths = opened.modes.keys();
        let closed: Vec<_> = paths.filter(|path| which(path)).cloned().collect();
        // What is beneath comes before what is above.
        for path in closed.into_iter().rev() {
            let Some(old) = opened.modes.remove(&path) else {
                continue;
            };
            let back = || -> io::Result<()> {
                let stat = self.store.stat(&path)?;
                let mode = old.mode;
                let meta = Meta { mode, ..stat.meta };
                match stat.kind {
                    Kind::Dir => self.store.set_path_meta(&path, Kind::Dir, &meta),
                    _ => Ok(()),
                }
            };
            match back() {
                Err(error) if !is_gone(&error) => {
                    failures.push(failed(&path, "does not get its mode back", &error));
                    opened.modes.insert(path, old);
                }
                // Whoever gives it another mode from now on means it.
                _ if !path.is_root() => drop(self.note(&mut opened, &path, None)),
                _ => {}
            }
        }
        failures
    }

    /// Removes the journal, if nothing beneath the root is open.
    fn end_journal(&self) {
        let mut opened = lock(&self.opened);
        if opened.modes.keys().all(RelPath::is_root)
            && let Some(journal) = opened.journal.take()
        {
            // One that stays is removed by the next run.
            drop(self.quietly(|| self.store.remove_file(&journal.path)));
        }
    }

    /// Gives directories the modes back that they had before somebody opened them up who was killed. Returns
    /// true if the journal of that is gone.
    pub(super) fn give_back(&self, journal: &RelPath) -> bool {
        if !matches!(self.store.stat(journal), Ok(stat) if stat.kind == Kind::File) {
            return false;
        }
        // The lock is held until the name is gone.
        let Ok((file, stat)) = self.within(&journal.parent(), || self.store.open_own(journal))
        else {
            return false;
        };
        let length = stat.meta.size.min(opened::MOST);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        let Ok(read) = self.store.read_at(&file, &mut bytes, 0) else {
            return false;
        };
        let dir = journal.parent();
        // What is beneath comes before what is above.
        for (path, old) in opened::read(&bytes[..read]).into_iter().rev() {
            let path = dir.join(path.as_bytes());
            if !lock(&self.opened).modes.contains_key(&path)
                && let Err(error) = self.give_one_back(&path, old)
                && !is_gone(&error)
            {
                return false;
            }
        }
        let removed = self.within(&dir, || self.store.remove_file(journal));
        removed.is_ok()
    }

    fn give_one_back(&self, path: &RelPath, old: Mode) -> io::Result<()> {
        let stat = self.store.stat(path)?;
        let Mode { mode, ino } = old;
        // Whoever has given it another mode since has meant it.
        if stat.kind != Kind::Dir || stat.ino != ino || stat.meta.mode != mode | OWNER {
            return Ok(());
        }
        let meta = Meta { mode, ..stat.meta };
        self.store.set_path_meta(path, Kind::Dir, &meta)
    }

    /// A number that no other process is likely to have.
    pub(super) fn random(&self) -> u64 {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        // Spread, so that the names of two processes do not meet.
        (self.seed ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

impl<S: Store> Drop for Worker<S> {
    fn drop(&mut self) {
        // Of a sync that ended early; what cannot be set back is set right by the next.
        drop(self.close_up());
    }
}
