//! Two engines, a network that does what the input says, and a stranger who sends packets of his own:
//! no panic, no message out of place, no buffer beyond the window.

#![no_main]

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use towline_codec::{Text, greenpack::Timestamp};
use towline_swp::proto::{Config, Engine, Incoming, Now, Packet, TcpEvent};

const WINDOW: u32 = 8;

fuzz_target!(|data: &[u8]| {
    let [mode, rest @ ..] = data else { return };
    // Only differences to this instant matter.
    let mut now = Now {
        instant: Instant::now(),
        wall: Timestamp::new(1_800_000_000, 0),
    };
    let config = |local: &'static str, remote: &'static str, extension| {
        Config::new(local, remote)
            .window(WINDOW, 2000)
            .send_buffer(20, 5000)
            .extension(extension)
    };
    let engine = |config, seed| Engine::new(config, [seed; 32], now).expect("valid");
    let mut ends = [
        engine(config("A", "B", mode & 1 == 0), 1),
        engine(config("B", "A", mode & 2 == 0), 2),
    ];
    let mut on_the_way: [Vec<Bytes>; 2] = Default::default();
    let (mut sent, mut read) = ([0_u8; 2], [0_u8; 2]);
    let mut is_forged = false;
    let _ = ends[0].open(now);
    if mode & 4 != 0 {
        let _ = ends[1].open(now);
    }
    let mut input = rest.iter().copied();
    while let Some(operation) = input.next() {
        let end = usize::from(operation >> 7);
        let argument = input.next().unwrap_or(0);
        match operation & 0x0f {
            0..=2 => {
                let message = vec![sent[end]; usize::from(argument)];
                if ends[end].send(now, Bytes::from(message)).is_ok() {
                    sent[end] = sent[end].wrapping_add(1);
                }
            }
            3 | 4 => {
                while let Some(message) = ends[end].recv(now) {
                    assert!(is_forged || message.iter().all(|&byte| byte == read[end]));
                    read[end] = read[end].wrapping_add(1);
                }
            }
            5..=8 => {
                let queue = &mut on_the_way[end];
                if !queue.is_empty() {
                    let packet = queue.remove(usize::from(argument) % queue.len());
                    if operation & 0x10 != 0 {
                        queue.push(packet.clone());
                    }
                    deliver(&mut ends[end], now, &packet);
                }
            }
            9 => {
                let passed = Duration::from_millis(u64::from(argument) * 20);
                now.instant += passed;
                now.wall = now.wall.saturating_add(passed);
                for end in &mut ends {
                    end.handle_timeout(now);
                }
            }
            10 => {
                let queue = &mut on_the_way[end];
                let lost = usize::from(argument).min(queue.len());
                queue.drain(..lost);
            }
            11 => {
                is_forged = true;
                let packet = forged(&ends, end, argument, &mut input);
                deliver(&mut ends[end], now, &packet);
            }
            12 => {
                let garbage: Vec<u8> = input.by_ref().take(usize::from(argument)).collect();
                deliver(&mut ends[end], now, &garbage.into());
            }
            13 if argument == 1 => ends[end].finish(now),
            13 if argument == 2 => ends[end].close(now),
            13 if argument == 3 => ends[end].abort(now),
            _ => {}
        }
        for end in 0..2 {
            let mut packets = 0;
            while let Some(packet) = ends[end].poll_transmit(now) {
                packets += 1;
                assert!(packets < 1000, "packets without end");
                on_the_way[1 - end].push(packet.bytes);
            }
            while ends[end].poll_event().is_some() {}
            let stats = ends[end].stats();
            assert!(stats.buffered_received <= WINDOW as usize);
            assert!(stats.buffered_to_send <= 20);
            on_the_way[end].truncate(1000);
        }
    }
});

fn deliver(end: &mut Engine, now: Now, packet: &Bytes) {
    if let Ok(incoming) = Incoming::decode(packet, 4096) {
        end.handle(now, incoming);
    }
}

/// A packet of somebody who has listened: the names are right, the rest is what the input says.
fn forged(ends: &[Engine; 2], to: usize, kind: u8, input: &mut impl Iterator<Item = u8>) -> Bytes {
    let mut number = || {
        let shift = input.next().unwrap_or(0) % 64;
        let value = i64::from(input.next().unwrap_or(0) as i8);
        value.wrapping_shl(u32::from(shift))
    };
    let names = ["A", "B"];
    let mut packet = Packet {
        from: Text::from(names[1 - to]),
        dest: Text::from(names[to]),
        from_nonce: ends[1 - to].nonce().clone(),
        dest_nonce: ends[to].nonce().clone(),
        event: TcpEvent(i64::from(kind % 14)),
        seq: number(),
        retry: number(),
        ack: number(),
        ack_retry: number(),
        sent: Some(Timestamp::new(1_800_000_000, number())),
        window_bytes: number(),
        window_messages: number(),
        rtt_nanos: number(),
        rtt_deviation_nanos: number(),
        rtt_samples: number(),
        cumulative_bytes: number(),
        data_offset: number(),
        ..Packet::default()
    };
    if kind & 0x40 != 0 {
        packet.set_data(Bytes::from(vec![kind; usize::from(kind)]));
    }
    if kind & 0x20 != 0 {
        packet.capabilities = Some(number());
    }
    let mut wire = BytesMut::new();
    packet.encode(&mut wire);
    wire.freeze()
}
