//! The file system of the machine.

mod attributes;
mod modes;
mod mounts;
mod names;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use rustix::fs::{
    AtFlags, FileType, FlockOperation, Mode, OFlags, RawDir, SeekFrom, Timespec, Timestamps,
};
use rustix::io::Errno;

use super::{Found, Stat, Store};
use crate::wire::{FileTime, Kind, Meta, RelPath};

/// Directories that are kept open: paths come in the order of their directories.
const OPEN_DIRS: usize = 64;
/// Bytes of names that are read from a directory at a time.
const NAMES: usize = 32 << 10;

/// A directory of the machine and all beneath it.
///
/// The directory is held open. Every component of a path is opened by itself, and is refused if it
/// is a symlink, so that no link, and nobody who changes the tree meanwhile, leads a write out of it
/// (docs/wire D22). Mount points beneath it are entered.
#[derive(Debug)]
pub struct Disk {
    /// `None` if there is nothing.
    root: Option<Arc<OwnedFd>>,
    dirs: Mutex<HashMap<RelPath, Arc<OwnedFd>>>,
    /// File systems that are mounted beneath the root: a directory of each, by its device.
    mounts: Mutex<HashMap<u64, OwnedFd>>,
    /// The device of the root.
    dev: Option<u64>,
    /// Whether files without names can be had, as far as is known.
    unnamed: AtomicBool,
    names: names::Names,
}

impl Disk {
    /// Opens a directory by any path; symlinks are followed.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn open_root(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self::from_fd(rustix::fs::open(path, flags, Mode::empty())?))
    }

    /// The directory `path` beneath an open one, made with all above it if `make` says so. Symlinks
    /// are not followed.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn beneath(top: BorrowedFd<'_>, path: &RelPath, make: bool) -> io::Result<Self> {
        let mut fd = open_dir(top, b".")?;
        for name in path.as_bytes().split(|byte| *byte == b'/') {
            if name.is_empty() {
                continue;
            }
            fd = match open_dir(fd.as_fd(), name) {
                Err(error) if make && error.kind() == io::ErrorKind::NotFound => {
                    match rustix::fs::mkdirat(&fd, name, Mode::from_raw_mode(0o777)) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(error) => return Err(error.into()),
                    }
                    open_dir(fd.as_fd(), name)?
                }
                opened => opened?,
            };
        }
        Ok(Self::from_fd(fd))
    }

    /// A directory that is not there, for syncs that change nothing: whatever is looked for is not found.
    pub fn missing() -> Self {
        Self::new(None)
    }

    fn from_fd(root: OwnedFd) -> Self {
        Self::new(Some(Arc::new(root)))
    }

    fn new(root: Option<Arc<OwnedFd>>) -> Self {
        let dev = root.as_ref().and_then(|root| rustix::fs::fstat(root).ok());
        Self {
            dev: dev.map(|stat| stat.st_dev),
            mounts: Mutex::default(),
            root,
            dirs: Mutex::default(),
            unnamed: AtomicBool::new(true),
            names: names::Names::default(),
        }
    }

    fn root(&self) -> io::Result<&Arc<OwnedFd>> {
        self.root
            .as_ref()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The open directory of this path.
    fn dir(&self, path: &RelPath) -> io::Result<Arc<OwnedFd>> {
        if path.is_root() {
            return Ok(Arc::clone(self.root()?));
        }
        let known = |path: &RelPath| {
            let dirs = self.dirs.lock().unwrap_or_else(PoisonError::into_inner);
            dirs.get(path).cloned()
        };
        if let Some(dir) = known(path) {
            return Ok(dir);
        }
        let parent = path.parent();
        let fd = match known(&parent) {
            Some(parent) => open_dir(parent.as_fd(), path.name())?,
            None => {
                let mut fd = open_dir(self.root()?.as_fd(), b".")?;
                for name in path.as_bytes().split(|byte| *byte == b'/') {
                    fd = open_dir(fd.as_fd(), name)?;
                }
                fd
            }
        };
        let fd = Arc::new(fd);
        let mut dirs = self.dirs.lock().unwrap_or_else(PoisonError::into_inner);
        if dirs.len() >= OPEN_DIRS {
            dirs.clear();
        }
        dirs.insert(path.clone(), Arc::clone(&fd));
        Ok(fd)
    }

    /// Forgets open directories whose path may mean another now.
    fn forget(&self, path: &RelPath) {
        let mut dirs = self.dirs.lock().unwrap_or_else(PoisonError::into_inner);
        dirs.retain(|dir, _| !dir.as_bytes().starts_with(path.as_bytes()));
    }

    /// The open directory that a path is in.
    fn parent(&self, path: &RelPath) -> io::Result<Arc<OwnedFd>> {
        if path.is_root() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        self.dir(&path.parent())
    }

    fn open_file(&self, path: &RelPath, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let dir = self.parent(path)?;
        // Whatever came into the place of a file, opening it neither waits nor follows.
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        match rustix::fs::openat(&*dir, path.name(), flags, mode) {
            Ok(fd) => Ok(fd),
            Err(Errno::LOOP) => Err(io::Error::other("it is a symlink now")),
            Err(error) => Err(error.into()),
        }
    }
}

fn open_dir(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(parent, name, flags, Mode::empty()) {
        Ok(fd) => Ok(fd),
        Err(Errno::LOOP | Errno::NOTDIR) => Err(io::Error::new(
            io::ErrorKind::NotADirectory,
            "a part of its path is no directory",
        )),
        Err(error) => Err(error.into()),
    }
}

fn stat_of(stat: &rustix::fs::Stat) -> Stat {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Dir,
        FileType::Symlink => Kind::Symlink,
        _ => Kind::Other,
    };
    let size = match kind {
        Kind::File => u64::try_from(stat.st_size).unwrap_or(0),
        _ => 0,
    };
    Stat {
        kind,
        meta: Meta {
            size,
            mtime: FileTime {
                seconds: stat.st_mtime,
                nanos: stat.st_mtime_nsec as u32,
            },
            mode: stat.st_mode & 0o7777,
        },
        dev: stat.st_dev,
        ino: stat.st_ino,
        links: stat.st_nlink,
        ctime: FileTime {
            seconds: stat.st_ctime,
            nanos: stat.st_ctime_nsec as u32,
        },
    }
}

fn times(meta: &Meta) -> Timestamps {
    let time = Timespec {
        tv_sec: meta.mtime.seconds,
        tv_nsec: meta.mtime.nanos.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

fn lock(fd: &OwnedFd) -> io::Result<()> {
    match rustix::fs::flock(fd, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(Errno::WOULDBLOCK) => Err(io::ErrorKind::WouldBlock.into()),
        // A file system without locks: nobody can be told apart.
        Err(_) => Ok(()),
    }
}

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
            if stat.kind == Kind::Dir && Some(stat.dev) != self.dev {
                self.note_mount(fd.as_fd(), name, stat.dev);
            }
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
        let flags = OFlags::RDWR | OFlags::CREATE;
        let mode = Mode::from_raw_mode(0o600);
        let file = match self.open_file(path, flags, mode) {
            // Whoever was killed had given it its last mode already.
            Err(error)
                if error.kind() == io::ErrorKind::PermissionDenied
                    && self.change_mode(path, |mode| mode | 0o600).is_ok() =>
            {
                self.open_file(path, flags, mode)?
            }
            opened => opened?,
        };
        let stat = self.stat_file(&file)?;
        if stat.kind != Kind::File || stat.links > 1 {
            return Err(io::Error::other(
                "what is in its place is not a file of ours",
            ));
        }
        lock(&file)?;
        Ok((file, stat))
    }

    fn create(&self, path: &RelPath, mode: u32) -> io::Result<Self::File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let file = self.open_file(path, flags, Mode::from_raw_mode(mode))?;
        lock(&file)?;
        Ok(file)
    }

    #[cfg(target_os = "linux")]
    fn create_unnamed(&self, dir: &RelPath, mode: u32) -> io::Result<Option<Self::File>> {
        if !self.unnamed.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let dir = self.dir(dir)?;
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
        self.sync_mounts()
    }

    fn rename(&self, from: &RelPath, to: &RelPath) -> io::Result<()> {
        let (old, new) = (self.parent(from)?, self.parent(to)?);
        Ok(rustix::fs::renameat(&*old, from.name(), &*new, to.name())?)
    }

    fn remove_file(&self, path: &RelPath) -> io::Result<()> {
        let dir = self.parent(path)?;
        Ok(rustix::fs::unlinkat(&*dir, path.name(), AtFlags::empty())?)
    }

    fn remove_dir(&self, path: &RelPath) -> io::Result<()> {
        let dir = self.parent(path)?;
        self.forget(path);
        Ok(rustix::fs::unlinkat(
            &*dir,
            path.name(),
            AtFlags::REMOVEDIR,
        )?)
    }

    fn make_dir(&self, path: &RelPath, mode: u32) -> io::Result<()> {
        let dir = self.parent(path)?;
        Ok(rustix::fs::mkdirat(
            &*dir,
            path.name(),
            Mode::from_raw_mode(mode),
        )?)
    }

    fn symlink(&self, target: &[u8], path: &RelPath) -> io::Result<()> {
        let dir = self.parent(path)?;
        Ok(rustix::fs::symlinkat(
            OsStr::from_bytes(target),
            &*dir,
            path.name(),
        )?)
    }

    fn hard_link(&self, from: &RelPath, to: &RelPath) -> io::Result<()> {
        let (old, new) = (self.parent(from)?, self.parent(to)?);
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
        match kind {
            Kind::Dir | Kind::File => {
                let opened = match kind {
                    Kind::Dir => self.dir(path).and_then(|dir| open_dir(dir.as_fd(), b".")),
                    _ => self.open_file(path, OFlags::RDONLY, Mode::empty()),
                };
                match opened {
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                        self.change_mode(path, |_| meta.mode)?;
                        self.set_times(path, meta)
                    }
                    opened => self.set_meta(&opened?, meta),
                }
            }
            Kind::Symlink | Kind::Other => self.set_times(path, meta),
        }
    }
}
