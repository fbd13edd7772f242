//! One listener's loop: accept, count, hand over, survive.

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use towline_transport::{AcceptError, Authorisation, Connection, Peer, PublicKey, Verdict};

use crate::accept::{Accept, Handshake};
use crate::complaints::{Journal, now};
use crate::counters::Shared;
use crate::outcome::Outcome;
use crate::server::Drained;

/// The first wait after a failed accept; it doubles with each further failure.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// The longest: open files may come free at any time.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

pub(crate) struct AcceptLoop {
    pub(crate) places: Arc<Semaphore>,
    pub(crate) counters: Arc<Shared>,
    /// A shutdown has begun.
    pub(crate) stopping: CancellationToken,
    /// Its deadline has passed.
    pub(crate) cut_off: CancellationToken,
    pub(crate) authorisation: Authorisation,
}

impl AcceptLoop {
    pub(crate) async fn run<L, H, F>(self, mut listener: L, handler: Arc<H>) -> Drained
    where
        L: Accept,
        H: Fn(Connection, CancellationToken) -> F + Send + Sync + 'static,
        F: Future<Output: Into<Outcome>> + Send + 'static,
    {
        let mut tasks = JoinSet::new();
        let mut backoff = Backoff::default();
        let mut journal = Journal::new();
        loop {
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => break,
                () = journal.due() => journal.flush_due(),
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => self.reap(ended, &mut journal),
                accepted = backoff.then(listener.accept()) => match accepted {
                    Ok(incoming) => {
                        backoff = Backoff::default();
                        self.admit(incoming, &handler, &mut tasks, &mut journal);
                    }
                    Err(error) if is_of_one_connection(&error) => {
                        tracing::debug!(%error, "a client was gone before it was accepted");
                    }
                    Err(error) => {
                        self.counters.accept_failed();
                        let pause = backoff.fail();
                        if pause == FIRST_PAUSE {
                            tracing::warn!(%error, listener = %listener.local(), "cannot accept connections; trying again");
                        } else {
                            tracing::debug!(%error, ?pause, "still cannot accept connections");
                        }
                    }
                },
            }
        }
        // Closed before the waiting: nobody queues for a server that is about to end.
        drop(listener);
        let drained = self.finish(tasks, &mut journal).await;
        journal.flush();
        drained
    }

    /// Starts the connection's task, or hangs up if the limit is reached.
    fn admit<I, H, F>(
        &self,
        incoming: I,
        handler: &Arc<H>,
        tasks: &mut JoinSet<Ended>,
        journal: &mut Journal,
    ) where
        I: Handshake,
        H: Fn(Connection, CancellationToken) -> F + Send + Sync + 'static,
        F: Future<Output: Into<Outcome>> + Send + 'static,
    {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.counters.refused_at_limit();
            journal.refused_at_limit.note(format!(
                "refused {}: max_connections is reached",
                incoming.remote()
            ));
            return;
        };
        let active = self.counters.enter();
        let counters = Arc::clone(&self.counters);
        let stopping = self.stopping.clone();
        let handler = Arc::clone(handler);
        let authorisation = self.authorisation.clone();
        tasks.spawn(async move {
            // Held until the very end of the task, also when it panics or is cut off.
            let _held = (place, active);
            let remote = incoming.remote();
            let shaken = tokio::select! {
                biased;
                () = stopping.cancelled() => return Ended::Served(Outcome::Done),
                shaken = incoming.handshake() => shaken,
            };
            match shaken {
                Ok(connection) => {
                    if let Verdict::Refuse(why) = authorisation.check(connection.peer()) {
                        counters.not_authorised();
                        return Ended::NotAuthorised(
                            connection.peer().public_key(),
                            not_authorised(connection.peer(), &why),
                        );
                    }
                    tracing::debug!(peer = %connection.peer(), "connected");
                    let outcome = handler(connection, stopping).await.into();
                    tracing::debug!(%remote, "disconnected");
                    Ended::Served(outcome)
                }
                Err(error) => {
                    counters.handshake_failed();
                    Ended::NotShaken(error)
                }
            }
        });
    }

    async fn finish(&self, mut tasks: JoinSet<Ended>, journal: &mut Journal) -> Drained {
        let mut drained = Drained::default();
        loop {
            tokio::select! {
                biased;
                ended = tasks.join_next() => match ended {
                    Some(ended) => {
                        drained.finished += 1;
                        self.reap(ended, journal);
                    }
                    None => return drained,
                },
                () = self.cut_off.cancelled() => break,
            }
        }
        drained.cut_off = tasks.len();
        tracing::warn!(
            connections = drained.cut_off,
            "cutting off connections that did not end in time"
        );
        tasks.abort_all();
        while let Some(ended) = tasks.join_next().await {
            self.reap(ended, journal);
        }
        drained
    }

    fn reap(&self, ended: Result<Ended, JoinError>, journal: &mut Journal) {
        let error = match ended {
            Ok(Ended::Served(Outcome::Done)) => return,
            Ok(Ended::Served(Outcome::Failed(text))) => return journal.ended_badly.note(text),
            Ok(Ended::NotShaken(AcceptError::NotAdmitted { remote, refusal })) => {
                let key = refusal.peer().public_key();
                let error = AcceptError::NotAdmitted { remote, refusal };
                return journal.refused_peers.note(key, error.to_string());
            }
            Ok(Ended::NotAuthorised(key, text)) => return journal.refused_peers.note(key, text),
            Ok(Ended::NotShaken(error)) => {
                return journal.failed_handshakes.note(error.to_string());
            }
            Err(error) => error,
        };
        if let Ok(payload) = error.try_into_panic() {
            self.counters.handler_panicked();
            let text = payload
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
                .unwrap_or("no text");
            tracing::error!(
                panic = text,
                "a connection's handler panicked; only that connection ended"
            );
            // A payload may panic once more while it is dropped.
            if panic::catch_unwind(AssertUnwindSafe(|| drop(payload))).is_err() {
                tracing::error!("the panic's payload panicked as well");
            }
        }
    }
}

/// How the task of a connection ended.
enum Ended {
    Served(Outcome),
    NotShaken(AcceptError),
    NotAuthorised(Option<PublicKey>, String),
}

/// For the log: who it was, in a form that two people can compare too.
fn not_authorised(peer: &Peer, why: &str) -> String {
    let why = why.escape_debug();
    match peer.fingerprint() {
        Some(fingerprint) => format!("{peer} (fingerprint {fingerprint}) was refused: {why}"),
        None => format!("{peer} was refused: {why}"),
    }
}

/// How long to wait before the next accept.
#[derive(Default)]
struct Backoff {
    pause: Option<(Duration, Instant)>,
}

impl Backoff {
    fn fail(&mut self) -> Duration {
        let pause = self
            .pause
            .map_or(FIRST_PAUSE, |(last, _)| (last * 2).min(LONGEST_PAUSE));
        self.pause = Some((pause, now() + pause));
        pause
    }

    /// Waits out the pause, then does `next`. Made anew in every turn of the loop, hence a moment to
    /// wait for and not a length.
    async fn then<T>(&self, next: impl Future<Output = T>) -> T {
        if let Some((_, until)) = self.pause {
            sleep_until(until).await;
        }
        next.await
    }
}

/// Errors that say something about one client and nothing about the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
