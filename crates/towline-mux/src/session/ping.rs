//! Pings, and the beats that stand for them in muxado.

use std::{
    future::Future,
    pin::Pin,
    sync::PoisonError,
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::oneshot;

use super::{Beneath, Session};
use crate::{
    driver::{PingWait, Shared, now},
    proto::{Dialect, PingError},
};

impl Session {
    /// Measures the round trip to the peer's session; pings overtake data that waits here. muxado and QUIC have no
    /// pings: a [heartbeat](crate::muxado::Heartbeat), while one runs, sends a beat instead.
    ///
    /// # Errors
    ///
    /// [`PingError`]; [`Unsupported`](PingError::Unsupported) there without a heartbeat, or when it has
    /// failed. There [`TimedOut`](PingError::TimedOut) comes with
    /// [`Pulse::TimedOut`](crate::muxado::Pulse::TimedOut).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind; the answer is then ignored.
    pub async fn ping(&self) -> Result<Duration, PingError> {
        let Beneath::Engine(shared, Dialect::Yamux) = &self.inner.beneath else {
            return self.beat().await;
        };
        let wait = {
            let mut state = shared.lock();
            let number = state.engine.ping(now())?;
            let wait = state.next_ping_wait;
            state.next_ping_wait += 1;
            state.pings.push(PingWait {
                wait,
                number,
                waker: None,
                result: None,
            });
            // A ping measures: it does not wait for what others may add to it.
            drop(state);
            shared.flush();
            // And its time limit holds though the driver sleeps.
            shared.release(shared.lock());
            wait
        };
        Ping { shared, wait }.await
    }

    /// A beat of the heartbeat that runs.
    async fn beat(&self) -> Result<Duration, PingError> {
        if let Some(end) = self.close_reason() {
            return Err(end.into());
        }
        let requests = self
            .inner
            .beats
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .rev()
            .find(|requests| !requests.is_closed())
            .cloned()
            .ok_or(PingError::Unsupported)?;
        let (answer, answered) = oneshot::channel();
        requests
            .send(answer)
            .await
            .map_err(|_| PingError::Unsupported)?;
        answered.await.map_err(|_| match self.close_reason() {
            Some(end) => end.into(),
            None => PingError::TimedOut,
        })
    }
}

struct Ping<'a> {
    shared: &'a Shared,
    wait: u64,
}

impl Future for Ping<'_> {
    type Output = Result<Duration, PingError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.shared.lock();
        let end = state.engine.end().cloned();
        let Some(wait) = state.pings.iter_mut().find(|wait| wait.wait == self.wait) else {
            return Poll::Ready(Err(PingError::TimedOut));
        };
        match (wait.result, end) {
            (Some(Some(took)), _) => Poll::Ready(Ok(took)),
            (_, Some(end)) => Poll::Ready(Err(end.into())),
            (Some(None), None) => Poll::Ready(Err(PingError::TimedOut)),
            (None, None) => {
                wait.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Ping<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.pings.retain(|wait| wait.wait != self.wait);
    }
}
