//! Syncs over seeded links in virtual time: trees of every kind, cuts, kills, slow links, failing disks,
//! lying peers.
//!
//! `TOWLINE_SIM_SEEDS=N` runs N seeds (default 200), `TOWLINE_SEED=S` replays one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attributes;
mod deleting;
mod lies;
mod limits;
mod modes;
mod node;
mod runs;
mod trees;

use towline_sim::{Rng, Seeds};

/// Runs a simulation under every seed; says which seed failed.
fn for_seeds(run: impl Fn(u64, Rng)) {
    Seeds::from_env(200).run(|seed| run(seed, Rng::from_seed(seed)));
}
