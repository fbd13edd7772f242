//! Callers that call again as soon as they are answered.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use tokio::task::JoinSet;

use super::{ClientArgs, Figures, peers::Caller};
use crate::process::cpu_seconds;

/// Long enough for buffers to find their size and for caches to fill.
const WARM_UP: Duration = Duration::from_millis(300);

const WARMING: u8 = 0;
const COUNTING: u8 = 1;
const STOPPED: u8 = 2;

/// Which phase the run is in; read by every caller for every call.
#[derive(Debug, Clone, Default)]
pub(super) struct Phase(Arc<AtomicU8>);

impl Phase {
    pub(super) fn is_counting(&self) -> bool {
        self.0.load(Ordering::Relaxed) == COUNTING
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed) == STOPPED
    }
}

/// How long the counted calls took, in nanoseconds.
pub(super) type Latencies = Vec<u32>;

/// Calls of so many tasks, each of which calls again as soon as it is answered.
pub(super) async fn calls<C: Caller>(
    args: &ClientArgs,
    callers: Vec<C>,
) -> anyhow::Result<Figures> {
    let body = Bytes::from(vec![0x5a; args.size]);
    let count = callers.len();
    let mut callers = callers.into_iter();
    measure(args, count, |phase| {
        let (caller, body) = (callers.next(), body.clone());
        async move {
            let caller = caller.context("fewer callers than tasks")?;
            let mut latencies = Latencies::new();
            while !phase.is_over() {
                let start = Instant::now();
                caller.echo(&body).await?;
                if phase.is_counting() {
                    latencies.push(nanos(start.elapsed()));
                }
            }
            Ok(latencies)
        }
    })
    .await
}

/// A connection for every call, one after the other.
pub(super) async fn connects<C, F, Fut>(args: &ClientArgs, connect: F) -> anyhow::Result<Figures>
where
    C: Caller,
    F: Fn() -> Fut + Clone + Send + 'static,
    Fut: Future<Output = anyhow::Result<C>> + Send,
{
    let body = Bytes::from(vec![0x5a; args.size]);
    measure(args, 1, |phase| {
        let (connect, body) = (connect.clone(), body.clone());
        async move {
            let mut latencies = Latencies::new();
            while !phase.is_over() {
                let start = Instant::now();
                connect().await?.echo(&body).await?;
                if phase.is_counting() {
                    latencies.push(nanos(start.elapsed()));
                }
            }
            Ok(latencies)
        }
    })
    .await
}

/// Lets `callers` tasks warm up, counts what they do, and stops them.
pub(super) async fn measure<F, Fut>(
    args: &ClientArgs,
    callers: usize,
    mut caller: F,
) -> anyhow::Result<Figures>
where
    F: FnMut(Phase) -> Fut,
    Fut: Future<Output = anyhow::Result<Latencies>> + Send + 'static,
{
    let phase = Phase::default();
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        tasks.spawn(caller(phase.clone()));
    }
    let cpu = || anyhow::Ok(cpu_seconds(std::process::id())? + cpu_seconds(args.server_pid)?);
    phase.0.store(WARMING, Ordering::Relaxed);
    tokio::time::sleep(WARM_UP).await;
    let (start, cpu_before) = (Instant::now(), cpu()?);
    phase.0.store(COUNTING, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs_f64(args.seconds)).await;
    phase.0.store(STOPPED, Ordering::Relaxed);
    let (elapsed, cpu_after) = (start.elapsed(), cpu()?);
    let mut latencies = Latencies::new();
    while let Some(ended) = tasks.join_next().await {
        latencies.extend(ended??);
    }
    ensure!(!latencies.is_empty(), "no call was answered");
    latencies.sort_unstable();
    let calls = latencies.len() as f64;
    Ok(Figures(vec![
        calls / elapsed.as_secs_f64(),
        percentile(&latencies, 0.5),
        percentile(&latencies, 0.99),
        (cpu_after - cpu_before) * 1e6 / calls,
    ]))
}

pub(super) fn nanos(duration: Duration) -> u32 {
    u32::try_from(duration.as_nanos()).unwrap_or(u32::MAX)
}

/// In microseconds, of sorted latencies.
pub(super) fn percentile(sorted: &[u32], share: f64) -> f64 {
    let at = (sorted.len() as f64 * share) as usize;
    f64::from(sorted[at.min(sorted.len() - 1)]) / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_sorted_values() {
        let sorted: Vec<u32> = (1..=100).map(|us| us * 1000).collect();
        assert_eq!(percentile(&sorted, 0.5), 51.0);
        assert_eq!(percentile(&sorted, 0.99), 100.0);
        assert_eq!(percentile(&[7000], 0.99), 7.0);
    }
}
