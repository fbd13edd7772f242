//! towline side by side with its peers: `cargo run --release -- rpc file mux swp server sync`.
//!
//! Client and server of every peer run in processes of their own: this program starts itself again
//! with a hidden command for each role, or starts `tow`.

mod file;
mod mux;
mod process;
mod report;
mod role;
mod rpc;
mod samples;
mod server;
mod swp;
mod sync;
mod versions;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Parser, ValueEnum};

use self::{report::Verdict, samples::Samples};

/// Measure towline side by side with its peers
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    options: Options,

    #[command(subcommand)]
    role: Option<role::Role>,
}

/// What is measured, and how.
#[derive(Debug, clap::Args)]
struct Options {
    /// What to measure [default: everything]
    workloads: Vec<Workload>,

    /// How often every peer runs; they take turns within a round
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Write one JSON object a line to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Put every process on one CPU
    #[arg(long)]
    pin: bool,

    /// The `tow` to measure [default: built from the sources beside this directory]
    #[arg(long, value_name = "PATH")]
    tow: Option<PathBuf>,

    /// Size of the file that is moved, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..))]
    file_size: u64,

    /// How long calls are counted, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 1.5)]
    seconds: f64,

    /// Measure these peers only
    #[arg(long, value_name = "NAME")]
    peer: Vec<String>,

    /// Of a workload, measure these loads only
    #[arg(long, value_name = "NAME")]
    load: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Workload {
    /// Calls and streams, on one connection and on very many
    Rpc,
    /// Push and pull of a file over TLS
    File,
    /// Streams on one connection
    Mux,
    /// Bulk data through a NATS broker
    Swp,
    /// Very many sockets
    Server,
    /// Changed files and trees, beside rsync
    Sync,
}

impl Options {
    fn wants(&self, peer: &str) -> bool {
        self.peer.is_empty() || self.peer.iter().any(|wanted| wanted == peer)
    }

    fn wants_load(&self, load: &str) -> bool {
        self.load.is_empty() || self.load.iter().any(|wanted| wanted == load)
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.role {
        Some(role) => role.run().map(|()| ExitCode::SUCCESS),
        None => measure(&cli.options),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn measure(options: &Options) -> anyhow::Result<ExitCode> {
    if options.pin {
        process::pin_to_one_cpu()?;
    }
    let mut workloads = options.workloads.clone();
    if workloads.is_empty() {
        workloads = Workload::value_variants().to_vec();
    }
    println!("{}", versions::sentence());
    println!("{}", process::machine());
    let mut verdicts: Vec<Verdict> = Vec::new();
    let mut samples = Samples::default();
    for workload in workloads {
        let measured = match workload {
            Workload::Rpc => rpc::measure(options)?,
            Workload::File => file::measure(options)?,
            Workload::Mux => mux::measure(options)?,
            Workload::Swp => swp::measure(options)?,
            Workload::Server => server::measure(options)?,
            Workload::Sync => sync::measure(options)?,
        };
        report::print_tables(&measured.samples);
        verdicts.extend(measured.verdicts);
        samples.append(measured.samples);
    }
    if let Some(path) = &options.json {
        std::fs::write(path, report::json_lines(&samples))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    report::print_verdicts(&verdicts);
    Ok(ExitCode::SUCCESS)
}
