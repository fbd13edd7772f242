//! Frames and compressed bodies of the original, both ways.

mod support;

use std::collections::BTreeSet;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use support::vectors::{Vector, load, play, read_frame, read_frames};
use towline_rpc::proto::{Compression, EncodedFrame, MAX_DECOMPRESSED, Message, Violation};

const TEXT: &str = "the quick brown fox jumps over the lazy dog. ";

fn byte(vector: &Vector, key: &str) -> u8 {
    u8::try_from(vector.number(key).expect("every entry names its byte")).expect("a byte")
}

/// docs/wire F2, F8, F12, F15 to F19, F29, F30
#[test]
fn frames_of_every_byte_are_read_and_the_uncompressed_ones_written_alike() {
    play("frames", &[], |vector| {
        let name = &*vector.name;
        let byte = byte(vector, "frame_magic7");
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
            // docs/wire F12: whatever the connection does, the message asked for byte 7
            7 => Compression::S2,
            byte => Compression::from_byte(byte).expect("a byte of the original"),
        };
        let ours = EncodedFrame::new(&expected, compression).expect("small enough");
        match byte {
            1..=6 => {
                // docs/wire F19: compressed bytes need not be equal
                assert_eq!(ours.bytes()[7], byte);
                assert_eq!(read_frame(ours.bytes()), expected, "{name}");
            }
            _ => assert_eq!(ours.bytes(), &vector.bytes, "{name}"),
        }
    });
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

/// docs/wire F15 to F18, F29, F30
#[test]
fn bodies_that_the_original_compressed_decompress_to_their_plain_text() {
    let mut played = BTreeSet::new();
    play("compression", &[], |vector| {
        let name = &vector.name;
        let byte = byte(vector, "magic7");
        let plain = plain(vector);
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
        let compression = Compression::from_byte(byte).expect("a byte of the original");
        played.insert(byte);
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
    });
    assert_eq!(Vec::from_iter(played), [1, 2, 3, 4, 5, 6]);
}

/// docs/wire F20
#[test]
fn output_stops_at_the_given_limit() {
    for vector in load("compression") {
        if !plain(&vector).is_empty() {
            let limit = plain(&vector).len() - 1;
            let compression = Compression::from_byte(byte(&vector, "magic7"));
            assert_eq!(
                compression
                    .expect("a byte of the original")
                    .decompress(vector.bytes.clone(), limit),
                Err(Violation::DecompressedTooLarge(limit as u32)),
                "{}",
                vector.name
            );
        }
    }
}

/// docs/wire F8
#[test]
fn bytes_8_to_255_are_refused_before_the_body_comes() {
    let frame = EncodedFrame::new(&Message::keep_alive(), Compression::None).expect("small enough");
    for byte in 8..=255 {
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
    play("keepalive", &[], |vector| {
        assert_eq!(ours.bytes(), &vector.bytes, "{}", vector.name);
        assert_eq!(
            read_frame(&vector.bytes),
            vector.message(),
            "{}",
            vector.name
        );
    });
}
