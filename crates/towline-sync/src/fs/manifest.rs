//! The chunks of a file.

use std::io;

use super::{Stat, Store};
use crate::chunk::{Chunker as _, FastCdc};
use crate::wire::{Chunking, Hash16};

/// Bytes read at a time.
const READ: usize = 1 << 20;

/// A chunk of a file, and where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Bytes before it.
    pub offset: u64,
    /// Bytes in it.
    pub length: u64,
    /// The BLAKE3 hash of its bytes; `None` if all of them are zero.
    pub hash: Option<[u8; 32]>,
}

impl Span {
    /// What of the hash goes over the wire.
    pub fn short(&self) -> Option<Hash16> {
        self.hash.map(|hash| short(&hash))
    }
}

/// The first half of a hash.
pub(crate) fn short(hash: &[u8; 32]) -> Hash16 {
    let mut short = [0; 16];
    short.copy_from_slice(&hash[..16]);
    short
}

/// The chunks of a file, without gaps from its beginning to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The file, as it was before and after it was read.
    pub stat: Stat,
    /// The chunks.
    pub spans: Vec<Span>,
    /// The hash of them all.
    pub root: [u8; 32],
}

/// docs/wire D18: the hash over the lengths and hashes of all chunks, which stands for the file.
pub fn root_hash<'a>(spans: impl IntoIterator<Item = &'a Span>) -> [u8; 32] {
    let mut root = blake3::Hasher::new();
    for span in spans {
        root.update(&span.length.to_le_bytes());
        root.update(&span.hash.unwrap_or([0; 32]));
    }
    *root.finalize().as_bytes()
}

impl Manifest {
    /// Cuts a file. Holes are not read; the cuts are those of a file without holes.
    ///
    /// # Errors
    ///
    /// What the system says; [`io::ErrorKind::Interrupted`] if the file changed meanwhile.
    pub fn of<S: Store>(
        store: &S,
        file: &S::File,
        stat: &Stat,
        chunking: Chunking,
    ) -> io::Result<Self> {
        let mut spans = Vec::new();
        let size = stat.meta.size;
        match chunking {
            Chunking::Content => by_content(store, file, size, &mut spans)?,
            Chunking::Blocks => by_blocks(store, file, size, &mut spans)?,
        }
        let after = store.stat_file(file)?;
        if !stat.same_content(&after) {
            return Err(changed());
        }
        let root = root_hash(&spans);
        let stat = *stat;
        Ok(Self { stat, spans, root })
    }
}

/// The error for a file that did not stay as it was.
pub(crate) fn changed() -> io::Error {
    io::Error::new(io::ErrorKind::Interrupted, "it changed while it was read")
}

/// True if all bytes are zero.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    // Whole words first: the compiler makes wide comparisons of this.
    bytes
        .chunks(4096)
        .all(|bytes| bytes.iter().fold(0, |all, byte| all | byte) == 0)
}

fn by_content<S: Store>(
    store: &S,
    file: &S::File,
    size: u64,
    spans: &mut Vec<Span>,
) -> io::Result<()> {
    let chunker = FastCdc::new(Chunking::params(size));
    let largest = chunker.params().max();
    let mut buffer = vec![0; largest + READ];
    // Where there are as many zeros ahead as a cut may depend on, each chunk has this length.
    let of_zeros = chunker.first_cut(&buffer[..largest]) as u64;
    let (mut here, mut ahead) = (Extents::new(store, file), Extents::new(store, file));
    let (mut at, mut filled) = (0, 0);
    while at < size {
        let data = here.next(at)?.0.min(size);
        if data == size {
            push_zeros(spans, at, size - at);
            return Ok(());
        }
        // docs/wire D17: cuts do not depend on which zeros are holes, and holes are not read.
        if let Some(more) = (data - at).checked_sub(largest as u64) {
            let length = (more / of_zeros + 1) * of_zeros;
            push_zeros(spans, at, length);
            (at, filled) = (at + length, 0);
            continue;
        }
        let left = size - at;
        let want = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        ahead.fill(&mut buffer[filled..want], at + filled as u64)?;
        filled = want;
        // Every chunk that can be told from what is here.
        let mut done = 0;
        let eof = filled as u64 == left;
        while let Some(length) = chunker.next_cut(&buffer[done..filled], eof) {
            push(spans, at + done as u64, &buffer[done..done + length]);
            done += length;
        }
        buffer.copy_within(done..filled, 0);
        filled -= done;
        at += done as u64;
    }
    Ok(())
}

/// Where the stored bytes of a file lie. Each extent is asked for once: to find its end, the system may
/// have to walk over it.
struct Extents<'a, S: Store> {
    store: &'a S,
    file: &'a S::File,
    /// From where on it is known, the first stored byte behind, and the end of these.
    known: Option<(u64, u64, u64)>,
}

impl<'a, S: Store> Extents<'a, S> {
    const fn new(store: &'a S, file: &'a S::File) -> Self {
        Self {
            store,
            file,
            known: None,
        }
    }

    /// The next stored bytes at or behind an offset.
    fn next(&mut self, offset: u64) -> io::Result<(u64, u64)> {
        if let Some((from, start, end)) = self.known
            && (from..end).contains(&offset)
        {
            return Ok((start.max(offset), end));
        }
        let none = (u64::MAX, u64::MAX);
        let (start, end) = self.store.next_data(self.file, offset)?.unwrap_or(none);
        self.known = Some((offset, start, end));
        Ok((start.max(offset), end))
    }

    /// Reads all of `out`, but no holes.
    fn fill(&mut self, mut out: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !out.is_empty() {
            let (start, end) = self.next(offset)?;
            let within = |length: u64, out: &[u8]| {
                out.len().min(usize::try_from(length).unwrap_or(usize::MAX))
            };
            let (hole, rest) = out.split_at_mut(within(start - offset, out));
            hole.fill(0);
            offset += hole.len() as u64;
            let (stored, rest) = rest.split_at_mut(within(end.saturating_sub(offset), rest));
            if self.store.read_at(self.file, stored, offset)? < stored.len() {
                return Err(changed());
            }
            offset += stored.len() as u64;
            out = rest;
        }
        Ok(())
    }
}

fn by_blocks<S: Store>(
    store: &S,
    file: &S::File,
    size: u64,
    spans: &mut Vec<Span>,
) -> io::Result<()> {
    let block = Chunking::block(size);
    let mut buffer = vec![0; block as usize];
    let mut data = Some((0, 0));
    let mut at = 0;
    while at < size {
        let length = block.min(size - at);
        if data.is_some_and(|(_, end)| end <= at) {
            data = store.next_data(file, at)?;
        }
        if data.is_none_or(|(start, _)| start >= at + length) {
            let hash = None;
            let offset = at;
            spans.push(Span {
                offset,
                length,
                hash,
            });
        } else {
            let bytes = &mut buffer[..length as usize];
            if store.read_at(file, bytes, at)? < bytes.len() {
                return Err(changed());
            }
            spans.push(span(at, bytes));
        }
        at += length;
    }
    Ok(())
}

/// The span of these bytes.
pub(crate) fn span(offset: u64, bytes: &[u8]) -> Span {
    let hash = match is_zero(bytes) {
        true => None,
        false => Some(*blake3::hash(bytes).as_bytes()),
    };
    Span {
        offset,
        length: bytes.len() as u64,
        hash,
    }
}

/// Runs of zeros are one chunk, however they were cut.
fn push(spans: &mut Vec<Span>, offset: u64, bytes: &[u8]) {
    let span = span(offset, bytes);
    if span.hash.is_none() {
        push_zeros(spans, offset, span.length);
    } else {
        spans.push(span);
    }
}

fn push_zeros(spans: &mut Vec<Span>, offset: u64, length: u64) {
    match spans.last_mut() {
        _ if length == 0 => {}
        Some(last) if last.hash.is_none() => last.length += length,
        _ => spans.push(Span {
            offset,
            length,
            hash: None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Memory;
    use crate::wire::{FileTime, RelPath};

    /// Runs of zeros and of other bytes, from these lengths.
    fn content(runs: &[usize]) -> Vec<u8> {
        let (mut bytes, mut state) = (Vec::new(), 1_u64);
        for (number, run) in runs.iter().enumerate() {
            let start = bytes.len();
            bytes.resize(start + run, 0);
            if number % 2 == 1 {
                for byte in &mut bytes[start..] {
                    state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
                    *byte = (state >> 56) as u8;
                }
            }
        }
        bytes
    }

    fn cut(bytes: &[u8], holes: bool, chunking: Chunking) -> Manifest {
        let (store, path) = (Memory::new(), RelPath::root().join(b"f"));
        store.holes(holes);
        store.put(&path, bytes, 0o644, FileTime::default()).unwrap();
        let (file, stat) = store.open(&path).unwrap();
        Manifest::of(&store, &file, &stat, chunking).unwrap()
    }

    /// docs/wire D17: files of equal bytes have equal manifests, wherever their holes lie.
    #[test]
    fn cuts_do_not_depend_on_holes() {
        for runs in [
            &[0, 300_000, 1_000_000, 50_000][..],
            &[5_000_000, 100_000],
            &[1, 70_001, 4_096, 20_000, 700_000, 1],
            &[0, 10_000, 262_144, 10_000, 262_145, 10_000, 524_288, 10_000],
            &[8192, 5000, 8192, 5000, 3000, 20_000, 70_000],
            &[400_000],
            &[0, 2_000_000, 3_000_000, 2_000_000, 4_000_000],
        ] {
            let bytes = content(runs);
            for chunking in [Chunking::Content, Chunking::Blocks] {
                let (sparse, dense) = (cut(&bytes, true, chunking), cut(&bytes, false, chunking));
                assert_eq!(sparse.spans, dense.spans, "{runs:?} {chunking:?}");
                assert_eq!(sparse.root, dense.root);
            }
        }
    }
}
