//! A file system in memory, which can be stopped in the middle of anything.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{Found, Stat, Store};
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

#[derive(Debug, Default)]
struct Inner {
    nodes: Vec<Node>,
    names: BTreeMap<Vec<u8>, usize>,
    clock: u64,
    changes: u64,
    kill_at: Option<u64>,
    room: Option<u64>,
    boot: u8,
}

#[derive(Debug, Clone)]
struct Node {
    kind: Kind,
    bytes: Vec<u8>,
    meta: Meta,
    ctime: u64,
    locked: bool,
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
        if parent.is_root() {
            return Ok(());
        }
        match self.nodes[self.find(&parent)?].kind {
            Kind::Dir => Ok(()),
            _ => Err(error(io::ErrorKind::NotADirectory)),
        }
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
        self.check_parent(path)?;
        if path.is_root() || self.names.contains_key(path.as_bytes()) {
            return Err(error(io::ErrorKind::AlreadyExists));
        }
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
        });
        self.names
            .insert(path.as_bytes().to_vec(), self.nodes.len() - 1);
        Ok(self.nodes.len() - 1)
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
            meta: Meta::default(),
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

    /// As after a crash of the machine: what was written before counts as doubtful.
    pub fn reboot(&self) {
        self.inner().boot += 1;
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

impl Store for Memory {
    type File = MemoryFile;

    fn list(&self, dir: &RelPath) -> io::Result<Vec<Found>> {
        let inner = self.inner();
        if !dir.is_root() && inner.nodes[inner.find(dir)?].kind != Kind::Dir {
            return Err(error(io::ErrorKind::NotADirectory));
        }
        let mut found: Vec<_> = inner
            .children(dir.as_bytes())
            .map(|(name, node)| Found {
                name: Bytes::copy_from_slice(name),
                stat: inner.stat(node),
                target: (inner.nodes[node].kind == Kind::Symlink)
                    .then(|| Bytes::copy_from_slice(&inner.nodes[node].bytes)),
            })
            .collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    fn stat(&self, path: &RelPath) -> io::Result<Stat> {
        let inner = self.inner();
        if path.is_root() {
            return Ok(inner.root());
        }
        inner.check_parent(path)?;
        Ok(inner.stat(inner.find(path)?))
    }

    fn open(&self, path: &RelPath) -> io::Result<(Self::File, Stat)> {
        let inner = self.inner();
        inner.check_parent(path)?;
        let node = inner.find(path)?;
        if inner.nodes[node].kind != Kind::File {
            return Err(error(io::ErrorKind::InvalidInput));
        }
        let stat = inner.stat(node);
        let file = MemoryFile {
            node,
            locks: false,
            inner: Arc::clone(&self.inner),
        };
        Ok((file, stat))
    }

    fn open_own(&self, path: &RelPath) -> io::Result<(Self::File, Stat)> {
        let mut inner = self.inner();
        inner.change()?;
        let node = match inner.find(path) {
            Ok(node) if inner.nodes[node].kind == Kind::File => node,
            Ok(_) => return Err(error(io::ErrorKind::InvalidInput)),
            Err(_) => inner.add(path, Kind::File, &[], 0o600)?,
        };
        if std::mem::replace(&mut inner.nodes[node].locked, true) {
            return Err(error(io::ErrorKind::WouldBlock));
        }
        let stat = inner.stat(node);
        let file = MemoryFile {
            node,
            locks: true,
            inner: Arc::clone(&self.inner),
        };
        Ok((file, stat))
    }

    fn create(&self, path: &RelPath, mode: u32) -> io::Result<Self::File> {
        let mut inner = self.inner();
        inner.change()?;
        let node = inner.add(path, Kind::File, &[], mode)?;
        inner.nodes[node].locked = true;
        Ok(MemoryFile {
            node,
            locks: true,
            inner: Arc::clone(&self.inner),
        })
    }

    fn stat_file(&self, file: &Self::File) -> io::Result<Stat> {
        Ok(self.inner().stat(file.node))
    }

    fn read_at(&self, file: &Self::File, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let inner = self.inner();
        let bytes = &inner.nodes[file.node].bytes;
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let count = out.len().min(bytes.len() - start);
        out[..count].copy_from_slice(&bytes[start..start + count]);
        Ok(count)
    }

    fn next_data(&self, file: &Self::File, offset: u64) -> io::Result<Option<(u64, u64)>> {
        let length = self.inner().nodes[file.node].bytes.len() as u64;
        Ok((offset < length).then_some((offset, length)))
    }

    fn write_at(&self, file: &Self::File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut inner = self.inner();
        let start = offset as usize;
        let killed = inner.change();
        // Whoever is killed while writing has written a part.
        let written = match &killed {
            Ok(()) => bytes,
            Err(_) => return killed,
        };
        let half = inner.kill_at == Some(inner.changes) && bytes.len() > 1;
        let written = if half {
            &written[..bytes.len() / 2]
        } else {
            written
        };
        let used: usize = inner.nodes.iter().map(|node| node.bytes.len()).sum();
        let end = start + written.len();
        let grows = end.saturating_sub(inner.nodes[file.node].bytes.len());
        if inner.room.is_some_and(|room| (used + grows) as u64 > room) {
            return Err(error(io::ErrorKind::StorageFull));
        }
        let content = &mut inner.nodes[file.node].bytes;
        if content.len() < end {
            content.resize(end, 0);
        }
        content[start..end].copy_from_slice(written);
        inner.touch(file.node);
        if half {
            Err(io::Error::other("killed"))
        } else {
            Ok(())
        }
    }

    fn set_len(&self, file: &Self::File, length: u64) -> io::Result<()> {
        let mut inner = self.inner();
        inner.change()?;
        inner.nodes[file.node].bytes.resize(length as usize, 0);
        inner.touch(file.node);
        Ok(())
    }

    fn clear(&self, file: &Self::File, offset: u64, length: u64) -> io::Result<()> {
        let mut inner = self.inner();
        inner.change()?;
        let content = &mut inner.nodes[file.node].bytes;
        let end = (offset + length).min(content.len() as u64) as usize;
        if let Some(range) = content.get_mut(offset as usize..end) {
            range.fill(0);
        }
        inner.touch(file.node);
        Ok(())
    }

    fn set_meta(&self, file: &Self::File, meta: &Meta) -> io::Result<()> {
        let mut inner = self.inner();
        inner.change()?;
        let clock = inner.clock;
        let node = &mut inner.nodes[file.node];
        node.meta.mode = meta.mode;
        node.meta.mtime = meta.mtime;
        node.ctime = clock;
        Ok(())
    }

    fn sync(&self, _: &Self::File) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _: &RelPath) -> io::Result<()> {
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &RelPath, to: &RelPath) -> io::Result<()> {
        let mut inner = self.inner();
        inner.change()?;
        inner.check_parent(to)?;
        let node = inner.find(from)?;
        if let Ok(old) = inner.find(to)
            && inner.nodes[old].kind == Kind::Dir
        {
            return Err(error(io::ErrorKind::IsADirectory));
        }
        inner.names.remove(from.as_bytes());
        inner.names.insert(to.as_bytes().to_vec(), node);
        Ok(())
    }

    fn remove_file(&self, path: &RelPath) -> io::Result<()> {
        let mut inner = self.inner();
        inner.change()?;
        let node = inner.find(path)?;
        if inner.nodes[node].kind == Kind::Dir {
            return Err(error(io::ErrorKind::IsADirectory));
        }
        inner.names.remove(path.as_bytes());
        Ok(())
    }

    fn remove_dir(&self, path: &RelPath) -> io::Result<()> {
        let mut inner = self.inner();
        inner.change()?;
        let node = inner.find(path)?;
        if inner.nodes[node].kind != Kind::Dir {
            return Err(error(io::ErrorKind::NotADirectory));
        }
        if inner.children(path.as_bytes()).next().is_some() {
            return Err(error(io::ErrorKind::DirectoryNotEmpty));
        }
        inner.names.remove(path.as_bytes());
        Ok(())
    }

    fn make_dir(&self, path: &RelPath, mode: u32) -> io::Result<()> {
        let mut inner = self.inner();
        inner.change()?;
        inner.add(path, Kind::Dir, &[], mode).map(drop)
    }

    fn symlink(&self, target: &[u8], path: &RelPath) -> io::Result<()> {
        let mut inner = self.inner();
        inner.change()?;
        inner.add(path, Kind::Symlink, target, 0o777).map(drop)
    }

    fn hard_link(&self, from: &RelPath, to: &RelPath) -> io::Result<()> {
        let mut inner = self.inner();
        inner.change()?;
        inner.check_parent(to)?;
        let node = inner.find(from)?;
        if inner.names.contains_key(to.as_bytes()) {
            return Err(error(io::ErrorKind::AlreadyExists));
        }
        inner.names.insert(to.as_bytes().to_vec(), node);
        Ok(())
    }

    fn set_path_meta(&self, path: &RelPath, kind: Kind, meta: &Meta) -> io::Result<()> {
        let mut inner = self.inner();
        inner.change()?;
        if path.is_root() {
            return Ok(());
        }
        let node = inner.find(path)?;
        let clock = inner.clock;
        let node = &mut inner.nodes[node];
        if node.kind != kind {
            return Err(error(io::ErrorKind::NotFound));
        }
        node.meta.mtime = meta.mtime;
        if kind != Kind::Symlink {
            node.meta.mode = meta.mode;
        }
        node.ctime = clock;
        Ok(())
    }

    fn boot(&self) -> [u8; 16] {
        [self.inner().boot; 16]
    }
}
