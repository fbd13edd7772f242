//! How much of a link a transfer uses, in virtual time.

use std::{env, time::Duration};

use bytes::Bytes;
use towline_sim::{PacketConditions, PacketNet, Rng};
use towline_swp::proto::{Config, Engine, Incoming, Now};

use crate::start;

/// Bytes a second of the link: 100 Mbit/s.
const RATE: u64 = 12_500_000;
/// One way.
const DELAY: Duration = Duration::from_millis(25);
const MESSAGE: usize = 16 << 10;

#[derive(Debug, Clone, Copy)]
struct Transfer {
    /// Data delivered, as a share of what the link carries in the time from the first data packet to
    /// the last delivery.
    share: f64,
    /// How often the packet that was sent most often was sent.
    most_sent: u32,
}

fn transfer(seed: u64, bytes: usize, loss: usize, extension: bool) -> Transfer {
    let mut rng = Rng::from_seed(seed);
    let mut now = start();
    let config = |local: &'static str, remote: &'static str| {
        Config::new(local, remote)
            .window(2000, 32 << 20)
            .send_buffer(2000, 32 << 20)
            .extension(extension)
    };
    let engine = |config, seed| Engine::new(config, seed, now).expect("a valid configuration");
    let mut ends = [
        engine(config("A", "B"), rng.seed()),
        engine(config("B", "A"), rng.seed()),
    ];
    let conditions = PacketConditions::default()
        .delay(DELAY)
        .loss(loss)
        .rate(RATE, 1 << 20);
    let mut net = PacketNet::new(conditions, rng.fork());
    net.listen(0_u8);
    net.listen(1);
    let message = Bytes::from(vec![0x5a; MESSAGE]);
    let messages = bytes / MESSAGE;
    let (mut sent, mut received) = (0, 0);
    let mut first_data = None;
    ends[0].open(now).expect("a remote");
    while received < messages {
        while let Some((to, packet)) = net.receive(now.instant) {
            let incoming = Incoming::decode(&packet, 1 << 20).expect("nothing damages packets");
            ends[usize::from(to)].handle(now, incoming);
        }
        for (index, end) in ends.iter_mut().enumerate() {
            if end.deadline().is_some_and(|at| at <= now.instant) {
                end.handle_timeout(now);
            }
            while end.poll_event().is_some() {}
            if index == 0 {
                while sent < messages && end.is_connected() && end.has_room_for(MESSAGE) {
                    end.send(now, message.clone()).expect("there is room");
                    sent += 1;
                    first_data.get_or_insert(now.instant);
                }
            }
            while end.recv(now).is_some() {
                received += 1;
            }
            while let Some(packet) = end.poll_transmit(now) {
                let (from, to) = (index as u8, 1 - index as u8);
                net.send(now.instant, &from, &to, packet.bytes);
            }
        }
        let next = ends
            .iter()
            .map(Engine::deadline)
            .chain([net.next_arrival()])
            .flatten()
            .min()
            .expect("something is always due");
        let passed = next.saturating_duration_since(now.instant);
        now = Now {
            instant: now.instant + passed,
            wall: now.wall.saturating_add(passed),
        };
    }
    let elapsed = now.instant - first_data.expect("data was sent");
    assert_eq!(ends[0].is_extended(), extension);
    Transfer {
        share: bytes as f64 / (elapsed.as_secs_f64() * RATE as f64),
        most_sent: ends[0].stats().most_sent,
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// docs/wire W31, W32: a regression bound in virtual time, below what the report shows.
#[test]
fn simulated_transfers_use_the_link() {
    for (loss, extension, least) in [
        (0, true, 0.80),
        (0, false, 0.80),
        (200_000, true, 0.60),
        (200_000, false, 0.40),
    ] {
        let done = transfer(1, 24 << 20, loss, extension);
        assert!(
            done.share > least && done.most_sent <= 14,
            "loss {loss}, extension {extension}: {done:?}"
        );
    }
}

/// `TOWLINE_SWP_REPORT=SEEDS` prints the table: 100 MiB in 16 KiB messages, 100 Mbit/s, 50 ms.
#[test]
fn simulated_transfers_report() {
    let Ok(seeds) = env::var("TOWLINE_SWP_REPORT") else {
        return;
    };
    let seeds: u64 = seeds.parse().expect("a number of seeds");
    println!("format    loss   share of the link (median, least)   most sent (median)");
    for (loss, extension) in [(0, true), (200_000, true), (0, false), (200_000, false)] {
        let done: Vec<Transfer> = (0..seeds)
            .map(|seed| transfer(seed, 100 << 20, loss, extension))
            .collect();
        let shares: Vec<f64> = done.iter().map(|done| done.share).collect();
        let least = shares.iter().copied().fold(f64::INFINITY, f64::min);
        println!(
            "{:9} {:4}%   {:.3}, {:.3}   {}",
            if extension { "extension" } else { "original" },
            loss / 10_000,
            median(shares),
            least,
            median(done.iter().map(|done| f64::from(done.most_sent)).collect())
        );
    }
}
