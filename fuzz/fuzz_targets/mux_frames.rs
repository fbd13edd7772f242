//! Any bytes, in any pieces, into either end of either dialect: the same as in one piece, and no panic.

#![no_main]

use std::time::Instant;

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use towline_mux::proto::{Engine, Role, Transmit, Violation, muxado, yamux};

fuzz_target!(|data: &[u8]| {
    let [mode, piece, rest @ ..] = data else {
        return;
    };
    let whole = run(*mode, rest, rest.len().max(1));
    let pieces = run(*mode, rest, usize::from(*piece).max(1));
    assert_eq!(whole, pieces);
    // The codec for tools reads what it reads without a session, too.
    let mut input = BytesMut::from(rest);
    while let Ok(Some(frame)) = muxado::Frame::decode(&mut input) {
        if let Ok(bytes) = frame.encode() {
            assert_eq!(
                muxado::Frame::decode(&mut BytesMut::from(&bytes[..])),
                Ok(Some(frame))
            );
        }
    }
});

fn run(mode: u8, bytes: &[u8], piece: usize) -> (Result<(), Violation>, Vec<u8>, u64) {
    // Only differences to this instant matter.
    let now = Instant::now();
    let role = if mode & 1 == 0 {
        Role::Client
    } else {
        Role::Server
    };
    let engine = if mode & 2 == 0 {
        let config = yamux::Config::default()
            .overcommit(true)
            .receive_budget(1 << 20);
        Engine::yamux(role, &config, [mode; 32], now)
    } else {
        let config = muxado::Config::default()
            .overcommit(true)
            .receive_budget(1 << 20);
        Engine::muxado(role, &config, [mode; 32], now)
    };
    let mut engine = engine.expect("the configuration is valid");
    let (mut input, mut result) = (BytesMut::new(), Ok(()));
    for piece in bytes.chunks(piece) {
        input.extend_from_slice(piece);
        result = result.and_then(|()| engine.handle_input(now, &mut input));
        assert!(engine.stats().bytes_held <= 1 << 20);
    }
    engine.handle_end(now, &input);
    let mut out = Transmit::new();
    engine.poll_transmit(now, &mut out, usize::MAX);
    (result, out.take(), engine.stats().frames_received)
}
