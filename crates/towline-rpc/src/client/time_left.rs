//! What is left of a time limit.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use crate::driver;

/// A time limit that has begun to run, if there is one.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimeLeft(Option<(Instant, Duration)>);

impl TimeLeft {
    /// The limit runs from now on.
    pub(super) fn begin(limit: Option<Duration>) -> Self {
        Self(limit.map(|limit| (driver::now().instant, limit)))
    }

    /// What is left now; `None` without a limit.
    pub(super) fn left(self) -> Option<Duration> {
        let (begun, limit) = self.0?;
        let passed = driver::now().instant.saturating_duration_since(begun);
        Some(limit.saturating_sub(passed))
    }

    /// Waits for something. `None` if the time is up first.
    pub(super) async fn wait_for<F: Future>(self, waiting: F) -> Option<F::Output> {
        match self.left() {
            None => Some(waiting.await),
            Some(left) => tokio::time::timeout(left, waiting).await.ok(),
        }
    }
}
