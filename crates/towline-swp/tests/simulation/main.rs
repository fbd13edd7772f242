//! Sessions over bad networks in virtual time.
//!
//! `TOWLINE_SIM_SEEDS=N` runs N seeds (default 500), `TOWLINE_SEED=S` replays one.

mod bulk;
mod exhaustive;
mod go;
mod towline;
mod world;

use std::time::{Duration, Instant};

use go::Go;
use towline::Towline;
use towline_codec::greenpack::Timestamp;
use towline_sim::{PacketConditions, PacketNet, Rng, Seeds};
use towline_swp::proto::{AckMode, Config, Now};
use world::{Node, Script, World};

/// No run takes longer, in virtual time.
pub(crate) const LIMIT: Duration = Duration::from_secs(600);

#[expect(clippy::disallowed_methods, reason = "only differences to it matter")]
pub(crate) fn start() -> Now {
    Now {
        instant: Instant::now(),
        wall: Timestamp::new(1_800_000_000, 0),
    }
}

fn sizes(rng: &mut Rng, most: usize, largest: usize) -> Vec<usize> {
    let count = rng.spread(most);
    (0..count).map(|_| rng.spread(largest)).collect()
}

fn conditions(rng: &mut Rng) -> PacketConditions {
    let mut conditions =
        PacketConditions::default().delay(Duration::from_millis(rng.spread(200) as u64));
    if rng.chance(1, 2) {
        conditions = conditions.jitter(Duration::from_millis(rng.spread(100) as u64));
    }
    if rng.chance(2, 3) {
        conditions = conditions.loss(rng.spread(350_000));
    }
    if rng.chance(1, 3) {
        conditions = conditions.duplicate(rng.spread(500_000));
    }
    if rng.chance(1, 3) {
        conditions = conditions.reorder(rng.spread(500_000), Duration::from_millis(200));
    }
    if rng.chance(1, 4) {
        conditions = conditions.rate(rng.between(20_000, 2_000_000) as u64, 200_000);
    }
    conditions
}

fn reading(rng: &mut Rng) -> (Duration, Duration, Option<usize>) {
    let stall = if rng.chance(1, 4) {
        Duration::from_millis(rng.spread(12_000) as u64)
    } else {
        Duration::ZERO
    };
    let pause = if rng.chance(1, 3) {
        Duration::from_millis(rng.spread(100) as u64)
    } else {
        Duration::ZERO
    };
    (stall, pause, rng.chance(1, 3).then(|| 1 + rng.spread(5000)))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Both ends have the extension.
    Extended,
    /// One of two towlines does not offer it.
    Classic,
    /// The other end is the original.
    Go,
}

fn run(seed: u64) -> Kind {
    let mut rng = Rng::from_seed(seed);
    let now = start();
    let kind = match seed % 3 {
        0 => Kind::Extended,
        1 => Kind::Classic,
        _ => Kind::Go,
    };
    let most = if kind == Kind::Go { 100 } else { 400 };
    let largest = 1 + rng.spread(8000);
    let to_b = sizes(&mut rng, most, largest);
    let to_a = sizes(&mut rng, most, largest);
    let script_a = Script::new(
        to_b.clone(),
        to_a.clone(),
        (1, 2),
        now,
        rng.fork(),
        reading(&mut rng),
    );
    let mut go_reading = reading(&mut rng);
    if kind == Kind::Go {
        go_reading.2 = None;
    }
    let script_b = Script::new(to_a, to_b, (2, 1), now, rng.fork(), go_reading);

    let half_closes = kind == Kind::Extended && rng.chance(1, 2);
    let mut make = |local: &'static str, remote: &'static str, script: Script| {
        let messages = 1 + rng.spread(200) as u32;
        let bytes = 1000 + rng.spread(2_000_000) as u64;
        let extension = match kind {
            Kind::Extended | Kind::Go => true,
            Kind::Classic => local == "B" && rng.chance(1, 2),
        };
        let mode = if rng.chance(1, 3) {
            AckMode::OnConsume
        } else {
            AckMode::OnReceive
        };
        let config = Config::new(local, remote)
            .window(messages, bytes)
            .send_buffer(1 + rng.spread(300), 10_000 + rng.spread(1_000_000))
            .ack_mode(mode)
            .linger(Duration::from_secs(120))
            .keep_alive(Duration::from_millis(500), Some(200))
            .extension(extension);
        let window = (messages, bytes.max(u64::from(messages)));
        Towline::new(config, window, half_closes, script, rng.seed(), now)
    };
    let a: Box<dyn Node> = Box::new(make("A", "B", script_a));
    let b: Box<dyn Node> = match kind {
        Kind::Go => {
            let window = 1 + rng.spread(60) as i64;
            Box::new(Go::new("B", "A", window, rng.chance(1, 2), script_b, now))
        }
        _ => Box::new(make("B", "A", script_b)),
    };
    let conditions = conditions(&mut rng);
    let damage = if rng.chance(1, 4) {
        rng.spread(200_000)
    } else {
        0
    };
    let opener = match kind {
        // The original ends where the handshake of a simultaneous open is unlucky, and no answer of
        // ours can prevent it on a network that loses (docs/wire W16).
        Kind::Go => rng.below(2),
        _ => rng.below(3),
    };
    let is_partitioned = kind != Kind::Go && rng.chance(1, 4);
    let heal_at = Duration::from_millis(rng.spread(8000) as u64);
    let net = PacketNet::new(conditions, rng.fork());
    let mut world = World::new([a, b], net, rng.fork(), damage, now);
    if opener != 1 {
        world.nodes[0].open(now);
    }
    if opener != 0 {
        world.nodes[1].open(now);
    }
    if is_partitioned {
        let part_at = Duration::from_millis(rng.spread(2000) as u64);
        world.run(LIMIT, |world| {
            world.elapsed() < part_at && !world.nodes.iter().all(|node| node.is_settled())
        });
        world.net.part(&0, &1);
        let until = world.elapsed() + heal_at;
        world.run(LIMIT, |world| {
            world.elapsed() < until && !world.nodes.iter().all(|node| node.is_settled())
        });
        world.net.heal();
    }
    world.run(LIMIT, |world| {
        !world.nodes.iter().all(|node| node.is_settled())
    });
    let now = world.now;
    world.nodes[0].close(now);
    if kind != Kind::Go && seed.is_multiple_of(2) {
        world.nodes[1].close(now);
    }
    world.run(LIMIT + Duration::from_secs(130), |world| {
        !world.nodes[0].is_closed()
    });
    kind
}

/// docs/wire W23, W24, W34, W44: on any network, what is delivered is what was sent, in order and
/// once; nothing leaves beyond the window; nothing is kept beyond it; and it ends.
#[test]
fn simulated_sessions_deliver_everything_once() {
    let seeds = Seeds::from_env(500);
    let mut kinds = [0; 3];
    seeds.run(|seed| kinds[run(seed) as usize] += 1);
    assert!(!seeds.are_usual() || kinds.iter().all(|&runs| runs > 0));
}
