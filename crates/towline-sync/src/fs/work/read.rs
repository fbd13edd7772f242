//! Reading: what a sender needs, and the old version of a file at a receiver.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::{OpenSource, Worker, failed, lock};
use crate::chunk::{Chunker as _, FastCdc};
use crate::engine::{Failed, Listing, SmallRead};
use crate::fs::manifest::{changed, short, span};
use crate::fs::part::own;
use crate::fs::{Manifest, Span, Stat, Store, Wanted};
use crate::wire::{Chunking, Kind, Meta, RelPath, SubChunk};

/// Largest file of patterns that is read, in bytes.
const PATTERNS_MAX: u64 = 128 << 10;
/// Largest file that is read at once.
const SMALL_MAX: u64 = 1 << 20;

impl<S: Store> Worker<S> {
    pub(super) fn list(
        &self,
        path: &RelPath,
        ignore_file: Option<&[u8]>,
        wanted: Wanted,
    ) -> Result<Listing, Failed> {
        let root = self.root_meta(path);
        let mut found = self
            .list_with(path, wanted)
            .map_err(|error| failed(path, "cannot be listed", &error))?;
        found.retain(|found| own(&found.name).is_none());
        let patterns = ignore_file
            .and_then(|name| {
                let at = found
                    .binary_search_by(|found| (*found.name).cmp(name))
                    .ok()?;
                let stat = &found[at].stat;
                (stat.kind == Kind::File && stat.meta.size <= PATTERNS_MAX).then_some(())?;
                Some(self.read_small(&path.join(name)).ok()?.bytes)
            })
            .unwrap_or_default();
        Ok(Listing {
            found,
            patterns,
            root,
            ..Listing::default()
        })
    }

    /// Time and mode, if it is the root.
    pub(super) fn root_meta(&self, path: &RelPath) -> Option<Meta> {
        let stat = path.is_root().then(|| self.store.stat(path).ok());
        stat.flatten().map(|stat| stat.meta)
    }

    pub(super) fn read_small(&self, path: &RelPath) -> Result<SmallRead, Failed> {
        let read = || -> io::Result<SmallRead> {
            let (file, stat) = self.store.open(path)?;
            if stat.meta.size > SMALL_MAX {
                return Err(changed());
            }
            let bytes = self.read_range(&file, 0, stat.meta.size)?;
            // A file that holds more than it says, such as one of /proc, is not an empty one.
            if bytes.is_empty() && self.store.read_at(&file, &mut [0], 0)? > 0 {
                return Err(changed());
            }
            if !stat.same_content(&self.store.stat_file(&file)?) {
                return Err(changed());
            }
            Ok(SmallRead {
                meta: stat.meta,
                hash: short(blake3::hash(&bytes).as_bytes()),
                bytes,
            })
        };
        let cannot = |error: &io::Error| failed(path, "cannot be read", error);
        read().map_err(|error| cannot(&error))
    }

    pub(super) fn open(&self, key: u64, path: &RelPath) -> Result<Stat, Failed> {
        let (file, stat) = self
            .store
            .open(path)
            .map_err(|error| failed(path, "cannot be opened", &error))?;
        let source = OpenSource::new(file, stat);
        lock(&self.sources).insert(key, Arc::new(source));
        Ok(stat)
    }

    pub(super) fn manifest(
        &self,
        key: u64,
        path: &RelPath,
        chunking: Chunking,
    ) -> Result<Arc<Manifest>, Failed> {
        let stat = self.open(key, path)?;
        if let Some(manifest) = self
            .cache
            .as_ref()
            .and_then(|cache| cache.find(&stat, chunking))
        {
            return Ok(Arc::new(manifest));
        }
        let cannot = |error| failed(path, "cannot be read", &error);
        let source = self.source(key).ok_or_else(|| cannot(changed()))?;
        let manifest = Manifest::of(&self.store, &source.file, &stat, chunking).map_err(cannot)?;
        if let Some(cache) = &self.cache {
            cache.keep(&manifest, chunking);
        }
        Ok(Arc::new(manifest))
    }

    pub(super) fn fine(
        &self,
        key: u64,
        chunks: &[(u64, u64, u64)],
    ) -> Result<Vec<(u64, Vec<SubChunk>)>, Failed> {
        let chunker = FastCdc::new(Chunking::FINE);
        let read = || -> io::Result<_> {
            let source = self.source(key).ok_or_else(changed)?;
            let mut fine = Vec::with_capacity(chunks.len());
            for &(number, offset, length) in chunks {
                let bytes = self.read_range(&source.file, offset, length)?;
                let mut start = 0;
                let pieces = chunker.cut_points(&bytes, None).into_iter().map(|end| {
                    let piece = &bytes[std::mem::replace(&mut start, end)..end];
                    SubChunk {
                        length: piece.len() as u32,
                        hash: short(blake3::hash(piece).as_bytes()),
                    }
                });
                fine.push((number, pieces.collect()));
            }
            self.unchanged(&source)?;
            Ok(fine)
        };
        read().map_err(|error| nameless(&error))
    }

    pub(super) fn read(
        &self,
        key: u64,
        ranges: &[(u64, u64)],
        block: Option<u64>,
    ) -> Result<Vec<(Span, Bytes)>, Failed> {
        let read = || -> io::Result<_> {
            let source = self.source(key).ok_or_else(changed)?;
            let mut pieces = Vec::with_capacity(ranges.len());
            for &(offset, length) in ranges {
                if let Some(block) = block
                    && source
                        .extent
                        .is_hole(offset, length, |at| self.store.next_data(&source.file, at))?
                {
                    let starts = (offset..offset + length).step_by(block as usize);
                    pieces.extend(starts.map(|at| {
                        let span = Span {
                            offset: at,
                            length: block.min(offset + length - at),
                            hash: None,
                        };
                        (span, Bytes::new())
                    }));
                    continue;
                }
                let mut bytes = self.read_range(&source.file, offset, length)?;
                let Some(block) = block else {
                    let hash = None;
                    pieces.push((
                        Span {
                            offset,
                            length,
                            hash,
                        },
                        bytes,
                    ));
                    continue;
                };
                let mut at = offset;
                while !bytes.is_empty() {
                    let piece = bytes.split_to(bytes.len().min(block as usize));
                    let span = span(at, &piece);
                    at += span.length;
                    let zero = span.hash.is_none();
                    pieces.push((span, if zero { Bytes::new() } else { piece }));
                }
            }
            self.unchanged(&source)?;
            Ok(pieces)
        };
        read().map_err(|error| nameless(&error))
    }

    fn unchanged(&self, source: &OpenSource<S::File>) -> io::Result<()> {
        if source
            .stat
            .same_content(&self.store.stat_file(&source.file)?)
        {
            return Ok(());
        }
        Err(changed())
    }

    /// Exactly so many bytes, or an error.
    pub(super) fn read_range(&self, file: &S::File, offset: u64, length: u64) -> io::Result<Bytes> {
        let length = usize::try_from(length).map_err(|_| changed())?;
        let mut bytes = BytesMut::zeroed(length);
        if self.store.read_at(file, &mut bytes, offset)? < length {
            return Err(changed());
        }
        Ok(bytes.freeze())
    }
}

/// For a file whose name the engine adds.
fn nameless(error: &io::Error) -> Failed {
    Failed {
        text: error.to_string(),
        changed: error.kind() == io::ErrorKind::Interrupted,
        full: false,
    }
}
