//! What the two ends say to each other.

use bytes::Bytes;

use super::{Chunking, Entry, Hello, Item, Meta, Totals};

/// The first 16 bytes of a BLAKE3 hash.
pub type Hash16 = [u8; 16];

/// A chunk in a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Bytes in it.
    pub length: u64,
    /// Its hash; `None` if all its bytes are zero.
    pub hash: Option<Hash16>,
}

/// A piece of a chunk, in the second level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubChunk {
    /// Bytes in it.
    pub length: u32,
    /// Its hash.
    pub hash: Hash16,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message {
    /// Opens a sync (docs/wire D12).
    Hello(Hello),
    /// The other end agrees; `single` says that the path was a file, of this name.
    Welcome {
        /// The name of the only file, if it is one.
        single: Option<Bytes>,
    },
    /// Ends the sync with a text.
    Abort {
        /// Why.
        text: String,
    },
    /// Entries of directory `dir`, numbered from `first`.
    List {
        /// The number of the directory's own entry; 0 is the root.
        dir: u64,
        /// The number of the first entry.
        first: u64,
        /// No more follow of this directory.
        last: bool,
        /// The directory could not be read wholly: what is missing here may still be there.
        error: Option<String>,
        /// Patterns found in the directory.
        patterns: Bytes,
        /// In the order of their names.
        entries: Vec<Entry>,
    },
    /// The listing is complete.
    ListEnd,
    /// The content of a small file.
    Small {
        /// Its number.
        id: u64,
        /// What it is.
        meta: Meta,
        /// Its first 16 hash bytes.
        hash: Hash16,
        /// All of it.
        bytes: Bytes,
    },
    /// Chunks of a file, from the beginning, over as many messages as it takes.
    Manifest {
        /// The file's number.
        id: u64,
        /// The next chunks.
        chunks: Vec<Chunk>,
        /// With the last: what the file is, and its root hash (docs/wire D18).
        end: Option<(Meta, [u8; 32])>,
    },
    /// The second level of one chunk.
    Fine {
        /// The file's number.
        id: u64,
        /// Which chunk.
        chunk: u64,
        /// Its pieces.
        pieces: Vec<SubChunk>,
    },
    /// Bytes of a file.
    Data {
        /// The file's number.
        id: u64,
        /// Where they belong.
        offset: u64,
        /// The bytes.
        bytes: Bytes,
    },
    /// A run of zeros of a file that is sent from the beginning.
    Zeros {
        /// The file's number.
        id: u64,
        /// Where it begins.
        offset: u64,
        /// How long it is.
        length: u64,
    },
    /// A file that is sent from the beginning is complete.
    End {
        /// The file's number.
        id: u64,
        /// What it is.
        meta: Meta,
        /// Its root hash.
        root: [u8; 32],
    },
    /// A file cannot be sent.
    Fail {
        /// Its number.
        id: u64,
        /// It changed while it was read: worth another try.
        changed: bool,
        /// Why.
        text: String,
    },
    /// Time and mode of the root, before its entries.
    Root(Meta),
    /// Files that are not wanted: from `.0`, so many.
    Drop(Vec<(u64, u64)>),
    /// Files that may be wanted at the end, when directories in their places are gone: from `.0`, so many.
    Later(Vec<(u64, u64)>),
    /// Small files that are wanted.
    WantSmall(Vec<u64>),
    /// A file is wanted from the beginning.
    WantAll {
        /// Its number.
        id: u64,
    },
    /// The manifest of a file is wanted.
    WantManifest {
        /// Its number.
        id: u64,
        /// How it is to be cut.
        chunking: Chunking,
    },
    /// The second level of chunks is wanted.
    WantFine {
        /// The file's number.
        id: u64,
        /// Which chunks: number, offset and length.
        chunks: Vec<(u64, u64, u64)>,
    },
    /// Ranges of a file are wanted, in this order.
    Get {
        /// The file's number.
        id: u64,
        /// Offsets and lengths.
        ranges: Vec<(u64, u64)>,
    },
    /// The receiver is done with a file.
    Close {
        /// Its number.
        id: u64,
    },
    /// What became of entries.
    Report(Vec<Item>),
    /// How far the receiver is.
    Progress(Totals),
    /// All is done.
    Finish(Totals),
}

impl Message {
    /// Bytes of files in it.
    pub(crate) fn payload(&self) -> usize {
        match self {
            Self::Small { bytes, .. } | Self::Data { bytes, .. } => bytes.len(),
            _ => 0,
        }
    }
}
