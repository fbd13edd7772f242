//! File systems that were written to.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Dir, Disk};
use crate::wire::RelPath;

/// File systems that are remembered; with more, everything is written out.
const MOST: usize = 64;
/// No device.
const NONE: u64 = u64::MAX;

/// A directory of each file system that was written to, by its device: the root's, and others that are mounted
/// beneath it.
#[derive(Debug)]
pub(super) struct Written {
    devices: Mutex<HashMap<u64, Arc<Dir>>>,
    /// The device that was last written to, which is mostly the next as well.
    last: AtomicU64,
}

impl Default for Written {
    fn default() -> Self {
        Self {
            devices: Mutex::default(),
            last: AtomicU64::new(NONE),
        }
    }
}

impl Disk {
    /// The open directory that a path is in, of which something is going to be written; the root itself for the
    /// root.
    pub(super) fn parent_to_write(&self, path: &RelPath) -> io::Result<Arc<Dir>> {
        let dir = match path.is_root() {
            true => Arc::clone(self.root()?),
            false => self.parent(path)?,
        };
        self.writes_to(&dir);
        Ok(dir)
    }

    /// Remembers the file system of a directory.
    pub(super) fn writes_to(&self, dir: &Arc<Dir>) {
        if dir.dev != NONE && self.written.last.load(Ordering::Relaxed) == dir.dev {
            return;
        }
        let devices = self.written.devices.lock();
        let mut devices = devices.unwrap_or_else(PoisonError::into_inner);
        if devices.len() <= MOST {
            devices.entry(dir.dev).or_insert_with(|| Arc::clone(dir));
        }
        // Behind the entry, so that whoever sees it need not look.
        self.written.last.store(dir.dev, Ordering::Relaxed);
    }

    /// Waits until the file systems that were written to are written out.
    pub(super) fn sync_written(&self) -> io::Result<()> {
        let devices = self.written.devices.lock();
        // Whoever writes must not wait for this.
        let devices = devices.unwrap_or_else(PoisonError::into_inner).clone();
        if devices.is_empty() {
            return Ok(());
        }
        #[cfg(target_os = "linux")]
        if devices.len() <= MOST {
            for dir in devices.values() {
                rustix::fs::syncfs(&**dir)?;
            }
            return Ok(());
        }
        rustix::fs::sync();
        Ok(())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::fs::Store as _;

    #[test]
    fn what_is_written_to_is_written_out_and_nothing_else() {
        let Ok(mounted) = tempfile::tempdir_in("/dev/shm") else {
            return;
        };
        let disk = Disk::open_root(Path::new("/")).unwrap();
        let dir = RelPath::new(&mounted.path().as_os_str().as_encoded_bytes()[1..]).unwrap();
        let devices = || -> Vec<u64> {
            let devices = disk.written.devices.lock().unwrap();
            devices.keys().copied().collect()
        };
        disk.list(&RelPath::root()).unwrap();
        disk.list(&dir).unwrap();
        let stat = disk.stat(&dir).unwrap();
        assert_eq!(devices(), Vec::<u64>::new());
        disk.make_dir(&dir.join(b"made"), 0o700).unwrap();
        assert_eq!(devices(), [stat.dev]);
        disk.sync_all().unwrap();
        assert_eq!(
            devices(),
            [stat.dev],
            "whoever writes now may not have been waited for"
        );
    }
}
