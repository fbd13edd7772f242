//! Calls on one connection, on very many, in streams, and beside the original's own program.

mod connections;
mod load;
mod peers;
mod streams;
mod verdicts;

use std::{future::Future, path::PathBuf, process::Command};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use self::peers::{Caller, handwritten, original, raw, tarpc, tonic, towline};
use crate::{
    Options,
    file::keys,
    process::{Server, open_files, pin_to_one_cpu, run_client, this_program},
    report::Measured,
    samples::{Metric, RAW, Samples},
};

/// Bytes of a request, and of its reply.
const SIZES: [usize; 2] = [64, 581];
/// Calls in flight at once.
const IN_FLIGHT: [usize; 3] = [1, 64, 512];
/// Of the echo beside the original.
const ECHOING: usize = 1000;
/// Descriptors that a process needs beside those of its connections.
const OTHER_FILES: usize = 200;

const CALLS: Metric = metric("calls", "1/s", 0, true);
const MEDIAN: Metric = metric("p50", "us", 1, true);
const P99: Metric = metric("p99", "us", 1, true);
const CPU: Metric = metric("CPU a call", "us", 2, true);
const LATE: Metric = metric("late", "calls", 0, false);
const FAILED: Metric = metric("failed", "calls", 0, false);
const SERVER_MEMORY: Metric = metric("server's memory", "MiB", 1, false);
const SERVER_CPU: Metric = metric("server's CPU a call", "us", 1, false);
const CLIENT_CPU: Metric = metric("client's CPU a call", "us", 1, false);
const RATE: Metric = metric("rate", "MiB/s", 0, true);
const CPU_A_GIB: Metric = metric("CPU a GiB", "s", 2, true);
const PEAK: Metric = metric("server's peak memory", "MiB", 1, false);

const fn metric(name: &'static str, unit: &'static str, digits: usize, compared: bool) -> Metric {
    Metric {
        name,
        unit,
        digits,
        compared,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// Perfect batching: a window leaves in one write, all answers come in one; no call table. Of streams a plain copy
    Raw,
    /// What one would write by hand for one service
    Handwritten,
    Towline,
    Tarpc,
    Tonic,
    /// rpc25519 itself, if there is a program of it
    Original,
}

impl Peer {
    const fn name(self) -> &'static str {
        match self {
            Self::Raw => RAW,
            Self::Handwritten => "handwritten",
            Self::Towline => "towline",
            Self::Tarpc => "tarpc",
            Self::Tonic => "tonic",
            Self::Original => "rpc25519 v1.6.8",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Load {
    /// Callers on one TCP connection that call again as soon as they are answered
    Tcp,
    /// The same over TLS
    Tls,
    /// One call after the other, both processes on one CPU
    Single,
    /// 10,000 connections, each of which calls once a second
    Connections,
    /// A stream to the server over TLS
    Upload,
    /// A stream from the server over TLS
    Download,
    /// An echo on each of 1,000 TCP connections, beside the original
    EchoTcp,
    EchoTls,
    EchoQuic,
    /// A connection for each call, beside the original
    ConnectTcp,
    ConnectTls,
    ConnectQuic,
}

impl Load {
    /// What is measured, with bytes and calls in flight where they differ from case to case.
    fn title(self, size: usize, in_flight: usize) -> String {
        let ours = match self {
            Self::Tcp => return format!("rpc: {size} B, {in_flight} in flight"),
            Self::Tls => return format!("rpc: {size} B, {in_flight} in flight, over TLS"),
            Self::Single => return format!("rpc: {size} B, one call at a time on one CPU"),
            Self::Connections => "10,000 connections, each with one call a second",
            Self::Upload => "upload of 512 MiB over TLS (raw: a plain copy)",
            Self::Download => "download of 512 MiB over TLS (raw: a plain copy)",
            Self::EchoTcp => "echo on 1,000 TCP connections",
            Self::EchoTls => "echo on 1,000 TLS connections",
            Self::EchoQuic => "echo on 1,000 QUIC connections",
            Self::ConnectTcp => "connect and one call, TCP",
            Self::ConnectTls => "connect and one call, TLS",
            Self::ConnectQuic => "connect and one call, QUIC",
        };
        format!("rpc: {ours}")
    }

    const fn peers(self) -> &'static [Peer] {
        match self {
            Self::Tcp | Self::Single => &[
                Peer::Raw,
                Peer::Handwritten,
                Peer::Towline,
                Peer::Tarpc,
                Peer::Tonic,
            ],
            Self::Tls => &[Peer::Towline, Peer::Tonic],
            Self::Connections => &[Peer::Towline, Peer::Tarpc, Peer::Tonic],
            Self::Upload | Self::Download => &[Peer::Raw, Peer::Towline],
            _ => &[Peer::Towline, Peer::Original],
        }
    }

    /// Bytes of a call and how many are in flight, for each case.
    fn cases(self) -> Vec<(usize, usize)> {
        match self {
            Self::Tcp | Self::Tls => SIZES
                .into_iter()
                .flat_map(|size| IN_FLIGHT.map(|in_flight| (size, in_flight)))
                .collect(),
            Self::Single => SIZES.map(|size| (size, 1)).to_vec(),
            _ => vec![(SIZES[0], 1)],
        }
    }

    const fn connections(self) -> usize {
        match self {
            Self::Connections => connections::CONNECTIONS,
            Self::EchoTcp | Self::EchoTls | Self::EchoQuic => ECHOING,
            _ => 1,
        }
    }

    /// Of endpoints.
    const fn scheme(self) -> &'static str {
        match self {
            Self::Tls | Self::Upload | Self::Download | Self::EchoTls | Self::ConnectTls => "tls",
            Self::EchoQuic | Self::ConnectQuic => "quic",
            _ => "tcp",
        }
    }

    const fn is_beside_original(self) -> bool {
        matches!(
            self,
            Self::EchoTcp
                | Self::EchoTls
                | Self::EchoQuic
                | Self::ConnectTcp
                | Self::ConnectTls
                | Self::ConnectQuic
        )
    }

    /// In the order of the client's figures.
    const fn metrics(self) -> &'static [Metric] {
        match self {
            Self::Connections => &[
                P99,
                MEDIAN,
                LATE,
                FAILED,
                SERVER_MEMORY,
                SERVER_CPU,
                CLIENT_CPU,
            ],
            Self::Upload | Self::Download => &[RATE, CPU_A_GIB],
            _ => &[CALLS, MEDIAN, P99, CPU],
        }
    }
}

/// What a server is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ServerArgs {
    load: Load,
    peer: Peer,
    /// Keys of both sides
    #[arg(long)]
    certs: PathBuf,
}

/// What a client is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ClientArgs {
    load: Load,
    peer: Peer,
    /// Where its server is
    address: String,
    /// The process of the server
    #[arg(long)]
    server_pid: u32,
    /// Bytes of a request
    #[arg(long)]
    size: usize,
    /// Calls at once
    #[arg(long)]
    in_flight: usize,
    #[arg(long)]
    connections: usize,
    /// How long calls are counted
    #[arg(long)]
    seconds: f64,
    /// Keys of both sides
    #[arg(long)]
    certs: PathBuf,
}

impl ServerArgs {
    /// Takes the process to where its load wants it.
    pub(crate) fn prepare(&self) -> anyhow::Result<()> {
        prepare(self.load)
    }
}

impl ClientArgs {
    pub(crate) fn prepare(&self) -> anyhow::Result<()> {
        prepare(self.load)
    }
}

fn prepare(load: Load) -> anyhow::Result<()> {
    match load {
        Load::Single => pin_to_one_cpu(),
        _ => Ok(()),
    }
}

/// What a client measured: values in the order of its load's metrics.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Figures(Vec<f64>);

pub(crate) fn measure(options: &Options) -> anyhow::Result<Measured> {
    let place = tempfile::tempdir()?;
    let certs = place.path().join("certs");
    keys::make(&certs)?;
    let loads: Vec<Load> = Load::value_variants()
        .iter()
        .copied()
        .filter(|load| options.wants_load(&flag(load)) && may_run(*load))
        .collect();
    let program = original::program();
    if program.is_none() && loads.iter().any(|load| load.is_beside_original()) {
        println!(
            "NOT RUN: rpc25519 v1.6.8; name a folder with its program in {}",
            original::FOLDER
        );
    }
    let mut samples = Samples::default();
    for round in 1..=options.rounds {
        for load in &loads {
            for (size, in_flight) in load.cases() {
                for peer in load.peers() {
                    let program = match peer {
                        Peer::Original if program.is_none() => continue,
                        Peer::Original => program.clone(),
                        _ => None,
                    };
                    if !options.wants(&flag(peer)) {
                        continue;
                    }
                    let title = load.title(size, in_flight);
                    eprintln!(
                        "round {round} of {}: {title}, {}",
                        options.rounds,
                        peer.name()
                    );
                    let args = ClientArgs {
                        load: *load,
                        peer: *peer,
                        address: String::new(),
                        server_pid: 0,
                        size,
                        in_flight,
                        connections: load.connections(),
                        seconds: options.seconds,
                        certs: certs.clone(),
                    };
                    // A peer that fails has no figure in this round; the others go on.
                    if let Err(error) = run(args, program, &mut samples) {
                        eprintln!("FAILED {title}, {}: {error:#}", peer.name());
                    }
                }
            }
        }
    }
    let verdicts = verdicts::of(&samples);
    Ok(Measured { samples, verdicts })
}

/// Whether this shell allows as many open files as the load has connections; says so if not.
fn may_run(load: Load) -> bool {
    let (needed, allowed) = (load.connections() + OTHER_FILES, open_files());
    if needed > allowed {
        println!(
            "NOT RUN: {}; it needs {needed} open files in each process and {allowed} are allowed: ulimit -n 20000",
            flag(&load)
        );
    }
    needed <= allowed
}

fn run(
    mut args: ClientArgs,
    program: Option<PathBuf>,
    samples: &mut Samples,
) -> anyhow::Result<()> {
    let (load, peer) = (args.load, args.peer);
    let server = match &program {
        Some(program) => original::server(program, load, &args.certs),
        None => {
            let mut command = this_program()?;
            command
                .args(["rpc-server", &flag(&load), &flag(&peer), "--certs"])
                .arg(&args.certs);
            command
        }
    };
    let server = Server::start(server)?;
    args.address.clone_from(&server.ready);
    args.server_pid = server.pid();
    let client = match &program {
        Some(program) => original::client(program, &args),
        None => ours(&args)?,
    };
    let client = run_client(client)?;
    let Figures(figures) = serde_json::from_str(&client.stdout)?;
    let used = server.finish()?;
    let title = load.title(args.size, args.in_flight);
    for (metric, value) in load.metrics().iter().zip(figures) {
        samples.push(&title, peer.name(), *metric, value);
    }
    samples.push(&title, peer.name(), PEAK, used.peak_mib);
    Ok(())
}

/// A client that is this program.
fn ours(args: &ClientArgs) -> anyhow::Result<Command> {
    let mut command = this_program()?;
    command
        .args(["rpc-client", &flag(&args.load), &flag(&args.peer)])
        .arg(&args.address)
        .args(["--server-pid", &args.server_pid.to_string()])
        .args(["--size", &args.size.to_string()])
        .args(["--in-flight", &args.in_flight.to_string()])
        .args(["--connections", &args.connections.to_string()])
        .args(["--seconds", &args.seconds.to_string()])
        .arg("--certs")
        .arg(&args.certs);
    Ok(command)
}

/// The name on a command line.
fn flag(value: &impl ValueEnum) -> String {
    value
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}

/// The role of a server.
pub(crate) async fn serve(args: ServerArgs) -> anyhow::Result<()> {
    let certs = &args.certs;
    match (args.peer, args.load) {
        (Peer::Raw, Load::Upload | Load::Download) => streams::serve(certs).await,
        (Peer::Raw | Peer::Handwritten, _) => raw::serve().await,
        (Peer::Towline, load) => towline::serve(load.scheme(), certs).await,
        (Peer::Tarpc, _) => tarpc::serve().await,
        (Peer::Tonic, load) => tonic::serve((load == Load::Tls).then_some(certs)).await,
        (Peer::Original, _) => Err(not_here()),
    }
}

/// The role of a client.
pub(crate) async fn client(args: ClientArgs) -> anyhow::Result<()> {
    let (address, certs) = (args.address.clone(), args.certs.clone());
    let figures = match (args.peer, args.load) {
        (_, Load::Upload | Load::Download) => streams::client(&args).await?,
        (Peer::Raw, _) => raw::client(&args).await?,
        (Peer::Handwritten, _) => {
            let connect = move || handwritten::connect(address.clone());
            play(&args, connect).await?
        }
        (Peer::Towline, _) => {
            let connect = move || towline::connect(address.clone(), certs.clone());
            play(&args, connect).await?
        }
        (Peer::Tarpc, _) => play(&args, move || tarpc::connect(address.clone())).await?,
        (Peer::Tonic, load) => {
            let certs = (load == Load::Tls).then_some(certs);
            let connect = move || tonic::connect(address.clone(), certs.clone());
            play(&args, connect).await?
        }
        (Peer::Original, _) => return Err(not_here()),
    };
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

/// A load of calls, whoever makes them.
async fn play<C, F, Fut>(args: &ClientArgs, connect: F) -> anyhow::Result<Figures>
where
    C: Caller,
    F: Fn() -> Fut + Clone + Send + 'static,
    Fut: Future<Output = anyhow::Result<C>> + Send + 'static,
{
    match args.load {
        Load::ConnectTcp | Load::ConnectTls | Load::ConnectQuic => {
            load::connects(args, connect).await
        }
        Load::Connections => {
            let callers = connections::connect(args, connect).await?;
            connections::client(args, callers).await
        }
        Load::EchoTcp | Load::EchoTls | Load::EchoQuic => {
            let callers = connections::connect(args, connect).await?;
            load::calls(args, callers).await
        }
        _ => load::calls(args, vec![connect().await?; args.in_flight]).await,
    }
}

fn not_here() -> anyhow::Error {
    anyhow::anyhow!("the original is a program of its own")
}
