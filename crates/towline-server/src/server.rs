//! The server: its settings, its handle, and its end.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use towline_transport::{Authorisation, Connection};

use crate::accept::Accept;
use crate::accept_loop::AcceptLoop;
use crate::counters::{Counters, Shared};
use crate::outcome::Outcome;

/// Settings that cannot be served with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A limit that lets nobody in, or more than can be counted.
    #[error("max_connections is {given}; it must be from 1 to {most}")]
    MaxConnections {
        /// What was set.
        given: usize,
        /// The largest value.
        most: usize,
    },
    /// Nothing to accept from.
    #[error("a server needs at least one listener")]
    NoListener,
}

/// How a server runs. The defaults suit a machine that serves thousands of peers.
#[derive(Clone, Debug)]
pub struct Builder {
    max_connections: usize,
    drain_deadline: Duration,
    authorisation: Authorisation,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            max_connections: 10_240,
            drain_deadline: Duration::from_secs(10),
            authorisation: Authorisation::default(),
        }
    }
}

impl Builder {
    /// How many connections may live at once over all listeners, unfinished handshakes included:
    /// 10,240 unless told otherwise. One more is accepted and closed at once, and counted.
    ///
    /// Each costs a file descriptor and its buffers: some 300 KiB for a busy TLS connection.
    pub fn max_connections(mut self, most: usize) -> Self {
        self.max_connections = most;
        self
    }

    /// How long [`Server::drain`] waits for handlers: 10 seconds unless told otherwise. Less cuts
    /// off transfers that would have finished, more makes stopping slow.
    pub fn drain_deadline(mut self, limit: Duration) -> Self {
        self.drain_deadline = limit;
        self
    }

    /// Which peers get a handler, whatever their connections come from: by default all of them. The
    /// others are closed after their handshake, and counted. A listener of towline-transport can
    /// refuse them within it, so that they hear why (`ListenOptions::authorise`).
    pub fn authorise(mut self, authorisation: Authorisation) -> Self {
        self.authorisation = authorisation;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`ConfigError::MaxConnections`].
    pub fn validate(&self) -> Result<(), ConfigError> {
        let most = Semaphore::MAX_PERMITS;
        if (1..=most).contains(&self.max_connections) {
            Ok(())
        } else {
            Err(ConfigError::MaxConnections {
                given: self.max_connections,
                most,
            })
        }
    }

    /// Starts accepting. Must be called within a tokio runtime.
    ///
    /// The handler runs once for each connection whose handshake succeeded, in that connection's own
    /// task; the connection ends when its future does. The token it gets is cancelled when the server
    /// is being shut down: finish what must be finished and return. What it returns is `()`, or an
    /// [`Outcome`] that tells why a connection ended badly. A handler that panics ends only its own
    /// connection.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn serve<L, H, F>(
        self,
        listeners: impl IntoIterator<Item = L>,
        handler: H,
    ) -> Result<Server, ConfigError>
    where
        L: Accept,
        H: Fn(Connection, CancellationToken) -> F + Send + Sync + 'static,
        F: Future<Output: Into<Outcome>> + Send + 'static,
    {
        self.validate()?;
        let stopping = CancellationToken::new();
        let cut_off = CancellationToken::new();
        let counters = Arc::new(Shared::default());
        let places = Arc::new(Semaphore::new(self.max_connections));
        let handler = Arc::new(handler);
        let mut loops = JoinSet::new();
        for listener in listeners {
            let accept_loop = AcceptLoop {
                places: Arc::clone(&places),
                counters: Arc::clone(&counters),
                stopping: stopping.clone(),
                cut_off: cut_off.clone(),
                authorisation: self.authorisation.clone(),
            };
            loops.spawn(accept_loop.run(listener, Arc::clone(&handler)));
        }
        if loops.is_empty() {
            return Err(ConfigError::NoListener);
        }
        Ok(Server {
            stopping,
            cut_off,
            counters,
            loops,
            drain_deadline: self.drain_deadline,
        })
    }
}

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
    stopping: CancellationToken,
    cut_off: CancellationToken,
    counters: Arc<Shared>,
    loops: JoinSet<Drained>,
    drain_deadline: Duration,
}

impl Server {
    /// The settings of a new server.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// What it has seen so far.
    pub fn counters(&self) -> Counters {
        self.counters.view()
    }

    /// The token that every handler gets: cancelled when a shutdown begins.
    pub fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// Ends the server: closes its listeners and unfinished handshakes, tells the handlers, waits for
    /// them until `deadline` has passed, then cuts the rest off. When this returns, no task is left.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cuts every connection off at once, as dropping the server does.
    pub async fn shutdown(mut self, deadline: Duration) -> Drained {
        self.stopping.cancel();
        let mut total = Drained::default();
        if timeout(deadline, self.collect(&mut total)).await.is_err() {
            self.cut_off.cancel();
            self.collect(&mut total).await;
        }
        total
    }

    /// [`shutdown`](Self::shutdown) with the deadline of [`Builder::drain_deadline`].
    ///
    /// # Cancel safety
    ///
    /// As [`shutdown`](Self::shutdown).
    pub async fn drain(self) -> Drained {
        let deadline = self.drain_deadline;
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

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}
