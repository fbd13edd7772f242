//! Chunks of anything that can be read, in constant memory.

use std::io::{self, Read};

use super::Chunker;

/// Bytes that are read at a time, at least.
const READ: usize = 1 << 20;

/// Reads a source chunk by chunk.
///
/// It holds the largest chunk and 1 MiB in memory, however long the source is. The cuts are those of
/// the whole in memory, whatever the source returns at a time.
///
/// ```
/// use towline_sync::chunk::{ChunkReader, Chunker, UltraCdc};
///
/// let bytes = b"some bytes".repeat(20_000);
/// let mut reader = ChunkReader::new(UltraCdc::default(), bytes.as_slice());
/// let mut cuts = Vec::new();
/// while let Some(chunk) = reader.next_chunk()? {
///     cuts.push(chunk.offset as usize + chunk.bytes.len());
/// }
/// assert_eq!(cuts, UltraCdc::default().cut_points(&bytes, None));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct ChunkReader<C, R> {
    chunker: C,
    source: R,
    buffer: Vec<u8>,
    /// What of the buffer holds bytes that are not handed out.
    filled: std::ops::Range<usize>,
    offset: u64,
    eof: bool,
}

/// A chunk, and where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadChunk<'a> {
    /// Bytes before it.
    pub offset: u64,
    /// What is in it.
    pub bytes: &'a [u8],
}

impl<C: Chunker, R: Read> ChunkReader<C, R> {
    /// Reads from where `source` stands.
    pub fn new(chunker: C, source: R) -> Self {
        let room = chunker.params().max() + READ;
        Self {
            chunker,
            source,
            buffer: vec![0; room],
            filled: 0..0,
            offset: 0,
            eof: false,
        }
    }

    /// The next chunk; `None` at the end.
    ///
    /// # Errors
    ///
    /// What the source says. Reading may be tried again.
    pub fn next_chunk(&mut self) -> io::Result<Option<ReadChunk<'_>>> {
        loop {
            let data = &self.buffer[self.filled.clone()];
            if let Some(length) = self.chunker.next_cut(data, self.eof) {
                let start = self.filled.start;
                let offset = self.offset;
                self.filled.start += length;
                self.offset += length as u64;
                let bytes = &self.buffer[start..start + length];
                return Ok(Some(ReadChunk { offset, bytes }));
            }
            if self.eof {
                return Ok(None);
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        if self.filled.start > 0 {
            // Less than the largest chunk is left, so this moves little for each megabyte read.
            self.buffer.copy_within(self.filled.clone(), 0);
            self.filled = 0..self.filled.len();
        }
        loop {
            match self.source.read(&mut self.buffer[self.filled.end..]) {
                Ok(0) => {
                    self.eof = true;
                    return Ok(());
                }
                Ok(count) => {
                    self.filled.end += count;
                    // Whoever reads little at a time is read until there is enough to tell.
                    if self.filled.len() >= self.chunker.params().max() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
