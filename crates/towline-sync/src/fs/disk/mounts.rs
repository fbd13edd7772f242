//! File systems that are mounted beneath the root.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::PoisonError;

use super::{Disk, open_dir};

/// File systems that are remembered; with more, everything is written out.
const MOST: usize = 64;

impl Disk {
    /// Remembers a directory that is on another file system than the root.
    pub(super) fn note_mount(&self, parent: BorrowedFd<'_>, name: &[u8], dev: u64) {
        let mut mounts = self.mounts.lock().unwrap_or_else(PoisonError::into_inner);
        if mounts.len() <= MOST
            && !mounts.contains_key(&dev)
            && let Ok(dir) = open_dir(parent, name)
        {
            mounts.insert(dev, dir);
        }
    }

    /// Waits until the root's file system, and those that were met beneath it, are written out.
    #[cfg(target_os = "linux")]
    pub(super) fn sync_mounts(&self) -> io::Result<()> {
        let mounts = self.mounts.lock().unwrap_or_else(PoisonError::into_inner);
        if mounts.len() > MOST {
            rustix::fs::sync();
            return Ok(());
        }
        rustix::fs::syncfs(&**self.root()?)?;
        for dir in mounts.values() {
            rustix::fs::syncfs(dir)?;
        }
        Ok(())
    }

    /// Waits until everything is written out.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn sync_mounts(&self) -> io::Result<()> {
        rustix::fs::sync();
        Ok(())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::fs::Store as _;
    use crate::wire::RelPath;

    #[test]
    fn what_is_mounted_beneath_is_written_out_as_well() {
        let disk = Disk::open_root(Path::new("/")).unwrap();
        let proc = disk.stat(&RelPath::new(b"proc").unwrap()).unwrap().dev;
        disk.list(&RelPath::root()).unwrap();
        let mounts = disk.mounts.lock().unwrap();
        assert!(mounts.contains_key(&proc), "{mounts:?}");
        assert!(!mounts.contains_key(&disk.dev.unwrap()));
    }
}
