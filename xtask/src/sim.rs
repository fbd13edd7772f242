//! `cargo xtask sim`: the simulations in release mode.

use anyhow::Result;
use clap::Args;

use crate::process;

#[derive(Args)]
pub(crate) struct Options {
    /// Which crate's simulations, without `towline-`: `swp`, `mux`. All of them without it.
    part: Option<String>,
    /// How many seeds each simulation runs.
    #[arg(long, default_value_t = 10_000, conflicts_with = "seed")]
    seeds: u64,
    /// Try every fate of the first so many packets as well (`swp`; 10 take minutes).
    #[arg(long)]
    exhaustive: Option<u32>,
    /// Replay this one seed, as a failure printed it.
    #[arg(long)]
    seed: Option<u64>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    // By name, so that a new crate's simulations are found without a list here.
    let mut command = process::cargo(["test", "--release", "--tests"]);
    match &options.part {
        Some(part) => command.args(["--package", &format!("towline-{part}")]),
        None => command.arg("--workspace"),
    };
    command.arg("sim");
    if let Some(packets) = options.exhaustive {
        command.env("TOWLINE_SIM_EXHAUSTIVE", packets.to_string());
    }
    match options.seed {
        Some(seed) => command
            .env("TOWLINE_SEED", seed.to_string())
            .args(["--", "--nocapture"]),
        None => command.env("TOWLINE_SIM_SEEDS", options.seeds.to_string()),
    };
    process::run(&mut command)
}
