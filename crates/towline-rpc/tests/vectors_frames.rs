//! Frames and compressed bodies of the original, both ways.

mod support;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use support::vectors::{Vector, assert_present, load, read_frame, read_frames};
use towline_rpc::proto::{
    CallType, Compression, EncodedFrame, MAX_DECOMPRESSED, Message, Violation,
};

const TEXT: &str = "the quick brown fox jumps over the lazy dog. ";

/// Not in this version: LZ4 (docs/wire F29).
const LZ4: [&str; 4] = [
    "small-lz4",
    "keepalive-lz4",
    "text2700-lz4",
    "random1500-lz4",
];

/// Not in this version: zstd (docs/wire F30).
const ZSTD: [&str; 16] = [
    "small-zstd:01",
    "small-zstd:03",
    "small-zstd:07",
    "small-zstd:11",
    "keepalive-zstd:01",
    "keepalive-zstd:03",
    "keepalive-zstd:07",
    "keepalive-zstd:11",
    "text2700-zstd:01",
    "text2700-zstd:03",
    "text2700-zstd:07",
    "text2700-zstd:11",
    "random1500-zstd:01",
    "random1500-zstd:03",
    "random1500-zstd:07",
    "random1500-zstd:11",
];

fn byte(vector: &Vector, key: &str) -> u8 {
    u8::try_from(vector.number(key).expect("every entry names its byte")).expect("a byte")
}

/// docs/wire F2, F8, F12, F15 to F19
#[test]
fn frames_of_bytes_0_1_and_7_are_read_and_the_uncompressed_ones_written_alike() {
    let vectors = load("frames");
    assert_present(&vectors, LZ4.into_iter().chain(ZSTD));
    for vector in &vectors {
        let name = &*vector.name;
        let byte = byte(vector, "frame_magic7");
        if LZ4.contains(&name) || ZSTD.contains(&name) {
            assert!((2..=6).contains(&byte), "{name}");
            assert_eq!(
                read_frames(&vector.bytes),
                Err(Violation::UnknownCompression(byte)),
                "{name}"
            );
            continue;
        }
        let received = read_frames(&vector.bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        let [received] = &received[..] else {
            panic!("{name}: not one frame")
        };
        assert_eq!(received.compression_byte, byte, "{name}");
        let mut expected = vector.message();
        if name.starts_with("text2700") {
            expected.body = Bytes::from(TEXT.repeat(60));
        } else if name.starts_with("random1500") {
            // The file holds only the length of this body.
            assert_eq!(received.message.body.len(), expected.body.len(), "{name}");
            expected.body = received.message.body.clone();
        }
        assert_eq!(received.message, expected, "{name}");

        let compression = match byte {
            0 => Compression::None,
            // docs/wire F12: whatever the connection does, the message asked for byte 7
            1 | 7 => Compression::S2,
            other => panic!("{name}: byte {other} is new"),
        };
        let ours = EncodedFrame::new(&expected, compression).expect("small enough");
        match compression {
            Compression::S2 if byte == 1 => {
                // docs/wire F19: compressed bytes need not be equal
                assert_eq!(ours.bytes()[7], 1);
                assert_eq!(read_frame(ours.bytes()), expected, "{name}");
            }
            _ => assert_eq!(ours.bytes(), &vector.bytes, "{name}"),
        }
    }
}

/// What the entry's bytes decompress to, by its name.
fn plain(vector: &Vector) -> Vec<u8> {
    let (_, content) = vector.name.split_once('-').expect("ALGORITHM-CONTENT");
    let period = |period: usize, len| (0..len).map(|i| ((i % period) * 7) as u8).collect();
    match content {
        "empty" => Vec::new(),
        "one" => b"a".to_vec(),
        "zeros-20" => vec![0; 20],
        "zeros-300" => vec![0; 300],
        "zeros-70000" => vec![0; 70_000],
        "zeros-5000000" => vec![0; 5_000_000],
        "period37-3000" => period(37, 3000),
        "period37-200000" => period(37, 200_000),
        "period251x2-9000" => period(251, 9000),
        other => panic!("{other}: new content"),
    }
}

/// docs/wire F15 to F18
#[test]
fn bodies_that_the_original_compressed_with_s2_decompress_to_their_plain_text() {
    let mut played = 0;
    for vector in load("compression") {
        let name = &vector.name;
        let byte = byte(&vector, "magic7");
        let plain = plain(&vector);
        assert_eq!(
            plain.len(),
            vector.number("plaintext_len").expect("a length"),
            "{name}"
        );
        let digest: String = Sha256::digest(&plain)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            digest,
            vector.text("plaintext_sha256").expect("a digest"),
            "{name}"
        );
        let Ok(compression) = Compression::from_byte(byte) else {
            // Not in this version: LZ4 (docs/wire F29), zstd (docs/wire F30).
            assert!(
                name.starts_with("lz4-") || name.starts_with("zstd:"),
                "{name}"
            );
            assert_eq!(
                Compression::from_byte(byte),
                Err(Violation::UnknownCompression(byte))
            );
            continue;
        };
        played += 1;
        assert_eq!(compression.byte(), byte);
        assert_eq!(
            compression.decompress(vector.bytes.clone(), MAX_DECOMPRESSED),
            Ok(plain.clone().into()),
            "{name}"
        );
        // Ours, inside a frame: the plain text comes back.
        let message = Message::from_body(plain);
        let ours = EncodedFrame::new(&message, compression).expect("small enough");
        assert_eq!(ours.bytes()[7], byte);
        assert_eq!(read_frame(ours.bytes()), message, "{name}");
    }
    assert_eq!(played, 9, "the entries of byte 1");
}

/// docs/wire F20
#[test]
fn output_stops_at_the_given_limit() {
    for vector in load("compression") {
        if byte(&vector, "magic7") == 1 && !plain(&vector).is_empty() {
            let limit = plain(&vector).len() - 1;
            assert_eq!(
                Compression::S2.decompress(vector.bytes.clone(), limit),
                Err(Violation::DecompressedTooLarge(limit as u32)),
                "{}",
                vector.name
            );
        }
    }
}

/// docs/wire F8
#[test]
fn bytes_8_to_255_and_those_of_missing_algorithms_are_refused_before_the_body_comes() {
    let frame = EncodedFrame::new(&Message::keep_alive(), Compression::None).expect("small enough");
    for byte in (2..=6).chain(8..=255) {
        let mut header = frame.bytes()[..16].to_vec();
        header[7] = byte;
        let error = read_frames(&header).unwrap_err();
        assert_eq!(error, Violation::UnknownCompression(byte));
        assert!(error.to_string().contains(&byte.to_string()));
    }
}

/// docs/wire F21, K1
#[test]
fn our_keep_alive_is_the_captured_one() {
    let ours = EncodedFrame::new(&Message::keep_alive(), Compression::None).expect("small enough");
    assert_eq!(ours.bytes().len(), 47);
    for vector in load("keepalive") {
        assert_eq!(ours.bytes(), &vector.bytes, "{}", vector.name);
        assert_eq!(
            read_frame(&vector.bytes),
            vector.message(),
            "{}",
            vector.name
        );
    }
}

/// docs/wire C16, X11
#[test]
fn captured_pushes_are_read_and_written_alike() {
    for vector in load("push") {
        let push = read_frame(&vector.bytes);
        assert_eq!(push, vector.message(), "{}", vector.name);
        assert_eq!(push.hdr.typ, CallType::ONE_WAY);
        let ours = EncodedFrame::new(&push, Compression::None).expect("small enough");
        assert_eq!(ours.bytes(), &vector.bytes, "{}", vector.name);
    }
}
