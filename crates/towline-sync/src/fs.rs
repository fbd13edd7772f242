//! Where trees lie: the operations that a sync needs of a file system, the work it does with them,
//! and a file system in memory for simulations.
//!
//! [`Store`] is what a file system must offer, beneath one root that no path leaves. [`Worker`] does
//! the engine's jobs on it, from any number of threads; [`Memory`] is a store that can be stopped in
//! the middle of anything, and `Disk`, with the feature `tokio`, is the real one.

mod attributes;
#[cfg(feature = "tokio")]
mod cache;
#[cfg(feature = "tokio")]
mod disk;
mod journal;
mod manifest;
mod memory;
mod opened;
mod part;
mod work;

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::wire::{Attributes, FileTime, Kind, Meta, RelPath};

pub use attributes::{AttributeStore, Wanted};
#[cfg(feature = "tokio")]
pub use cache::DiskCache;
#[cfg(feature = "tokio")]
pub use disk::Disk;
pub use journal::{Claim, JournalReader};
pub use manifest::{Manifest, Span, root_hash};
pub use memory::{Memory, MemoryFile};
pub(crate) use part::{is_own, stem};
pub use work::{ManifestCache, Worker};
pub(crate) use work::{SET_IDS, name_hash};

/// What a file system says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// Size, time and mode.
    pub meta: Meta,
    /// The device it is on.
    pub dev: u64,
    /// Its number there.
    pub ino: u64,
    /// How many names it has.
    pub links: u64,
    /// When anything of it was last changed.
    pub ctime: FileTime,
}

impl Stat {
    /// Whether the same file was not changed between the two looks.
    pub fn same_content(&self, later: &Self) -> bool {
        (
            self.dev,
            self.ino,
            self.meta.size,
            self.meta.mtime,
            self.ctime,
        ) == (
            later.dev,
            later.ino,
            later.meta.size,
            later.meta.mtime,
            later.ctime,
        )
    }
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: Bytes,
    /// What it is.
    pub stat: Stat,
    /// Where it leads, if it is a symlink.
    pub target: Option<Bytes>,
    /// Its owner and extended attributes, if they were asked for and it has some.
    pub attributes: Option<Arc<Attributes>>,
}

/// A file system beneath one root.
///
/// Paths are resolved component by component and never through a symlink (docs/wire D22). All
/// methods may block, and may be called from several threads.
pub trait Store: AttributeStore {
    /// An open file.
    type File: Send + Sync + 'static;

    /// The entries of a directory, sorted by their names, without their attributes. An entry that
    /// vanishes meanwhile is left out.
    ///
    /// # Errors
    ///
    /// What the system says; so of every method.
    fn list(&self, dir: &RelPath) -> io::Result<Vec<Found>>;

    /// What is under a path; a symlink is not followed.
    fn stat(&self, path: &RelPath) -> io::Result<Stat>;

    /// Opens a regular file for reading.
    fn open(&self, path: &RelPath) -> io::Result<(Self::File, Stat)>;

    /// Opens a file of our own for reading and writing, creates it (readable by its owner alone) if it
    /// is not there, and locks it. [`io::ErrorKind::WouldBlock`] if somebody else holds the lock.
    fn open_own(&self, path: &RelPath) -> io::Result<(Self::File, Stat)>;

    /// Creates a file that must not be there, with this mode, and locks it.
    fn create(&self, path: &RelPath, mode: u32) -> io::Result<Self::File>;

    /// Creates a file on the file system of this directory that has no name yet: if the process is killed,
    /// nothing is left of it. `None` where there are no such files.
    fn create_unnamed(&self, dir: &RelPath, mode: u32) -> io::Result<Option<Self::File>>;

    /// Gives a file without a name its first one. [`io::ErrorKind::AlreadyExists`] if something is there.
    fn link_unnamed(&self, file: &Self::File, path: &RelPath) -> io::Result<()>;

    /// What is known of an open file.
    fn stat_file(&self, file: &Self::File) -> io::Result<Stat>;

    /// Reads at an offset; fewer bytes than asked for only at the end of the file.
    fn read_at(&self, file: &Self::File, out: &mut [u8], offset: u64) -> io::Result<usize>;

    /// The next range at or behind `offset` that may hold other bytes than zeros; `None` if there is
    /// none before the end.
    fn next_data(&self, file: &Self::File, offset: u64) -> io::Result<Option<(u64, u64)>>;

    /// Writes all bytes at an offset.
    fn write_at(&self, file: &Self::File, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes the file so long; what is new reads as zeros.
    fn set_len(&self, file: &Self::File, length: u64) -> io::Result<()>;

    /// Makes a range read as zeros.
    fn clear(&self, file: &Self::File, offset: u64, length: u64) -> io::Result<()>;

    /// Sets mode and time of an open file.
    fn set_meta(&self, file: &Self::File, meta: &Meta) -> io::Result<()>;

    /// Waits until the file's content is on the disk.
    fn sync(&self, file: &Self::File) -> io::Result<()>;

    /// Waits until a directory's names are on the disk.
    fn sync_dir(&self, dir: &RelPath) -> io::Result<()>;

    /// Waits until everything that was written is on the disk.
    fn sync_all(&self) -> io::Result<()>;

    /// Renames within the tree; replaces what is there, unless that is a directory.
    fn rename(&self, from: &RelPath, to: &RelPath) -> io::Result<()>;

    /// Removes a file or symlink.
    fn remove_file(&self, path: &RelPath) -> io::Result<()>;

    /// Removes an empty directory.
    fn remove_dir(&self, path: &RelPath) -> io::Result<()>;

    /// Makes a directory.
    fn make_dir(&self, path: &RelPath, mode: u32) -> io::Result<()>;

    /// Makes a symlink.
    fn symlink(&self, target: &[u8], path: &RelPath) -> io::Result<()>;

    /// Gives a file a second name.
    fn hard_link(&self, from: &RelPath, to: &RelPath) -> io::Result<()>;

    /// Sets mode and time of what is under a path, which is no symlink; of a symlink only its time is
    /// set.
    fn set_path_meta(&self, path: &RelPath, kind: Kind, meta: &Meta) -> io::Result<()>;
}
