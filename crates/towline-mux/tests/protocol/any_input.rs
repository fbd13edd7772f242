//! Whatever comes: no panic, no memory beyond the budgets.

use proptest::prelude::*;
use towline_mux::proto::{Role, muxado, yamux};

use crate::support::{Side, quiet};

/// A frame that is likely to mean something: small numbers, few streams.
fn yamux_frame() -> impl Strategy<Value = Vec<u8>> {
    (
        0_u8..4,
        0_u16..16,
        0_u32..9,
        prop_oneof![0_u32..300_000, any::<u32>()],
    )
        .prop_map(|(kind, flags, stream, length)| {
            let mut bytes = vec![0, kind];
            bytes.extend_from_slice(&flags.to_be_bytes());
            bytes.extend_from_slice(&stream.to_be_bytes());
            bytes.extend_from_slice(&length.to_be_bytes());
            if kind == 0 {
                bytes.resize(bytes.len() + (length as usize).min(300_000), 7);
            }
            bytes
        })
}

fn muxado_frame() -> impl Strategy<Value = Vec<u8>> {
    (
        0_u8..6,
        0_u8..4,
        0_u32..9,
        0_usize..300_000,
        any::<[u8; 8]>(),
    )
        .prop_map(|(kind, flags, stream, length, body)| {
            let length = match kind {
                0 | 2 => 4,
                3 => 8,
                _ => length,
            };
            let mut bytes = Vec::from((length as u32).to_be_bytes());
            bytes.remove(0);
            bytes.push(kind << 4 | flags);
            let stream = if kind == 3 { 0 } else { stream };
            bytes.extend_from_slice(&stream.to_be_bytes());
            bytes.extend_from_slice(&body[..length.min(8)]);
            bytes.resize(8 + length, 7);
            bytes
        })
}

/// Hears frames, does something with every stream, and says what it says.
fn hear(side: &mut Side, frames: &[Vec<u8>], budget: u64) {
    let mut streams = vec![side.open()];
    for (number, frame) in frames.iter().enumerate() {
        if side.hear(frame).is_err() {
            assert!(side.engine.end().is_some());
        }
        streams.extend(side.accept_all());
        let stream = streams[number % streams.len()];
        match number % 7 {
            0 => side.drain(stream),
            1 => drop(side.write(stream, &[1; 5000])),
            2 => drop(side.engine.shutdown(stream)),
            3 => side.engine.close_read(side.now, stream),
            4 => side.engine.reset(side.now, stream, 3),
            5 => drop(side.said()),
            _ => side.wait(std::time::Duration::from_secs(1)),
        }
        let stats = side.engine.stats();
        assert!(stats.bytes_held <= budget && stats.bytes_queued <= 1 << 21);
        while side.engine.poll_event().is_some() {}
    }
    for stream in streams {
        side.engine.release(side.now, stream);
    }
    side.said();
    side.hear_end();
    side.said();
    assert!(side.engine.end().is_some());
    assert_eq!(side.engine.stats().bytes_held, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// docs/wire Y72.
    #[test]
    fn any_yamux_frames_are_survived(
        frames in proptest::collection::vec(yamux_frame(), 1..60),
        client: bool,
        budget in 262_144_u64..1_000_000,
    ) {
        let role = if client { Role::Client } else { Role::Server };
        let config = quiet().overcommit(true).receive_budget(budget);
        hear(&mut Side::yamux(role, config), &frames, budget);
    }

    /// docs/wire U77.
    #[test]
    fn any_muxado_frames_are_survived(
        frames in proptest::collection::vec(muxado_frame(), 1..60),
        client: bool,
        budget in 262_144_u64..1_000_000,
    ) {
        let role = if client { Role::Client } else { Role::Server };
        let config = muxado::Config::default().overcommit(true).receive_budget(budget);
        hear(&mut Side::muxado(role, config), &frames, budget);
    }

    /// docs/wire Y72, U77: bytes without any sense, in any pieces, are the same in one piece.
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400), piece in 1_usize..50) {
        for muxado in [false, true] {
            let side = || if muxado {
                Side::muxado(Role::Server, muxado::Config::default())
            } else {
                Side::yamux(Role::Server, yamux::Config::default())
            };
            let (mut whole, mut pieces) = (side(), side());
            let first = whole.hear(&bytes);
            let mut second = Ok(());
            for piece in bytes.chunks(piece) {
                second = second.and_then(|()| pieces.hear(piece));
            }
            prop_assert_eq!(first, second);
            prop_assert_eq!(whole.said(), pieces.said());
        }
    }
}
