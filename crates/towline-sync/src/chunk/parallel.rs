//! One large input cut on several threads.

use std::thread;

use super::Chunker;

/// Chunks of the largest size that a thread gets at least: less is not worth starting it.
const LEAST_CHUNKS: usize = 32;

/// The ends of all chunks of `data`, found on up to `threads` threads.
///
/// They are those of [`Chunker::cut_points`]. Each thread cuts a part of the data as if it began
/// there; the true cuts meet those of the next part after a few chunks, and are the same from there.
/// Where they never meet, in long runs of one pattern, the parts are cut anew.
///
/// ```
/// use towline_sync::chunk::{Chunker, FastCdc, cut_points_parallel};
///
/// let bytes = b"more or less the same".repeat(300_000);
/// let chunker = FastCdc::default();
/// assert_eq!(cut_points_parallel(&chunker, &bytes, 4), chunker.cut_points(&bytes, None));
/// ```
pub fn cut_points_parallel(
    chunker: &(impl Chunker + Sync),
    data: &[u8],
    threads: usize,
) -> Vec<usize> {
    let least = chunker.params().max().saturating_mul(LEAST_CHUNKS).max(1);
    let parts = threads.min(data.len() / least).max(1);
    if parts == 1 {
        return chunker.cut_points(data, None);
    }
    let length = data.len().div_ceil(parts);
    let starts: Vec<usize> = (0..parts).map(|part| part * length).collect();
    let found: Vec<Vec<usize>> = thread::scope(|scope| {
        let cutting: Vec<_> = starts
            .iter()
            .map(|&start| {
                scope.spawn(move || {
                    let end = (start + length).min(data.len());
                    cuts_from(chunker, data, start, end)
                })
            })
            .collect();
        // A part whose thread ended early is cut anew below.
        cutting
            .into_iter()
            .map(|part| part.join().unwrap_or_default())
            .collect()
    });
    let mut cuts: Vec<usize> = Vec::new();
    let mut at = 0;
    for (part, &start) in found.iter().zip(&starts) {
        let end = (start + length).min(data.len());
        while at < end {
            // The part's own beginning is a cut of it as well.
            let met = if at == start {
                Some(0)
            } else {
                part.binary_search(&at).ok().map(|index| index + 1)
            };
            if let Some(from) = met.filter(|&from| from < part.len()) {
                cuts.extend_from_slice(&part[from..]);
                at = part.last().copied().unwrap_or(at);
            } else {
                at += chunker.first_cut(&data[at..]);
                cuts.push(at);
            }
        }
    }
    cuts
}

/// The ends of the chunks that begin at `start` and up to `end`; the last may lie behind `end`.
fn cuts_from(chunker: &impl Chunker, data: &[u8], start: usize, end: usize) -> Vec<usize> {
    let mut cuts = Vec::new();
    let mut at = start;
    while at < end {
        at += chunker.first_cut(&data[at..]);
        cuts.push(at);
    }
    cuts
}
