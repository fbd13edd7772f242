//! Writing files: small ones whole, large ones chunk by chunk into a partial file with a journal.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};

use super::{OpenSource, Worker, failed, lock};
use crate::engine::{ChunkOp, Expect, Failed, Piece, SmallFile, Source};
use crate::fs::journal::{self, JournalReader};
use crate::fs::manifest::{is_zero, short, span};
use crate::fs::part;
use crate::fs::{Claim, Span, Store};
use crate::wire::{Chunking, Meta, RelPath};

/// From so many small files on, one write-out of everything is cheaper than one for each.
const MANY: usize = 8;
/// Largest journal that is read, in bytes.
const JOURNAL_MAX: u64 = 256 << 20;

/// A target that is being put together.
pub(super) struct Part<F> {
    target: RelPath,
    partial: RelPath,
    journal_path: RelPath,
    file: F,
    journal: Mutex<(F, u64)>,
    /// What lies behind this was never written, and reads as zeros.
    written: AtomicU64,
}

/// A small file whose content is written.
enum Written<F> {
    /// Under a temporary name, locked.
    Temporary(RelPath, F),
    /// Without a name.
    Unnamed(F),
}

impl<F> Written<F> {
    const fn file(&self) -> &F {
        match self {
            Self::Temporary(_, file) | Self::Unnamed(file) => file,
        }
    }
}

impl<S: Store> Worker<S> {
    pub(super) fn store_small(
        &self,
        files: Vec<SmallFile>,
        durable: bool,
    ) -> Vec<(u64, Result<(), Failed>)> {
        let together = durable && files.len() >= MANY;
        let mut results = Vec::with_capacity(files.len());
        let mut written = Vec::with_capacity(files.len());
        for file in files {
            match self.write_small(&file, durable && !together) {
                Ok(open) => written.push((file, open)),
                Err(error) => results.push((file.id, Err(cannot_store(&file.path, &error)))),
            }
        }
        // No name is given before its content is on the disk.
        let flushed = if together {
            self.store.sync_all()
        } else {
            Ok(())
        };
        for (file, open) in written {
            let done = match &flushed {
                Ok(()) => self.name_small(&file, open, durable),
                Err(error) => {
                    self.discard(&open);
                    Err(io::Error::new(error.kind(), error.to_string()))
                }
            };
            let result = done.map_err(|error| cannot_store(&file.path, &error));
            results.push((file.id, result));
        }
        results
    }

    /// Writes a file, without its name.
    fn write_small(&self, file: &SmallFile, durable: bool) -> io::Result<Written<S::File>> {
        // docs/wire D19: a file is its hash, or is not stored.
        if short(blake3::hash(&file.bytes).as_bytes()) != file.hash {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "what came is not what was announced",
            ));
        }
        let mode = file.meta.mode & 0o700;
        let dir = file.path.parent();
        // Where nothing is to be replaced, no temporary name is needed: one change of the directory, not two.
        if file.new
            && let Some(open) = self.within(&dir, || self.store.create_unnamed(&dir, mode))?
        {
            self.fill(&open, file, durable)?;
            return Ok(Written::Unnamed(open));
        }
        self.write_temporary(file, durable)
    }

    fn write_temporary(&self, file: &SmallFile, durable: bool) -> io::Result<Written<S::File>> {
        let path = self.temporary(&file.path);
        let mode = file.meta.mode & 0o700;
        let open = self.within(&path.parent(), || self.store.create(&path, mode))?;
        let written = Written::Temporary(path, open);
        if let Err(error) = self.fill(written.file(), file, durable) {
            self.discard(&written);
            return Err(error);
        }
        Ok(written)
    }

    fn fill(&self, open: &S::File, file: &SmallFile, durable: bool) -> io::Result<()> {
        self.store.write_at(open, &file.bytes, 0)?;
        self.store.set_meta(open, &file.meta)?;
        if durable {
            self.store.sync(open)?;
        }
        Ok(())
    }

    /// Gives a file that was written its name.
    fn name_small(
        &self,
        file: &SmallFile,
        written: Written<S::File>,
        durable: bool,
    ) -> io::Result<()> {
        let written = match written {
            Written::Unnamed(open)
                if self
                    .within(&file.path.parent(), || {
                        self.store.link_unnamed(&open, &file.path)
                    })
                    .is_ok() =>
            {
                return Ok(());
            }
            // Something has come into its place meanwhile, or it cannot be done here.
            Written::Unnamed(_) => self.write_temporary(file, durable)?,
            Written::Temporary(..) => written,
        };
        let Written::Temporary(path, _) = &written else {
            return Ok(());
        };
        let renamed = self.within(&file.path.parent(), || self.store.rename(path, &file.path));
        if renamed.is_err() {
            self.discard(&written);
        }
        renamed
    }

    /// What gets no name is of no use.
    fn discard(&self, written: &Written<S::File>) {
        if let Written::Temporary(path, _) = written {
            drop(self.store.remove_file(path));
        }
    }

    pub(super) fn temporary(&self, target: &RelPath) -> RelPath {
        part::temporary(target, self.random())
    }

    pub(super) fn begin_part(
        &self,
        id: u64,
        target: RelPath,
        size: u64,
        chunking: Chunking,
    ) -> Result<(Chunking, Vec<Claim>), Failed> {
        let begin = || -> io::Result<_> {
            let (partial, journal_path) = (part::partial(&target), part::journal(&target));
            let dir = target.parent();
            let (file, stat) = self.within(&dir, || self.store.open_own(&partial))?;
            let (journal, old) = self.within(&dir, || self.store.open_own(&journal_path))?;
            let length = old.meta.size.min(JOURNAL_MAX);
            let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
            let read = self.store.read_at(&journal, &mut bytes, 0)?;
            bytes.truncate(read);
            let reader = JournalReader::new(&bytes);
            let (old_chunking, claims) = match reader.head() {
                Some(cut) => {
                    let within = size.min(stat.meta.size);
                    let claims = reader.claims(within).collect();
                    // docs/wire D20: a disk may have lost or changed what was written.
                    (cut, self.confirmed(&file, claims))
                }
                None => (chunking, Vec::new()),
            };
            let chunking = if claims.is_empty() {
                chunking
            } else {
                old_chunking
            };
            // Written anew with what holds, so that damage and doubles go.
            let mut whole = journal::head(chunking);
            for claim in &claims {
                journal::record(claim, &mut whole);
            }
            if whole != bytes {
                self.store.set_len(&journal, 0)?;
                self.store.write_at(&journal, &whole, 0)?;
            }
            if stat.meta.size != size {
                self.store.set_len(&file, size)?;
            }
            let part = Part {
                target: target.clone(),
                partial,
                journal_path,
                file,
                journal: Mutex::new((journal, whole.len() as u64)),
                written: AtomicU64::new(stat.meta.size.min(size)),
            };
            lock(&self.parts).insert(id, Arc::new(part));
            Ok((chunking, claims))
        };
        begin().map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Failed {
                text: format!("`{target}` is being received by somebody else"),
                changed: true,
                full: false,
            },
            _ => {
                let failed = cannot_store(&target, &error);
                if failed.full {
                    // Where there is no room even to begin, nothing is to be kept. What cannot be removed
                    // goes with the next attempt.
                    drop(self.store.remove_file(&part::partial(&target)));
                    drop(self.store.remove_file(&part::journal(&target)));
                }
                failed
            }
        })
    }

    /// The claims that are true of the file.
    fn confirmed(&self, file: &S::File, claims: Vec<Claim>) -> Vec<Claim> {
        let mut confirmed = Vec::new();
        for claim in claims {
            // Journals of ours have no longer ranges but of zeros.
            if claim.length > 64 << 20 {
                continue;
            }
            let Ok(bytes) = self.read_range(file, claim.offset, claim.length) else {
                continue;
            };
            if span(claim.offset, &bytes) == claim {
                confirmed.push(claim);
            }
        }
        confirmed
    }

    pub(super) fn apply(
        &self,
        id: u64,
        ops: Vec<ChunkOp>,
    ) -> Result<Vec<(usize, Option<Span>, usize)>, Failed> {
        let Some(part) = lock(&self.parts).get(&id).cloned() else {
            return Ok(Vec::new());
        };
        let apply = || -> io::Result<_> {
            let mut results = Vec::with_capacity(ops.len());
            let mut records = Vec::new();
            for op in ops {
                let done = self.write_chunk(&part, &op)?;
                if let Some(span) = &done {
                    journal::record(span, &mut records);
                }
                results.push((op.index, done, received(&op)));
            }
            if !records.is_empty() {
                let mut journal = lock(&part.journal);
                let (file, end) = &mut *journal;
                self.store.write_at(file, &records, *end)?;
                *end += records.len() as u64;
            }
            Ok(results)
        };
        apply().map_err(|error| cannot_store(&part.target, &error))
    }

    fn write_chunk(&self, part: &Part<S::File>, op: &ChunkOp) -> io::Result<Option<Span>> {
        let (offset, length) = (op.offset, op.length);
        if op.expect == Expect::Zeros {
            if offset < part.written.load(Ordering::Relaxed) {
                self.store.clear(&part.file, offset, length)?;
            }
            let hash = None;
            return Ok(Some(Span {
                offset,
                length,
                hash,
            }));
        }
        let Some(bytes) = self.assemble(op) else {
            return Ok(None);
        };
        let span = span(offset, &bytes);
        let right = match op.expect {
            Expect::Hash(expected) => span.short() == Some(expected),
            Expect::Anything | Expect::Zeros => true,
        };
        // docs/wire D19: nothing is written that is not what was announced.
        if !right || span.length != length {
            return Ok(None);
        }
        if is_zero(&bytes) && offset >= part.written.load(Ordering::Relaxed) {
            return Ok(Some(span));
        }
        self.store.write_at(&part.file, &bytes, offset)?;
        Ok(Some(span))
    }

    /// The bytes of a chunk; `None` if one of the files it is taken from is not as it was.
    fn assemble(&self, op: &ChunkOp) -> Option<Bytes> {
        if let [Piece::Bytes(bytes)] = op.pieces.as_slice() {
            return Some(bytes.clone());
        }
        let mut whole = BytesMut::with_capacity(usize::try_from(op.length).ok()?);
        for piece in &op.pieces {
            match piece {
                Piece::Bytes(bytes) => whole.extend_from_slice(bytes),
                Piece::Copy {
                    source,
                    offset,
                    length,
                } => {
                    let open = self.reopen(source)?;
                    let start = whole.len();
                    whole.resize(start + usize::try_from(*length).ok()?, 0);
                    let read = self.store.read_at(&open.file, &mut whole[start..], *offset);
                    if read.ok()? as u64 != *length {
                        return None;
                    }
                }
            }
        }
        Some(whole.freeze())
    }

    /// A file with chunks of use, if it is still that file. Its content is checked by its hashes.
    fn reopen(&self, source: &Source) -> Option<Arc<OpenSource<S::File>>> {
        if let Some(open) = self.source(source.key) {
            return Some(open);
        }
        let (file, stat) = self.store.open(&source.path).ok()?;
        Some(Arc::new(OpenSource::new(file, stat)))
    }

    pub(super) fn finish_part(&self, id: u64, meta: &Meta, durable: bool) -> Result<(), Failed> {
        let Some(part) = lock(&self.parts).remove(&id) else {
            return Ok(());
        };
        let finish = || -> io::Result<()> {
            if self.store.stat_file(&part.file)?.meta.size != meta.size {
                self.store.set_len(&part.file, meta.size)?;
            }
            if durable {
                self.store.sync(&part.file)?;
            }
            // Last, so that a file which its owner may not write is not left under a name that has to be
            // opened for writing.
            self.store.set_meta(&part.file, meta)?;
            let dir = part.target.parent();
            self.within(&dir, || self.store.rename(&part.partial, &part.target))?;
            self.within(&dir, || self.store.remove_file(&part.journal_path))?;
            if durable {
                self.store.sync_dir(&part.target.parent())?;
            }
            Ok(())
        };
        finish().map_err(|error| cannot_store(&part.target, &error))
    }

    pub(super) fn leave_part(&self, id: u64, keep: bool) {
        let Some(part) = lock(&self.parts).remove(&id) else {
            return;
        };
        if !keep {
            // Whatever stays is found and taken up, or removed, another time.
            drop(self.store.remove_file(&part.partial));
            drop(self.store.remove_file(&part.journal_path));
        }
    }
}

/// Bytes of a chunk that came over the connection.
pub(super) fn received(op: &ChunkOp) -> usize {
    op.pieces
        .iter()
        .map(|piece| match piece {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::Copy { .. } => 0,
        })
        .sum()
}

pub(super) fn cannot_store(path: &RelPath, error: &io::Error) -> Failed {
    failed(path, "cannot be stored", error)
}
