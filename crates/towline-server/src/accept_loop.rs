//! One listener's loop: accept, admit, count, hand over, survive.

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use towline_transport::{AcceptError, PublicKey};

use crate::accept::{Accept, Handshake};
use crate::admission::Admission;
use crate::clock::now;
use crate::complaints::Journal;
use crate::counters::Shared;
use crate::outcome::Outcome;
use crate::preamble::{Preamble, turn_away};
use crate::server::Drained;
use crate::target::Target;
use crate::turn::{InTurn, Turns};

/// The first wait after a failed accept; it doubles with each further failure.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// The longest: open files may come free at any time.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

pub(crate) struct AcceptLoop<T> {
    pub(crate) admission: Arc<Admission>,
    pub(crate) preamble: Arc<Preamble>,
    /// For handshakes.
    pub(crate) turns: Arc<Turns>,
    pub(crate) counters: Arc<Shared>,
    /// A shutdown has begun.
    pub(crate) stopping: CancellationToken,
    /// Its deadline has passed.
    pub(crate) cut_off: CancellationToken,
    /// Who serves the connections.
    pub(crate) target: T,
}

impl<T: Target> AcceptLoop<T> {
    pub(crate) async fn run<L: Accept>(self, mut listener: L) -> Drained {
        let mut tasks = JoinSet::new();
        let mut backoff = Backoff::default();
        let mut journal = Journal::new();
        loop {
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => break,
                () = journal.due() => journal.flush_due(),
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => self.reap(ended, &mut journal),
                accepted = backoff.then(self.accept(&mut listener)) => match accepted {
                    Ok(incoming) => {
                        backoff = Backoff::default();
                        self.admit(incoming, &mut tasks, &mut journal);
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

    /// The next connection; not before there is a place for it, if that is to be waited for.
    async fn accept<L: Accept>(&self, listener: &mut L) -> io::Result<L::Incoming> {
        let waits = || self.preamble.waits_for_a_place();
        // Not taken: a listener that nobody connects to must not keep it from the others.
        self.admission.places.free_while(waits).await;
        listener.accept().await
    }

    /// Hands the connection over, or hangs up if it is not to be served.
    fn admit<I: Handshake>(
        &self,
        mut incoming: I,
        tasks: &mut JoinSet<Ended>,
        journal: &mut Journal,
    ) {
        let address = incoming.address();
        let admitted = match self.admission.admit(address) {
            Ok(admitted) => admitted,
            Err(refusal) => {
                journal
                    .refused_at_limit
                    .note(format!("refused {}: {refusal}", incoming.remote()));
                if let Some(said) = self.preamble.said_at_limit(refusal) {
                    tasks.spawn(async move {
                        turn_away(&mut incoming, &said.bytes).await;
                        Ended::Served(Outcome::Done)
                    });
                }
                return;
            }
        };
        let is_proxy = self.preamble.is_proxy(address);
        if !is_proxy && incoming.is_immediate() && self.target.takes_at_once() {
            if let Err(ended) = self.target.take(incoming, admitted) {
                self.reap(Ok(ended), journal);
            }
            return;
        }
        let stopping = self.stopping.clone();
        let counters = Arc::clone(&self.counters);
        let preamble = Arc::clone(&self.preamble);
        let admission = Arc::clone(&self.admission);
        let target = self.target.clone();
        let turns = Arc::clone(&self.turns);
        tasks.spawn(async move {
            if is_proxy {
                let told = tokio::select! {
                    biased;
                    () = stopping.cancelled() => return Ended::Served(Outcome::Done),
                    told = preamble.read_proxy_header(&mut incoming, &admission) => told,
                };
                if let Err(error) = told {
                    counters.refused_proxy_header();
                    return Ended::NotProxied(format!(
                        "{} was refused: {error}",
                        incoming.remote()
                    ));
                }
            }
            let incoming = InTurn::new(incoming, &turns);
            target.serve(incoming, admitted, stopping).await
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
            Ok(Ended::NotProxied(text)) => return journal.failed_handshakes.note(text),
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
pub(crate) enum Ended {
    Served(Outcome),
    NotShaken(AcceptError),
    NotAuthorised(Option<PublicKey>, String),
    NotProxied(String),
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
