//! S2 streams (docs/wire F15 to F19).

use std::cell::RefCell;

use super::too_large;
use crate::proto::Violation;

/// Uncompressed bytes in each block we write: as the original's writer.
const WRITTEN_BLOCK: usize = 1 << 20;
/// Uncompressed bytes in a block of an S2 stream.
const MAX_S2_BLOCK: usize = 4 << 20;
/// Uncompressed bytes in a block of a Snappy stream.
const MAX_SNAPPY_BLOCK: usize = 64 << 10;

const CHUNK_COMPRESSED: u8 = 0x00;
const CHUNK_PLAIN: u8 = 0x01;
const CHUNK_IDENTIFIER: u8 = 0xff;
const S2_IDENTIFIER: &[u8] = b"S2sTwO";
const SNAPPY_IDENTIFIER: &[u8] = b"sNaPpY";

thread_local! {
    // The encoder's hash table is worth keeping: a fresh one is zeroed for every message.
    static S2_ENCODER: RefCell<minlz::Encoder> = RefCell::new(minlz::Encoder::new());
}

pub(super) fn compress(plain: &[u8], out: &mut Vec<u8>) {
    if plain.is_empty() {
        return;
    }
    put_chunk(out, CHUNK_IDENTIFIER, &[S2_IDENTIFIER]);
    for block in plain.chunks(WRITTEN_BLOCK) {
        let checksum = masked_checksum(block).to_le_bytes();
        let packed = S2_ENCODER.with_borrow_mut(|encoder| encoder.encode(block));
        // A block that hardly shrinks is not worth its decompression.
        if packed.len() < block.len() - block.len() / 32 {
            put_chunk(out, CHUNK_COMPRESSED, &[&checksum, &packed]);
        } else {
            put_chunk(out, CHUNK_PLAIN, &[&checksum, block]);
        }
    }
}

fn put_chunk(out: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    // Blocks are at most 1 MiB, so the length fits its three bytes.
    let [low, middle, high, ..] = (len as u32).to_le_bytes();
    out.extend_from_slice(&[kind, low, middle, high]);
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// Walks the chunks itself: the library's stream reader believes a block's declared length, and
/// recurses for every skipped chunk.
pub(super) fn decompress(mut input: &[u8], limit: usize) -> Result<Vec<u8>, Violation> {
    let mut out = Vec::new();
    let mut max_block = None;
    while !input.is_empty() {
        let (header, rest) = input
            .split_first_chunk::<4>()
            .ok_or(Violation::CorruptCompression)?;
        let [kind, low, middle, high] = *header;
        let len = u32::from_le_bytes([low, middle, high, 0]) as usize;
        let (content, rest) = rest
            .split_at_checked(len)
            .ok_or(Violation::CorruptCompression)?;
        input = rest;
        match (kind, max_block) {
            (CHUNK_IDENTIFIER, _) if content == S2_IDENTIFIER => max_block = Some(MAX_S2_BLOCK),
            (CHUNK_IDENTIFIER, _) if content == SNAPPY_IDENTIFIER => {
                max_block = Some(MAX_SNAPPY_BLOCK)
            }
            (CHUNK_COMPRESSED | CHUNK_PLAIN, Some(max_block)) => {
                take_block(kind, content, max_block, limit, &mut out)?;
            }
            (0x80..=0xfe, Some(_)) => {}
            _ => return Err(Violation::CorruptCompression),
        }
    }
    Ok(out)
}

fn take_block(
    kind: u8,
    content: &[u8],
    max_block: usize,
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), Violation> {
    let corrupt = Violation::CorruptCompression;
    let (checksum, block) = content.split_first_chunk::<4>().ok_or(corrupt)?;
    let len = match kind {
        CHUNK_PLAIN => block.len(),
        _ => minlz::decode_len(block).map_err(|_| corrupt)?.0,
    };
    if len > max_block {
        return Err(corrupt);
    }
    let start = out.len();
    if len > limit.saturating_sub(start) {
        return Err(too_large(limit));
    }
    if kind == CHUNK_PLAIN {
        out.extend_from_slice(block);
    } else {
        out.resize(start + len, 0);
        minlz::decode_into(&mut out[start..], block).map_err(|_| corrupt)?;
    }
    if masked_checksum(&out[start..]) != u32::from_le_bytes(*checksum) {
        return Err(corrupt);
    }
    Ok(())
}

/// docs/wire F16
fn masked_checksum(plain: &[u8]) -> u32 {
    crc32c::crc32c(plain)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn s2(plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        compress(plain, &mut out);
        out
    }

    fn chunk(kind: u8, content: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_chunk(&mut out, kind, &[content]);
        out
    }

    fn plain_chunk(data: &[u8]) -> Vec<u8> {
        chunk(
            CHUNK_PLAIN,
            &[&masked_checksum(data).to_le_bytes()[..], data].concat(),
        )
    }

    #[test]
    fn nothing_compresses_to_nothing() {
        // docs/wire F18
        assert_eq!(s2(b""), b"");
        assert_eq!(decompress(b"", 10), Ok(Vec::new()));
    }

    #[test]
    fn odd_but_legal_streams_are_read() {
        // docs/wire F15: Snappy identifier, plain chunks, skipped chunks, repeated identifier
        let stream = [
            chunk(CHUNK_IDENTIFIER, SNAPPY_IDENTIFIER),
            plain_chunk(b"one "),
            chunk(0x80, b"reserved"),
            chunk(0x99, b"index"),
            chunk(0xfe, b"padding"),
            chunk(CHUNK_IDENTIFIER, S2_IDENTIFIER),
            plain_chunk(b"two"),
        ]
        .concat();
        assert_eq!(decompress(&stream, 100).expect("legal"), b"one two");
    }

    #[test]
    fn a_million_skipped_chunks_cost_no_stack() {
        let mut stream = chunk(CHUNK_IDENTIFIER, S2_IDENTIFIER);
        stream.extend(chunk(0xfe, b"").repeat(1_000_000));
        assert_eq!(decompress(&stream, 100), Ok(Vec::new()));
    }

    #[test]
    fn corrupt_streams_are_refused() {
        let identifier = chunk(CHUNK_IDENTIFIER, S2_IDENTIFIER);
        let with = |chunk: Vec<u8>| [identifier.clone(), chunk].concat();
        let mut bad_checksum = plain_chunk(b"data");
        bad_checksum[4] ^= 1;
        let mut big_snappy = chunk(CHUNK_IDENTIFIER, SNAPPY_IDENTIFIER);
        big_snappy.extend(plain_chunk(&vec![0; MAX_SNAPPY_BLOCK + 1]));
        let repeat_first = {
            // Declared length 4, then a repeat of an offset that no copy has set (docs/wire F17).
            let block = [4_u8, 0b0000_0001, 0];
            chunk(CHUNK_COMPRESSED, &[&[0; 4][..], &block].concat())
        };
        for (name, stream) in [
            ("no identifier", plain_chunk(b"data")),
            ("unknown identifier", chunk(CHUNK_IDENTIFIER, b"lz4lz4")),
            ("checksum", with(bad_checksum)),
            ("reserved chunk 02", with(chunk(0x02, b"x"))),
            ("reserved chunk 7f", with(chunk(0x7f, b"x"))),
            (
                "chunk beyond the end",
                with(vec![CHUNK_PLAIN, 0xff, 0xff, 0xff, 0]),
            ),
            ("chunk without checksum", with(chunk(CHUNK_PLAIN, b"abc"))),
            ("block too large for snappy", big_snappy),
            ("repeat before any copy", with(repeat_first)),
            ("half a header", with(vec![0x00, 0x01])),
        ] {
            assert_eq!(
                decompress(&stream, 1 << 20),
                Err(Violation::CorruptCompression),
                "{name}"
            );
        }
    }

    #[test]
    fn a_bomb_is_refused_before_its_memory_is_used() {
        // docs/wire F20: many small chunks, each expanding to 1 MiB
        let bomb = s2(&vec![0; 8 << 20]);
        assert!(bomb.len() < 1 << 20);
        assert_eq!(
            decompress(&bomb, 3 << 20),
            Err(Violation::DecompressedTooLarge(3 << 20))
        );
        // A block that declares 4 GiB is refused by its declaration.
        let declared = [&[0; 4][..], &[0xff, 0xff, 0xff, 0xff, 0x0f]].concat();
        let stream = [
            chunk(CHUNK_IDENTIFIER, S2_IDENTIFIER),
            chunk(CHUNK_COMPRESSED, &declared),
        ]
        .concat();
        assert_eq!(
            decompress(&stream, usize::MAX),
            Err(Violation::CorruptCompression)
        );
    }

    proptest! {
        #[test]
        fn s2_round_trips(seed: u8, pattern in proptest::collection::vec(any::<u8>(), 1..40), len in 0..300_000_usize) {
            let plain: Vec<u8> =
                pattern.iter().cycle().take(len).enumerate().map(|(i, b)| b.wrapping_add((i / 5000) as u8 ^ seed)).collect();
            prop_assert_eq!(decompress(&s2(&plain), usize::MAX).expect("own output"), plain);
        }

        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            decompress(&bytes, 1 << 20).ok();
            let mut stream = chunk(CHUNK_IDENTIFIER, S2_IDENTIFIER);
            bytes.truncate(200);
            stream.extend(chunk(CHUNK_COMPRESSED, &bytes));
            decompress(&stream, 1 << 20).ok();
        }
    }
}
