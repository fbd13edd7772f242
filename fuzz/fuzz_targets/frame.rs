//! Any bytes, in any pieces: frames are cut, decompressed and decoded, or refused, and never panic.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use towline_rpc::proto::{Compression, EncodedFrame, FrameReader, Received, Violation};

/// The start of every frame; a fuzzer seldom guesses seven bytes.
const MAGIC: [u8; 7] = [0xb3, 0x5d, 0x18, 0x39, 0xac, 0x8e, 0x1d];

fuzz_target!(|data: &[u8]| {
    let [mode, piece, rest @ ..] = data else {
        return;
    };
    let stream = match mode {
        // Half of the inputs are a stream as it comes; the others a frame around the bytes.
        0..=127 => rest.to_vec(),
        _ => framed(mode % 9, rest),
    };
    let whole = read(&stream, stream.len().max(1));
    let pieces = read(&stream, usize::from(*piece).max(1));
    assert_eq!(whole, pieces);
    for received in whole.0 {
        expect_rewritten(&received);
    }
});

fn framed(compression: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = MAGIC.to_vec();
    frame.push(compression);
    frame.extend_from_slice(&(body.len() as u64).to_be_bytes());
    frame.extend_from_slice(body);
    frame
}

/// Feeds the stream in pieces; what came out, and why it stopped.
fn read(stream: &[u8], piece: usize) -> (Vec<Received>, Option<Violation>) {
    let mut reader = FrameReader::new();
    let mut input = BytesMut::new();
    let mut out = Vec::new();
    for piece in stream.chunks(piece) {
        reader.make_room(&mut input, piece.len());
        input.extend_from_slice(piece);
        loop {
            match reader.handle_input(&mut input) {
                Ok(Some(received)) => out.push(received),
                Ok(None) => break,
                Err(violation) => return (out, Some(violation)),
            }
        }
    }
    let violation = reader.violation_at_end(&input);
    (out, violation)
}

/// What was understood of a message survives being sent on.
fn expect_rewritten(received: &Received) {
    let Ok(frame) = EncodedFrame::new(&received.message, Compression::S2) else {
        return;
    };
    let (again, violation) = read(frame.bytes(), frame.bytes().len());
    assert_eq!(violation, None);
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].message, received.message);
}
