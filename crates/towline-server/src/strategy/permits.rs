//! How many handlers may be at work at once.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::patience::watched;

/// A handler, and how many calls of it may be at work at once; without limit if `None`.
///
/// A call that waits for a peer to take what it was sent is not at work: peers that do not read would stop everybody.
/// It goes on when it has a permit again.
pub(super) struct Limited<H> {
    pub(super) handler: H,
    permits: Option<Semaphore>,
}

impl<H> Limited<H> {
    pub(super) fn new(handler: H, most: Option<usize>) -> Self {
        Self {
            handler,
            permits: most.map(Semaphore::new),
        }
    }

    /// A permit for one more call, if there is one. It is [given back](Self::give_back), or goes to
    /// [`work`](Self::work).
    pub(super) fn take(&self) -> bool {
        let Some(permits) = &self.permits else {
            return true;
        };
        permits.try_acquire().map(SemaphorePermit::forget).is_ok()
    }

    /// The same, waiting for it.
    pub(super) async fn wait(self: Arc<Self>) {
        if let Some(permits) = &self.permits {
            acquire(permits).await;
        }
    }

    pub(super) fn give_back(&self) {
        if let Some(permits) = &self.permits {
            permits.add_permits(1);
        }
    }

    /// Runs a call that has a permit, and gives that back however the call ends.
    pub(super) async fn work(&self, call: impl Future<Output = ()>) {
        let Some(permits) = &self.permits else {
            return call.await;
        };
        let mut held = Held(Some(permits));
        let mut call = pin!(call);
        loop {
            let done = poll_fn(|cx| match watched(|| call.as_mut().poll(cx)) {
                (Poll::Ready(()), _) => Poll::Ready(true),
                (Poll::Pending, true) => Poll::Ready(false),
                (Poll::Pending, false) => Poll::Pending,
            });
            if done.await {
                return;
            }
            held.release();
            // Until something has woken it.
            let mut woken = false;
            poll_fn(|_| match std::mem::replace(&mut woken, true) {
                false => Poll::Pending,
                true => Poll::Ready(()),
            })
            .await;
            acquire(permits).await;
            held = Held(Some(permits));
        }
    }
}

async fn acquire(permits: &Semaphore) {
    // Never closed, so there will be one.
    if let Ok(permit) = permits.acquire().await {
        permit.forget();
    }
}

/// A permit of a call.
struct Held<'a>(Option<&'a Semaphore>);

impl Held<'_> {
    fn release(&mut self) {
        if let Some(permits) = self.0.take() {
            permits.add_permits(1);
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.release();
    }
}
