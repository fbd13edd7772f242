//! Files of our own, which are locked while somebody works with them.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::Disk;
use super::stat::stat_of;
use crate::fs::{Stat, Store as _};
use crate::wire::{Kind, RelPath};

/// How often a file is opened that has got another name, or none, before its lock was had.
const TRIES: u32 = 8;

impl Disk {
    /// Opens a file of ours, creates it if it is not there, and locks it.
    pub(super) fn open_locked(&self, path: &RelPath) -> io::Result<(OwnedFd, Stat)> {
        let flags = OFlags::RDWR | OFlags::CREATE;
        let mode = Mode::from_raw_mode(0o600);
        for _ in 0..TRIES {
            self.parent_to_write(path)?;
            let file = match self.open_file(path, flags, mode) {
                // Whoever was killed had given it its last mode already.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    let closed = self.change_mode(path, |stat| {
                        check(stat).ok()?;
                        Some(stat.meta.mode | 0o600)
                    });
                    closed.map_err(|_| error)?;
                    self.open_file(path, flags, mode)?
                }
                opened => opened?,
            };
            check(&self.stat_file(&file)?)?;
            if let Some(stat) = self.lock_named(path, &file)? {
                check(&stat)?;
                return Ok((file, stat));
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Creates a file that must not be there, and locks it.
    pub(super) fn create_locked(&self, path: &RelPath, mode: u32) -> io::Result<OwnedFd> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        self.parent_to_write(path)?;
        let mut made = None;
        for attempt in 0..TRIES {
            let file = match made.take() {
                Some(file) => file,
                None => self.open_file(path, flags, Mode::from_raw_mode(mode))?,
            };
            match self.lock_named(path, &file) {
                Ok(Some(_)) => return Ok(file),
                Ok(None) => {}
                // Whoever takes it for one that was left behind locks it for as long as it takes to remove it.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::thread::sleep(Duration::from_millis(1 << attempt));
                    made = Some(file);
                }
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Locks a file that was opened under this name. `None` if it has that name no longer: whoever held the lock
    /// before may have removed it, or made it what it was to become.
    fn lock_named(&self, path: &RelPath, file: &OwnedFd) -> io::Result<Option<Stat>> {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(io::ErrorKind::WouldBlock.into()),
            // A file system without locks: nobody can be told apart.
            Err(_) => {}
        }
        let dir = self.parent(path)?;
        let named = match rustix::fs::statat(&*dir, path.name(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(named) => stat_of(&named),
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let stat = self.stat_file(file)?;
        Ok(((named.dev, named.ino) == (stat.dev, stat.ino)).then_some(stat))
    }
}

/// A file with other names may be a user's.
fn check(stat: &Stat) -> io::Result<()> {
    if stat.kind == Kind::File && stat.links <= 1 {
        return Ok(());
    }
    Err(io::Error::other(
        "what is in its place is not a file of ours",
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    fn disk() -> (tempfile::TempDir, Disk, RelPath) {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open_root(dir.path()).unwrap();
        (dir, disk, RelPath::new(b".f.tow-partial").unwrap())
    }

    /// docs/wire D20: who waited for a lock does not write to what the file has become.
    #[test]
    fn a_file_that_has_become_its_target_is_not_taken_for_a_partial_one() {
        let (dir, disk, path) = disk();
        let partial = dir.path().join(".f.tow-partial");
        for replace in [false, true] {
            fs::write(&partial, "all of it").unwrap();
            let flags = OFlags::RDWR;
            let opened = disk.open_file(&path, flags, Mode::empty()).unwrap();
            let (held, _) = disk.open_locked(&path).unwrap();
            assert!(disk.lock_named(&path, &opened).is_err(), "held");
            fs::rename(&partial, dir.path().join("f")).unwrap();
            if replace {
                fs::write(&partial, "another").unwrap();
            }
            drop(held);
            assert_eq!(disk.lock_named(&path, &opened).unwrap(), None);
        }
        drop(disk.open_locked(&path).unwrap());
        assert_eq!(fs::read(dir.path().join("f")).unwrap(), b"all of it");
    }

    #[test]
    fn a_file_with_other_names_is_left_alone() {
        let (dir, disk, path) = disk();
        let user = dir.path().join("user");
        fs::write(&user, "of a user").unwrap();
        fs::set_permissions(&user, fs::Permissions::from_mode(0o400)).unwrap();
        fs::hard_link(&user, dir.path().join(".f.tow-partial")).unwrap();
        disk.open_locked(&path).unwrap_err();
        // Whoever is not root would be kept out by the mode first.
        let mode = |stat: &Stat| check(stat).ok().map(|()| 0o600);
        disk.change_mode(&path, mode).unwrap_err();
        let meta = user.metadata().unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.len()), (0o400, 9));
    }

    #[test]
    fn what_is_there_is_not_made_again() {
        let (dir, disk, path) = disk();
        let file = disk.create_locked(&path, 0o600).unwrap();
        disk.create_locked(&path, 0o600).unwrap_err();
        let ino = dir.path().join(".f.tow-partial").metadata().unwrap().ino();
        assert_eq!(disk.stat_file(&file).unwrap().ino, ino);
    }
}
