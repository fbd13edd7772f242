//! A file being received: written beside its target, put in its place at once or not at all.

use std::fmt;
use std::fs::{File, FileTimes, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::SystemTime;

use cap_std::fs::Dir;
use rustix::fs::{Mode, OFlags};

use crate::transfer::source;
use crate::transfer::temporary::{self, Temporary};

/// When a received file counts as stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// When the file and its directory are on the disk. A crash of the machine right afterwards
    /// loses nothing (docs/wire T24). Costs at least one write-out of the disk's cache per file.
    #[default]
    Fsync,
    /// When the system has it in memory. After a crash of the machine the name may hold the old
    /// file, the new one, or an empty one.
    None,
}

/// How a received file is stored.
#[derive(Debug, Clone, Default)]
pub struct IncomingOptions {
    durability: Durability,
    mode: Option<u32>,
}

impl IncomingOptions {
    /// When the file counts as stored; [`Durability::Fsync`] by default.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Permission bits of the file, of which only those of `0o777` are taken. They hold from the
    /// start, so that a private file is never readable for others while it arrives. By default
    /// what the process gives to new files.
    #[must_use]
    pub fn mode(mut self, mode: Option<u32>) -> Self {
        self.mode = mode.map(|mode| mode & 0o777);
        self
    }
}

/// A file that is being received.
///
/// It lies beside its target under a name that begins with a dot and ends with `.tow-part`, and is
/// locked, so that a file of that name whose process was killed can be told apart and removed.
/// [`IncomingFile::finish`] gives it its name in one step: a reader sees the old file or the new
/// one, never a part (docs/wire T14). Dropped before that, the temporary file is removed and the target stays as
/// it was. All methods block; [`crate::IncomingSink`] is the front for asynchronous code.
pub struct IncomingFile {
    dir: Arc<Dir>,
    name: String,
    temporary: Arc<Temporary>,
    shown: String,
    storage: Box<dyn Storage>,
    arrived: u64,
    durability: Durability,
}

impl IncomingFile {
    pub(crate) fn create(
        dir: Arc<Dir>,
        name: String,
        shown: String,
        options: &IncomingOptions,
    ) -> Result<Self, StoreError> {
        // docs/wire T13: only regular files are replaced. Looked at here because a rename would find
        // a directory only after everything was sent, and would replace the others.
        if let Ok(old) = dir.symlink_metadata(&name)
            && !old.is_file()
        {
            return Err(StoreError::Occupied {
                name: shown,
                kind: source::kind_of(&old.file_type()),
            });
        }
        let failed = |source| StoreError::from_io(&shown, 0, Step::Create, source);
        temporary::sweep_for(&dir, &name);
        let (temporary, file) = Temporary::create(&dir, &name).map_err(failed)?;
        if let Some(mode) = options.mode {
            file.set_permissions(Permissions::from_mode(mode))
                .map_err(failed)?;
        }
        Ok(Self {
            dir,
            name,
            temporary: Arc::new(temporary),
            shown,
            storage: Box::new(file),
            arrived: 0,
            durability: options.durability,
        })
    }

    /// Appends bytes.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoSpace`] and [`StoreError::Write`]; drop the file then.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.storage.append(bytes).map_err(|source| {
            StoreError::from_io(&self.shown, self.arrived, Step::Write, source)
        })?;
        self.arrived += bytes.len() as u64;
        Ok(())
    }

    /// Bytes written so far.
    pub fn arrived(&self) -> u64 {
        self.arrived
    }

    /// The temporary name, for whoever has to remove it while another thread holds the file.
    pub(crate) fn temporary(&self) -> Arc<Temporary> {
        Arc::clone(&self.temporary)
    }

    /// The target's path relative to the root.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Puts the file in its place, replacing what is there; sets its modification time first if one
    /// is given. On return it is as durable as the options asked for.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoSpace`] and [`StoreError::Write`] before the rename: the target is
    /// untouched. [`StoreError::NotDurable`] after it: the file is there and complete, but the
    /// directory could not be written to the disk.
    pub fn finish(mut self, mtime: Option<SystemTime>) -> Result<(), StoreError> {
        let before = |source| StoreError::from_io(&self.shown, self.arrived, Step::Write, source);
        self.storage.seal(mtime, self.durability).map_err(before)?;
        self.dir
            .rename(self.temporary.name(), &self.dir, &self.name)
            .map_err(before)?;
        self.temporary.disarm();
        if self.durability == Durability::Fsync {
            // The open directory is only a place to start paths from; to flush it, it has to be
            // opened for reading.
            rustix::fs::openat(
                &*self.dir,
                ".",
                OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            )
            .and_then(rustix::fs::fsync)
            .map_err(|error| StoreError::NotDurable {
                name: self.shown.clone(),
                source: error.into(),
            })?;
        }
        Ok(())
    }
}

impl Drop for IncomingFile {
    fn drop(&mut self) {
        // Others may hold the temporary name too; the file itself decides.
        self.temporary.remove();
    }
}

impl fmt::Debug for IncomingFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingFile")
            .field("target", &self.shown)
            .field("arrived", &self.arrived)
            .finish_non_exhaustive()
    }
}

/// Why a file cannot be stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Something on the path to store in is no directory.
    #[error("`{dir}` is not a directory to store in; name another one")]
    NoDirectory {
        /// Its path relative to the root.
        dir: String,
    },
    /// A symlink on the path leads out of the root.
    #[error("`{dir}` leads out of the directory that files are stored in")]
    Outside {
        /// The path relative to the root.
        dir: String,
    },
    /// Something that is not a regular file has the name already.
    #[error("`{name}` is a {kind}, which is not replaced by a file; remove it or use another name")]
    Occupied {
        /// The target's path relative to the root.
        name: String,
        /// What it is.
        kind: &'static str,
    },
    /// The temporary file cannot be created.
    #[error("`{name}` cannot be stored: creating a file beside it failed: {source}")]
    Create {
        /// The target's path relative to the root.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The disk or a quota is full, or the file is larger than the file system allows.
    #[error(
        "no space left to store `{name}`: {arrived} bytes arrived before, what was under that name is untouched; free some space and send it again ({source})"
    )]
    NoSpace {
        /// The target's path relative to the root.
        name: String,
        /// Bytes written before.
        arrived: u64,
        /// What the system said.
        source: io::Error,
    },
    /// Writing, flushing or renaming failed.
    #[error(
        "`{name}` cannot be stored: {source}; {arrived} bytes arrived, what was under that name is untouched"
    )]
    Write {
        /// The target's path relative to the root.
        name: String,
        /// Bytes written before.
        arrived: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The file has its name, but the directory could not be flushed.
    #[error(
        "`{name}` is stored, but its directory could not be written to the disk: {source}; after a crash of the machine it may be missing"
    )]
    NotDurable {
        /// The target's path relative to the root.
        name: String,
        /// What the system said.
        source: io::Error,
    },
}

#[derive(Clone, Copy)]
enum Step {
    Create,
    Write,
}

impl StoreError {
    fn from_io(name: &str, arrived: u64, step: Step, source: io::Error) -> Self {
        let name = name.to_owned();
        match (source.kind(), step) {
            (
                io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::FileTooLarge,
                _,
            ) => Self::NoSpace {
                name,
                arrived,
                source,
            },
            (_, Step::Create) => Self::Create { name, source },
            (_, Step::Write) => Self::Write {
                name,
                arrived,
                source,
            },
        }
    }
}

/// Where the bytes go: a file, or in tests something that fails.
trait Storage: Send {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    fn seal(&mut self, mtime: Option<SystemTime>, durability: Durability) -> io::Result<()>;
}

impl Storage for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn seal(&mut self, mtime: Option<SystemTime>, durability: Durability) -> io::Result<()> {
        if let Some(mtime) = mtime {
            self.set_times(FileTimes::new().set_modified(mtime))?;
        }
        match durability {
            Durability::Fsync => self.sync_all(),
            Durability::None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::{names_in, root::Root};

    struct FullAfter {
        room: usize,
        at_seal: bool,
    }

    impl Storage for FullAfter {
        fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
            match self.room.checked_sub(bytes.len()) {
                Some(room) => {
                    self.room = room;
                    Ok(())
                }
                None => Err(io::Error::from_raw_os_error(28)),
            }
        }

        fn seal(&mut self, _: Option<SystemTime>, _: Durability) -> io::Result<()> {
            if self.at_seal {
                Err(io::Error::from_raw_os_error(122))
            } else {
                Ok(())
            }
        }
    }

    fn incoming(dir: &tempfile::TempDir, name: &str) -> IncomingFile {
        let root = Root::open(dir.path()).unwrap();
        let target = root.target(name, None, None).unwrap();
        root.create_incoming(&target, &IncomingOptions::default())
            .unwrap()
    }

    #[test]
    fn a_full_disk_leaves_the_target_and_says_what_arrived() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), "old").unwrap();
        let mut file = incoming(&dir, "f");
        file.storage = Box::new(FullAfter {
            room: 10,
            at_seal: false,
        });
        file.write(b"12345678").unwrap();
        let error = file.write(b"9abc").unwrap_err();
        assert!(matches!(&error, StoreError::NoSpace { arrived: 8, .. }));
        let text = error.to_string();
        assert!(text.starts_with("no space left to store `f`: 8 bytes arrived before"));
        drop(file);
        assert_eq!(names_in(dir.path()), ["f"]);
        assert_eq!(std::fs::read(dir.path().join("f")).unwrap(), b"old");
    }

    #[test]
    fn a_quota_met_while_flushing_leaves_the_target() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), "old").unwrap();
        let mut file = incoming(&dir, "f");
        file.storage = Box::new(FullAfter {
            room: 10,
            at_seal: true,
        });
        file.write(b"new").unwrap();
        let error = file.finish(None).unwrap_err();
        assert!(matches!(error, StoreError::NoSpace { arrived: 3, .. }));
        assert_eq!(names_in(dir.path()), ["f"]);
        assert_eq!(std::fs::read(dir.path().join("f")).unwrap(), b"old");
    }

    #[test]
    fn the_system_really_reports_a_full_device_so() {
        let full = std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut file = incoming(&dir, "f");
        file.storage = Box::new(full);
        assert!(matches!(
            file.write(b"x"),
            Err(StoreError::NoSpace { arrived: 0, .. })
        ));
    }

    #[test]
    fn two_temporary_files_of_one_target_differ() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (incoming(&dir, "f"), incoming(&dir, "f"));
        assert_ne!(one.temporary.name(), two.temporary.name());
        assert_eq!(names_in(dir.path()).len(), 2);
        drop((one, two));
        assert_eq!(names_in(dir.path()).len(), 0);
    }
}
