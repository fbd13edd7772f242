//! A receiver that takes nothing for a while, and then one message each millisecond: what arrives, and what is held for it.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};
use towline::swp::{Listener, Session, network::nats::NatsNetwork, proto::Config};

use super::{DATA, Peer, SwpArgs, TOLD, next_told};
use crate::{
    process::{Server, peak_mib, resident_bytes, run_client, this_program},
    report::Verdict,
    role::say_ready,
    samples::{Metric, Samples, greatest, least},
};

/// Messages that are sent, of [`SIZE`] bytes each: several times what the window holds.
const COUNT: u64 = 2500;
const SIZE: usize = 16 << 10;
/// How long the receiver takes nothing, and how long it thinks about each message then.
const STALL: Duration = Duration::from_secs(2);
const THINKS: Duration = Duration::from_millis(1);
/// A receiver without a session knows only by silence that nothing more comes.
const SILENCE: Duration = Duration::from_secs(2);
/// The window in bytes that a session has by default, in MiB.
const WINDOW: f64 = 10_240_000.0 / 1_048_576.0;

const WORKLOAD: &str = "swp through NATS, a stalled and slow receiver";

const DELIVERED: Metric = Metric {
    name: "delivered",
    unit: "%",
    digits: 1,
    compared: false,
};
const RECEIVER: Metric = Metric {
    name: "receiver's memory on top",
    unit: "MiB",
    digits: 1,
    compared: false,
};
const SENDER: Metric = Metric {
    name: "sender's memory on top",
    unit: "MiB",
    digits: 1,
    compared: false,
};

/// What a sender tells.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Told {
    delivered: u64,
    /// Its own memory at most, beyond what it had before, in MiB.
    on_top: f64,
}

pub(super) fn measure(peer: Peer, broker: &str, samples: &mut Samples) -> anyhow::Result<()> {
    let args = [peer.argument()?, broker.to_owned(), SIZE.to_string()];
    let mut command = this_program()?;
    command.arg("swp-server").args(&args).arg("--slow");
    let server = Server::start(command)?;
    let before = resident_bytes(server.pid())? as f64 / f64::from(1 << 20);
    let mut command = this_program()?;
    command.arg("swp-client").args(&args).arg("--slow");
    let client = run_client(command)?;
    let told: Told = serde_json::from_str(&client.stdout)?;
    let used = server.finish()?;
    let share = 100.0 * told.delivered as f64 / COUNT as f64;
    samples.push(WORKLOAD, peer.name(), DELIVERED, share);
    samples.push(WORKLOAD, peer.name(), RECEIVER, used.peak_mib - before);
    samples.push(WORKLOAD, peer.name(), SENDER, told.on_top);
    Ok(())
}

/// Sessions deliver everything, and neither end holds more than two windows.
pub(super) fn verdicts(samples: &Samples) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for peer in [Peer::Towline, Peer::TowlineGo] {
        let values =
            |metric: Metric| Some(&samples.find(WORKLOAD, peer.name(), metric.name)?.values);
        if let Some(delivered) = values(DELIVERED) {
            verdicts.push(Verdict {
                target: format!("{WORKLOAD}: {} delivers 100 %", peer.name()),
                reached: format!("{:.1} %", least(delivered)),
                met: least(delivered) >= 100.0,
            });
        }
        for metric in [RECEIVER, SENDER] {
            if let Some(memory) = values(metric) {
                verdicts.push(Verdict {
                    target: format!(
                        "{WORKLOAD}: {}, {} below two windows, {:.1} MiB",
                        peer.name(),
                        metric.name,
                        2.0 * WINDOW
                    ),
                    reached: format!("{:.1} MiB", greatest(memory)),
                    met: greatest(memory) < 2.0 * WINDOW,
                });
            }
        }
    }
    verdicts
}

/// The role of the receiver: tells the sender how many messages it got.
pub(super) async fn serve(args: &SwpArgs) -> anyhow::Result<()> {
    let network = NatsNetwork::connect(&args.broker).await?;
    let telling = network.client().clone();
    let mut taken = 0_u64;
    if args.peer == Peer::Raw {
        let mut messages = telling.subscribe(DATA).await?;
        telling.flush().await?;
        say_ready("ready");
        sleep(STALL).await;
        while let Ok(Some(_)) = timeout(SILENCE, messages.next()).await {
            taken += 1;
            sleep(THINKS).await;
        }
    } else {
        let listener = Listener::bind(Arc::new(network), Config::new(DATA, "")).await?;
        say_ready("ready");
        let session = listener.accept().await.context("nobody came")?;
        sleep(STALL).await;
        while session.recv().await?.is_some() {
            taken += 1;
            sleep(THINKS).await;
        }
        session.task_ended().await;
    }
    let taken = Bytes::copy_from_slice(&taken.to_be_bytes());
    telling.publish(TOLD, taken).await?;
    telling.flush().await?;
    Ok(())
}

/// The role of the sender.
pub(super) async fn client(args: &SwpArgs) -> anyhow::Result<()> {
    let network = NatsNetwork::connect(&args.broker).await?;
    let plain = network.client().clone();
    let mut told = plain.subscribe(TOLD).await?;
    plain.flush().await?;
    let before = resident_bytes(std::process::id())? as f64 / f64::from(1 << 20);
    // Each message is memory of its own, as those of a real sender are.
    if args.peer == Peer::Raw {
        for _ in 0..COUNT {
            plain.publish(DATA, vec![0x5a; args.size].into()).await?;
        }
        plain.flush().await?;
    } else {
        let config = Config::new("bench.sender", DATA)
            .extension(args.peer == Peer::Towline)
            .linger(Duration::from_secs(60));
        let session = Session::connect(Arc::new(network), config).await?;
        for _ in 0..COUNT {
            session.send(vec![0x5a; args.size]).await?;
        }
        session.all_acknowledged().await?;
        session.close().await?;
    }
    let peak = peak_mib(std::process::id()).context("this process is gone")?;
    let delivered = next_told(&mut told).await?;
    ensure!(delivered <= COUNT, "{delivered} messages came of {COUNT}");
    let told = Told {
        delivered,
        on_top: peak - before,
    };
    println!("{}", serde_json::to_string(&told)?);
    Ok(())
}
