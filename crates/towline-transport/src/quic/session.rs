//! A session whose streams are those of a QUIC connection.

mod stream;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quinn::{Connection, ConnectionError, RecvStream, SendStream, VarInt};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use towline_mux::native::{NativeFuture, NativeSession, NativeStream};
use towline_mux::{CloseOutcome, OpenError, RemoteGoAway, SessionEnd};

use self::stream::QuicStream;
use super::CLOSED;
use super::error::io_error;

/// How long what was written may take to arrive when a session closes.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);
/// How long the last packet may take to leave.
const LAST_WORD: Duration = Duration::from_millis(250);
/// What a stream is reset with that comes after this side has gone away.
const REFUSED: u32 = 11;

/// One end of the session.
pub(crate) struct QuicSession {
    shared: Arc<Shared>,
}

/// What the session, its streams and its task share.
struct Shared {
    connection: Connection,
    phase: watch::Sender<Phase>,
    /// Why this side has closed the connection, if it has.
    ended_here: Mutex<Option<SessionEnd>>,
    /// Streams whose data was ended, to be waited for before the connection is closed.
    ended: mpsc::UnboundedSender<Arrival>,
    outcome: watch::Sender<Option<CloseOutcome>>,
    gone_away: AtomicBool,
}

/// Resolves when the peer has all of a stream, or wants no more of it.
type Arrival = NativeFuture<Arrived>;

/// Whether it is known that the peer has it.
struct Arrived(bool);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// Nothing is opened or written any more.
    Closing,
    /// The task has ended.
    Over,
}

impl QuicSession {
    /// Takes over a connection; `tokio` runs the task that closes it.
    pub(crate) fn start(connection: Connection) -> Self {
        let (ended, arrivals) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            connection,
            phase: watch::Sender::new(Phase::Running),
            ended_here: Mutex::new(None),
            ended,
            outcome: watch::Sender::new(None),
            gone_away: AtomicBool::new(false),
        });
        tokio::spawn(run(Arc::clone(&shared), arrivals));
        Self { shared }
    }
}

/// Waits for what was sent on streams that have ended, and for the end of the session.
async fn run(shared: Arc<Shared>, mut arrivals: mpsc::UnboundedReceiver<Arrival>) {
    let mut phase = shared.phase.subscribe();
    let mut underway = JoinSet::new();
    let closing = async {
        let mut lost = false;
        loop {
            tokio::select! {
                biased;
                Some(arrival) = arrivals.recv() => { underway.spawn(arrival); }
                Some(arrived) = underway.join_next(), if !underway.is_empty() => {
                    lost |= !is_there(arrived);
                }
                // The sender is in `shared`.
                _ = phase.wait_for(|phase| *phase != Phase::Running) => return lost,
                _ = shared.connection.closed() => return lost,
            }
        }
    };
    let mut lost = closing.await;
    let rest = async {
        while let Ok(arrival) = arrivals.try_recv() {
            underway.spawn(arrival);
        }
        while let Some(arrived) = underway.join_next().await {
            lost |= !is_there(arrived);
        }
    };
    let in_time = timeout(CLOSE_LIMIT, rest).await.is_ok();
    let outcome = match shared.connection.close_reason() {
        None => {
            shared.close_here(SessionEnd::ClosedHere, CLOSED, b"");
            if in_time && !lost {
                Some(CloseOutcome::Acknowledged)
            } else {
                Some(CloseOutcome::TimedOut)
            }
        }
        Some(ConnectionError::ApplicationClosed(close)) if close.error_code == CLOSED && !lost => {
            Some(CloseOutcome::PeerEnded)
        }
        Some(_) => None,
    };
    // A program that ends now must have said so.
    let said = async {
        while shared.connection.stats().frame_tx.connection_close == 0 {
            tokio::task::yield_now().await;
        }
    };
    if shared.ended_here().is_some() {
        let _or_never = timeout(LAST_WORD, said).await;
    }
    shared.outcome.send_replace(outcome);
    shared.phase.send_replace(Phase::Over);
}

fn is_there(arrived: Result<Arrived, tokio::task::JoinError>) -> bool {
    arrived.is_ok_and(|Arrived(there)| there)
}

impl Shared {
    fn ended_here(&self) -> MutexGuard<'_, Option<SessionEnd>> {
        self.ended_here
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the connection, unless it has ended.
    fn close_here(&self, end: SessionEnd, code: VarInt, text: &[u8]) {
        let mut ended_here = self.ended_here();
        if self.connection.close_reason().is_none() {
            *ended_here = Some(end);
            self.connection.close(code, text);
        }
    }

    /// In the words of sessions.
    fn end_of(&self, error: ConnectionError) -> SessionEnd {
        match error {
            ConnectionError::LocallyClosed => {
                let here = self.ended_here().clone();
                here.unwrap_or(SessionEnd::ClosedHere)
            }
            ConnectionError::ApplicationClosed(close) if close.error_code == CLOSED => {
                SessionEnd::ClosedByPeer
            }
            ConnectionError::ApplicationClosed(close) => SessionEnd::GoneAway {
                code: code(close.error_code),
                debug: close.reason,
            },
            ConnectionError::TimedOut => SessionEnd::KeepAliveTimeout,
            error => SessionEnd::Io(Arc::new(io_error(error))),
        }
    }

    fn end(&self) -> Option<SessionEnd> {
        let error = self.connection.close_reason()?;
        Some(self.end_of(error))
    }

    /// Whether nothing is opened or written any more, and in which words.
    fn closed(&self) -> Option<SessionEnd> {
        if *self.phase.borrow() == Phase::Running {
            return None;
        }
        Some(self.end().unwrap_or(SessionEnd::ClosedHere))
    }

    fn stream(self: &Arc<Self>, (send, receive): (SendStream, RecvStream)) -> Box<QuicStream> {
        Box::new(QuicStream::new(Arc::clone(self), send, receive))
    }
}

impl NativeSession for QuicSession {
    fn open(&self) -> NativeFuture<Result<Box<dyn NativeStream>, OpenError>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let mut phase = shared.phase.subscribe();
            let closing = phase.wait_for(|phase| *phase != Phase::Running);
            tokio::select! {
                biased;
                _ = closing => {
                    let end = shared.closed().unwrap_or(SessionEnd::ClosedHere);
                    Err(OpenError::Session(end))
                }
                opened = shared.connection.open_bi() => match opened {
                    Ok(streams) => Ok(shared.stream(streams) as Box<dyn NativeStream>),
                    Err(error) => Err(OpenError::Session(shared.end_of(error))),
                },
            }
        })
    }

    fn accept(&self) -> NativeFuture<Result<Box<dyn NativeStream>, SessionEnd>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            loop {
                match shared.connection.accept_bi().await {
                    Ok((mut send, mut receive)) if shared.gone_away.load(Ordering::Acquire) => {
                        // Errors say that the stream is over already.
                        let _over = send.reset(VarInt::from_u32(REFUSED));
                        let _over = receive.stop(VarInt::from_u32(REFUSED));
                    }
                    Ok(streams) => return Ok(shared.stream(streams) as Box<dyn NativeStream>),
                    Err(error) => return Err(shared.end_of(error)),
                }
            }
        })
    }

    fn go_away(&self) {
        if self.shared.gone_away.swap(true, Ordering::AcqRel) {
            return;
        }
        // Whoever accepts refuses, and if nobody does, this does. It ends with the connection.
        let refusing = self.accept();
        tokio::spawn(async move { drop(refusing.await) });
    }

    fn close(&self) {
        self.shared.phase.send_if_modified(|phase| {
            let running = *phase == Phase::Running;
            if running {
                *phase = Phase::Closing;
            }
            running
        });
    }

    fn close_with(&self, code: u32, debug: &[u8]) {
        let end = match code {
            0 => SessionEnd::ClosedHere,
            code => SessionEnd::ClosedWithCode(code),
        };
        self.shared.close_here(end, VarInt::from_u32(code), debug);
    }

    fn abort(&self) {
        self.shared.close_here(SessionEnd::ClosedHere, CLOSED, b"");
    }

    fn over(&self) -> NativeFuture<()> {
        let mut phase = self.shared.phase.subscribe();
        Box::pin(async move {
            // An error says that the task is gone, as when the runtime ends.
            let _over = phase.wait_for(|phase| *phase == Phase::Over).await;
        })
    }

    fn end(&self) -> Option<SessionEnd> {
        self.shared.end()
    }

    fn outcome(&self) -> Result<CloseOutcome, SessionEnd> {
        let outcome = *self.shared.outcome.borrow();
        outcome.ok_or_else(|| self.end().unwrap_or(SessionEnd::ClosedHere))
    }

    fn remote_go_away(&self) -> Option<RemoteGoAway> {
        match self.shared.connection.close_reason()? {
            ConnectionError::ApplicationClosed(close) => {
                Some(RemoteGoAway::new(code(close.error_code), close.reason))
            }
            _ => None,
        }
    }

    fn rtt(&self) -> Option<Duration> {
        Some(self.shared.connection.rtt())
    }

    fn bytes(&self) -> (u64, u64) {
        let stats = self.shared.connection.stats();
        (stats.udp_rx.bytes, stats.udp_tx.bytes)
    }
}

/// The code as sessions have it; the largest stands for those that do not fit.
fn code(code: VarInt) -> u32 {
    code.into_inner().try_into().unwrap_or(u32::MAX)
}
