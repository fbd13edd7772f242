//! Every fate of the first transmissions, then a perfect network.

use std::{env, time::Duration};

use towline_sim::{PacketConditions, PacketNet, Passage, Rng};
use towline_swp::proto::{AckMode, Config};

use crate::{
    LIMIT, start,
    towline::Towline,
    world::{Node, Script, World},
};

const FATES: [Passage; 4] = [
    Passage::Normal,
    Passage::Drop,
    Passage::Duplicate,
    Passage::Swap,
];

/// Who opens, and in which format.
#[derive(Debug, Clone, Copy)]
struct Setting {
    extension: bool,
    is_simultaneous: bool,
    mode: AckMode,
}

fn run(setting: Setting, transmissions: u32, fates: u64) {
    let mut rng = Rng::from_seed(1);
    let now = start();
    let mut node = |local: &'static str, remote: &'static str, salts: (u8, u8)| {
        let script = Script::new(
            vec![10, 0, 3],
            vec![10, 0, 3],
            salts,
            now,
            rng.fork(),
            (Duration::ZERO, Duration::ZERO, None),
        );
        let config = Config::new(local, remote)
            .window(2, 30)
            .linger(Duration::from_secs(60))
            .ack_mode(setting.mode)
            .extension(setting.extension);
        let seed = rng.seed();
        Box::new(Towline::new(config, (2, 30), false, script, seed, now)) as Box<dyn Node>
    };
    let nodes = [node("A", "B", (1, 2)), node("B", "A", (2, 1))];
    let conditions = PacketConditions::default().delay(Duration::from_millis(10));
    let mut net = PacketNet::new(conditions, rng.fork());
    let mut at = 0;
    net.set_filter(move |_, _, _| {
        let fate = FATES[(fates >> (2 * at.min(31)) & 3) as usize];
        at += 1;
        if at <= transmissions {
            fate
        } else {
            Passage::Normal
        }
    });
    let mut world = World::new(nodes, net, rng.fork(), 0, now);
    world.nodes[0].open(now);
    if setting.is_simultaneous {
        world.nodes[1].open(now);
    }
    world.run(LIMIT, |world| {
        !world.nodes.iter().all(|node| node.is_settled())
    });
    let now = world.now;
    world.nodes[0].close(now);
    world.run(LIMIT, |world| !world.nodes[0].is_closed());
}

/// docs/wire W15, W16, W30, W31, W44: `TOWLINE_SIM_EXHAUSTIVE=N` tries every fate (delivered, lost,
/// twice, behind the next) of the first N transmissions; without it, of the first four.
#[test]
fn simulated_fates_of_the_first_packets() {
    let transmissions = env::var("TOWLINE_SIM_EXHAUSTIVE")
        .ok()
        .map_or(4, |text| text.parse().expect("a number"));
    for extension in [true, false] {
        for is_simultaneous in [false, true] {
            for mode in [AckMode::OnReceive, AckMode::OnConsume] {
                let setting = Setting {
                    extension,
                    is_simultaneous,
                    mode,
                };
                for fates in 0..1 << (2 * transmissions) {
                    let done = std::panic::catch_unwind(|| run(setting, transmissions, fates));
                    assert!(done.is_ok(), "{setting:?}, fates {fates:#x}");
                }
            }
        }
    }
}
