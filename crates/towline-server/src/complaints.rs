//! Warnings that strangers can cause: shown at most once a second, counted in between.

use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// A log that a flood of connections fills hides what matters, and fills the disk.
const INTERVAL: Duration = Duration::from_secs(1);

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
    pub(crate) fn new(what: &'static str) -> Self {
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

    /// Ready when [`flush`](Self::flush) has something to show and may.
    pub(crate) async fn due(&self) {
        match self.next {
            Some(next) if self.held > 0 => sleep_until(next).await,
            _ => pending().await,
        }
    }

    /// Shows what was counted, if anything was.
    pub(crate) fn flush(&mut self) {
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
