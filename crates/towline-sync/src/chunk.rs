//! Content-defined chunks: where a file is cut depends on what is in it, so that an insertion moves
//! no cut but those around it.
//!
//! [`FastCdc`] and [`UltraCdc`] cut exactly where the original's chunkers do (docs/wire D3, D4). Cut
//! points of bytes in memory come from [`Chunker::cut_points`], those of anything that can be read,
//! in constant memory, from [`ChunkReader`], and those of much memory on several threads from
//! [`cut_points_parallel`].

mod fast;
mod gear;
mod parallel;
mod params;
mod reader;
mod ultra;

pub use fast::FastCdc;
pub use parallel::cut_points_parallel;
pub use params::{ChunkParams, ChunkParamsError};
pub use reader::{ChunkReader, ReadChunk};
pub use ultra::UltraCdc;

/// Finds where bytes are cut.
///
/// ```
/// use towline_sync::chunk::{Chunker, FastCdc};
///
/// let bytes = vec![7; 200_000];
/// let cuts = FastCdc::default().cut_points(&bytes, None);
/// assert_eq!(cuts, [65_536, 131_072, 196_608, 200_000]);
/// ```
pub trait Chunker {
    /// The name that manifests of the original carry.
    fn name(&self) -> &'static str;

    /// The sizes.
    fn params(&self) -> ChunkParams;

    /// The length of the first chunk of `data`, which must not be empty. At least 1.
    ///
    /// `data` must hold the largest chunk, or everything that is left.
    fn first_cut(&self, data: &[u8]) -> usize;

    /// The length of the first chunk of `data`; `None` if it takes more bytes to tell: fewer than the
    /// largest chunk are there, and `eof` is false, or there are none at all.
    fn next_cut(&self, data: &[u8], eof: bool) -> Option<usize> {
        if data.is_empty() || (!eof && data.len() < self.params().max()) {
            return None;
        }
        Some(self.first_cut(data))
    }

    /// The ends of all chunks of `data`, counted from its beginning; the last is its length. Nothing
    /// for no data. With `most`, no more than so many.
    fn cut_points(&self, data: &[u8], most: Option<usize>) -> Vec<usize> {
        let mut cuts = Vec::new();
        let mut at = 0;
        while at < data.len() && most.is_none_or(|most| cuts.len() < most) {
            at += self.first_cut(&data[at..]);
            cuts.push(at);
        }
        cuts
    }
}

impl<C: Chunker + ?Sized> Chunker for &C {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn params(&self) -> ChunkParams {
        (**self).params()
    }

    fn first_cut(&self, data: &[u8]) -> usize {
        (**self).first_cut(data)
    }
}
