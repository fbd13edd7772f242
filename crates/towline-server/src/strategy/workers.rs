//! Who works for a pool: tasks of the server's runtime, or threads with an event loop each.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

use super::shard::Shard;
use crate::socket::SocketStream;

/// A fixed number of threads, or as many tasks as the runtime that calls has threads.
pub(super) struct Workers {
    threads: usize,
    running: Mutex<Option<Running>>,
    next: AtomicUsize,
}

struct Running {
    /// Each with the thread that works for it, if it has its own.
    shards: Vec<(Arc<Shard>, Option<Handle>)>,
    stop: CancellationToken,
}

impl Workers {
    pub(super) fn new(threads: usize) -> Self {
        Self {
            threads,
            running: Mutex::default(),
            next: AtomicUsize::new(0),
        }
    }

    /// Starts them; as many threads as the system gives. Without a single one the caller's runtime does.
    pub(super) fn start(&self) {
        let mut running = self.running();
        if running.is_some() {
            return;
        }
        let stop = CancellationToken::new();
        let mut shards: Vec<_> = (0..self.threads)
            .filter_map(|number| start_thread(number, stop.clone()))
            .map(|(shard, handle)| (shard, Some(handle)))
            .collect();
        if shards.is_empty() {
            let tasks = Handle::current().metrics().num_workers();
            shards.resize_with(tasks, || {
                let shard = Arc::<Shard>::default();
                // It ends when it is stopped and its last connection has ended.
                drop(tokio::spawn(Arc::clone(&shard).work()));
                (shard, None)
            });
        }
        *running = Some(Running { shards, stop });
    }

    /// Runs what `task` makes of the stream, at the next worker.
    pub(super) fn spawn<F>(
        &self,
        mut stream: SocketStream,
        task: impl FnOnce(SocketStream) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + Unpin + 'static,
    {
        let worker = self.running().as_ref().map(|running| {
            let next = self.next.fetch_add(1, Ordering::Relaxed);
            running.shards[next % running.shards.len()].clone()
        });
        // Detached: the server counts it, waits for it and ends it.
        let Some((shard, handle)) = worker else {
            drop(tokio::spawn(task(stream)));
            return;
        };
        if let Some(handle) = handle {
            let guard = handle.enter();
            let moved = stream.rehome();
            drop(guard);
            if let Err(error) = moved {
                tracing::warn!(%error, "a connection could not be moved to its worker");
                return;
            }
        }
        shard.spawn(task(stream));
    }

    pub(super) fn stop(&self) {
        if let Some(running) = self.running().take() {
            for (shard, _) in &running.shards {
                shard.stop();
            }
            running.stop.cancel();
        }
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop();
    }
}

fn start_thread(number: usize, stop: CancellationToken) -> Option<(Arc<Shard>, Handle)> {
    let shard = Arc::<Shard>::default();
    let started = Builder::new_current_thread().enable_all().build();
    let started = started.and_then(|runtime| {
        let handle = runtime.handle().clone();
        drop(runtime.spawn(Arc::clone(&shard).work()));
        thread::Builder::new()
            .name(format!("towline-worker-{number}"))
            // What is left when it ends was cut off by the server.
            .spawn(move || runtime.block_on(stop.cancelled_owned()))
            .map(|_| handle)
    });
    match started {
        Ok(handle) => Some((shard, handle)),
        Err(error) => {
            tracing::warn!(%error, number, "a worker thread could not be started");
            None
        }
    }
}
