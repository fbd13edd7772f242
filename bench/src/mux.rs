//! Streams on one connection: towline in both wire formats, raw TCP, and other multiplexers.

mod client;
mod inband;
mod peers;
mod server;
mod stream;
mod verdicts;

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};

use self::{
    peers::Role,
    stream::{Mux, Stream},
};
use crate::{
    Options,
    process::{Server, run_client, this_program},
    report::Measured,
    role::say_ready,
    samples::{Metric, Samples},
};

const RATE: Metric = Metric {
    name: "rate",
    unit: "MiB/s",
    digits: 0,
    compared: true,
};
const PER_SECOND: Metric = Metric {
    name: "done",
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
const OPENER_MEMORY: Metric = Metric {
    name: "client's peak memory",
    unit: "MiB",
    digits: 1,
    compared: false,
};
const SERVER_MEMORY: Metric = Metric {
    name: "server's peak memory",
    unit: "MiB",
    digits: 1,
    compared: false,
};
const OPENER_BYTES: Metric = Metric {
    name: "opener's stream",
    unit: "B",
    digits: 0,
    compared: false,
};
const SERVER_BYTES: Metric = Metric {
    name: "server's stream",
    unit: "B",
    digits: 0,
    compared: false,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// One TCP connection, or one for each stream, as the load says
    Raw,
    TowlineYamux,
    TowlineMuxado,
    Yamux,
    TokioYamux,
    Muxado,
    Quinn,
    H2,
    /// A TCP connection for each stream
    TcpEach,
}

impl Peer {
    const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::TowlineYamux => "towline-yamux",
            Self::TowlineMuxado => "towline-muxado",
            Self::Yamux => "yamux",
            Self::TokioYamux => "tokio-yamux",
            Self::Muxado => "muxado",
            Self::Quinn => "quinn",
            Self::H2 => "h2",
            Self::TcpEach => "tcp-each",
        }
    }

    /// Whether this load tells anything of this peer.
    const fn plays(self, load: Load) -> bool {
        match self {
            // Raw has no streams that rest.
            Self::Raw => !matches!(load, Load::Idle),
            Self::TcpEach => matches!(load, Load::Many | Load::Open),
            // It acknowledges a stream with the first data it sends, and opens no 257th before that.
            Self::Yamux => !matches!(load, Load::Idle),
            _ => true,
        }
    }
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Load {
    /// One stream carries everything
    Bulk,
    /// The same, with runtimes of one thread
    BulkOneThread,
    /// 1,000 streams at once
    Many,
    /// Open, 64 bytes there and back, close, one after the other on one CPU
    Open,
    /// The same, 100 at once
    Burst,
    /// 64 bytes there and back on one stream, on one CPU
    PingPong,
    /// Streams that rest
    Idle,
    /// 64 bytes there and back beside a full stream
    Interactive,
}

impl Load {
    const fn title(self) -> &'static str {
        match self {
            Self::Bulk => "mux: one stream, bulk",
            Self::BulkOneThread => "mux: one stream, bulk, runtimes of one thread",
            Self::Many => "mux: 1,000 streams of 256 KiB",
            Self::Open => "mux: open, 64 B, 64 B back, close; one CPU; raw is a ping-pong",
            Self::Burst => "mux: the same, 100 at once; raw is a TCP connection each",
            Self::PingPong => "mux: 64 B ping-pong, one CPU",
            Self::Idle => "mux: streams at rest",
            Self::Interactive => "mux: 64 B ping-pong beside a full stream; raw in one connection",
        }
    }

    const fn streams(self) -> usize {
        match self {
            Self::Many => 1000,
            Self::Burst => 100,
            Self::Idle => 20_000,
            _ => 1,
        }
    }

    const fn mib(self) -> usize {
        match self {
            Self::Many => 250,
            _ => 512,
        }
    }

    const fn on_one_cpu(self) -> bool {
        matches!(self, Self::Open | Self::PingPong)
    }
}

/// What a server is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct MuxServerArgs {
    peer: Peer,
    load: Load,
    #[arg(long)]
    streams: usize,
    /// Keys of QUIC
    #[arg(long)]
    certs: PathBuf,
}

/// What a client is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct MuxClientArgs {
    peer: Peer,
    load: Load,
    address: SocketAddr,
    #[arg(long)]
    server_pid: u32,
    #[arg(long)]
    streams: usize,
    #[arg(long)]
    mib: usize,
    #[arg(long)]
    seconds: f64,
    /// Keys of QUIC
    #[arg(long)]
    certs: PathBuf,
}

impl MuxServerArgs {
    pub(crate) fn prepare(&self) -> anyhow::Result<bool> {
        prepare(self.load)
    }
}

impl MuxClientArgs {
    pub(crate) fn prepare(&self) -> anyhow::Result<bool> {
        prepare(self.load)
    }
}

/// Takes the process to where its load wants it; whether one thread runs everything.
fn prepare(load: Load) -> anyhow::Result<bool> {
    if load.on_one_cpu() {
        crate::process::pin_to_one_cpu()?;
    }
    Ok(load == Load::BulkOneThread)
}

/// What a client measured; what its load does not tell is 0.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Figures {
    /// What the load is about: MiB or things a second, or the median in microseconds.
    main: f64,
    p99: f64,
    opener_bytes: f64,
    server_bytes: f64,
}

impl Figures {
    fn rate(bytes: usize, elapsed: std::time::Duration) -> Self {
        Self {
            main: bytes as f64 / f64::from(1 << 20) / elapsed.as_secs_f64(),
            ..Self::default()
        }
    }
}

pub(crate) fn measure(options: &Options) -> anyhow::Result<Measured> {
    let place = tempfile::tempdir()?;
    peers::quinn::make_certificate(place.path())?;
    let mut samples = Samples::default();
    for round in 1..=options.rounds {
        for load in Load::value_variants() {
            if !options.wants_load(&flag(load)) {
                continue;
            }
            for peer in Peer::value_variants() {
                if !peer.plays(*load) || !options.wants(peer.name()) {
                    continue;
                }
                eprintln!(
                    "round {round} of {}: {}, {}",
                    options.rounds,
                    load.title(),
                    peer.name()
                );
                // A peer that fails has no figure in this round; the others go on.
                if let Err(error) = run(*peer, *load, options.seconds, place.path(), &mut samples) {
                    eprintln!("FAILED {}, {}: {error:#}", load.title(), peer.name());
                }
            }
        }
    }
    let verdicts = verdicts::of(&samples);
    Ok(Measured { samples, verdicts })
}

fn run(
    peer: Peer,
    load: Load,
    seconds: f64,
    certs: &std::path::Path,
    samples: &mut Samples,
) -> anyhow::Result<()> {
    let (peer_name, load_name) = (flag(&peer), flag(&load));
    // The limit of many streams is one that carries as much.
    let streams = match (peer, load) {
        (Peer::Raw, Load::Many) => 1,
        _ => load.streams(),
    }
    .to_string();
    let mut command = this_program()?;
    command
        .args(["mux-server", &peer_name, &load_name, "--streams", &streams])
        .arg("--certs")
        .arg(certs);
    let server = Server::start(command)?;
    let mut command = this_program()?;
    command
        .args(["mux-client", &peer_name, &load_name, &server.ready])
        .args(["--streams", &streams])
        .args(["--server-pid", &server.pid().to_string()])
        .args(["--mib", &load.mib().to_string()])
        .args(["--seconds", &seconds.to_string()])
        .arg("--certs")
        .arg(certs);
    let client = run_client(command)?;
    let figures: Figures = serde_json::from_str(&client.stdout)?;
    let used = server.finish()?;
    let mut push = |metric, value| samples.push(load.title(), peer.name(), metric, value);
    match load {
        Load::Bulk | Load::BulkOneThread | Load::Many => {
            push(RATE, figures.main);
            push(OPENER_MEMORY, client.usage.peak_mib);
            push(SERVER_MEMORY, used.peak_mib);
        }
        Load::Open | Load::PingPong => {
            push(MEDIAN, figures.main);
            push(P99, figures.p99);
        }
        Load::Burst => push(PER_SECOND, figures.main),
        Load::Idle => {
            push(PER_SECOND, figures.main);
            push(OPENER_BYTES, figures.opener_bytes);
            push(SERVER_BYTES, figures.server_bytes);
        }
        Load::Interactive => {
            push(P99, figures.p99);
            push(MEDIAN, figures.main);
        }
    }
    Ok(())
}

/// The name on a command line.
fn flag(value: &impl ValueEnum) -> String {
    value
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}

/// The role of a server.
pub(crate) async fn serve(args: MuxServerArgs) -> anyhow::Result<()> {
    let (load, streams) = (args.load, args.streams);
    if args.peer == Peer::Quinn {
        let endpoint = peers::quinn::listen(&args.certs)?;
        say_ready(endpoint.local_addr()?);
        return server::run(peers::quinn::accept(endpoint).await?, load, streams).await;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    say_ready(listener.local_addr()?);
    if matches!(args.peer, Peer::Raw | Peer::TcpEach) && load != Load::Interactive {
        let each = peers::tcp::Each::Listening(Arc::new(listener));
        return server::run(each, load, streams).await;
    }
    let (io, _) = listener.accept().await?;
    set_up(&io, load)?;
    if args.peer == Peer::Raw {
        return inband::serve(io).await;
    }
    with_session(io, Role::Server, args.peer, Serve { load, streams }).await
}

/// The role of a client.
pub(crate) async fn client(args: MuxClientArgs) -> anyhow::Result<()> {
    let figures = match (args.peer, args.load) {
        (Peer::Raw, Load::Interactive) => inband::client(dial(&args).await?, args.seconds).await?,
        // The floor: no stream is opened.
        (Peer::Raw, Load::Open) => {
            let each = peers::tcp::Each::Dialling(args.address);
            let floor = MuxClientArgs {
                load: Load::PingPong,
                ..args
            };
            client::run(each, &floor).await?
        }
        (Peer::Raw | Peer::TcpEach, _) => {
            client::run(peers::tcp::Each::Dialling(args.address), &args).await?
        }
        (Peer::Quinn, _) => {
            let quinn = peers::quinn::connect(args.address, &args.certs).await?;
            client::run(quinn, &args).await?
        }
        (peer, _) => {
            let io = dial(&args).await?;
            with_session(io, Role::Client, peer, Ask(args)).await?
        }
    };
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

async fn dial(args: &MuxClientArgs) -> anyhow::Result<TcpStream> {
    let io = TcpStream::connect(args.address).await?;
    set_up(&io, args.load)?;
    Ok(io)
}

/// The options of a socket; beside a full stream those of towline-transport, for everybody.
fn set_up(io: &TcpStream, load: Load) -> anyhow::Result<()> {
    io.set_nodelay(true)?;
    if load == Load::Interactive {
        socket2::SockRef::from(io).set_tcp_notsent_lowat(128 << 10)?;
    }
    Ok(())
}

/// What is done with a session, whatever its type.
trait Use {
    type Output;
    async fn with<M: Mux>(self, mux: M) -> anyhow::Result<Self::Output>
    where
        M::Stream: Stream;
}

struct Serve {
    load: Load,
    streams: usize,
}

impl Use for Serve {
    type Output = ();
    async fn with<M: Mux>(self, mux: M) -> anyhow::Result<()> {
        server::run(mux, self.load, self.streams).await
    }
}

struct Ask(MuxClientArgs);

impl Use for Ask {
    type Output = Figures;
    async fn with<M: Mux>(self, mux: M) -> anyhow::Result<Figures> {
        client::run(mux, &self.0).await
    }
}

async fn with_session<U: Use>(
    io: TcpStream,
    role: Role,
    peer: Peer,
    then: U,
) -> anyhow::Result<U::Output> {
    match peer {
        Peer::TowlineYamux => then.with(peers::towline::yamux(io, role)?).await,
        Peer::TowlineMuxado => then.with(peers::towline::muxado(io, role)?).await,
        Peer::Yamux => then.with(peers::yamux::start(io, role)).await,
        Peer::TokioYamux => then.with(peers::tokio_yamux::start(io, role)).await,
        Peer::Muxado => then.with(peers::muxado::start(io, role)).await,
        Peer::H2 => match role {
            Role::Client => then.with(peers::h2::client(io).await?).await,
            Role::Server => then.with(peers::h2::server(io).await?).await,
        },
        Peer::Raw | Peer::TcpEach | Peer::Quinn => {
            Err(anyhow::anyhow!("not a session on one TCP connection"))
        }
    }
    .context(peer.name())
}
