//! Two engines over seeded links in virtual time.
//!
//! `TOWLINE_SIM_SEEDS=N` runs N seeds (default 500), `TOWLINE_SEED=S` replays one.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and only differences to their first instant matter"
)]

mod node;
mod plan;
mod speed;

use std::time::Instant;

use node::End;
use plan::Plan;
use towline_mux::proto::Role;
use towline_sim::{Pair, Rng, Seeds};

/// More than the longest run needs.
const STEPS: usize = 3_000_000;

/// What a run was like.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Outcome {
    transcript: u64,
    whole: usize,
    broken: usize,
}

fn run(seed: u64) -> Outcome {
    let mut rng = Rng::from_seed(seed);
    let plan = Plan::new(&mut rng);
    let now = Instant::now();
    let client = End::new(&plan, Role::Client, &mut rng, now);
    let server = End::new(&plan, Role::Server, &mut rng, now);
    let mut pair = Pair::with(client, server, plan.conditions.clone(), rng.fork(), now);
    // The last thing may be done where nothing is left to send, and the run has come to rest.
    for _ in 0..2 {
        let driven = pair.drive(STEPS, |pair| {
            for end in [&pair.a, &pair.b] {
                end.check_limits();
            }
            close_when_done(pair);
            !(pair.a.is_over() && pair.b.is_over())
        });
        if let Err(livelock) = driven {
            panic!("{livelock}: {:?}, {:?}", pair.a, pair.b);
        }
        close_when_done(&mut pair);
    }
    for end in [&mut pair.a, &mut pair.b] {
        assert!(end.is_over(), "an end is not over: {:?}", end.engine);
        end.check_at_end(&plan);
    }
    Outcome {
        transcript: pair.transcript(),
        whole: pair.a.whole + pair.b.whole,
        broken: pair.a.broken + pair.b.broken,
    }
}

/// The client closes when all is done, or its peer has gone.
fn close_when_done(pair: &mut Pair<End, End>) {
    if pair.a.is_done() && pair.b.is_done() {
        pair.a.close();
    }
}

/// docs/wire Y22, Y23, Y25, Y31, Y46, Y50, Y68 to Y70, U27, U36, U37, U63, U80: whatever the network
/// does, in both dialects: bytes arrive in order and unchanged; an end is seen where the sender put it
/// and nowhere else; what is held and queued stays within its budgets; nothing is left behind; and a
/// seed repeats its run to the byte.
#[test]
fn simulated_sessions_keep_their_promises() {
    let seeds = Seeds::from_env(500);
    let (mut whole, mut broken) = (0, 0);
    seeds.run(|seed| {
        let outcome = run(seed);
        if seed.is_multiple_of(16) {
            assert_eq!(run(seed), outcome, "it does not repeat");
        }
        whole += outcome.whole;
        broken += outcome.broken;
    });
    if seeds.are_usual() {
        assert!(
            whole > 1000 && broken > 100,
            "{whole} whole, {broken} broken"
        );
    }
}
