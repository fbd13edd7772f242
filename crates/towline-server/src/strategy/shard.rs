//! A share of a pool's connections: one task, and a queue of those that have something to do.
//!
//! A task of the runtime for each connection would cost a multiple of what a connection that waits needs.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::{ArcWake, AtomicWaker, waker_ref};
use tokio::task::{coop, yield_now};

/// Connections with something to do.
#[derive(Default)]
pub(super) struct Shard {
    ready: Mutex<Ready>,
    worker: AtomicWaker,
}

#[derive(Default)]
struct Ready {
    queue: VecDeque<Arc<dyn Runnable>>,
    /// Connections that have not ended.
    alive: usize,
    /// Nobody comes any more; the worker ends with the last.
    stopping: bool,
    /// The worker is gone.
    closed: bool,
}

/// A connection's future, and whether it waits in the queue.
struct Node<F> {
    shard: Arc<Shard>,
    queued: AtomicBool,
    /// `None` once it has ended.
    future: Mutex<Option<F>>,
}

trait Runnable: Send + Sync {
    /// Polls the future; true if it has ended.
    fn run(self: Arc<Self>) -> bool;

    /// Drops the future.
    fn end(&self);
}

impl Shard {
    /// Runs `future` on the shard's worker.
    pub(super) fn spawn<F>(self: &Arc<Self>, future: F)
    where
        F: Future<Output = ()> + Send + Unpin + 'static,
    {
        let node = Arc::new(Node {
            shard: Arc::clone(self),
            queued: AtomicBool::new(true),
            future: Mutex::new(Some(future)),
        });
        self.ready().alive += 1;
        self.push(node);
    }

    /// Runs what there is until it [was stopped](Self::stop) and the last connection has ended.
    pub(super) async fn work(self: Arc<Self>) {
        let mut worker = Worker {
            shard: self,
            batch: VecDeque::new(),
        };
        while poll_fn(|cx| worker.poll_batch(cx)).await {
            // Those that come meanwhile have their turn when the transport was looked at: nobody is served
            // twice before somebody who is ready is served once.
            while let Some(next) = worker.batch.pop_front() {
                if next.run() {
                    worker.shard.ready().alive -= 1;
                }
                if !coop::has_budget_remaining() {
                    break;
                }
            }
            if !worker.batch.is_empty() || !worker.shard.ready().queue.is_empty() {
                yield_now().await;
            }
        }
    }

    /// The worker ends with the last connection.
    pub(super) fn stop(&self) {
        self.ready().stopping = true;
        self.worker.wake();
    }

    fn push(&self, node: Arc<dyn Runnable>) {
        let mut ready = self.ready();
        if ready.closed {
            drop(ready);
            // Nobody will ever run it.
            node.end();
            return;
        }
        ready.queue.push_back(node);
        let first = ready.queue.len() == 1;
        drop(ready);
        // With others in the queue the worker knows.
        if first {
            self.worker.wake();
        }
    }

    fn ready(&self) -> MutexGuard<'_, Ready> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who runs them.
struct Worker {
    shard: Arc<Shard>,
    /// Those whose turn it is.
    batch: VecDeque<Arc<dyn Runnable>>,
}

impl Worker {
    /// Waits until there is somebody to run; false when all is over.
    fn poll_batch(&mut self, cx: &Context<'_>) -> Poll<bool> {
        self.shard.worker.register(cx.waker());
        if self.batch.is_empty() {
            let mut ready = self.shard.ready();
            std::mem::swap(&mut ready.queue, &mut self.batch);
            if self.batch.is_empty() {
                if ready.stopping && ready.alive == 0 {
                    return Poll::Ready(false);
                }
                return Poll::Pending;
            }
        }
        Poll::Ready(true)
    }
}

/// Ends what is left when the runtime drops the worker.
impl Drop for Worker {
    fn drop(&mut self) {
        let mut ready = self.shard.ready();
        ready.closed = true;
        let left = std::mem::take(&mut ready.queue);
        drop(ready);
        for node in self.batch.drain(..).chain(left) {
            node.end();
        }
    }
}

impl<F> Node<F> {
    fn future(&self) -> MutexGuard<'_, Option<F>> {
        self.future.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Future<Output = ()> + Send + Unpin + 'static> Runnable for Node<F> {
    fn run(self: Arc<Self>) -> bool {
        // Before the poll: what happens from now on is another turn, what has happened is seen.
        self.queued.swap(false, Ordering::AcqRel);
        let waker = waker_ref(&self);
        let mut slot = self.future();
        let Some(future) = &mut *slot else {
            return false;
        };
        if Pin::new(future)
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
        {
            return false;
        }
        let ended = slot.take();
        // Its destructors may wake it.
        drop(slot);
        drop(ended);
        true
    }

    fn end(&self) {
        let ended = self.future().take();
        drop(ended);
    }
}

impl<F: Future<Output = ()> + Send + Unpin + 'static> ArcWake for Node<F> {
    fn wake_by_ref(node: &Arc<Self>) {
        if !node.queued.swap(true, Ordering::AcqRel) {
            node.shard.push(Arc::<Self>::clone(node));
        }
    }
}
