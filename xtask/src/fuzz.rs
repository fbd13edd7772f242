//! `cargo xtask fuzz TARGET`: libFuzzer on one decoder, for a given time.

use anyhow::Result;
use clap::Args;

use crate::{process, tools};

/// Every target in `fuzz/`.
pub(crate) const TARGETS: [&str; 16] = [
    "frame",
    "framing",
    "greenpack",
    "known_keys",
    "mux_frames",
    "mux_pair",
    "pem",
    "proxy_header",
    "psk_records",
    "rpc_pair",
    "swp_engine",
    "swp_file",
    "swp_packet",
    "sync_journal",
    "sync_messages",
    "sync_receiver",
];

#[derive(Args)]
pub(crate) struct Options {
    /// Which decoder to fuzz.
    #[arg(value_parser = TARGETS)]
    target: String,
    /// For how long, not counting the build.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    fuzz(&options.target, options.seconds)
}

pub(crate) fn fuzz(target: &str, seconds: u64) -> Result<()> {
    let program = tools::cargo_tool("cargo-fuzz")?;
    let mut command = std::process::Command::new(program);
    command
        .args(["run", target, "--", "-dict=fuzz/wire.dict"])
        .arg(format!("-max_total_time={seconds}"))
        // An input that makes a decoder reserve more than this has found a defect.
        .args(["-rss_limit_mb=2048", "-print_final_stats=1"])
        .current_dir(process::root())
        // Sanitizers are flags of the nightly compiler; the stable one knows them when told so.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", process::target_dir().join("fuzz"));
    process::run(&mut command)
}
