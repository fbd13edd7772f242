//! Warnings that strangers can cause: shown at most once a second, counted in between.

use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// A log that a flood of connections fills hides what matters, and fills the disk.
const INTERVAL: Duration = Duration::from_secs(1);

/// Complaints by kind: what strangers cause must not hide whom an administrator could admit.
pub(crate) struct Journal {
    pub(crate) failed_handshakes: Complaints,
    pub(crate) refused_peers: Complaints,
    pub(crate) refused_at_limit: Complaints,
    pub(crate) ended_badly: Complaints,
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self {
            failed_handshakes: Complaints::new("failed handshakes"),
            refused_peers: Complaints::new("refused peers"),
            refused_at_limit: Complaints::new("refused connections"),
            ended_badly: Complaints::new("connections that ended badly"),
        }
    }

    fn all(&mut self) -> [&mut Complaints; 4] {
        [
            &mut self.failed_handshakes,
            &mut self.refused_peers,
            &mut self.refused_at_limit,
            &mut self.ended_badly,
        ]
    }

    /// Ready when [`flush_due`](Self::flush_due) has something to show.
    pub(crate) async fn due(&mut self) {
        let held = self.all().into_iter().filter(|kind| kind.held > 0);
        match held.filter_map(|kind| kind.next).min() {
            Some(next) => sleep_until(next).await,
            None => pending().await,
        }
    }

    /// Shows what was counted for a second.
    pub(crate) fn flush_due(&mut self) {
        let now = now();
        for kind in self.all() {
            if kind.next.is_none_or(|next| now >= next) {
                kind.flush();
            }
        }
    }

    /// Shows all that was counted.
    pub(crate) fn flush(&mut self) {
        self.all().into_iter().for_each(Complaints::flush);
    }
}

/// Complaints of one kind.
pub(crate) struct Complaints {
    /// What is counted, for a sentence.
    what: &'static str,
    /// When the next line may be shown.
    next: Option<Instant>,
    held: u64,
    last: String,
}

impl Complaints {
    fn new(what: &'static str) -> Self {
        Self {
            what,
            next: None,
            held: 0,
            last: String::new(),
        }
    }

    /// Shows the text, or counts it if a line was shown less than a second ago.
    pub(crate) fn note(&mut self, text: String) {
        let now = now();
        if self.held == 0 && self.next.is_none_or(|next| now >= next) {
            tracing::warn!("{text}");
            self.next = Some(now + INTERVAL);
        } else {
            self.held += 1;
            self.last = text;
        }
    }

    /// Shows what was counted, if anything was.
    fn flush(&mut self) {
        match std::mem::take(&mut self.held) {
            0 => return,
            1 => tracing::warn!("{}", self.last),
            count => tracing::warn!(count, "{count} more {}, the last: {}", self.what, self.last),
        }
        self.next = Some(now() + INTERVAL);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a driver: this is where its time comes from"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
