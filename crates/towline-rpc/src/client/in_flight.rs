//! How many calls one connection of a client has at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::error::CallError;

/// How many calls one connection has in flight at once, and how many may wait for one of them to end. Streams and one-way
/// messages are not counted.
///
/// ```
/// use towline_rpc::{Client, client::InFlight};
///
/// let builder = Client::builder().in_flight(InFlight::at_most(100).waiting(1000));
/// # drop(builder);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InFlight {
    calls: usize,
    waiting: usize,
}

impl InFlight {
    /// At most so many calls at once; 0 counts as 1. Up to 1,024 further ones wait, in the order in which they were made.
    pub const fn at_most(calls: usize) -> Self {
        Self {
            calls: if calls == 0 { 1 } else { calls },
            waiting: 1024,
        }
    }

    /// How many calls may wait, within their time limits; one more fails with [`CallError::TooManyInFlight`]. Default: 1,024;
    /// 0 has every call fail that would wait.
    #[must_use]
    pub const fn waiting(mut self, calls: usize) -> Self {
        self.waiting = calls;
        self
    }
}

/// The places of one connection.
#[derive(Debug)]
pub(super) struct Places {
    limit: InFlight,
    free: Semaphore,
    waiting: AtomicUsize,
}

impl Places {
    pub(super) fn new(limit: InFlight) -> Arc<Self> {
        Arc::new(Self {
            limit,
            free: Semaphore::new(limit.calls.min(Semaphore::MAX_PERMITS)),
            waiting: AtomicUsize::new(0),
        })
    }

    /// A place for a call, for which it waits up to `limit`. `Ok(None)` if the connection is over.
    pub(super) async fn take(
        &self,
        limit: Option<Duration>,
    ) -> Result<Option<SemaphorePermit<'_>>, CallError> {
        if let Ok(place) = self.free.try_acquire() {
            return Ok(Some(place));
        }
        let _waiting = Waiting::begin(self)?;
        let place = self.free.acquire();
        let place = match limit {
            None => place.await,
            Some(limit) => tokio::time::timeout(limit, place)
                .await
                .map_err(|_| CallError::TimedOut(limit))?,
        };
        Ok(place.ok())
    }

    /// The connection is over: nobody need wait.
    pub(super) fn close(&self) {
        self.free.close();
    }
}

/// One of those who wait.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(places: &'a Places) -> Result<Self, CallError> {
        let most = places.limit.waiting;
        let waiting = &places.waiting;
        let one_more = |count: usize| (count < most).then_some(count + 1);
        match waiting.fetch_update(Relaxed, Relaxed, one_more) {
            Ok(_) => Ok(Self(waiting)),
            Err(_) => Err(CallError::TooManyInFlight {
                in_flight: places.limit.calls,
                waiting: most,
            }),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
