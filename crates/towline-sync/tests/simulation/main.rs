//! Syncs over seeded links in virtual time: trees of every kind, cuts, kills, slow links, failing disks,
//! lying peers.
//!
//! `TOWLINE_SIM_SEEDS=N` runs N seeds (default 200), `TOWLINE_SEED=S` replays one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attributes;
mod lies;
mod limits;
mod modes;
mod node;
mod runs;
mod trees;

use towline_sim::Rng;

/// Runs a simulation under every seed; says which seed failed.
#[expect(clippy::print_stderr, reason = "a failure must say how to replay it")]
fn for_seeds(run: impl Fn(u64, Rng)) {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().unwrap())
    };
    let seeds = match number("TOWLINE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TOWLINE_SIM_SEEDS").unwrap_or(200),
    };
    for seed in seeds {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            run(seed, Rng::from_seed(seed));
        }));
        if let Err(panic) = result {
            eprintln!("TOWLINE_SEED={seed} replays this failure");
            std::panic::resume_unwind(panic);
        }
    }
}
