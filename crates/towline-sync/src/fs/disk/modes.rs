//! Modes and times of what may not be opened.

use std::io;

use rustix::fs::{AtFlags, Mode, OFlags};

use super::Disk;
use super::stat::{stat_of, times};
use crate::fs::Stat;
use crate::wire::{Kind, Meta, RelPath};

impl Disk {
    /// Changes the mode of a file or directory that it may keep even its owner from opening. Returns the
    /// mode that it had. Nothing is changed if there is to be none.
    #[cfg(target_os = "linux")]
    pub(super) fn change_mode(
        &self,
        path: &RelPath,
        change: impl FnOnce(&Stat) -> Option<u32>,
    ) -> io::Result<u32> {
        use std::os::fd::AsRawFd as _;

        let dir = self.parent(path)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = rustix::fs::openat(&*dir, path.name(), flags, Mode::empty())?;
        let stat = stat_of(&rustix::fs::fstat(&found)?);
        if !matches!(stat.kind, Kind::File | Kind::Dir) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mode = change(&stat).ok_or(io::ErrorKind::PermissionDenied)?;
        let mode = Mode::from_raw_mode(mode);
        rustix::fs::chmod(format!("/proc/self/fd/{}", found.as_raw_fd()), mode)?;
        Ok(stat.meta.mode)
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn change_mode(
        &self,
        _: &RelPath,
        _: impl FnOnce(&Stat) -> Option<u32>,
    ) -> io::Result<u32> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    pub(super) fn set_times(&self, path: &RelPath, meta: &Meta) -> io::Result<()> {
        let dir = self.parent(path)?;
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        Ok(rustix::fs::utimensat(
            &*dir,
            path.name(),
            &times(meta),
            flags,
        )?)
    }
}
