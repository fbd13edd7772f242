//! All sockets of a server, and what became of those that are gone.

use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::complaints::Complaints;
use crate::counters;
use crate::socket::{CloseReason, Inner, Socket, Traffic, WeakSocket};
use crate::time_limits::TimeLimits;

/// Sockets are spread over so many locks.
const SHARDS: usize = 16;
/// How often totals are looked at again because a socket was just leaving.
const LOOKS: usize = 100;

/// What the sockets of one server, or one client, share.
pub(crate) struct Registry {
    next_id: AtomicU64,
    sockets: [Mutex<HashMap<u64, WeakSocket>>; SHARDS],
    settings: RwLock<Settings>,
    /// The shortest limit that a socket has of its own, in nanoseconds.
    shortest: AtomicU64,
    limits_changed: Notify,
    connections: Gauge,
    tasks: Gauge,
    /// Told when the last task has ended.
    idle: Notify,
    departed_read: AtomicU64,
    departed_written: AtomicU64,
    closed: [AtomicU64; CloseReason::ALL.len()],
    pub(crate) reading: Reading,
    stopping: AtomicBool,
    /// Nobody is served any more, not even who comes in this moment.
    dead: AtomicBool,
    stop: CancellationToken,
    pub(crate) counters: Arc<counters::Shared>,
    panics: Mutex<Complaints>,
    ended_badly: Mutex<Complaints>,
}

/// What can be changed while sockets live.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Bytes that may wait for one socket.
    pub(crate) max_queued: usize,
    /// Below and above which a socket is told to be writable, or not.
    pub(crate) marks: (usize, usize),
    /// How long a connection whose handler has returned may take to send what waits.
    pub(crate) linger: Duration,
    /// How long a server that ends waits for its handlers.
    pub(crate) drain_deadline: Duration,
    pub(crate) limits: TimeLimits,
}

/// What the read loops of all connections have done.
#[derive(Default)]
pub(crate) struct Reading {
    pub(crate) packets: AtomicU64,
    pub(crate) oversized: AtomicU64,
    pub(crate) unfinished: AtomicU64,
    pub(crate) reads: AtomicU64,
    pub(crate) yields: AtomicU64,
    pub(crate) buffers: AtomicU64,
}

impl Reading {
    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}

/// A number that goes up and down, and how high it has been.
#[derive(Default)]
struct Gauge {
    now: AtomicU64,
    peak: AtomicU64,
}

impl Gauge {
    fn up(&self) {
        let now = self.now.fetch_add(1, Ordering::AcqRel) + 1;
        self.peak.fetch_max(now, Ordering::Relaxed);
    }

    /// True if that was the last.
    fn down(&self) -> bool {
        self.now.fetch_sub(1, Ordering::AcqRel) == 1
    }

    fn now(&self) -> u64 {
        self.now.load(Ordering::Acquire)
    }

    fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}

impl Registry {
    pub(crate) fn new(
        settings: Settings,
        stop: CancellationToken,
        counters: Arc<counters::Shared>,
    ) -> Arc<Self> {
        Arc::new(Self {
            next_id: AtomicU64::new(1),
            sockets: Default::default(),
            settings: RwLock::new(settings),
            shortest: AtomicU64::new(u64::MAX),
            limits_changed: Notify::new(),
            connections: Gauge::default(),
            tasks: Gauge::default(),
            idle: Notify::new(),
            departed_read: AtomicU64::new(0),
            departed_written: AtomicU64::new(0),
            closed: Default::default(),
            reading: Reading::default(),
            stopping: AtomicBool::new(false),
            dead: AtomicBool::new(false),
            stop,
            counters,
            panics: Mutex::new(Complaints::new("panics")),
            ended_badly: Mutex::new(Complaints::new("connections that ended badly")),
        })
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    fn settings(&self) -> Settings {
        *self.settings.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes by others from now on.
    pub(crate) fn change(&self, settings: Settings) {
        *self
            .settings
            .write()
            .unwrap_or_else(PoisonError::into_inner) = settings;
        self.limits_changed.notify_one();
    }

    pub(crate) fn max_queued(&self) -> usize {
        self.settings().max_queued
    }

    pub(crate) fn marks(&self) -> (usize, usize) {
        self.settings().marks
    }

    pub(crate) fn linger(&self) -> Duration {
        self.settings().linger
    }

    pub(crate) fn drain_deadline(&self) -> Duration {
        self.settings().drain_deadline
    }

    pub(crate) fn time_limits(&self) -> TimeLimits {
        self.settings().limits
    }

    /// The shortest limit of the server, and of the sockets that have their own.
    pub(crate) fn shortest_limit(&self) -> Option<Duration> {
        let own = match self.shortest.load(Ordering::Acquire) {
            u64::MAX => None,
            nanos => Some(Duration::from_nanos(nanos)),
        };
        own.into_iter().chain(self.time_limits().shortest()).min()
    }

    /// A socket has limits of its own now.
    pub(crate) fn has_limits(&self, shortest: Option<Duration>) {
        let Some(shortest) = shortest else { return };
        let nanos = u64::try_from(shortest.as_nanos()).unwrap_or(u64::MAX);
        if self.shortest.fetch_min(nanos, Ordering::AcqRel) > nanos {
            self.limits_changed.notify_one();
        }
    }

    /// Before a look at all of them: what they have is found anew.
    pub(crate) fn forget_shortest(&self) {
        self.shortest.store(u64::MAX, Ordering::Release);
    }

    /// What they have, after it. Who has come by one meanwhile has said so.
    pub(crate) fn found_shortest(&self, shortest: Option<Duration>) {
        let nanos = shortest.and_then(|least| u64::try_from(least.as_nanos()).ok());
        self.shortest
            .fetch_min(nanos.unwrap_or(u64::MAX), Ordering::AcqRel);
    }

    /// Waits for a change that may bring the next look forward.
    pub(crate) async fn limits_changed(&self) {
        self.limits_changed.notified().await;
    }

    pub(crate) fn enter(&self, id: u64, socket: WeakSocket) {
        self.connections.up();
        self.shard(id).insert(id, socket);
    }

    /// A connection has ended; its socket may live on in somebody's hands.
    pub(crate) fn left(&self, reason: CloseReason) {
        // Whoever sees a connection less sees its reason as well.
        self.closed[reason as usize - 1].fetch_add(1, Ordering::Release);
        self.connections.down();
    }

    /// A socket is gone for good.
    pub(crate) fn depart(&self, id: u64, traffic: &Traffic) {
        let mut shard = self.shard(id);
        self.departed_read
            .fetch_add(traffic.read(), Ordering::Relaxed);
        self.departed_written
            .fetch_add(traffic.written(), Ordering::Relaxed);
        shard.remove(&id);
    }

    /// Calls `each` with every socket that is referred to, ended or not. No lock is held meanwhile.
    pub(crate) fn for_each(&self, mut each: impl FnMut(&Socket)) {
        for shard in &self.sockets {
            // The clones are dropped outside the lock: the last one of a socket takes it out of the map.
            let sockets: Vec<Socket> = lock(shard)
                .values()
                .filter_map(WeakSocket::upgrade)
                .collect();
            for socket in &sockets {
                each(socket);
            }
        }
    }

    /// Bytes read and written by all sockets that ever were.
    pub(crate) fn totals(&self) -> (u64, u64) {
        let mut looks = 0;
        loop {
            let (totals, complete) = self.look_at_totals();
            looks += 1;
            if complete || looks == LOOKS {
                return totals;
            }
            // Whoever is leaving waits for the locks.
            thread::yield_now();
        }
    }

    /// The same, and whether nobody was in the middle of leaving: a socket in its destructor is not among those that
    /// live any more, nor yet among those that have departed.
    fn look_at_totals(&self) -> ((u64, u64), bool) {
        let (mut read, mut written, mut complete) = (0, 0, true);
        let mut sockets = Vec::new();
        // A socket that departs is taken off the map and added to the departed under its shard's lock:
        // with all locks held it is counted once.
        let guards: Vec<_> = self.sockets.iter().map(lock).collect();
        for socket in guards.iter().flat_map(|guard| guard.values()) {
            let Some(socket) = socket.upgrade() else {
                complete = false;
                continue;
            };
            read += socket.0.traffic.read();
            written += socket.0.traffic.written();
            sockets.push(socket);
        }
        read += self.departed_read.load(Ordering::Relaxed);
        written += self.departed_written.load(Ordering::Relaxed);
        // Before the sockets, the last clones of which may be these.
        drop(guards);
        ((read, written), complete)
    }

    pub(crate) fn connections(&self) -> (u64, u64) {
        (self.connections.now(), self.connections.peak())
    }

    pub(crate) fn tasks(&self) -> (u64, u64) {
        (self.tasks.now(), self.tasks.peak())
    }

    pub(crate) fn closed(&self, reason: CloseReason) -> u64 {
        self.closed[reason as usize - 1].load(Ordering::Acquire)
    }

    /// Counts a task in.
    pub(crate) fn task_begins(&self) {
        self.tasks.up();
    }

    /// Counts it out again.
    pub(crate) fn task_ended(&self) {
        if self.tasks.down() {
            self.idle.notify_waiters();
        }
    }

    /// Waits until no task of a connection is left.
    pub(crate) async fn all_tasks_ended(&self) {
        loop {
            let told = self.idle.notified();
            if self.tasks.now() == 0 {
                return;
            }
            told.await;
        }
    }

    /// Tells every connection that the server is stopping.
    pub(crate) fn begin_stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.for_each(|socket| socket.0.nudge());
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    pub(crate) const fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Drops every handler and resets every connection.
    pub(crate) fn kill_all(&self) {
        self.dead.store(true, Ordering::Release);
        self.for_each(|socket| Inner::kill(&socket.0));
    }

    /// Counts a panic and shows it, at most once a second.
    pub(crate) fn panicked(&self, whose: &str, payload: Box<dyn Any + Send>) {
        self.counters.handler_panicked();
        let text = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no text");
        let line = format!("{whose} panicked; nobody else is affected: {text}");
        lock(&self.panics).note(line);
        // A payload may panic once more while it is dropped.
        if catch_unwind(AssertUnwindSafe(|| drop(payload))).is_err() {
            tracing::error!("the panic's payload panicked as well");
        }
    }

    /// Shows how a connection ended badly, at most once a second.
    pub(crate) fn ended_badly(&self, text: String) {
        lock(&self.ended_badly).note(text);
    }

    /// Shows what was counted and not shown.
    pub(crate) fn show_complaints(&self) {
        lock(&self.panics).flush_if_due();
        lock(&self.ended_badly).flush_if_due();
    }

    /// The same at the end, whenever the last was shown.
    pub(crate) fn show_all_complaints(&self) {
        lock(&self.panics).flush();
        lock(&self.ended_badly).flush();
    }

    fn shard(&self, id: u64) -> MutexGuard<'_, HashMap<u64, WeakSocket>> {
        // Within bounds: a remainder.
        lock(&self.sockets[(id % SHARDS as u64) as usize])
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
