//! Very many connections to one server, each of which calls once a second.

use std::{future::Future, sync::Arc, time::Duration};

use anyhow::ensure;
use bytes::Bytes;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use super::{ClientArgs, Figures, load, peers::Caller};
use crate::process::{cpu_seconds, resident_bytes};

pub(super) const CONNECTIONS: usize = 10_000;
/// Calls of each connection, one a second.
const CALLS: u32 = 5;
const EVERY: Duration = Duration::from_secs(1);
/// Handshakes under way at once: the QUIC of Go refuses more than 32 that its program has not taken yet.
const DIALLED_AT_ONCE: usize = 16;
/// A call that has no answer by then has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// So many connections of their own. Each has made a call: whatever is made lazily is there.
pub(super) async fn connect<C, F, Fut>(args: &ClientArgs, connect: F) -> anyhow::Result<Vec<C>>
where
    C: Caller,
    F: Fn() -> Fut,
    Fut: Future<Output = anyhow::Result<C>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(DIALLED_AT_ONCE));
    let body = Bytes::from(vec![0x5a; args.size]);
    let mut dialling = JoinSet::new();
    for _ in 0..args.connections {
        let (places, connect, body) = (Arc::clone(&places), connect(), body.clone());
        dialling.spawn(async move {
            let _place = places.acquire().await?;
            let caller = connect.await?;
            caller.echo(&body).await?;
            Ok(caller)
        });
    }
    dialling.join_all().await.into_iter().collect()
}

/// How one connection's calls ended.
#[derive(Default)]
struct Ended {
    latencies: load::Latencies,
    late: usize,
    failed: usize,
}

/// Each connection calls at a moment of its own within the second.
pub(super) async fn client<C: Caller>(
    args: &ClientArgs,
    callers: Vec<C>,
) -> anyhow::Result<Figures> {
    let body = Bytes::from(vec![0x5a; args.size]);
    let memory = resident_bytes(args.server_pid)?;
    let cpu = || {
        anyhow::Ok((
            cpu_seconds(args.server_pid)?,
            cpu_seconds(std::process::id())?,
        ))
    };
    let (server_before, client_before) = cpu()?;
    let begin = Instant::now() + Duration::from_millis(100);
    let count = callers.len();
    let mut tasks = JoinSet::new();
    for (number, caller) in (0_u32..).zip(callers) {
        let body = body.clone();
        let first = begin + EVERY * number / count as u32;
        tasks.spawn(async move {
            let mut ended = Ended::default();
            for call in 0..CALLS {
                let due = first + EVERY * call;
                sleep_until(due).await;
                let start = Instant::now();
                match timeout(PATIENCE, caller.echo(&body)).await {
                    Ok(Ok(())) => ended.latencies.push(load::nanos(start.elapsed())),
                    _ => ended.failed += 1,
                }
                // Its next call would have been due.
                ended.late += usize::from(due.elapsed() > EVERY);
            }
            ended
        });
    }
    let mut all = Ended::default();
    for ended in tasks.join_all().await {
        all.latencies.extend(ended.latencies);
        all.late += ended.late;
        all.failed += ended.failed;
    }
    let (server_after, client_after) = cpu()?;
    ensure!(!all.latencies.is_empty(), "no call was answered");
    all.latencies.sort_unstable();
    let calls = all.latencies.len() as f64;
    Ok(Figures(vec![
        load::percentile(&all.latencies, 0.99),
        load::percentile(&all.latencies, 0.5),
        all.late as f64,
        all.failed as f64,
        memory as f64 / f64::from(1 << 20),
        (server_after - server_before) * 1e6 / calls,
        (client_after - client_before) * 1e6 / calls,
    ]))
}
