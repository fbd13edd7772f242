//! The same message to many sockets.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::{JoinSet, unconstrained, yield_now};
use tokio::time::timeout;

use crate::socket::{CloseReason, Message, Pushed, SendError, Shed, Socket};

/// Sockets that are written to without a pause, by one task. Many short tasks, and not one for each thread: a
/// thread that the system takes away leaves little behind that the others could not do meanwhile.
const RUN: usize = 256;
/// Below so many targets a second task costs more than it brings.
const WORTH_TASKS: usize = 1024;

/// What is done about a socket that does not take what it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlowConsumer {
    /// It is closed, with [`CloseReason::SlowConsumer`], when more would wait than the limit. The
    /// default: whoever sees a stream sees all of it.
    Disconnect,
    /// The new message is not sent to it.
    DropNewest,
    /// The oldest messages that wait go, as many as it takes, whole: one that has left in part is
    /// always finished.
    DropOldest,
    /// Only the latest message waits: all others that wait go, whole. Of messages about something
    /// ([`Broadcaster::broadcast_about`]) the latest of each key does.
    Latest,
    /// The broadcast waits for it. For peers that can be trusted to read.
    Block,
}

/// Sends one message to many sockets without a copy and without waiting for the slow ones.
///
/// Each target gets the message through its own queue, where it has the same place among whatever else
/// is sent to that socket. A socket that can take it has it when [`broadcast`](Self::broadcast) returns;
/// for the others it waits, up to a limit, and then a [`SlowConsumer`] policy decides.
///
/// ```
/// use towline_server::{Broadcaster, SlowConsumer};
///
/// # async fn tick(server: &towline_server::Server) {
/// let news = Broadcaster::new().slow_consumer(SlowConsumer::DropOldest).max_queued(64 * 1024);
/// let report = news.broadcast("tick\n", server.sockets()).await;
/// println!("{} have it, {} will", report.written, report.queued);
/// # }
/// ```
#[derive(Clone)]
pub struct Broadcaster {
    policy: SlowConsumer,
    max_queued: usize,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    stopped: AtomicBool,
    running: AtomicU64,
    idle: Notify,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BroadcastReport {
    /// Sockets whose system has all of it.
    pub written: usize,
    /// Sockets for which it waits.
    pub queued: usize,
    /// Sockets that did not get it for want of room, or that lost an older message to it.
    pub dropped: usize,
    /// Sockets that were closed for being too slow.
    pub disconnected: usize,
    /// Sockets that had ended.
    pub closed: usize,
    /// The broadcaster was stopped: nothing was sent.
    pub stopped: bool,
}

impl BroadcastReport {
    fn add(&mut self, other: Self) {
        self.written += other.written;
        self.queued += other.queued;
        self.dropped += other.dropped;
        self.disconnected += other.disconnected;
        self.closed += other.closed;
    }
}

impl Default for Broadcaster {
    fn default() -> Self {
        Self {
            policy: SlowConsumer::Disconnect,
            max_queued: 1024 * 1024,
            shared: Arc::default(),
        }
    }
}

impl Broadcaster {
    /// A broadcaster that disconnects sockets for which more than 1 MiB waits.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is done about slow sockets.
    pub fn slow_consumer(mut self, policy: SlowConsumer) -> Self {
        self.policy = policy;
        self
    }

    /// How many bytes may wait for one socket, other senders' included: 1 MiB unless told otherwise. Each
    /// message counts 128 bytes on top of its own, as in [`Builder::max_queued`](crate::Builder::max_queued).
    pub fn max_queued(mut self, bytes: usize) -> Self {
        self.max_queued = bytes;
        self
    }

    /// Sends `message` to every target. With [`SlowConsumer::Block`] it waits for room; else it never
    /// waits for a peer.
    ///
    /// # Cancel safety
    ///
    /// Dropped, some targets have the message and others do not; none has a part of it.
    pub async fn broadcast(
        &self,
        message: impl Into<Bytes>,
        targets: impl Into<Vec<Socket>>,
    ) -> BroadcastReport {
        self.broadcast_with(None, message.into(), targets.into())
            .await
    }

    async fn broadcast_with(
        &self,
        key: Option<u64>,
        message: Bytes,
        targets: Vec<Socket>,
    ) -> BroadcastReport {
        let Some(_running) = self.enter() else {
            return BroadcastReport {
                stopped: true,
                ..BroadcastReport::default()
            };
        };
        if message.is_empty() {
            return BroadcastReport::default();
        }
        let mut report = BroadcastReport::default();
        let mut full = Vec::new();
        if workers() == 1 || targets.len() < WORTH_TASKS {
            for (number, run) in targets.chunks(RUN).enumerate() {
                if number > 0 {
                    yield_now().await;
                }
                // The runtime's budget for one task is half a run; the pauses do what it is for.
                unconstrained(async { self.run(key, &message, run, &mut report, &mut full) }).await;
            }
        } else {
            let mut runs = JoinSet::new();
            let mut rest = targets;
            while !rest.is_empty() {
                let run = rest.split_off(rest.len().saturating_sub(RUN));
                let (this, message) = (self.clone(), message.clone());
                runs.spawn(unconstrained(async move {
                    let (mut report, mut full) = Default::default();
                    this.run(key, &message, &run, &mut report, &mut full);
                    (report, full)
                }));
            }
            while let Some(done) = runs.join_next().await {
                let (part, waits) = done.unwrap_or_default();
                report.add(part);
                full.extend(waits);
            }
        }
        // Here and not in tasks of their own, so that a pool knows that its handler waits.
        for socket in full {
            self.wait_and_send(key, &message, &socket, &mut report)
                .await;
        }
        report
    }

    /// As [`broadcast`](Self::broadcast), with a message about `key`: a price of one share, the place of one
    /// player. With [`SlowConsumer::Latest`] it takes the place of those about the same that wait, and of no
    /// others; the other policies do not look at the key.
    ///
    /// # Cancel safety
    ///
    /// As [`broadcast`](Self::broadcast).
    pub async fn broadcast_about(
        &self,
        key: u64,
        message: impl Into<Bytes>,
        targets: impl Into<Vec<Socket>>,
    ) -> BroadcastReport {
        self.broadcast_with(Some(key), message.into(), targets.into())
            .await
    }

    /// As [`broadcast`](Self::broadcast), to all targets but one: whoever says something need not hear
    /// it.
    ///
    /// # Cancel safety
    ///
    /// As [`broadcast`](Self::broadcast).
    pub async fn broadcast_except(
        &self,
        message: impl Into<Bytes>,
        targets: impl Into<Vec<Socket>>,
        except: &Socket,
    ) -> BroadcastReport {
        let mut targets = targets.into();
        targets.retain(|socket| socket != except);
        self.broadcast(message, targets).await
    }

    /// Sends `message`, and waits until every target's system has it or the target has ended, at most
    /// until `limit`; how many had it then.
    ///
    /// # Cancel safety
    ///
    /// As [`broadcast`](Self::broadcast).
    pub async fn broadcast_and_flush(
        &self,
        message: impl Into<Bytes>,
        targets: impl Into<Vec<Socket>>,
        limit: Duration,
    ) -> (BroadcastReport, usize) {
        let targets = targets.into();
        let report = self.broadcast(message, targets.clone()).await;
        let mut flushed = 0;
        let waited = timeout(limit, async {
            for socket in &targets {
                flushed += usize::from(socket.flushed().await.is_ok());
            }
        });
        if waited.await.is_err() {
            // What is left was looked at by nobody; some of it may be done.
            flushed = targets
                .iter()
                .filter(|socket| !socket.is_closed() && socket.queued() == 0)
                .count();
        }
        (report, flushed)
    }

    /// Takes no more messages, waits for those that are being sent, and then until nothing waits for
    /// `targets`, at most until `limit`; how many bytes wait then.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it stays stopped.
    pub async fn stop(&self, targets: &[Socket], limit: Duration) -> usize {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let drained = timeout(limit, async {
            loop {
                let idle = self.shared.idle.notified();
                if self.shared.running.load(Ordering::SeqCst) == 0 {
                    break;
                }
                idle.await;
            }
            for socket in targets {
                // One that has ended has nothing waiting.
                let _ended = socket.flushed().await;
            }
        });
        if drained.await.is_ok() {
            return 0;
        }
        targets.iter().map(Socket::queued).sum()
    }

    fn enter(&self) -> Option<Running<'_>> {
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        let running = Running(&self.shared);
        (!self.shared.stopped.load(Ordering::SeqCst)).then_some(running)
    }

    /// Sends to those that have room, without a pause; those that are to be waited for come into `full`.
    fn run(
        &self,
        key: Option<u64>,
        message: &Bytes,
        targets: &[Socket],
        report: &mut BroadcastReport,
        full: &mut Vec<Socket>,
    ) {
        for socket in targets {
            if !self.send(key, message, socket, report) {
                full.push(socket.clone());
            }
        }
    }

    /// Waits for a slow socket, for as long as it lives.
    async fn wait_and_send(
        &self,
        key: Option<u64>,
        message: &Bytes,
        socket: &Socket,
        report: &mut BroadcastReport,
    ) {
        loop {
            if socket.flushed().await.is_err() {
                report.closed += 1;
                return;
            }
            if self.send(key, message, socket, report) {
                return;
            }
        }
    }

    /// False if the socket has no room and is to be waited for.
    fn send(
        &self,
        key: Option<u64>,
        message: &Bytes,
        socket: &Socket,
        report: &mut BroadcastReport,
    ) -> bool {
        let shed = match (self.policy, key) {
            (SlowConsumer::DropOldest, _) => Shed::Oldest,
            (SlowConsumer::Latest, None) => Shed::All,
            (SlowConsumer::Latest, Some(key)) => Shed::Key(key),
            _ => Shed::Refuse,
        };
        let message = Message::Owned(message.clone());
        // A layer that panics ends its own connection and not the broadcast.
        let pushed = catch_unwind(AssertUnwindSafe(|| {
            socket.0.push_message(message, shed, self.max_queued)
        }));
        let pushed = pushed.unwrap_or_else(|payload| {
            socket
                .0
                .registry
                .panicked("a layer of a connection", payload);
            socket.close(CloseReason::Panicked);
            Err(SendError::Closed)
        });
        match pushed {
            Ok(Pushed::Written) => report.written += 1,
            Ok(Pushed::Queued) => report.queued += 1,
            Ok(Pushed::Replaced) => {
                report.queued += 1;
                report.dropped += 1;
            }
            Err(SendError::Full { .. }) => match self.policy {
                SlowConsumer::Block => return false,
                SlowConsumer::Disconnect => {
                    socket.close(CloseReason::SlowConsumer);
                    report.disconnected += 1;
                }
                _ => report.dropped += 1,
            },
            Err(_) => report.closed += 1,
        }
        true
    }
}

struct Running<'a>(&'a Shared);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

impl fmt::Debug for Broadcaster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broadcaster")
            .field("policy", &self.policy)
            .field("max_queued", &self.max_queued)
            .finish_non_exhaustive()
    }
}

/// How many tasks can work at once; outside of a runtime there are none.
fn workers() -> usize {
    Handle::try_current().map_or(1, |runtime| runtime.metrics().num_workers())
}
