//! What a sync does with a tree in memory.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::{Memory, MemoryFile, error};
use crate::fs::{Found, Stat, Store};
use crate::wire::{Kind, Meta, RelPath};

/// Bytes that are stored together, or are a hole.
const PAGE: u64 = 4096;

/// Longest file: a tree in memory has no holes that take nothing.
const MOST_BYTES: u64 = 1 << 28;

impl Store for Memory {
    type File = MemoryFile;

    fn list(&self, dir: &RelPath) -> io::Result<Vec<Found>> {
        let inner = self.inner();
        if !dir.is_root() {
            inner.check_parent(dir)?;
        }
        inner.check_rights(dir, 0o500)?;
        let mut found: Vec<_> = inner
            .children(dir.as_bytes())
            .map(|(name, node)| Found {
                name: Bytes::copy_from_slice(name),
                stat: inner.stat(node),
                target: (inner.nodes[node].kind == Kind::Symlink)
                    .then(|| Bytes::copy_from_slice(&inner.nodes[node].bytes)),
                attributes: None,
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
        if inner.strict && inner.nodes[node].meta.mode & 0o400 == 0 {
            return Err(error(io::ErrorKind::PermissionDenied));
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

    fn create_unnamed(&self, dir: &RelPath, mode: u32) -> io::Result<Option<Self::File>> {
        let mut inner = self.inner();
        inner.change()?;
        inner.check_names(&dir.join(b"new"))?;
        let node = inner.new_node(Kind::File, &[], mode);
        Ok(Some(MemoryFile {
            node,
            locks: false,
            inner: Arc::clone(&self.inner),
        }))
    }

    fn link_unnamed(&self, file: &Self::File, path: &RelPath) -> io::Result<()> {
        let mut inner = self.inner();
        inner.change()?;
        inner.name(path, file.node)
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
        let inner = self.inner();
        let bytes = &inner.nodes[file.node].bytes;
        let length = bytes.len() as u64;
        if !inner.holes {
            return Ok((offset < length).then_some((offset, length)));
        }
        let stored = |page: &u64| {
            let start = (page * PAGE) as usize;
            let page = &bytes[start..bytes.len().min(start + PAGE as usize)];
            page.iter().any(|byte| *byte != 0)
        };
        let pages = offset / PAGE..length.div_ceil(PAGE);
        let Some(first) = pages.clone().find(stored) else {
            return Ok(None);
        };
        let end = (first..pages.end).find(|page| !stored(page));
        let end = end.map_or(length, |page| page * PAGE);
        Ok(Some((offset.max(first * PAGE), end)))
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
        if length > MOST_BYTES {
            return Err(error(io::ErrorKind::StorageFull));
        }
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
        inner.check_names(from)?;
        inner.check_names(to)?;
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
        inner.check_names(path)?;
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
        inner.check_names(path)?;
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
        inner.check_names(to)?;
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
            (inner.root.mode, inner.root.mtime) = (meta.mode, meta.mtime);
            return Ok(());
        }
        inner.check_parent(path)?;
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
}
