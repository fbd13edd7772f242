//! Where admitted connections go: to a handler of connections, or to a strategy that serves sockets.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use towline_transport::{AcceptError, Authorisation, Connection, Established, Peer, Verdict};

use crate::accept::Handshake;
use crate::accept_loop::Ended;
use crate::admission::Admitted;
use crate::counters::Shared;
use crate::outcome::Outcome;
use crate::registry::Registry;
use crate::socket::SocketStream;
use crate::strategy::Strategy;

/// Who serves connections.
pub(crate) trait Target: Clone + Send + Sync + 'static {
    /// Whether [`take`](Self::take) can be called for connections without a handshake.
    fn takes_at_once(&self) -> bool;

    /// Takes over a connection whose handshake takes no time.
    fn take<I: Handshake>(&self, incoming: I, admitted: Admitted) -> Result<(), Ended>;

    /// Shakes hands, and serves the connection or hands it on.
    fn serve<I: Handshake>(
        self,
        incoming: I,
        admitted: Admitted,
        stopping: CancellationToken,
    ) -> impl Future<Output = Ended> + Send;
}

/// A function for each connection, in the task that has shaken hands.
pub(crate) struct Handler<H> {
    pub(crate) handler: Arc<H>,
    pub(crate) counters: Arc<Shared>,
    pub(crate) authorisation: Authorisation,
}

impl<H> Clone for Handler<H> {
    fn clone(&self) -> Self {
        Self {
            handler: Arc::clone(&self.handler),
            counters: Arc::clone(&self.counters),
            authorisation: self.authorisation.clone(),
        }
    }
}

impl<H, F> Target for Handler<H>
where
    H: Fn(Connection, CancellationToken) -> F + Send + Sync + 'static,
    F: Future<Output: Into<Outcome>> + Send + 'static,
{
    fn takes_at_once(&self) -> bool {
        false
    }

    fn take<I: Handshake>(&self, _incoming: I, _admitted: Admitted) -> Result<(), Ended> {
        Ok(())
    }

    async fn serve<I: Handshake>(
        self,
        incoming: I,
        admitted: Admitted,
        stopping: CancellationToken,
    ) -> Ended {
        // Held until the very end of the task, also when it panics or is cut off.
        let _held = admitted;
        let remote = incoming.remote();
        let shaken = tokio::select! {
            biased;
            () = stopping.cancelled() => return Ended::Served(Outcome::Done),
            shaken = incoming.handshake() => shaken,
        };
        match shaken {
            Ok(connection) => {
                if let Some(refused) =
                    refuse(&self.authorisation, &self.counters, connection.peer())
                {
                    return refused;
                }
                tracing::debug!(peer = %connection.peer(), "connected");
                let outcome = (self.handler)(connection, stopping).await.into();
                tracing::debug!(%remote, "disconnected");
                Ended::Served(outcome)
            }
            Err(error) => {
                self.counters.handshake_failed();
                Ended::NotShaken(error)
            }
        }
    }
}

/// A strategy; the task that has shaken hands ends when it has handed the socket over.
#[derive(Clone)]
pub(crate) struct Sockets {
    pub(crate) strategy: Arc<dyn Strategy>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) authorisation: Authorisation,
}

impl Sockets {
    fn stream(
        &self,
        shaken: Result<Established, AcceptError>,
        admitted: Admitted,
    ) -> Result<SocketStream, Ended> {
        let counters = &self.registry.counters;
        let established = shaken.map_err(|error| {
            counters.handshake_failed();
            Ended::NotShaken(error)
        })?;
        if let Some(refused) = refuse(&self.authorisation, counters, &established.peer()) {
            return Err(refused);
        }
        let registry = Arc::clone(&self.registry);
        Ok(SocketStream::new(registry, established, Some(admitted)))
    }
}

impl Target for Sockets {
    fn takes_at_once(&self) -> bool {
        self.strategy.is_prompt()
    }

    fn take<I: Handshake>(&self, incoming: I, admitted: Admitted) -> Result<(), Ended> {
        let Some(shaken) = incoming.establish().now_or_never() else {
            // It said that it would not wait; the connection is closed by now.
            return Ok(());
        };
        let stream = self.stream(shaken, admitted)?;
        accept(&*self.strategy, &self.registry, stream);
        Ok(())
    }

    async fn serve<I: Handshake>(
        self,
        incoming: I,
        admitted: Admitted,
        stopping: CancellationToken,
    ) -> Ended {
        let shaken = tokio::select! {
            biased;
            () = stopping.cancelled() => return Ended::Served(Outcome::Done),
            shaken = incoming.establish() => shaken,
        };
        let stream = match self.stream(shaken, admitted) {
            Ok(stream) => stream,
            Err(ended) => return ended,
        };
        if self.strategy.is_prompt() {
            accept(&*self.strategy, &self.registry, stream);
        } else {
            // A strategy of somebody else's may do anything, and the server accepts on meanwhile.
            let handed = spawn_blocking(move || accept(&*self.strategy, &self.registry, stream));
            if handed.await.is_err() {
                tracing::debug!("the runtime is ending");
            }
        }
        Ended::Served(Outcome::Done)
    }
}

fn accept(strategy: &dyn Strategy, registry: &Arc<Registry>, stream: SocketStream) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| strategy.on_accept(stream))) {
        registry.panicked("a strategy", payload);
    }
}

fn refuse(authorisation: &Authorisation, counters: &Shared, peer: &Peer) -> Option<Ended> {
    let Verdict::Refuse(why) = authorisation.check(peer) else {
        return None;
    };
    counters.not_authorised();
    Some(Ended::NotAuthorised(
        peer.public_key(),
        not_authorised(peer, &why),
    ))
}

/// For the log: who it was, in a form that two people can compare too.
fn not_authorised(peer: &Peer, why: &str) -> String {
    let why = why.escape_debug();
    match peer.fingerprint() {
        Some(fingerprint) => format!("{peer} (fingerprint {fingerprint}) was refused: {why}"),
        None => format!("{peer} was refused: {why}"),
    }
}
