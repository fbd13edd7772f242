//! zstd frames (docs/wire F30).

use std::{
    cell::RefCell,
    io::{self, Read as _},
};

use ::zstd::{bulk::Compressor, stream::read::Decoder};

use super::too_large;
use crate::proto::Violation;

/// Memory a frame may ask its reader to look back on, as a power of two: twice what the original's
/// writer uses (docs/wire F30).
const MAX_WINDOW_LOG: u32 = 24;

thread_local! {
    // The tables of an encoder are worth keeping from message to message.
    static ENCODER: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
}

/// Appends one frame with a content checksum; nothing for nothing, as the original.
pub(super) fn compress(plain: &[u8], level: i32, out: &mut Vec<u8>) {
    if plain.is_empty() {
        return;
    }
    ENCODER.with_borrow_mut(|encoder| {
        let packed = match encoder {
            Some(encoder) => encoder
                .set_compression_level(level)
                .and_then(|()| encoder.compress(plain)),
            None => new_encoder(level).and_then(|new| encoder.insert(new).compress(plain)),
        };
        match packed {
            Ok(packed) => out.extend_from_slice(&packed),
            Err(error) => {
                // Only for want of memory. A frame of stored blocks is as good to a reader.
                tracing::trace!(%error, "zstd failed; the message goes in stored blocks");
                store(plain, out);
            }
        }
    });
}

fn new_encoder(level: i32) -> io::Result<Compressor<'static>> {
    let mut encoder = Compressor::new(level)?;
    encoder.include_checksum(true)?;
    Ok(encoder)
}

/// A frame that compresses nothing.
fn store(plain: &[u8], out: &mut Vec<u8>) {
    const MAX_BLOCK: usize = 128 << 10;
    const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    // No content size, no checksum, a window of 128 KiB.
    const DESCRIPTOR: [u8; 2] = [0x00, 7 << 3];
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&DESCRIPTOR);
    let mut blocks = plain.chunks(MAX_BLOCK).peekable();
    while let Some(block) = blocks.next() {
        let last = u32::from(blocks.peek().is_none());
        // A block's size has 21 bits, and type 0 is "raw".
        let [low, middle, high, _] = ((block.len() as u32) << 3 | last).to_le_bytes();
        out.extend_from_slice(&[low, middle, high]);
        out.extend_from_slice(block);
    }
}

/// Reads any number of frames, skippable ones among them; an empty body holds nothing.
pub(super) fn decompress(input: &[u8], limit: usize) -> Result<Vec<u8>, Violation> {
    let corrupt = |_| Violation::CorruptCompression;
    let mut out = Vec::new();
    if input.is_empty() {
        return Ok(out);
    }
    let mut decoder = Decoder::with_buffer(input).map_err(corrupt)?;
    decoder.window_log_max(MAX_WINDOW_LOG).map_err(corrupt)?;
    // One byte more than is allowed tells a body at the limit from one beyond it.
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    decoder.take(most).read_to_end(&mut out).map_err(corrupt)?;
    if out.len() > limit {
        return Err(too_large(limit));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(plain: &[u8], level: i32) -> Vec<u8> {
        let mut out = Vec::new();
        compress(plain, level, &mut out);
        out
    }

    #[test]
    fn nothing_compresses_to_nothing() {
        assert_eq!(packed(b"", 3), b"");
        assert_eq!(decompress(b"", 10), Ok(Vec::new()));
    }

    #[test]
    fn levels_are_what_their_names_say() {
        let text: Vec<u8> = (0..200_000_u32)
            .flat_map(|n| {
                (n.wrapping_mul(2_654_435_761) >> 24)
                    .to_string()
                    .into_bytes()
            })
            .collect();
        let sizes = [1, 3, 7, 11].map(|level| packed(&text, level).len());
        assert!(sizes.is_sorted_by(|a, b| a >= b), "{sizes:?}");
        assert!(sizes[3] < sizes[0], "{sizes:?}");
    }

    #[test]
    fn frames_in_a_row_and_skippable_frames_are_read() {
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        let body = [packed(b"one ", 1), skippable, packed(b"two", 11)].concat();
        assert_eq!(decompress(&body, 100).expect("legal"), b"one two");
    }

    #[test]
    fn stored_blocks_are_a_frame() {
        for len in [1, 128 << 10, (128 << 10) + 1, 1 << 20] {
            let plain = vec![7; len];
            let mut out = Vec::new();
            store(&plain, &mut out);
            assert_eq!(decompress(&out, len), Ok(plain));
        }
    }

    #[test]
    fn corrupt_and_cut_frames_are_refused() {
        let good = packed(&b"some text, some text, some text".repeat(20), 3);
        for at in 1..good.len() {
            assert_eq!(
                decompress(&good[..at], 1 << 20),
                Err(Violation::CorruptCompression),
                "cut at {at}"
            );
        }
        let mut checksum = good;
        *checksum.last_mut().expect("a checksum") ^= 1;
        assert_eq!(
            decompress(&checksum, 1 << 20),
            Err(Violation::CorruptCompression)
        );
    }

    #[test]
    fn a_window_beyond_the_limit_is_refused() {
        // docs/wire F30: descriptor without content size, a window of 2 GiB
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0x00, 0x00];
        assert_eq!(
            decompress(&frame, 1 << 20),
            Err(Violation::CorruptCompression)
        );
    }
}
