//! Directories whose mode keeps their owner out, opened for the time of a sync.

use std::io;

use super::{Worker, failed, lock};
use crate::engine::Failed;
use crate::fs::Store;
use crate::wire::{Kind, Meta, RelPath};

/// What the owner of a directory needs to change it.
const OWNER: u32 = 0o700;

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
        let mut opened = false;
        for path in paths.into_iter().rev() {
            let mut known = lock(&self.opened);
            if known.contains_key(&path) {
                opened = true;
                continue;
            }
            let Ok(stat) = self.store.stat(&path) else {
                return opened;
            };
            if stat.kind != Kind::Dir || stat.meta.mode & OWNER == OWNER {
                continue;
            }
            let mode = stat.meta.mode | OWNER;
            let meta = Meta { mode, ..stat.meta };
            if self.store.set_path_meta(&path, Kind::Dir, &meta).is_ok() {
                known.insert(path, stat.meta.mode);
                opened = true;
            }
        }
        opened
    }

    /// A directory gets the mode that it is to keep: from now on, perhaps nobody reaches what is beneath it.
    pub(super) fn gets_its_mode(&self, dir: &RelPath) {
        lock(&self.opened).remove(dir);
        let above = [dir.as_bytes(), b"/"].concat();
        // What cannot be closed yet is tried again in the end, and told then.
        drop(self.close(|path| dir.is_root() || path.as_bytes().starts_with(&above)));
    }

    /// Gives directories that were opened up, and that nobody gave another mode, theirs back.
    pub(super) fn close_up(&self) -> Vec<(usize, Failed)> {
        let failures = self.close(|_| true);
        failures.into_iter().map(|failed| (0, failed)).collect()
    }

    fn close(&self, which: impl Fn(&RelPath) -> bool) -> Vec<Failed> {
        let mut failures = Vec::new();
        let mut opened = lock(&self.opened);
        let closed: Vec<_> = opened.keys().filter(|path| which(path)).cloned().collect();
        // What is beneath comes before what is above.
        for path in closed.into_iter().rev() {
            let Some(mode) = opened.remove(&path) else {
                continue;
            };
            let back = || -> io::Result<()> {
                let stat = self.store.stat(&path)?;
                let meta = Meta { mode, ..stat.meta };
                match stat.kind {
                    Kind::Dir => self.store.set_path_meta(&path, Kind::Dir, &meta),
                    _ => Ok(()),
                }
            };
            match back() {
                Err(error)
                    if !matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                    ) =>
                {
                    failures.push(failed(&path, "does not get its mode back", &error));
                    opened.insert(path, mode);
                }
                // Gone meanwhile.
                _ => {}
            }
        }
        failures
    }
}

impl<S: Store> Drop for Worker<S> {
    fn drop(&mut self) {
        // Of a sync that ended early; what cannot be set back is set right by the next.
        drop(self.close_up());
    }
}
