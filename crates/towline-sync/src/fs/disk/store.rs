//! What a sync does with a tree on the machine.

use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use rustix::fs::{AtFlags, Mode, OFlags, RawDir, SeekFrom};
use rustix::io::Errno;

use super::stat::{stat_of, times};
use super::{Disk, open_dir};
use crate::fs::{Found, Stat, Store};
use crate::wire::{Kind, Meta, RelPath};

/// Bytes of names that are read from a directory at a time.
const NAMES: usize = 32 << 10;

impl Store for Disk {
    type File = OwnedFd;

    fn list(&self, dir: &RelPath) -> io::Result<Vec<Found>> {
        // An open directory keeps its place in the names, so it is opened for this alone.
        let fd = open_dir(self.dir(dir)?.as_fd(), b".")?;
        let mut buffer = vec![MaybeUninit::uninit(); NAMES];
        let mut entries = RawDir::new(&fd, &mut buffer);
        let mut found = Vec::new();
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let stat = match rustix::fs::statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat_of(&stat),
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error.into()),
            };
            let target = match stat.kind {
                Kind::Symlink => match rustix::fs::readlinkat(&fd, name, Vec::new()) {
                    Ok(target) => Some(Bytes::from(target.into_bytes())),
                    Err(Errno::NOENT | Errno::INVAL) => continue,
                    Err(error) => return Err(error.into()),
                },
                _ => None,
            };
            let name = Bytes::copy_from_slice(name);
            found.push(Found {
                name,
                stat,
                target,
                attributes: None,
            });
        }
        found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    fn stat(&self, path: &RelPath) -> io::Result<Stat> {
        if path.is_root() {
            return Ok(stat_of(&rustix::fs::fstat(&**self.root()?)?));
        }
        let dir = self.parent(path)?;
        let stat = rustix::fs::statat(&*dir, path.name(), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(stat_of(&stat))
    }

    fn open(&self, path: &RelPath) -> io::Result<(Self::File, Stat)> {
        let file = self.open_file(path, OFlags::RDONLY, Mode::empty())?;
        let stat = self.stat_file(&file)?;
        if stat.kind != Kind::File {
            return Err(io::Error::other("it is no regular file any more"));
        }
        Ok((file, stat))
    }

    fn open_own(&self, path: &RelPath) -> io::Result<(Self::File, Stat)> {
        self.open_locked(path)
    }

    fn create(&self, path: &RelPath, mode: u32) -> io::Result<Self::File> {
        self.create_locked(path, mode)
    }

    #[cfg(target_os = "linux")]
    fn create_unnamed(&self, dir: &RelPath, mode: u32) -> io::Result<Option<Self::File>> {
        if !self.unnamed.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let dir = self.dir(dir)?;
        self.writes_to(&dir);
        let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        match rustix::fs::openat(&*dir, ".", flags, Mode::from_raw_mode(mode)) {
            Ok(file) => Ok(Some(file)),
            // A file system, or a kernel, without such files.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                self.unnamed.store(false, Ordering::Relaxed);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(target_os = "linux")]
    fn link_unnamed(&self, file: &Self::File, path: &RelPath) -> io::Result<()> {
        use std::os::fd::AsRawFd as _;

        let dir = self.parent(path)?;
        self.writes_to(&dir);
        // By its descriptor alone it could be linked only with a capability.
        let old = format!("/proc/self/fd/{}", file.as_raw_fd());
        let flags = AtFlags::SYMLINK_FOLLOW;
        let linked = rustix::fs::linkat(rustix::fs::CWD, old, &*dir, path.name(), flags);
        if linked == Err(Errno::NOENT) {
            // No /proc here.
            self.unnamed.store(false, Ordering::Relaxed);
        }
        Ok(linked?)
    }

    #[cfg(not(target_os = "linux"))]
    fn create_unnamed(&self, _: &RelPath, _: u32) -> io::Result<Option<Self::File>> {
        Ok(None)
    }

    #[cfg(not(target_os = "linux"))]
    fn link_unnamed(&self, _: &Self::File, _: &RelPath) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn stat_file(&self, file: &Self::File) -> io::Result<Stat> {
        Ok(stat_of(&rustix::fs::fstat(file)?))
    }

    fn read_at(&self, file: &Self::File, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < out.len() {
            match rustix::io::pread(file, &mut out[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(done)
    }

    fn next_data(&self, file: &Self::File, offset: u64) -> io::Result<Option<(u64, u64)>> {
        let start = match rustix::fs::seek(file, SeekFrom::Data(offset)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(None),
            // A file system that knows no holes.
            Err(_) => return Ok(Some((offset, u64::MAX))),
        };
        let end = rustix::fs::seek(file, SeekFrom::Hole(start)).unwrap_or(u64::MAX);
        Ok(Some((start, end)))
    }

    fn write_at(&self, file: &Self::File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            match rustix::io::pwrite(file, &bytes[done..], offset + done as u64) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => done += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn set_len(&self, file: &Self::File, length: u64) -> io::Result<()> {
        Ok(rustix::fs::ftruncate(file, length)?)
    }

    fn clear(&self, file: &Self::File, offset: u64, length: u64) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::FallocateFlags;

            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            if rustix::fs::fallocate(file, flags, offset, length).is_ok() {
                return Ok(());
            }
        }
        let zeros = vec![0; 1 << 20];
        let mut done = 0;
        while done < length {
            let count = (length - done).min(zeros.len() as u64);
            self.write_at(file, &zeros[..count as usize], offset + done)?;
            done += count;
        }
        Ok(())
    }

    fn set_meta(&self, file: &Self::File, meta: &Meta) -> io::Result<()> {
        rustix::fs::fchmod(file, Mode::from_raw_mode(meta.mode))?;
        Ok(rustix::fs::futimens(file, &times(meta))?)
    }

    fn sync(&self, file: &Self::File) -> io::Result<()> {
        Ok(rustix::fs::fsync(file)?)
    }

    fn sync_dir(&self, dir: &RelPath) -> io::Result<()> {
        Ok(rustix::fs::fsync(&*self.dir(dir)?)?)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_written()
    }

    fn rename(&self, from: &RelPath, to: &RelPath) -> io::Result<()> {
        let (old, new) = (self.parent_to_write(from)?, self.parent_to_write(to)?);
        Ok(rustix::fs::renameat(&*old, from.name(), &*new, to.name())?)
    }

    fn remove_file(&self, path: &RelPath) -> io::Result<()> {
        let dir = self.parent_to_write(path)?;
        Ok(rustix::fs::unlinkat(&*dir, path.name(), AtFlags::empty())?)
    }

    fn remove_dir(&self, path: &RelPath) -> io::Result<()> {
        let dir = self.parent_to_write(path)?;
        self.forget(path);
        Ok(rustix::fs::unlinkat(
            &*dir,
            path.name(),
            AtFlags::REMOVEDIR,
        )?)
    }

    fn make_dir(&self, path: &RelPath, mode: u32) -> io::Result<()> {
        let dir = self.parent_to_write(path)?;
        Ok(rustix::fs::mkdirat(
            &*dir,
            path.name(),
            Mode::from_raw_mode(mode),
        )?)
    }

    fn symlink(&self, target: &[u8], path: &RelPath) -> io::Result<()> {
        let dir = self.parent_to_write(path)?;
        Ok(rustix::fs::symlinkat(
            OsStr::from_bytes(target),
            &*dir,
            path.name(),
        )?)
    }

    fn hard_link(&self, from: &RelPath, to: &RelPath) -> io::Result<()> {
        let (old, new) = (self.parent_to_write(from)?, self.parent_to_write(to)?);
        let flags = AtFlags::empty();
        Ok(rustix::fs::linkat(
            &*old,
            from.name(),
            &*new,
            to.name(),
            flags,
        )?)
    }

    fn set_path_meta(&self, path: &RelPath, kind: Kind, meta: &Meta) -> io::Result<()> {
        self.parent_to_write(path)?;
        match kind {
            Kind::Dir | Kind::File => {
                let opened = match kind {
                    Kind::Dir => self.dir(path).and_then(|dir| {
                        self.writes_to(&dir);
                        open_dir(dir.as_fd(), b".")
                    }),
                    _ => self.open_file(path, OFlags::RDONLY, Mode::empty()),
                };
                match opened {
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                        self.change_mode(path, |_| Some(meta.mode))?;
                        self.set_times(path, meta)
                    }
                    opened => self.set_meta(&opened?, meta),
                }
            }
            Kind::Symlink | Kind::Other => self.set_times(path, meta),
        }
    }
}
