//! The file system of the machine.

mod attributes;
mod modes;
mod names;
mod own;
mod stat;
mod store;
mod written;

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::wire::RelPath;

/// Directories that are kept open: paths come in the order of their directories.
const OPEN_DIRS: usize = 64;

/// A directory of the machine and all beneath it.
///
/// The directory is held open. Every component of a path is opened by itself, and is refused if it
/// is a symlink, so that no link, and nobody who changes the tree meanwhile, leads a write out of it
/// (docs/wire D22). Mount points beneath it are entered.
#[derive(Debug)]
pub struct Disk {
    /// `None` if there is nothing.
    root: Option<Arc<Dir>>,
    dirs: Mutex<HashMap<RelPath, Arc<Dir>>>,
    written: written::Written,
    /// Whether files without names can be had, as far as is known.
    unnamed: AtomicBool,
    names: names::Names,
}

/// An open directory.
#[derive(Debug)]
struct Dir {
    fd: OwnedFd,
    /// The device that it is on.
    dev: u64,
}

impl Dir {
    fn new(fd: OwnedFd) -> io::Result<Arc<Self>> {
        let dev = rustix::fs::fstat(&fd)?.st_dev;
        Ok(Arc::new(Self { fd, dev }))
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Disk {
    /// Opens a directory by any path; symlinks are followed.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn open_root(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self::new(Some(Dir::new(fd)?)))
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
        Ok(Self::new(Some(Dir::new(fd)?)))
    }

    /// A directory that is not there, for syncs that change nothing: whatever is looked for is not found.
    pub fn missing() -> Self {
        Self::new(None)
    }

    fn new(root: Option<Arc<Dir>>) -> Self {
        Self {
            written: written::Written::default(),
            root,
            dirs: Mutex::default(),
            unnamed: AtomicBool::new(true),
            names: names::Names::default(),
        }
    }

    fn root(&self) -> io::Result<&Arc<Dir>> {
        self.root
            .as_ref()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The open directory of this path.
    fn dir(&self, path: &RelPath) -> io::Result<Arc<Dir>> {
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
        let fd = Dir::new(fd)?;
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
    fn parent(&self, path: &RelPath) -> io::Result<Arc<Dir>> {
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
