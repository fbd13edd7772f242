//! What the clients do.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use tokio::task::JoinSet;

use super::{
    Figures, Load, MuxClientArgs,
    stream::{Mux, Stream},
};
use crate::process::resident_bytes;

/// What is written at a time where much is written.
const CHUNK: usize = 64 << 10;
/// A question, and its answer.
const SMALL: usize = 64;
/// Before anything counts.
const WARM_UP: Duration = Duration::from_millis(300);
/// What is at rest when memory is read.
const SETTLE: Duration = Duration::from_millis(300);

pub(super) async fn run<M: Mux>(mux: M, args: &MuxClientArgs) -> anyhow::Result<Figures> {
    match args.load {
        Load::Bulk | Load::BulkOneThread => bulk(&mux, args.mib << 20).await,
        Load::Many => many(&mux, args.streams, args.mib << 20).await,
        Load::Open => open(&mux, args.seconds).await,
        Load::Burst => burst(&mux, args.streams, args.seconds).await,
        Load::PingPong => {
            let mut stream = mux.open().await?;
            ping_pong(&mut stream, args.seconds).await
        }
        Load::Idle => idle(&mux, args).await,
        Load::Interactive => interactive(&mux, args.seconds).await,
    }
}

/// One stream carries everything; the time is to the receiver's answer.
async fn bulk<M: Mux>(mux: &M, bytes: usize) -> anyhow::Result<Figures> {
    let start = Instant::now();
    deliver(mux, bytes).await?;
    Ok(Figures::rate(bytes, start.elapsed()))
}

async fn many<M: Mux>(mux: &M, streams: usize, bytes: usize) -> anyhow::Result<Figures> {
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..streams {
        let mux = mux.clone();
        tasks.spawn(async move { deliver(&mux, bytes / streams).await });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(Figures::rate(bytes, start.elapsed()))
}

async fn deliver<M: Mux>(mux: &M, bytes: usize) -> anyhow::Result<()> {
    // One for all streams: what a source owns is no multiplexer's memory.
    static SOURCE: [u8; CHUNK] = [0x5a; CHUNK];
    let chunk = Bytes::from_static(&SOURCE);
    let mut stream = mux.open().await.context("open")?;
    let mut left = bytes;
    while left > 0 {
        let count = left.min(CHUNK);
        stream.send(chunk.slice(..count)).await.context("send")?;
        left -= count;
    }
    stream.finish().await.context("finish")?;
    stream.receive_all(1).await.context("answer")
}

/// Opened, asked, answered, closed: one after the other.
async fn open<M: Mux>(mux: &M, seconds: f64) -> anyhow::Result<Figures> {
    let small = Bytes::from(vec![0x5a; SMALL]);
    let mut timer = Timer::new(seconds);
    while timer.goes_on() {
        timer.start();
        once(mux, &small).await?;
        timer.stop();
    }
    timer.figures()
}

async fn burst<M: Mux>(mux: &M, at_once: usize, seconds: f64) -> anyhow::Result<Figures> {
    let mut tasks = JoinSet::new();
    let start = Instant::now();
    for _ in 0..at_once {
        let mux = mux.clone();
        tasks.spawn(async move {
            let small = Bytes::from(vec![0x5a; SMALL]);
            let mut count = 0_u32;
            while start.elapsed() < WARM_UP {
                once(&mux, &small).await?;
            }
            while (start.elapsed() - WARM_UP).as_secs_f64() < seconds {
                once(&mux, &small).await?;
                count += 1;
            }
            anyhow::Ok(count)
        });
    }
    let mut total = 0.0;
    while let Some(ended) = tasks.join_next().await {
        total += f64::from(ended??);
    }
    Ok(Figures {
        main: total / seconds,
        ..Figures::default()
    })
}

async fn once<M: Mux>(mux: &M, small: &Bytes) -> anyhow::Result<()> {
    let mut stream = mux.open().await?;
    stream.send(small.clone()).await?;
    stream.finish().await?;
    stream.receive_all(SMALL).await?;
    stream.receive_end().await
}

async fn ping_pong(stream: &mut impl Stream, seconds: f64) -> anyhow::Result<Figures> {
    let small = Bytes::from(vec![0x5a; SMALL]);
    let mut timer = Timer::new(seconds);
    while timer.goes_on() {
        timer.start();
        stream.send(small.clone()).await?;
        stream.receive_all(SMALL).await?;
        timer.stop();
    }
    timer.figures()
}

/// Streams that stay open and silent after one byte.
async fn idle<M: Mux>(mux: &M, args: &MuxClientArgs) -> anyhow::Result<Figures> {
    let one = Bytes::from_static(b"x");
    let mut first = mux.open().await?;
    first.send(one.clone()).await?;
    tokio::time::sleep(SETTLE).await;
    let own = std::process::id();
    let (opener, server) = (resident_bytes(own)?, resident_bytes(args.server_pid)?);
    let mut streams = Vec::with_capacity(args.streams);
    let start = Instant::now();
    for _ in 0..args.streams {
        let mut stream = mux.open().await?;
        stream.send(one.clone()).await?;
        streams.push(stream);
    }
    // The last one is answered: the server then has them all.
    let mut last = mux.open().await?;
    last.send(one.clone()).await?;
    last.receive_all(1).await?;
    let elapsed = start.elapsed();
    tokio::time::sleep(SETTLE).await;
    let handles = size_of::<M::Stream>() * args.streams;
    let count = args.streams as f64;
    let grown = |now: u64, then: u64| now.saturating_sub(then) as f64;
    // A Vec's memory counts as the handles' own, touched or not.
    let own = grown(resident_bytes(own)?, opener);
    ensure!(own >= handles as f64 * 0.5, "the handles are not resident");
    Ok(Figures {
        main: count / elapsed.as_secs_f64(),
        opener_bytes: own / count,
        server_bytes: grown(resident_bytes(args.server_pid)?, server) / count,
        ..Figures::default()
    })
}

/// Questions on one stream while another is full.
async fn interactive<M: Mux>(mux: &M, seconds: f64) -> anyhow::Result<Figures> {
    let mut full = mux.open().await?;
    let sending = tokio::spawn(async move {
        let chunk = Bytes::from(vec![0x5a; CHUNK]);
        loop {
            full.send(chunk.clone()).await?;
        }
        #[expect(unreachable_code, reason = "names the error")]
        anyhow::Ok(())
    });
    tokio::time::sleep(WARM_UP).await;
    let mut stream = mux.open().await?;
    let figures = ping_pong(&mut stream, seconds).await;
    ensure!(!sending.is_finished(), "the full stream broke off");
    sending.abort();
    figures
}

/// How long each of many things takes, after a time that does not count.
pub(super) struct Timer {
    begun: Instant,
    seconds: f64,
    at: Instant,
    latencies: Vec<u32>,
}

impl Timer {
    pub(super) fn new(seconds: f64) -> Self {
        let now = Instant::now();
        Self {
            begun: now,
            seconds,
            at: now,
            latencies: Vec::new(),
        }
    }

    pub(super) fn goes_on(&self) -> bool {
        self.begun.elapsed().as_secs_f64() < self.seconds + WARM_UP.as_secs_f64()
    }

    pub(super) fn start(&mut self) {
        self.at = Instant::now();
    }

    pub(super) fn stop(&mut self) {
        if self.begun.elapsed() > WARM_UP {
            let nanos = self.at.elapsed().as_nanos();
            self.latencies
                .push(u32::try_from(nanos).unwrap_or(u32::MAX));
        }
    }

    pub(super) fn figures(mut self) -> anyhow::Result<Figures> {
        ensure!(!self.latencies.is_empty(), "nothing was answered");
        self.latencies.sort_unstable();
        let at = |share: f64| {
            let index = (self.latencies.len() as f64 * share) as usize;
            f64::from(self.latencies[index.min(self.latencies.len() - 1)]) / 1000.0
        };
        Ok(Figures {
            main: at(0.5),
            p99: at(0.99),
            ..Figures::default()
        })
    }
}
