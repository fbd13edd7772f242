//! How much went each way.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Instant,
};

use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{clock, output::Output};

/// The bytes and streams of a whole command.
#[derive(Debug, Clone)]
pub(in crate::commands) struct Tally {
    counts: Arc<Counts>,
    started: Instant,
}

#[derive(Debug, Default)]
struct Counts {
    streams: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
}

impl Tally {
    pub(in crate::commands) fn start() -> Self {
        Self {
            counts: Arc::default(),
            started: clock::now(),
        }
    }

    /// Counts a stream, and from now on its bytes.
    pub(in crate::commands) fn count<T>(&self, io: T) -> Counted<T> {
        self.counts.streams.fetch_add(1, Relaxed);
        Counted {
            io,
            counts: Arc::clone(&self.counts),
        }
    }

    /// Tells the sums, beside the results.
    pub(in crate::commands) fn tell(&self, output: Output) {
        let seconds = (clock::now() - self.started).as_secs_f64();
        let [streams, received, sent] = [
            &self.counts.streams,
            &self.counts.received,
            &self.counts.sent,
        ]
        .map(|count| count.load(Relaxed));
        let rate = |bytes: u64| bytes as f64 / f64::from(1 << 20) / seconds.max(1e-9);
        let fields = json!({
            "streams": streams, "bytes_received": received, "bytes_sent": sent, "seconds": seconds,
        });
        let line = format!(
            "{streams} {} in {seconds:.3} s: received {received} bytes ({:.1} MiB/s), sent {sent} bytes ({:.1} MiB/s)",
            if streams == 1 { "stream" } else { "streams" },
            rate(received),
            rate(sent),
        );
        output.aside("stats", fields, &line);
    }
}

/// A stream whose bytes are counted as they go.
#[derive(Debug)]
pub(in crate::commands) struct Counted<T> {
    io: T,
    counts: Arc<Counts>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        let count = buffer.filled().len() - before;
        self.counts.received.fetch_add(count as u64, Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.io).poll_write(cx, bytes))?;
        self.counts.sent.fetch_add(count as u64, Relaxed);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
