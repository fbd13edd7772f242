//! Very many sockets: echoes, idle connections, one message for all, TLS handshakes.

mod broadcast;
mod client;
mod echo;
mod epoll;
mod handshakes;
mod idle;

use std::{env, ffi::OsString, path::Path, path::PathBuf, process::Command};

use anyhow::Context as _;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::{
    Options,
    file::keys,
    process::{Server, resident_bytes, run_client, this_program},
    report::{Measured, Verdict},
    samples::{Metric, RAW, Samples, median},
};

/// Names the folder with a program of tinytcp v1.0.0, which is built elsewhere.
const TINYTCP: &str = "TOWLINE_TINYTCP_PROGRAMS";

const RATE: Metric = metric("rate", "1/s", 0, true);
const P99: Metric = metric("p99", "us", 0, true);
const BYTES: Metric = metric("a connection", "B", 0, true);
const LAST_BYTE: Metric = metric("last byte", "ms", 1, true);

const fn metric(name: &'static str, unit: &'static str, digits: usize, compared: bool) -> Metric {
    Metric {
        name,
        unit,
        digits,
        compared,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Load {
    /// 64 bytes there and back on each of 1,000 connections
    Echo,
    /// 10,000 connections that have sent one line, and wait
    Idle,
    /// 1 KiB to 10,000 connections, 100 of which read nothing
    Broadcast,
    /// Handshakes, 32 at a time
    Handshakes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// One thread and epoll; of handshakes tokio-rustls; of broadcasts a `JoinSet` of tokio
    Raw,
    /// A task of tokio for each connection
    Tokio,
    /// `TaskPerConnection`
    Tasks,
    /// `WorkerPool` on the runtime's threads
    Pool,
    /// `WorkerPool` with one thread of its own
    Pool1,
    /// `WorkerPool` with two threads of its own
    Pool2,
    /// The original, if there is a program of it
    Tinytcp,
}

impl Peer {
    const fn name(self) -> &'static str {
        match self {
            Self::Raw => RAW,
            Self::Tokio => "tokio",
            Self::Tasks => "towline tasks",
            Self::Pool => "towline pool",
            Self::Pool1 => "towline pool, 1 thread",
            Self::Pool2 => "towline pool, 2 threads",
            Self::Tinytcp => "tinytcp v1.0.0",
        }
    }

    /// Those of towline.
    const OURS: [Self; 4] = [Self::Tasks, Self::Pool, Self::Pool1, Self::Pool2];
}

impl Load {
    const fn title(self) -> &'static str {
        match self {
            Self::Echo => "echo of 64 B on 1,000 connections (raw: one epoll thread)",
            Self::Idle => "10,000 idle framed connections (raw: none)",
            Self::Broadcast => "1 KiB to 10,000, 100 of them stalled (raw: a JoinSet of tokio)",
            Self::Handshakes => "TLS handshakes (raw: tokio-rustls)",
        }
    }

    fn peers(self) -> &'static [Peer] {
        match self {
            Self::Echo => Peer::value_variants(),
            Self::Idle => &[
                Peer::Tokio,
                Peer::Tasks,
                Peer::Pool,
                Peer::Pool1,
                Peer::Tinytcp,
            ],
            Self::Broadcast => &[Peer::Raw, Peer::Tasks, Peer::Tinytcp],
            Self::Handshakes => &[Peer::Raw, Peer::Tasks],
        }
    }
}

/// What either side is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ServerArgs {
    load: Load,
    peer: Peer,
    /// Keys of both sides
    #[arg(long)]
    certs: PathBuf,
    /// The server, for a client
    #[arg(long)]
    address: Option<String>,
    /// Its process
    #[arg(long)]
    pid: Option<u32>,
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
}

/// What a client measured: values in the order of its load's metrics.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Figures(Vec<f64>);

pub(crate) fn measure(options: &Options) -> anyhow::Result<Measured> {
    let place = tempfile::tempdir()?;
    let certs = place.path().join("certs");
    keys::make(&certs)?;
    let mut samples = Samples::default();
    let original = env::var_os(TINYTCP);
    if original.is_none() {
        println!("NOT MEASURED: tinytcp v1.0.0; name a folder with its program in {TINYTCP}");
    }
    for round in 1..=options.rounds {
        for load in Load::value_variants() {
            let name = load.to_possible_value().context("a load without a name")?;
            if !options.wants_load(name.get_name()) {
                continue;
            }
            for peer in load.peers() {
                if !options.wants(peer.name()) || (*peer == Peer::Tinytcp && original.is_none()) {
                    continue;
                }
                eprintln!(
                    "round {round} of {}: {}, {}",
                    options.rounds,
                    name.get_name(),
                    peer.name()
                );
                run(
                    *load,
                    *peer,
                    original.as_ref(),
                    options.seconds,
                    &certs,
                    &mut samples,
                )
                .with_context(|| format!("{}, {}", load.title(), peer.name()))?;
            }
        }
    }
    let verdicts = verdicts(&samples);
    Ok(Measured { samples, verdicts })
}

fn run(
    load: Load,
    peer: Peer,
    original: Option<&OsString>,
    seconds: f64,
    certs: &Path,
    samples: &mut Samples,
) -> anyhow::Result<()> {
    let name = |value: &dyn Fn() -> Option<clap::builder::PossibleValue>| {
        let value = value().context("a value without a name")?;
        anyhow::Ok(value.get_name().to_owned())
    };
    let (load_name, peer_name) = (
        name(&|| load.to_possible_value())?,
        name(&|| peer.to_possible_value())?,
    );
    let mut command = match (peer, original) {
        (Peer::Tinytcp, Some(folder)) => {
            let mut command = Command::new(Path::new(folder).join("tinytcp"));
            command.args(["bench", &load_name]);
            command
        }
        _ => {
            let mut command = this_program()?;
            command.args(["server-server", &load_name, &peer_name, "--certs"]);
            command.arg(certs);
            command
        }
    };
    let server = Server::start({
        command.env("RUST_BACKTRACE", "0");
        command
    })?;
    let mut command = this_program()?;
    command
        .args(["server-client", &load_name, &peer_name, "--certs"])
        .arg(certs)
        .args(["--address", &server.ready])
        .args(["--pid", &server.pid().to_string()])
        .args(["--seconds", &seconds.to_string()]);
    let client = run_client(command)?;
    let Figures(figures) = serde_json::from_str(&client.stdout)?;
    server.finish()?;
    let metrics: &[Metric] = match load {
        Load::Echo => &[RATE, P99],
        Load::Idle => &[BYTES],
        Load::Broadcast => &[LAST_BYTE],
        Load::Handshakes => &[RATE],
    };
    for (metric, value) in metrics.iter().zip(figures) {
        samples.push(load.title(), peer.name(), *metric, value);
    }
    Ok(())
}

fn verdicts(samples: &Samples) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let ratios = |load: Load, peer: Peer, metric: Metric| {
        samples.ratios(load.title(), peer.name(), RAW, metric.name)
    };
    // The best strategy is the one with the most echoes among those whose slowest are as asked for.
    let best = Peer::OURS
        .into_iter()
        .filter_map(|peer| {
            let rate = ratios(Load::Echo, peer, RATE)?;
            Some((peer, rate, ratios(Load::Echo, peer, P99)?))
        })
        .max_by(|a, b| {
            let worth =
                |(_, rate, p99): &(Peer, Vec<f64>, Vec<f64>)| (median(p99) <= 1.6, median(rate));
            let (a, b) = (worth(a), worth(b));
            a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
        });
    if let Some((peer, rate, p99)) = best {
        let what = |of: &str| format!("{of}, {} to one epoll thread", peer.name());
        verdicts.push(Verdict::at_least(&what("echoes"), 0.90, &rate));
        verdicts.push(Verdict::at_most(&what("p99 of echoes"), 1.6, &p99));
    }
    let idle = Peer::OURS
        .into_iter()
        .filter_map(|peer| {
            Some((
                peer,
                samples.find(Load::Idle.title(), peer.name(), BYTES.name)?,
            ))
        })
        .min_by(|a, b| median(&a.1.values).total_cmp(&median(&b.1.values)));
    if let Some((peer, series)) = idle {
        let what = format!("bytes for an idle framed connection, {}", peer.name());
        verdicts.push(Verdict::at_most(&what, 900.0, &series.values));
    }
    if let Some(ratios) = ratios(Load::Broadcast, Peer::Tasks, LAST_BYTE) {
        let what = "time to the last byte of a broadcast, towline to a JoinSet";
        verdicts.push(Verdict::at_most(what, 0.95, &ratios));
    }
    if let Some(ratios) = ratios(Load::Handshakes, Peer::Tasks, RATE) {
        let what = "TLS handshakes, towline to tokio-rustls";
        verdicts.push(Verdict::at_least(what, 0.90, &ratios));
    }
    verdicts
}

/// The role of a server.
pub(crate) async fn serve(args: ServerArgs) -> anyhow::Result<()> {
    match args.load {
        Load::Echo => echo::serve(args.peer).await,
        Load::Idle => idle::serve(args.peer).await,
        Load::Broadcast => broadcast::serve(args.peer).await,
        Load::Handshakes => handshakes::serve(args.peer, &args.certs).await,
    }
}

/// The role of a client.
pub(crate) async fn client(args: ServerArgs) -> anyhow::Result<()> {
    let address = args
        .address
        .as_deref()
        .context("a client needs an address")?;
    let address: std::net::SocketAddr = address.parse()?;
    let pid = args.pid.context("a client needs its server's process")?;
    let figures = match args.load {
        Load::Handshakes => handshakes::client(address, args.seconds, &args.certs).await?,
        // One thread and epoll, the same for every peer.
        load => {
            tokio::task::spawn_blocking(move || match load {
                Load::Echo => client::echo(address, args.seconds),
                Load::Idle => client::idle(address, || resident_bytes(pid)),
                _ => client::broadcast(address),
            })
            .await??
        }
    };
    println!("{}", serde_json::to_string(&Figures(figures))?);
    Ok(())
}
