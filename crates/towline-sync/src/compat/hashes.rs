//! Manifests: how they are made, and which are believed.

use std::io::{self, Read};

use towline_codec::greenpack::Timestamp;

use crate::chunk::{ChunkReader, Chunker};
use crate::hash_name::HashName;

use super::{CdcConfig, RsyncChunk, RsyncHashes};

impl RsyncHashes {
    /// The manifest of bytes in memory. Mode and owner are left empty.
    pub fn of_bytes(
        chunker: &impl Chunker,
        host: &str,
        path: &str,
        bytes: &[u8],
        mod_time: Option<Timestamp>,
    ) -> Self {
        let mut hashes = Self::begin(chunker, host, path, mod_time);
        let mut start = 0;
        for end in chunker.cut_points(bytes, None) {
            hashes.push(start, &bytes[start..end]);
            start = end;
        }
        hashes.end(bytes.len(), HashName::of(bytes))
    }

    /// The manifest of what `source` holds from where it stands, read in constant memory. Mode and
    /// owner are left empty.
    ///
    /// # Errors
    ///
    /// What the source says.
    pub fn of_reader(
        chunker: &impl Chunker,
        host: &str,
        path: &str,
        source: impl Read,
        mod_time: Option<Timestamp>,
    ) -> io::Result<Self> {
        let mut hashes = Self::begin(chunker, host, path, mod_time);
        let mut whole = blake3::Hasher::new();
        let mut reader = ChunkReader::new(chunker, source);
        let mut end = 0;
        while let Some(chunk) = reader.next_chunk()? {
            whole.update(chunk.bytes);
            hashes.push(end, chunk.bytes);
            end += chunk.bytes.len();
        }
        Ok(hashes.end(end, whole.finalize().into()))
    }

    fn begin(chunker: &impl Chunker, host: &str, path: &str, mod_time: Option<Timestamp>) -> Self {
        let params = chunker.params();
        Self {
            host: host.to_owned(),
            path: path.to_owned(),
            mod_time,
            hash_name: "blake3.32B".to_owned(),
            chunker_name: chunker.name().to_owned(),
            cdc_config: Some(Box::new(CdcConfig {
                min_size: params.min() as i64,
                target_size: params.target() as i64,
                max_size: params.max() as i64,
            })),
            ..Self::default()
        }
    }

    fn push(&mut self, start: usize, bytes: &[u8]) {
        self.chunks.push(RsyncChunk {
            chunk_number: self.chunks.len() as i64,
            beg: start as i64,
            endx: (start + bytes.len()) as i64,
            hash: HashName::of(bytes).to_string(),
            len: bytes.len() as i64,
        });
    }

    fn end(mut self, size: usize, total: HashName) -> Self {
        self.num_chunks = self.chunks.len() as i64;
        self.file_size = size as i64;
        self.full_file_hash_sum = total.to_string();
        self
    }

    /// Whether the chunks are what a manifest promises: in order, without gaps, as many and as long
    /// as said, with hashes that can be read (docs/wire D7). Whoever uses a peer's manifest asks
    /// first.
    ///
    /// # Errors
    ///
    /// [`ManifestError`], naming the first chunk that is wrong.
    pub fn check(&self) -> Result<(), ManifestError> {
        if self.num_chunks != self.chunks.len() as i64 {
            return Err(ManifestError::Count {
                said: self.num_chunks,
                found: self.chunks.len(),
            });
        }
        let mut end = 0;
        for (number, chunk) in self.chunks.iter().enumerate() {
            let wrong = chunk.chunk_number != number as i64
                || chunk.beg != end
                || chunk.endx <= chunk.beg
                || chunk.len != chunk.endx - chunk.beg;
            if wrong {
                return Err(ManifestError::Chunk { number });
            }
            if chunk.hash.parse::<HashName>().is_err() {
                return Err(ManifestError::Hash { number });
            }
            end = chunk.endx;
        }
        if self.file_size != end {
            return Err(ManifestError::Size {
                said: self.file_size,
                found: end,
            });
        }
        Ok(())
    }
}

/// Why a manifest is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// Another number of chunks than was said.
    #[error("the manifest says {said} chunks and lists {found}")]
    Count {
        /// What was said.
        said: i64,
        /// What is there.
        found: usize,
    },
    /// A chunk does not follow the one before it, or its numbers contradict each other.
    #[error("chunk {number} of the manifest does not follow the one before it")]
    Chunk {
        /// Counted from 0.
        number: usize,
    },
    /// The hash of a chunk cannot be read.
    #[error("chunk {number} of the manifest has no readable hash")]
    Hash {
        /// Counted from 0.
        number: usize,
    },
    /// The chunks do not make up the file.
    #[error("the manifest says {said} bytes, its chunks have {found}")]
    Size {
        /// What was said.
        said: i64,
        /// The sum of the chunks.
        found: i64,
    },
}
