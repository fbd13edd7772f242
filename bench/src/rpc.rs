//! Calls of 64 bytes on one connection, so many in flight at once.

mod load;
mod raw;
mod tarpc_peer;
mod towline_peer;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::{
    Options,
    file::keys,
    process::{Server, run_client, this_program},
    report::{Measured, Verdict},
    samples::{Metric, Samples},
};

/// Bytes of a request, and of its reply.
const BODY: usize = 64;
/// Calls in flight at once.
const IN_FLIGHT: [usize; 3] = [1, 64, 512];
/// The target: calls at 64 in flight, as a multiple of tarpc's.
const TARGET: f64 = 2.0;

const CALLS: Metric = Metric {
    name: "calls",
    unit: "1/s",
    digits: 0,
    compared: true,
};
const MEDIAN: Metric = Metric {
    name: "p50",
    unit: "us",
    digits: 1,
    compared: true,
};
const P99: Metric = Metric {
    name: "p99",
    unit: "us",
    digits: 1,
    compared: true,
};
const CPU: Metric = Metric {
    name: "CPU a call",
    unit: "us",
    digits: 2,
    compared: true,
};
const MEMORY: Metric = Metric {
    name: "peak memory",
    unit: "MiB",
    digits: 1,
    compared: false,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// Perfect batching: a window leaves in one write, all answers come in one; no call table
    Raw,
    Towline,
    Tarpc,
    /// As towline, over TLS
    TowlineTls,
}

impl Peer {
    const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Towline => "towline",
            Self::Tarpc => "tarpc",
            Self::TowlineTls => "towline-tls",
        }
    }
}

/// What a client is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ClientArgs {
    /// Which peer
    peer: Peer,
    /// Where its server is
    address: String,
    /// The process of the server
    #[arg(long)]
    server_pid: u32,
    /// Calls at once
    #[arg(long)]
    in_flight: usize,
    /// How long they are counted
    #[arg(long)]
    seconds: f64,
    /// Keys of both sides
    #[arg(long)]
    certs: PathBuf,
}

/// What a client measured.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Figures {
    calls_per_second: f64,
    p50_us: f64,
    p99_us: f64,
    /// Of client and server together.
    cpu_us_per_call: f64,
}

pub(crate) fn measure(options: &Options) -> anyhow::Result<Measured> {
    let place = tempfile::tempdir()?;
    let certs = place.path().join("certs");
    keys::make(&certs)?;
    let mut samples = Samples::default();
    for round in 1..=options.rounds {
        for in_flight in IN_FLIGHT {
            for peer in Peer::value_variants() {
                if options.wants(peer.name()) {
                    eprintln!(
                        "round {round} of {}: {in_flight} in flight, {}",
                        options.rounds,
                        peer.name()
                    );
                    run(*peer, in_flight, options.seconds, &certs, &mut samples)
                        .with_context(|| format!("{}, {in_flight} in flight", peer.name()))?;
                }
            }
        }
    }
    let verdicts = samples
        .ratios(
            &workload(64),
            Peer::Towline.name(),
            Peer::Tarpc.name(),
            CALLS.name,
        )
        .map(|ratios| {
            let what = "calls, 64 in flight: towline to tarpc";
            Verdict::at_least(what, TARGET, &ratios)
        })
        .into_iter()
        .collect();
    Ok(Measured { samples, verdicts })
}

fn workload(in_flight: usize) -> String {
    format!("rpc, {BODY} B, {in_flight} in flight")
}

fn run(
    peer: Peer,
    in_flight: usize,
    seconds: f64,
    certs: &Path,
    samples: &mut Samples,
) -> anyhow::Result<()> {
    let possible = peer.to_possible_value().context("a peer without a name")?;
    let mut command = this_program()?;
    command
        .args(["rpc-server", possible.get_name(), "--certs"])
        .arg(certs);
    let server = Server::start(command)?;
    let mut command = this_program()?;
    command
        .args(["rpc-client", possible.get_name(), &server.ready])
        .args(["--server-pid", &server.pid().to_string()])
        .args(["--in-flight", &in_flight.to_string()])
        .args(["--seconds", &seconds.to_string()])
        .arg("--certs")
        .arg(certs);
    let client = run_client(command)?;
    let figures: Figures = serde_json::from_str(&client.stdout)?;
    let used = server.finish()?;
    let workload = workload(in_flight);
    for (metric, value) in [
        (CALLS, figures.calls_per_second),
        (MEDIAN, figures.p50_us),
        (P99, figures.p99_us),
        (CPU, figures.cpu_us_per_call),
        (MEMORY, used.peak_mib),
    ] {
        samples.push(&workload, peer.name(), metric, value);
    }
    Ok(())
}

/// The role of a server.
pub(crate) async fn serve(peer: Peer, certs: PathBuf) -> anyhow::Result<()> {
    match peer {
        Peer::Raw => raw::serve().await,
        Peer::Towline => towline_peer::serve("tcp://127.0.0.1:0", &certs).await,
        Peer::TowlineTls => towline_peer::serve("tls://127.0.0.1:0", &certs).await,
        Peer::Tarpc => tarpc_peer::serve().await,
    }
}

/// The role of a client.
pub(crate) async fn client(args: ClientArgs) -> anyhow::Result<()> {
    let figures = match args.peer {
        Peer::Raw => raw::client(&args).await?,
        Peer::Towline | Peer::TowlineTls => towline_peer::client(&args).await?,
        Peer::Tarpc => tarpc_peer::client(&args).await?,
    };
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}
