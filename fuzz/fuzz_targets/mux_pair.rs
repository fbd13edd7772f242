//! Operations of two applications on the two ends of a session, in any order: bytes arrive in order and
//! unchanged, and neither end ever breaks a rule.

#![no_main]

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use towline_mux::proto::{
    Accepting, Engine, Opening, Reading, Role, StreamKey, Transmit, muxado, yamux,
};

struct End {
    engine: Engine,
    /// What each stream has sent and got.
    streams: BTreeMap<StreamKey, (u32, usize, usize)>,
    input: BytesMut,
    out: Transmit,
}

fuzz_target!(|data: &[u8]| {
    let [mode, window, rest @ ..] = data else {
        return;
    };
    // Only differences to this instant matter.
    let mut now = Instant::now();
    let end = |role| {
        let engine = if mode & 1 == 0 {
            let config = yamux::Config::default()
                .accept_backlog(3)
                .send_budget(4096)
                .overcommit(true)
                .receive_budget(300_000);
            Engine::yamux(role, &config, [*mode; 32], now)
        } else {
            let config = muxado::Config::default()
                .accept_backlog(3)
                .max_window_size(u32::from(*window) + 1);
            Engine::muxado(role, &config, [*mode; 32], now)
        };
        End {
            engine: engine.expect("the configuration is valid"),
            streams: BTreeMap::new(),
            input: BytesMut::new(),
            out: Transmit::new(),
        }
    };
    let mut ends = [end(Role::Client), end(Role::Server)];
    for operation in rest.chunks_exact(2) {
        let (side, what, how) = (
            usize::from(operation[0] >> 7),
            operation[0] & 15,
            usize::from(operation[1]),
        );
        let this = &mut ends[side];
        let key = this
            .streams
            .keys()
            .nth(how % this.streams.len().max(1))
            .copied();
        match (what, key) {
            (0, _) => {
                if let Ok(Opening::Stream(key)) = this.engine.open(now) {
                    let id = this.engine.stream_id(key);
                    this.streams.insert(key, (id, 0, 0));
                }
            }
            (1, _) => {
                if let Accepting::Stream(key) = this.engine.accept(now) {
                    let id = this.engine.stream_id(key);
                    this.streams.insert(key, (id, 0, 0));
                }
            }
            (2 | 3, Some(key)) => this.write(key, how * 40, side),
            (4 | 5, Some(key)) => this.read(key, how * 100 + 1, side),
            (6, Some(key)) => drop(this.engine.shutdown(key)),
            (7, Some(key)) => this.engine.reset(now, key, how as u32),
            (8, Some(key)) => {
                this.engine.release(now, key);
                this.streams.remove(&key);
            }
            (9, Some(key)) => this.engine.close_read(now, key),
            (10, _) => drop(this.engine.ping(now)),
            (11, _) if how == 0 => drop(this.engine.go_away(0, Bytes::new())),
            (12, _) if how == 0 => this.engine.close(now),
            (13, _) => {
                now += Duration::from_millis(how as u64 * 10);
                for end in &mut ends {
                    end.engine.handle_timeout(now);
                }
            }
            _ => carry(&mut ends, side, now, how * 50 + 1),
        }
        for end in &mut ends {
            while end.engine.poll_event().is_some() {}
            assert!(end.engine.stats().bytes_queued <= 1 << 21);
        }
    }
});

/// Moves up to `limit` bytes from one end to the other.
fn carry(ends: &mut [End; 2], from: usize, now: Instant, limit: usize) {
    let End { engine, out, .. } = &mut ends[from];
    engine.poll_transmit(now, out, limit);
    let bytes = out.take();
    if engine.wants_shutdown() {
        engine.handle_shutdown(now);
    }
    let to = &mut ends[1 - from];
    to.input.extend_from_slice(&bytes);
    let result = to.engine.handle_input(now, &mut to.input);
    assert_eq!(result, Ok(()), "one end broke a rule");
}

impl End {
    fn write(&mut self, key: StreamKey, most: usize, side: usize) {
        let Ok(room) = self.engine.write_room(key) else {
            return;
        };
        let Some((id, sent, _)) = self.streams.get_mut(&key) else {
            return;
        };
        let count = room.min(most);
        let bytes: Bytes = (*sent..*sent + count)
            .map(|at| byte(*id, side, at))
            .collect();
        *sent += count;
        let rest = self.engine.write(key, bytes).expect("there was room");
        assert!(rest.is_empty());
    }

    fn read(&mut self, key: StreamKey, most: usize, side: usize) {
        let Some((id, _, got)) = self.streams.get_mut(&key) else {
            return;
        };
        if let Ok(Reading::Chunk(chunk)) = self.engine.read(key, most) {
            for found in chunk {
                assert_eq!(found, byte(*id, 1 - side, *got));
                *got += 1;
            }
        }
    }
}

fn byte(id: u32, side: usize, at: usize) -> u8 {
    (at ^ (at >> 8)) as u8 ^ (id as u8) << 1 ^ side as u8
}
