//! The file through a network that loses packets, and through a broker.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use towline::swp::{
    Session,
    network::sim::{PacketConditions, SimNet},
    proto::Config,
};

use super::table::Table;
use crate::{
    clock,
    failure::{Exit, Failure, failed},
    output::Output,
    progress::{format_bytes, format_speed, rate},
};

/// The most of the file that goes through the bad network: it is slow.
const MOST: u64 = 16 << 20;
/// A fifth of the packets is lost, in each direction.
const LOSS: usize = 200_000;
const DELAY: Duration = Duration::from_millis(5);

/// Sends the file, or its beginning, through a network within this process that loses a fifth of all
/// packets, and compares what arrived.
pub(super) async fn lossy(file: &Path, output: Output, table: &mut Table) -> Result<(), Failure> {
    output.note(
        "step",
        json!({ "step": "lossy" }),
        "6. The file through a network that loses a fifth of its packets, in each direction.",
    );
    let mut data = Vec::new();
    let opened = tokio::fs::File::open(file).await.map_err(failed)?;
    opened
        .take(MOST)
        .read_to_end(&mut data)
        .await
        .map_err(failed)?;
    let data = Bytes::from(data);
    let conditions = PacketConditions::default().delay(DELAY).loss(LOSS);
    let net = SimNet::new(conditions, 1);
    let waiting = tokio::spawn(Session::accept(
        Arc::new(net.clone()),
        Config::new("there", "here"),
    ));
    let here = Session::connect(Arc::new(net), Config::new("here", "there"))
        .await
        .map_err(failed)?;
    let there = waiting.await.map_err(failed)?.map_err(failed)?;
    let receiving = tokio::spawn(async move {
        let received = there.recv_file(MOST).await;
        // The session lives on: dropping it would abandon it.
        (there, received)
    });
    let start = clock::now();
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    here.send_file(&*name, data.clone(), sent_at())
        .await
        .map_err(failed)?;
    let seconds = clock::now().saturating_duration_since(start).as_secs_f64();
    let (there, received) = receiving.await.map_err(failed)?;
    let received = received.map_err(failed)?;
    if received.data != data {
        return Err(Failure::new(
            Exit::Verification,
            "what arrived through the bad network differs from what was sent",
        ));
    }
    let stats = here.stats();
    here.close().await.map_err(failed)?;
    drop(there);
    let (bytes, again) = (data.len() as u64, stats.retransmissions);
    let speed = rate(bytes, seconds);
    table.row(
        "at 20 % loss",
        format!(
            "{} in {seconds:.3} s, {}, {again} packets sent again",
            format_bytes(bytes).trim(),
            format_speed(speed).trim()
        ),
        json!({
            "lossy_bytes": bytes, "lossy_seconds": seconds, "lossy_bytes_per_second": speed,
            "lossy_retransmissions": again,
        }),
    );
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a file tells when it was sent, by the wall's clock"
)]
fn sent_at() -> SystemTime {
    SystemTime::now()
}

/// Pushes the file through a broker, to a server that only the broker reaches, and compares.
#[cfg(feature = "nats")]
pub(super) async fn through_broker(
    file: PathBuf,
    place: &Path,
    keys: &super::DemoKeys,
    output: Output,
    table: &mut Table,
) -> Result<(), Failure> {
    use towline::{
        rpc::Client,
        swp::network::broker::Broker,
        sync::{PushOptions, SourceFile, push},
    };

    use super::{hash_file, server::ServerProcess};

    if Broker::program().is_none() {
        output.note(
            "step",
            json!({ "step": "broker", "left_out": true }),
            "7. Left out: through a NATS broker. There is no nats-server on this machine.",
        );
        return Ok(());
    }
    output.note(
        "step",
        json!({ "step": "broker" }),
        "7. The file through a NATS broker, TLS 1.3 from end to end.",
    );
    let broker = tokio::task::spawn_blocking(Broker::start);
    let broker = broker.await.map_err(failed)?.map_err(failed)?;
    let served = place.join("behind-the-broker");
    tokio::fs::create_dir(&served).await.map_err(failed)?;
    let url = format!("tls+nats://127.0.0.1:{}/demo", broker.port());
    let mut server = ServerProcess::spawn(&served, &keys.server_dir, &url)?;
    let url = server.url().await?;
    let client = Client::builder()
        .identity(Arc::clone(&keys.client))
        .connect(&url)
        .await?;
    let opened = file.clone();
    let source = tokio::task::spawn_blocking(move || SourceFile::open(opened));
    let source = source.await.map_err(failed)?.map_err(failed)?;
    let name = source.name().to_owned();
    let start = clock::now();
    let pushed = push(&client, source, &PushOptions::default(), |_| {}).await?;
    let seconds = clock::now().saturating_duration_since(start).as_secs_f64();
    client.close().await;
    let (before, there) = (hash_file(file).await?, hash_file(served.join(&name)).await?);
    if before != there {
        return Err(Failure::new(
            Exit::Verification,
            format!("the file differs: BLAKE3 {before} was sent, {there} came through the broker"),
        ));
    }
    server.stop().await?;
    // Stopping it may take a moment.
    tokio::task::spawn_blocking(move || drop(broker))
        .await
        .map_err(failed)?;
    let speed = rate(pushed.bytes, seconds);
    table.row(
        "through a broker",
        format!(
            "{} in {seconds:.3} s, {}",
            format_bytes(pushed.bytes).trim(),
            format_speed(speed).trim()
        ),
        json!({
            "broker_bytes": pushed.bytes, "broker_seconds": seconds,
            "broker_bytes_per_second": speed,
        }),
    );
    Ok(())
}
