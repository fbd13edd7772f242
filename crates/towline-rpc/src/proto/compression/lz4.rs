//! LZ4 frames (docs/wire F29).

use std::hash::Hasher as _;

use lz4_flex::block::{
    compress_into, decompress_into, decompress_into_with_dict, get_maximum_output_size,
};
use twox_hash::XxHash32;

use super::too_large;
use crate::proto::Violation;

const FRAME_MAGIC: u32 = 0x184d_2204;
const LEGACY_MAGIC: u32 = 0x184c_2102;
/// Sixteen magics name frames to be skipped.
const SKIPPABLE_MAGIC: u32 = 0x184d_2a50;
const LEGACY_BLOCK: usize = 8 << 20;
/// How far a linked block may look back.
const WINDOW: usize = 64 << 10;
/// No byte of a compressed block stands for more than this many.
const MAX_EXPANSION: usize = 255;

const CORRUPT: Violation = Violation::CorruptCompression;

/// Appends one frame with a content checksum and without block checksums, about whose meaning the
/// versions of the original's library disagree.
///
/// Written here and not by the library's encoder: that takes 8 MiB of memory for every frame, however small, as a frame
/// of the original has blocks of 4 MiB.
pub(super) fn compress(plain: &[u8], out: &mut Vec<u8>) {
    /// Version 1, blocks that stand alone, a content checksum; blocks of at most 4 MiB.
    const DESCRIPTOR: [u8; 2] = [0b0110_0100, 7 << 4];
    const BLOCK: usize = 4 << 20;
    const STORED: u32 = 1 << 31;
    out.extend_from_slice(&FRAME_MAGIC.to_le_bytes());
    out.extend_from_slice(&DESCRIPTOR);
    out.push((checksum(&DESCRIPTOR) >> 8) as u8);
    for block in plain.chunks(BLOCK) {
        let size_at = out.len();
        let at = size_at + 4;
        out.resize(at + get_maximum_output_size(block.len()), 0);
        let size = match compress_into(block, &mut out[at..]) {
            Ok(len) if len < block.len() => {
                out.truncate(at + len);
                len as u32
            }
            // It does not get smaller.
            _ => {
                out.truncate(at);
                out.extend_from_slice(block);
                block.len() as u32 | STORED
            }
        };
        out[size_at..at].copy_from_slice(&size.to_le_bytes());
    }
    out.extend_from_slice(&0_u32.to_le_bytes());
    out.extend_from_slice(&checksum(plain).to_le_bytes());
}

/// Walks the frames itself: a block checksum may be of either generation, and no memory is used
/// before the bytes that claim it are there.
pub(super) fn decompress(mut input: &[u8], limit: usize) -> Result<Vec<u8>, Violation> {
    let mut out = Vec::new();
    if input.is_empty() {
        return Err(CORRUPT);
    }
    while !input.is_empty() {
        match take_u32(&mut input)? {
            FRAME_MAGIC => read_frame(&mut input, limit, &mut out)?,
            LEGACY_MAGIC => read_legacy_frame(&mut input, limit, &mut out)?,
            magic if magic & !0xf == SKIPPABLE_MAGIC => {
                let len = take_u32(&mut input)? as usize;
                take(&mut input, len)?;
            }
            _ => return Err(CORRUPT),
        }
    }
    Ok(out)
}

/// What a frame's descriptor says.
struct Descriptor {
    linked: bool,
    block_checksums: bool,
    content_checksum: bool,
    content_size: Option<u64>,
    block_max: usize,
}

fn read_frame(input: &mut &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), Violation> {
    let descriptor = read_descriptor(input)?;
    let start = out.len();
    loop {
        let size = take_u32(input)?;
        if size == 0 {
            break;
        }
        let stored = size >> 31 == 1;
        let block = take(input, (size & 0x7fff_ffff) as usize)?;
        if block.len() > descriptor.block_max {
            return Err(CORRUPT);
        }
        let block_start = out.len();
        if stored {
            if block.len() > limit.saturating_sub(block_start) {
                return Err(too_large(limit));
            }
            out.extend_from_slice(block);
        } else {
            let window = if descriptor.linked {
                start.max(block_start.saturating_sub(WINDOW))
            } else {
                block_start
            };
            read_block(block, window, descriptor.block_max, limit, out)?;
        }
        if descriptor.block_checksums {
            let sum = take_u32(input)?;
            if sum != checksum(block) && sum != checksum(&out[block_start..]) {
                return Err(CORRUPT);
            }
        }
    }
    let content = &out[start..];
    if descriptor.content_checksum && take_u32(input)? != checksum(content) {
        return Err(CORRUPT);
    }
    if descriptor
        .content_size
        .is_some_and(|size| size != content.len() as u64)
    {
        return Err(CORRUPT);
    }
    Ok(())
}

fn read_descriptor(input: &mut &[u8]) -> Result<Descriptor, Violation> {
    const VERSION: u8 = 0b0100_0000;
    let all = *input;
    let &[flags, block] = take(input, 2)? else {
        return Err(CORRUPT);
    };
    let flag = |bit: u8| flags >> bit & 1 == 1;
    let has_dictionary = flag(0);
    // The upper two bits are the version; bit 1, and of the second byte all but three, are reserved.
    if flags & 0b1100_0010 != VERSION || block & 0b1000_1111 != 0 || has_dictionary {
        return Err(CORRUPT);
    }
    let block_max = match block >> 4 {
        4 => 64 << 10,
        5 => 256 << 10,
        6 => 1 << 20,
        7 => 4 << 20,
        _ => return Err(CORRUPT),
    };
    let content_size = if flag(3) {
        let size = take(input, 8)?;
        Some(u64::from_le_bytes(size.try_into().map_err(|_| CORRUPT)?))
    } else {
        None
    };
    let descriptor = &all[..all.len() - input.len()];
    if take(input, 1)? != [checksum(descriptor).to_le_bytes()[1]] {
        return Err(CORRUPT);
    }
    Ok(Descriptor {
        linked: !flag(5),
        block_checksums: flag(4),
        content_checksum: flag(2),
        content_size,
        block_max,
    })
}

/// Blocks until the end, or until what would be a size is the magic of another frame.
fn read_legacy_frame(input: &mut &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), Violation> {
    while let Some((size, rest)) = input.split_first_chunk::<4>() {
        let size = u32::from_le_bytes(*size);
        if matches!(size, FRAME_MAGIC | LEGACY_MAGIC) || size & !0xf == SKIPPABLE_MAGIC {
            return Ok(());
        }
        *input = rest;
        let block = take(input, size as usize)?;
        let window = out.len();
        read_block(block, window, LEGACY_BLOCK, limit, out)?;
    }
    if input.is_empty() {
        Ok(())
    } else {
        Err(CORRUPT)
    }
}

/// Appends what a block expands to. It may look back to `window`.
fn read_block(
    block: &[u8],
    window: usize,
    block_max: usize,
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), Violation> {
    let start = out.len();
    let left = limit.saturating_sub(start);
    let legal = block_max.min(block.len().saturating_mul(MAX_EXPANSION));
    out.resize(start + legal.min(left), 0);
    let (before, room) = out.split_at_mut(start);
    let result = match &before[window..] {
        [] => decompress_into(block, room),
        dictionary => decompress_into_with_dict(block, room, dictionary),
    };
    match result {
        Ok(len) => out.truncate(start + len),
        Err(lz4_flex::block::DecompressError::OutputTooSmall { .. }) if left < legal => {
            return Err(too_large(limit));
        }
        Err(_) => return Err(CORRUPT),
    }
    Ok(())
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut hasher = XxHash32::with_seed(0);
    hasher.write(bytes);
    hasher.finish_32()
}

fn take<'a>(input: &mut &'a [u8], len: usize) -> Result<&'a [u8], Violation> {
    let (taken, rest) = input.split_at_checked(len).ok_or(CORRUPT)?;
    *input = rest;
    Ok(taken)
}

fn take_u32(input: &mut &[u8]) -> Result<u32, Violation> {
    let (taken, rest) = input.split_first_chunk::<4>().ok_or(CORRUPT)?;
    *input = rest;
    Ok(u32::from_le_bytes(*taken))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

    use super::*;

    fn framed(info: FrameInfo, plain: &[u8]) -> Vec<u8> {
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(plain).expect("memory");
        encoder.finish().expect("memory")
    }

    fn packed(plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        compress(plain, &mut out);
        out
    }

    fn text(len: usize) -> Vec<u8> {
        b"the quick brown fox jumps over the lazy dog. "
            .iter()
            .copied()
            .cycle()
            .take(len)
            .collect()
    }

    #[test]
    fn frames_are_written_without_block_checksums() {
        // docs/wire F29: version 1, independent blocks, content checksum; 4 MiB
        let frame = packed(b"x");
        assert_eq!(frame[..6], [0x04, 0x22, 0x4d, 0x18, 0x64, 0x70]);
        assert_eq!(packed(b"").len(), 15);
        assert_eq!(decompress(&packed(b""), 0), Ok(Vec::new()));
    }

    /// docs/wire F29: our frames are those of the library, which the original reads.
    #[test]
    fn our_frames_are_read_by_others_and_are_no_larger_than_theirs() {
        let mut state = 1_u32;
        let noise = std::iter::repeat_with(move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        let noise: Vec<u8> = noise.take(9 << 20).collect();
        let plain = text(9 << 20);
        for len in [
            0,
            1,
            12,
            13,
            64,
            581,
            70_000,
            4 << 20,
            (4 << 20) + 1,
            9 << 20,
        ] {
            for plain in [&plain[..len], &noise[..len]] {
                let frame = packed(plain);
                let mut read = Vec::new();
                FrameDecoder::new(&frame[..])
                    .read_to_end(&mut read)
                    .expect("a frame");
                assert!(read == plain, "{len} bytes");
                assert!(decompress(&frame, len).expect("a frame") == plain);
                let info = FrameInfo::new()
                    .block_size(BlockSize::Max4MB)
                    .content_checksum(true);
                assert!(frame.len() <= framed(info, plain).len() + 16, "{len} bytes");
            }
        }
    }

    #[test]
    fn all_kinds_of_frames_are_read() {
        // docs/wire F29
        let plain = text(300_000);
        for mode in [BlockMode::Independent, BlockMode::Linked] {
            for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max4MB] {
                for checksums in [false, true] {
                    let info = FrameInfo::new()
                        .block_mode(mode)
                        .block_size(size)
                        .block_checksums(checksums)
                        .content_checksum(checksums)
                        .content_size(checksums.then_some(plain.len() as u64));
                    let frame = framed(info, &plain);
                    assert_eq!(decompress(&frame, plain.len()), Ok(plain.clone()));
                    assert_eq!(
                        decompress(&frame, plain.len() - 1),
                        Err(Violation::DecompressedTooLarge(299_999))
                    );
                }
            }
        }
        let legacy = framed(FrameInfo::new().legacy_frame(true), &plain);
        let skippable = [&[0x5f, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        let body = [packed(b"one "), skippable, packed(b"two "), legacy].concat();
        let read = decompress(&body, 1 << 20).expect("legal");
        assert_eq!(read, [b"one two ", &plain[..]].concat());
    }

    #[test]
    fn a_block_checksum_over_the_decoded_bytes_is_accepted() {
        // docs/wire F29: what some builds of the original write
        let plain = text(1000);
        let info = FrameInfo::new()
            .block_size(BlockSize::Max4MB)
            .block_checksums(true);
        let mut frame = framed(info, &plain);
        let at = frame.len() - 8;
        frame[at..at + 4].copy_from_slice(&checksum(&plain).to_le_bytes());
        assert_eq!(decompress(&frame, 1000), Ok(plain));
        frame[at] ^= 1;
        assert_eq!(decompress(&frame, 1000), Err(CORRUPT));
    }

    #[test]
    fn corrupt_and_cut_frames_are_refused() {
        let good = packed(&text(2000));
        assert_eq!(decompress(b"", 10), Err(CORRUPT));
        for at in 1..good.len() {
            assert_eq!(
                decompress(&good[..at], 1 << 20),
                Err(CORRUPT),
                "cut at {at}"
            );
        }
        for (at, what) in [
            (0, "magic"),
            (4, "flags"),
            (5, "block size"),
            (6, "header checksum"),
            (good.len() - 1, "content checksum"),
        ] {
            let mut bad = good.clone();
            bad[at] ^= 0x81;
            assert_eq!(decompress(&bad, 1 << 20), Err(CORRUPT), "{what}");
        }
    }

    #[test]
    fn many_small_blocks_cost_no_more_than_they_hold() {
        // Each could claim 4 MiB of memory; a block of 11 bytes cannot stand for more than 2,805.
        let mut frame = vec![0x04, 0x22, 0x4d, 0x18, 0x60, 0x70];
        frame.push(checksum(&frame[4..6]).to_le_bytes()[1]);
        let block = lz4_flex::block::compress(&[0; 100]);
        for _ in 0..100_000 {
            frame.extend_from_slice(&(block.len() as u32).to_le_bytes());
            frame.extend_from_slice(&block);
        }
        frame.extend_from_slice(&[0; 4]);
        assert_eq!(
            decompress(&frame, 64 << 20).map(|out| out.len()),
            Ok(10_000_000)
        );
    }
}
