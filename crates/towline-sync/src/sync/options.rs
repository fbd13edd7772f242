//! How a sync is done, as its caller says it.

use std::path::PathBuf;

use bytes::Bytes;

use crate::engine::Options;
use crate::fs::DiskCache;
use crate::wire::{Hello, Item, Role, Totals};

/// How a tree is synced. By default what the other end has is brought over or replaced, nothing is
/// deleted, and the disk is waited for.
#[derive(Debug, Clone, Default)]
pub struct SyncOptions {
    delete: bool,
    max_delete: Option<u64>,
    dry_run: bool,
    checksum: bool,
    no_fsync: bool,
    owner: bool,
    xattrs: bool,
    limit: Option<u64>,
    exclude: Vec<u8>,
    ignore_file: Option<String>,
    cache: Option<PathBuf>,
}

impl SyncOptions {
    /// Keeps manifests of the files here in this directory, so that files of 1 MiB and more that
    /// have not changed are not read again only to be compared. By default none are kept.
    #[must_use]
    pub fn cache_dir(mut self, dir: Option<PathBuf>) -> Self {
        self.cache = dir;
        self
    }

    pub(super) fn cache(&self) -> Option<DiskCache> {
        self.cache.clone().map(DiskCache::new)
    }

    /// Deletes what the source does not have, after everything else (docs/wire D21).
    #[must_use]
    pub fn delete(mut self, delete: bool) -> Self {
        self.delete = delete;
        self
    }

    /// Most entries that are deleted, directories that give way to something else and what is in them
    /// included: if there are more, none is (docs/wire D21). By default 1,048,576.
    #[must_use]
    pub fn max_delete(mut self, most: Option<u64>) -> Self {
        self.max_delete = most;
        self
    }

    /// Changes nothing, and says what a run would do.
    #[must_use]
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Compares contents even where size and time are equal: both ends read every file.
    #[must_use]
    pub fn checksum(mut self, checksum: bool) -> Self {
        self.checksum = checksum;
        self
    }

    /// Does not wait for the disk. A crash of the machine right afterwards may leave empty files.
    #[must_use]
    pub fn no_fsync(mut self, no_fsync: bool) -> Self {
        self.no_fsync = no_fsync;
        self
    }

    /// Keeps owners: user and group by their names, or by their numbers where the receiving end does not
    /// know the names. Giving files to others needs a receiving end that runs as root (docs/wire D24).
    #[must_use]
    pub fn owner(mut self, owner: bool) -> Self {
        self.owner = owner;
        self
    }

    /// Keeps extended attributes of files and directories in the namespace `user.`, up to 4 KiB of each
    /// (docs/wire D24). Both ends open every file and directory to read them.
    #[must_use]
    pub fn xattrs(mut self, xattrs: bool) -> Self {
        self.xattrs = xattrs;
        self
    }

    /// Bytes of files a second that go over the connection. Not limited by default.
    #[must_use]
    pub fn limit(mut self, limit: Option<u64>) -> Self {
        self.limit = limit;
        self
    }

    /// Leaves out what matches a pattern, in the syntax of `.gitignore`. It is not deleted either. May
    /// be called several times; later patterns win.
    #[must_use]
    pub fn exclude(mut self, pattern: &str) -> Self {
        self.exclude.extend(pattern.as_bytes());
        self.exclude.push(b'\n');
        self
    }

    /// Reads further patterns from files of this name in every directory of the source, such as
    /// `.gitignore`.
    #[must_use]
    pub fn ignore_file(mut self, name: Option<String>) -> Self {
        self.ignore_file = name;
        self
    }

    pub(super) fn hello(&self, role: Role, path: &str, single: Option<Bytes>) -> Hello {
        Hello {
            role,
            path: Bytes::copy_from_slice(path.as_bytes()),
            single,
            delete: self.delete,
            dry_run: self.dry_run,
            checksum: self.checksum,
            no_fsync: self.no_fsync,
            owner: self.owner,
            xattrs: self.xattrs,
            max_delete: self.max_delete,
            limit: self.limit,
            exclude: self.exclude.clone().into(),
            ignore_file: self.ignore_file.clone().map(Bytes::from),
        }
    }

    pub(super) fn engine(&self) -> Options {
        Options {
            report: false,
            ..Options::from_hello(&self.hello(Role::Push, "", None))
        }
    }

    pub(super) fn patterns(&self) -> &[u8] {
        &self.exclude
    }

    pub(super) fn ignore_name(&self) -> Option<Bytes> {
        self.ignore_file.clone().map(Bytes::from)
    }
}

/// What a sync tells while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncEvent {
    /// What became of an entry.
    Item(Item),
    /// How far it is.
    Progress(Totals),
}
