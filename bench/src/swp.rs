//! Bulk data through a real nats-server, from one process to another.

mod slow;

use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use clap::ValueEnum;
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use towline::swp::{
    Listener, Session,
    network::{broker::Broker, nats::NatsNetwork},
    proto::Config,
};

use crate::{
    Options,
    process::{Server, run_client, this_program},
    report::{Measured, Verdict},
    role::say_ready,
    samples::{Metric, Samples},
};

/// Bytes of a message.
const SIZES: [usize; 2] = [16 << 10, 64 << 10];
/// Bytes that are moved.
const TOTAL: u64 = 512 << 20;
/// What may be on its way: by hand in the raw peer, in bytes.
const WINDOW: u64 = 4 << 20;
/// The raw receiver tells how far it is each time it has taken so much.
const TELL_EVERY: u64 = 256 << 10;
/// Least shares of the raw peer's speed: with the extension, and in the original's format by size.
const EXTENDED: f64 = 0.95;
const CLASSIC: [f64; 2] = [0.45, 0.55];

const DATA: &str = "bench.data";
const TOLD: &str = "bench.told";

const SPEED: Metric = Metric {
    name: "speed",
    unit: "MiB/s",
    digits: 0,
    compared: true,
};
const MEMORY: Metric = Metric {
    name: "receiver's peak memory",
    unit: "MiB",
    digits: 1,
    compared: false,
};
const AGAIN: Metric = Metric {
    name: "sent again",
    unit: "packets",
    digits: 0,
    compared: false,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// async-nats, with a window by hand
    Raw,
    /// A session between two towlines
    Towline,
    /// A session in the original's format
    TowlineGo,
}

impl Peer {
    const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Towline => "towline",
            Self::TowlineGo => "towline, Go format",
        }
    }

    /// How the roles are told of it.
    fn argument(self) -> anyhow::Result<String> {
        let possible = self.to_possible_value().context("a peer without a name")?;
        Ok(possible.get_name().to_owned())
    }
}

/// What either side is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct SwpArgs {
    /// Which peer
    peer: Peer,
    /// Where the broker is
    broker: String,
    /// Bytes of a message
    size: usize,
    /// The receiver takes its time
    #[arg(long)]
    slow: bool,
}

/// What a sender measured.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Figures {
    seconds: f64,
    sent_again: u64,
}

pub(crate) fn measure(options: &Options) -> anyhow::Result<Measured> {
    let broker = Broker::start().context("a broker to measure through")?;
    let mut samples = Samples::default();
    for round in 1..=options.rounds {
        for size in SIZES {
            for peer in Peer::value_variants() {
                if options.wants(peer.name()) {
                    eprintln!(
                        "round {round} of {}: messages of {size}, {}",
                        options.rounds,
                        peer.name()
                    );
                    run(*peer, size, &broker.url(), &mut samples)
                        .with_context(|| format!("{}, {size} bytes", peer.name()))?;
                }
            }
        }
        for peer in Peer::value_variants() {
            if options.wants(peer.name()) {
                eprintln!(
                    "round {round} of {}: a slow receiver, {}",
                    options.rounds,
                    peer.name()
                );
                slow::measure(*peer, &broker.url(), &mut samples)
                    .with_context(|| format!("{}, a slow receiver", peer.name()))?;
            }
        }
    }
    let mut verdicts = slow::verdicts(&samples);
    for (size, classic) in SIZES.into_iter().zip(CLASSIC) {
        for (peer, target) in [(Peer::Towline, EXTENDED), (Peer::TowlineGo, classic)] {
            let workload = workload(size);
            let ratios = samples.ratios(&workload, peer.name(), Peer::Raw.name(), SPEED.name);
            if let Some(ratios) = ratios {
                let what = format!("{workload}: {} to async-nats with a window", peer.name());
                verdicts.push(Verdict::at_least(&what, target, &ratios));
            }
        }
    }
    Ok(Measured { samples, verdicts })
}

fn workload(size: usize) -> String {
    format!("swp through NATS, {} KiB messages", size >> 10)
}

fn run(peer: Peer, size: usize, broker: &str, samples: &mut Samples) -> anyhow::Result<()> {
    let args = [peer.argument()?, broker.to_owned(), size.to_string()];
    let mut command = this_program()?;
    command.arg("swp-server").args(&args);
    let server = Server::start(command)?;
    let mut command = this_program()?;
    command.arg("swp-client").args(&args);
    let client = run_client(command)?;
    let figures: Figures = serde_json::from_str(&client.stdout)?;
    let used = server.finish()?;
    let workload = workload(size);
    let speed = TOTAL as f64 / f64::from(1 << 20) / figures.seconds;
    samples.push(&workload, peer.name(), SPEED, speed);
    samples.push(&workload, peer.name(), MEMORY, used.peak_mib);
    if peer != Peer::Raw {
        samples.push(&workload, peer.name(), AGAIN, figures.sent_again as f64);
    }
    Ok(())
}

/// The role of the receiver: takes everything, and says so.
pub(crate) async fn serve(args: SwpArgs) -> anyhow::Result<()> {
    if args.slow {
        return slow::serve(&args).await;
    }
    if args.peer == Peer::Raw {
        return serve_raw(&args).await;
    }
    let network = NatsNetwork::connect(&args.broker).await?;
    let listener = Listener::bind(std::sync::Arc::new(network), Config::new(DATA, "")).await?;
    say_ready("ready");
    let session = listener.accept().await.context("nobody came")?;
    let mut taken = 0_u64;
    loop {
        let batch = session.recv_batch(64).await?;
        if batch.is_empty() {
            break;
        }
        taken += batch
            .iter()
            .map(|message| message.len() as u64)
            .sum::<u64>();
    }
    ensure!(taken == TOTAL, "{taken} bytes came of {TOTAL}");
    session.task_ended().await;
    Ok(())
}

async fn serve_raw(args: &SwpArgs) -> anyhow::Result<()> {
    let client = async_nats::connect(&args.broker).await?;
    let mut messages = client.subscribe(DATA).await?;
    client.flush().await?;
    say_ready("ready");
    let (mut taken, mut told) = (0_u64, 0_u64);
    while taken < TOTAL {
        let message = messages.next().await.context("the subscription ended")?;
        taken += message.payload.len() as u64;
        if taken - told >= TELL_EVERY || taken == TOTAL {
            told = taken;
            let told = Bytes::copy_from_slice(&taken.to_be_bytes());
            client.publish(TOLD, told).await?;
        }
    }
    client.flush().await?;
    Ok(())
}

/// The role of the sender: until the last byte is known to be there.
pub(crate) async fn client(args: SwpArgs) -> anyhow::Result<()> {
    if args.slow {
        return slow::client(&args).await;
    }
    let message = Bytes::from(vec![0x5a; args.size]);
    let count = TOTAL / args.size as u64;
    let figures = match args.peer {
        Peer::Raw => client_raw(&args, &message, count).await?,
        Peer::Towline | Peer::TowlineGo => {
            let network = NatsNetwork::connect(&args.broker).await?;
            let config = Config::new("bench.sender", DATA)
                .extension(args.peer == Peer::Towline)
                .linger(Duration::from_secs(60));
            let session = Session::connect(std::sync::Arc::new(network), config).await?;
            let start = now();
            for _ in 0..count {
                session.send(message.clone()).await?;
            }
            session.all_acknowledged().await?;
            let seconds = start.elapsed().as_secs_f64();
            let sent_again = session.stats().retransmissions;
            session.close().await?;
            Figures {
                seconds,
                sent_again,
            }
        }
    };
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

async fn client_raw(args: &SwpArgs, message: &Bytes, count: u64) -> anyhow::Result<Figures> {
    let client = async_nats::connect(&args.broker).await?;
    let mut told = client.subscribe(TOLD).await?;
    client.flush().await?;
    let (mut sent, mut taken) = (0_u64, 0_u64);
    let start = now();
    for _ in 0..count {
        while sent + message.len() as u64 - taken > WINDOW {
            taken = next_told(&mut told).await?;
        }
        client.publish(DATA, message.clone()).await?;
        sent += message.len() as u64;
    }
    while taken < sent {
        taken = next_told(&mut told).await?;
    }
    Ok(Figures {
        seconds: start.elapsed().as_secs_f64(),
        sent_again: 0,
    })
}

async fn next_told(told: &mut async_nats::Subscriber) -> anyhow::Result<u64> {
    let message = told.next().await.context("the receiver is gone")?;
    let number = message.payload[..].try_into().context("eight bytes")?;
    Ok(u64::from_be_bytes(number))
}

fn now() -> Instant {
    Instant::now()
}
