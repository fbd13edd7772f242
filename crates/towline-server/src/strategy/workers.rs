//! Threads with an event loop each.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

use crate::socket::SocketStream;

/// A fixed number of them, or none: then the runtime that calls is used.
pub(super) struct Workers {
    threads: usize,
    running: Mutex<Option<Running>>,
    next: AtomicUsize,
}

struct Running {
    handles: Vec<Handle>,
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

    /// Starts the threads; as many as the system gives. Without a single one the caller's runtime does.
    pub(super) fn start(&self) {
        let mut running = self.running();
        if self.threads == 0 || running.is_some() {
            return;
        }
        let stop = CancellationToken::new();
        let mut handles = Vec::new();
        for number in 0..self.threads {
            let started = Builder::new_current_thread().enable_all().build();
            let started = started.and_then(|runtime| {
                let handle = runtime.handle().clone();
                let stopped = stop.clone();
                thread::Builder::new()
                    .name(format!("towline-worker-{number}"))
                    // What is left when it ends was cut off by the server.
                    .spawn(move || runtime.block_on(stopped.cancelled_owned()))
                    .map(|_| handle)
            });
            match started {
                Ok(handle) => handles.push(handle),
                Err(error) => {
                    tracing::warn!(%error, number, "a worker thread could not be started");
                }
            }
        }
        if !handles.is_empty() {
            *running = Some(Running { handles, stop });
        }
    }

    /// Runs what `task` makes of the stream, on the next thread.
    pub(super) fn spawn<F>(
        &self,
        mut stream: SocketStream,
        task: impl FnOnce(SocketStream) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let handle = self.running().as_ref().map(|running| {
            let next = self.next.fetch_add(1, Ordering::Relaxed);
            running.handles[next % running.handles.len()].clone()
        });
        let Some(handle) = handle else {
            drop(tokio::spawn(task(stream)));
            return;
        };
        let guard = handle.enter();
        let moved = stream.rehome();
        drop(guard);
        match moved {
            // Detached: the server counts it, waits for it and ends it.
            Ok(()) => drop(handle.spawn(task(stream))),
            Err(error) => tracing::warn!(%error, "a connection could not be moved to its worker"),
        }
    }

    pub(super) fn stop(&self) {
        if let Some(running) = self.running().take() {
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
