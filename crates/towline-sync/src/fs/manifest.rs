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
    /// Cuts a file. Holes are not read: each is one chunk of zeros.
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
    let mut at = 0;
    while at < size {
        let Some((start, end)) = store.next_data(file, at)? else {
            push_zeros(spans, at, size - at);
            return Ok(());
        };
        let (start, end) = (start.clamp(at, size), end.min(size));
        push_zeros(spans, at, start - at);
        at = start;
        let mut filled = 0;
        while at < end {
            let left = end - at;
            let want = buffer
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            if filled < want {
                let offset = at + filled as u64;
                if store.read_at(file, &mut buffer[filled..want], offset)? < want - filled {
                    return Err(changed());
                }
                filled = want;
            }
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
    }
    Ok(())
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
