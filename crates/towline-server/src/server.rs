//! The server: its handle, and its end.

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::builder::{Builder, ConfigError};
use crate::counters::Counters;
use crate::metrics::ServerMetrics;
use crate::preamble::Preamble;
use crate::registry::Registry;
use crate::socket::Socket;
use crate::strategy::Strategy;
use crate::turn::Turns;

/// How long handlers that were dropped may take to be gone: one that blocks its thread cannot be.
const GONE: Duration = Duration::from_secs(1);

/// How a shutdown went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// Connections that were alive and ended in time.
    pub finished: usize,
    /// Connections that were cut off at the deadline.
    pub cut_off: usize,
}

/// A running server. Dropping it closes its listeners and cuts every connection off.
pub struct Server {
    handle: ServerHandle,
    cut_off: CancellationToken,
    loops: JoinSet<Drained>,
    /// The clock; gone with the server.
    _helpers: JoinSet<()>,
    strategy: Option<Arc<dyn Strategy>>,
}

/// A server seen from elsewhere: from its handlers, its hooks, other tasks. Cheap to clone; it does not
/// keep the server running.
#[derive(Clone)]
pub struct ServerHandle {
    pub(crate) registry: Arc<Registry>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) preamble: Arc<Preamble>,
    pub(crate) turns: Arc<Turns>,
    pub(crate) published: watch::Receiver<ServerMetrics>,
    pub(crate) failure: Arc<Mutex<Option<Failure>>>,
    pub(crate) addresses: Arc<[String]>,
}

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// What ended a server ahead of time ([`ServerHandle::abort`]).
#[derive(Debug, thiserror::Error)]
#[error("the server was aborted: {0}")]
pub struct Aborted(#[source] pub Box<dyn Error + Send + Sync>);

impl ServerHandle {
    /// Asks the server to end, as [`Server::wait`] then does. Never blocks; the second time does
    /// nothing.
    pub fn stop(&self) {
        self.registry.stop().cancel();
    }

    /// Asks the server to end for a reason, which [`Server::wait`] returns. The first reason counts.
    pub fn abort(&self, reason: impl Into<Box<dyn Error + Send + Sync>>) {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(|| reason.into());
        self.stop();
    }

    pub(crate) fn take_failure(&self) -> Option<Failure> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Whether the end has been asked for.
    pub fn is_stopping(&self) -> bool {
        self.registry.stop().is_cancelled()
    }

    /// Goes by other settings from now on: limits for connections, rates and handshakes, networks, PROXY headers,
    /// queues, water marks, time limits and deadlines. Who is connected stays, below new limits or not; queues and
    /// time limits are theirs as well, which count from now on if they are others. What makes the server what it is
    /// stays: listeners, strategy, authorisation, intervals and hooks. For a program that reads its configuration again
    /// ([`run_until_signal_reloading`](crate::run_until_signal_reloading)).
    ///
    /// # Errors
    ///
    /// [`ConfigError`]; nothing has changed.
    pub fn reconfigure(&self, settings: &Builder) -> Result<(), ConfigError> {
        settings.apply(self)
    }

    /// The sockets that live now, in the order in which they were accepted.
    pub fn sockets(&self) -> Vec<Socket> {
        let mut sockets = Vec::new();
        self.registry.for_each(|socket| {
            if !socket.is_closed() {
                sockets.push(socket.clone());
            }
        });
        sockets.sort_unstable_by_key(Socket::id);
        sockets
    }

    /// What the server does, live; rates are those of the last full interval.
    pub fn metrics(&self) -> ServerMetrics {
        let last = self.published.borrow();
        let rates = (last.reads_per_second, last.writes_per_second);
        drop(last);
        ServerMetrics::view(&self.registry, rates)
    }

    /// The snapshots of each interval, as they come.
    pub fn metrics_watch(&self) -> watch::Receiver<ServerMetrics> {
        self.published.clone()
    }

    /// Where the server listens, as its listeners say.
    pub fn local(&self) -> &[String] {
        &self.addresses
    }

    /// The TCP address it listens on, with the real port; the first if there are several.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.addresses.iter().find_map(|address| {
            let (_, rest) = address.split_once("://")?;
            rest.split(['/', '?', '#']).next()?.parse().ok()
        })
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle")
            .field("local", &self.addresses)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// The settings of a new server.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(
        handle: ServerHandle,
        cut_off: CancellationToken,
        loops: JoinSet<Drained>,
        helpers: JoinSet<()>,
        strategy: Option<Arc<dyn Strategy>>,
    ) -> Self {
        Self {
            handle,
            cut_off,
            loops,
            _helpers: helpers,
            strategy,
        }
    }

    /// The server, for others.
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }

    /// What it has seen so far.
    pub fn counters(&self) -> Counters {
        self.handle.registry.counters.view()
    }

    /// What its sockets do ([`ServerHandle::metrics`]). Connections of [`Builder::serve`] are not
    /// sockets, and only counted.
    pub fn metrics(&self) -> ServerMetrics {
        self.handle.metrics()
    }

    /// The sockets that live now ([`ServerHandle::sockets`]).
    pub fn sockets(&self) -> Vec<Socket> {
        self.handle.sockets()
    }

    /// The token that every handler gets: cancelled when a shutdown begins. Cancelling it asks the
    /// server to end.
    pub fn stopping(&self) -> CancellationToken {
        self.handle.registry.stop().clone()
    }

    /// Serves until somebody asks the server to end, then ends it with the deadline of
    /// [`Builder::drain_deadline`].
    ///
    /// # Errors
    ///
    /// The reason it was aborted for.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cuts every connection off.
    pub async fn wait(self) -> Result<Drained, Aborted> {
        self.stopping().cancelled().await;
        let handle = self.handle();
        let drained = self.drain().await;
        handle
            .take_failure()
            .map_or(Ok(drained), |failure| Err(Aborted(failure)))
    }

    /// Ends the server: closes its listeners and unfinished handshakes, tells the handlers, waits for
    /// them until `deadline` has passed, then cuts the rest off. When this returns, no task is left but
    /// those of handlers that block their thread.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cuts every connection off at once, as dropping the server does.
    pub async fn shutdown(mut self, deadline: Duration) -> Drained {
        let registry = Arc::clone(&self.handle.registry);
        let (sockets, _) = registry.tasks();
        registry.stop().cancel();
        registry.begin_stop();
        let mut total = Drained::default();
        let in_order = async {
            self.collect(&mut total).await;
            // Connections that were taken in while the loops ended.
            registry.begin_stop();
            registry.all_tasks_ended().await;
        };
        let mut left = 0;
        if timeout(deadline, in_order).await.is_err() {
            self.cut_off.cancel();
            self.collect(&mut total).await;
            left = registry.tasks().0;
            if left > 0 {
                tracing::warn!(
                    connections = left,
                    "cutting off connections that did not end in time"
                );
                registry.kill_all();
                if timeout(GONE, registry.all_tasks_ended()).await.is_err() {
                    tracing::error!(
                        tasks = registry.tasks().0,
                        "handlers block their threads and cannot be ended"
                    );
                }
            }
        }
        registry.show_all_complaints();
        total.cut_off += left as usize;
        total.finished += sockets.saturating_sub(left) as usize;
        total
    }

    /// [`shutdown`](Self::shutdown) with the deadline of [`Builder::drain_deadline`].
    ///
    /// # Cancel safety
    ///
    /// As [`shutdown`](Self::shutdown).
    pub async fn drain(self) -> Drained {
        let deadline = self.handle.registry.drain_deadline();
        self.shutdown(deadline).await
    }

    async fn collect(&mut self, total: &mut Drained) {
        while let Some(done) = self.loops.join_next().await {
            match done {
                Ok(drained) => {
                    total.finished += drained.finished;
                    total.cut_off += drained.cut_off;
                }
                Err(error) => tracing::error!(%error, "an accept loop ended out of order"),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let registry = &self.handle.registry;
        registry.stop().cancel();
        registry.begin_stop();
        registry.kill_all();
        if let Some(strategy) = self.strategy.take()
            && let Err(payload) = catch_unwind(AssertUnwindSafe(|| strategy.on_stop()))
        {
            registry.panicked("a strategy", payload);
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}
