//! A file system in memory, which can be stopped in the middle of anything.

mod attributes;
mod store;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{Stat, part::is_partial};
use crate::wire::{FileTime, Kind, Meta, RelPath};

/// A tree in memory. Cloning gives the same tree.
///
/// It keeps what a process that is killed leaves behind: everything that was written. With
/// [`kill_after`](Self::kill_after) the next so many changes are made and then no more, the last of
/// them perhaps by half.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    nodes: Vec<Node>,
    names: BTreeMap<Vec<u8>, usize>,
    clock: u64,
    changes: u64,
    kill_at: Option<u64>,
    room: Option<u64>,
    holes: bool,
    /// Modes are kept to, as by a process that is not root's.
    strict: bool,
    root: Meta,
    people: attributes::People,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            names: BTreeMap::new(),
            clock: 0,
            changes: 0,
            kill_at: None,
            room: None,
            holes: false,
            strict: false,
            root: Meta {
                mode: 0o755,
                ..Meta::default()
            },
            people: attributes::People::default(),
        }
    }
}

#[derive(Debug, Clone)]
struct Node {
    kind: Kind,
    bytes: Vec<u8>,
    meta: Meta,
    ctime: u64,
    locked: bool,
    held: attributes::Held,
}

/// An open file of a [`Memory`]; its lock goes with it.
#[derive(Debug)]
pub struct MemoryFile {
    node: usize,
    locks: bool,
    inner: Arc<Mutex<Inner>>,
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        if self.locks {
            guard(&self.inner).nodes[self.node].locked = false;
        }
    }
}

fn guard(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

fn error(kind: io::ErrorKind) -> io::Error {
    kind.into()
}

impl Inner {
    fn find(&self, path: &RelPath) -> io::Result<usize> {
        self.names
            .get(path.as_bytes())
            .copied()
            .ok_or_else(|| error(io::ErrorKind::NotFound))
    }

    /// The directory of a path must be one.
    fn check_parent(&self, path: &RelPath) -> io::Result<()> {
        let parent = path.parent();
        if !parent.is_root() {
            self.check_parent(&parent)?;
        }
        self.check_rights(&parent, 0o100)
    }

    /// Something must be a directory in which its owner may do this.
    fn check_rights(&self, dir: &RelPath, rights: u32) -> io::Result<()> {
        let (kind, mode) = match dir.is_root() {
            true => (Kind::Dir, self.root.mode),
            false => {
                let node = &self.nodes[self.find(dir)?];
                (node.kind, node.meta.mode)
            }
        };
        match kind {
            Kind::Dir if self.strict && mode & rights != rights => {
                Err(error(io::ErrorKind::PermissionDenied))
            }
            Kind::Dir => Ok(()),
            _ => Err(error(io::ErrorKind::NotADirectory)),
        }
    }

    /// Names in the directory of a path may be changed.
    fn check_names(&self, path: &RelPath) -> io::Result<()> {
        self.check_parent(path)?;
        self.check_rights(&path.parent(), 0o300)
    }

    fn change(&mut self) -> io::Result<()> {
        if self.kill_at.is_some_and(|at| self.changes >= at) {
            return Err(io::Error::other("killed"));
        }
        self.changes += 1;
        self.clock += 1;
        Ok(())
    }

    fn add(&mut self, path: &RelPath, kind: Kind, bytes: &[u8], mode: u32) -> io::Result<usize> {
        self.check_free(path)?;
        let node = self.new_node(kind, bytes, mode);
        self.name(path, node)?;
        Ok(node)
    }

    /// Nothing is there, and could be.
    fn check_free(&self, path: &RelPath) -> io::Result<()> {
        self.check_names(path)?;
        if path.is_root() || self.names.contains_key(path.as_bytes()) {
            return Err(error(io::ErrorKind::AlreadyExists));
        }
        Ok(())
    }

    /// Something that has no name yet.
    fn new_node(&mut self, kind: Kind, bytes: &[u8], mode: u32) -> usize {
        self.nodes.push(Node {
            kind,
            bytes: bytes.to_vec(),
            meta: Meta {
                mode,
                mtime: self.time(),
                size: 0,
            },
            ctime: self.clock,
            locked: false,
            held: attributes::Held::default(),
        });
        self.nodes.len() - 1
    }

    fn name(&mut self, path: &RelPath, node: usize) -> io::Result<()> {
        self.check_free(path)?;
        self.names.insert(path.as_bytes().to_vec(), node);
        Ok(())
    }

    /// Times of changes lie far from those that files are given.
    fn time(&self) -> FileTime {
        FileTime {
            seconds: 2_000_000_000 + self.clock as i64,
            nanos: 0,
        }
    }

    fn stat(&self, node: usize) -> Stat {
        let found = &self.nodes[node];
        let size = match found.kind {
            Kind::File => found.bytes.len() as u64,
            _ => 0,
        };
        Stat {
            kind: found.kind,
            meta: Meta { size, ..found.meta },
            dev: 1,
            ino: node as u64,
            links: self.names.values().filter(|other| **other == node).count() as u64,
            ctime: FileTime {
                seconds: found.ctime as i64,
                nanos: 0,
            },
        }
    }

    fn root(&self) -> Stat {
        Stat {
            kind: Kind::Dir,
            meta: self.root,
            dev: 1,
            ino: u64::MAX,
            links: 1,
            ctime: FileTime::default(),
        }
    }

    fn touch(&mut self, node: usize) {
        let time = self.time();
        let node = &mut self.nodes[node];
        node.meta.mtime = time;
        node.ctime = time.seconds as u64;
    }

    fn children<'a>(&'a self, dir: &'a [u8]) -> impl Iterator<Item = (&'a [u8], usize)> + 'a {
        self.names.iter().filter_map(move |(path, node)| {
            let rest = match dir.is_empty() {
                true => path,
                false => path.strip_prefix(dir)?.strip_prefix(b"/")?,
            };
            (!rest.contains(&b'/')).then_some((rest, *node))
        })
    }
}

impl Memory {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        guard(&self.inner)
    }

    /// Puts a file there, in place of what is there.
    ///
    /// # Errors
    ///
    /// As a file system says: its directory is missing.
    pub fn put(&self, path: &RelPath, bytes: &[u8], mode: u32, mtime: FileTime) -> io::Result<()> {
        let mut inner = self.inner();
        inner.change()?;
        inner.names.remove(path.as_bytes());
        let node = inner.add(path, Kind::File, bytes, mode)?;
        inner.nodes[node].meta.mtime = mtime;
        Ok(())
    }

    /// Changes bytes of a file without changing its time, as a failing disk does.
    pub fn corrupt(&self, path: &RelPath, change: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let mut inner = self.inner();
        let node = inner.find(path)?;
        change(&mut inner.nodes[node].bytes);
        Ok(())
    }

    /// Lets so many more changes through, and none after them.
    pub fn kill_after(&self, changes: u64) {
        let mut inner = self.inner();
        inner.kill_at = Some(inner.changes + changes);
    }

    /// Lets changes through again, as for a process that was started anew.
    pub fn revive(&self) {
        let mut inner = self.inner();
        inner.kill_at = None;
        inner.nodes.iter_mut().for_each(|node| node.locked = false);
    }

    /// As after a crash of the machine: of every partial file only the first half was written out.
    pub fn crash(&self) {
        let mut inner = self.inner();
        let Inner { nodes, names, .. } = &mut *inner;
        for (_, node) in names.iter().filter(|(name, _)| is_partial(name)) {
            let bytes = &mut nodes[*node].bytes;
            let half = bytes.len() / 2;
            bytes[half..].fill(0);
        }
        drop(inner);
        self.revive();
    }

    /// Changes so far.
    pub fn changes(&self) -> u64 {
        self.inner().changes
    }

    /// Bytes that files may have altogether; a full disk beyond them.
    pub fn room(&self, bytes: Option<u64>) {
        self.inner().room = bytes;
    }

    /// Tells pages of zeros as holes, as a file system does whose files were written so.
    pub fn holes(&self, holes: bool) {
        self.inner().holes = holes;
    }

    /// Keeps to the modes of files and directories, as a file system does towards their owner.
    pub fn strict(&self, strict: bool) {
        self.inner().strict = strict;
    }

    /// Everything that is there, for comparison: path, kind, content or target, mode, time, and which
    /// path is the first name of the same file.
    pub fn snapshot(&self) -> Vec<(RelPath, Kind, Bytes, u32, FileTime, RelPath)> {
        let inner = self.inner();
        let path = |bytes: &[u8]| RelPath::root().join(bytes);
        let first = |node: usize| {
            let name = inner.names.iter().find(|(_, other)| **other == node);
            name.map_or_else(RelPath::root, |(name, _)| path(name))
        };
        inner
            .names
            .iter()
            .map(|(name, index)| {
                let node = &inner.nodes[*index];
                let bytes = Bytes::copy_from_slice(&node.bytes);
                let mode = node.meta.mode;
                (
                    path(name),
                    node.kind,
                    bytes,
                    mode,
                    node.meta.mtime,
                    first(*index),
                )
            })
            .collect()
    }
}
