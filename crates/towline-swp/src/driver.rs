//! One task per session: receives, times, sends and wakes. The protocol is in
//! [`proto`](crate::proto).

mod clock;

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

pub(crate) use self::clock::{now, seed};
use crate::{
    network::{
        Inbox, Network,
        queue::{Exit, Weight},
    },
    proto::{CompactKind, Engine, EngineEvent, Incoming, Now, Transmit},
};

/// Packets that are taken in, and sent, before the other has its turn.
const BATCH: usize = 64;

/// What a packet that was read takes in memory beside its data, of either format.
const CLASSIC: usize = 640;
const COMPACT: usize = 160;

/// Who waits without a future that ends the wait when it is dropped: readers and writers of bytes, as a
/// rule one of each. The oldest of more is woken, and finds its place again if it still waits.
const MAX_POLLERS: usize = 16;

/// Where a session's packets come from.
pub(crate) enum Source {
    /// An inbox of its own.
    Inbox(Inbox),
    /// A listener, which reads the packets of many sessions.
    Routed(Routed),
    /// A network that has gone away for good.
    Gone,
}

/// Packets that a listener has read for a session.
pub(crate) struct Routed {
    pub(crate) packets: Exit<Arrived>,
    /// Dropped with the session: the listener's task lives as long as any of them.
    pub(crate) _alive: mpsc::Sender<Infallible>,
}

/// A packet that a listener has read.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) incoming: Incoming,
    /// Its bytes on the network, which a part of it may keep in memory.
    pub(crate) len: usize,
}

/// What the task of a session and its handle share.
pub(crate) struct Shared {
    state: Mutex<State>,
    /// The task looks at the engine again.
    changed: Notify,
    /// The most data of one packet (docs/wire W7).
    max_data: usize,
}

pub(crate) struct State {
    pub(crate) engine: Engine,
    /// Packets that could not be read (docs/wire W7, W9).
    pub(crate) undecodable: u64,
    /// Packets that the network refused to send.
    pub(crate) unsent: u64,
    /// Who waits for something of the session; woken together, they look for themselves.
    waiting: Vec<Waiting>,
    /// Futures that have waited so far.
    waits: u64,
    /// The task has ended.
    is_over: bool,
    /// The handle is gone, and what was sent is to be delivered all the same.
    pub(crate) is_let_go: bool,
}

/// Somebody who waits.
struct Waiting {
    /// Of the future that forgets this when it is dropped; `None` of what is polled without one.
    number: Option<u64>,
    waker: Waker,
}

/// A future's place among those who wait, which it gives up when it is dropped.
struct Place<'a> {
    shared: &'a Shared,
    number: Option<u64>,
}

impl Shared {
    pub(crate) fn new(engine: Engine, max_data: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                engine,
                undecodable: 0,
                unsent: 0,
                waiting: Vec::new(),
                waits: 0,
                is_over: false,
                is_let_go: false,
            }),
            changed: Notify::new(),
            max_data,
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // The engine is consistent between any two statements that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs an application call on the engine, and has the task send what follows from it.
    pub(crate) fn call<T>(&self, call: impl FnOnce(&mut Engine, Now) -> T) -> T {
        let result = call(&mut self.lock().engine, now());
        self.changed.notify_one();
        result
    }

    /// Polls an application call until it has a result: it is called again whenever something of the
    /// session has changed.
    pub(crate) fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        attempt: impl FnOnce(&mut Engine, Now) -> Poll<T>,
    ) -> Poll<T> {
        let mut state = self.lock();
        let polled = attempt(&mut state.engine, now());
        let displaced = if polled.is_pending() {
            state.wait_unnumbered(cx.waker())
        } else {
            None
        };
        // Nothing of a waker runs under the lock: it may use the session.
        drop(state);
        if let Some(displaced) = displaced {
            displaced.waker.wake();
        }
        if polled.is_ready() {
            self.changed.notify_one();
        }
        polled
    }

    /// Waits for the result of an application call.
    pub(crate) async fn wait<T>(&self, mut attempt: impl FnMut(&mut Engine, Now) -> Poll<T>) -> T {
        let mut place = Place::new(self);
        let result = poll_fn(|cx| {
            let mut state = self.lock();
            let polled = attempt(&mut state.engine, now());
            let former = polled
                .is_pending()
                .then(|| place.take(&mut state, cx.waker()));
            drop(state);
            drop(former);
            polled
        })
        .await;
        self.changed.notify_one();
        result
    }

    /// What is not sent is lost, as on any network, and the engine sends it again; unless it can never be
    /// sent.
    fn not_sent(&self, error: &io::Error) {
        let mut state = self.lock();
        state.unsent += 1;
        if error.kind() == io::ErrorKind::InvalidInput {
            state.engine.fail_to_send(now(), &error.to_string());
        }
    }

    /// Waits for the end of the task: nothing is left then of the session but its handle.
    pub(crate) async fn task_ended(&self) {
        let mut place = Place::new(self);
        poll_fn(|cx| {
            let mut state = self.lock();
            if state.is_over {
                return Poll::Ready(());
            }
            let former = place.take(&mut state, cx.waker());
            drop(state);
            drop(former);
            Poll::Pending
        })
        .await;
    }
}

impl State {
    /// Has a waker woken with the next change; gives back the one that had to make room.
    fn wait_unnumbered(&mut self, waker: &Waker) -> Option<Waiting> {
        let pollers = || self.waiting.iter().filter(|other| other.number.is_none());
        if pollers().any(|other| other.waker.will_wake(waker)) {
            return None;
        }
        let displaced = if pollers().count() < MAX_POLLERS {
            None
        } else {
            let oldest = self.waiting.iter().position(|other| other.number.is_none());
            oldest.map(|index| self.waiting.remove(index))
        };
        self.waiting.push(Waiting {
            number: None,
            waker: waker.clone(),
        });
        displaced
    }
}

impl<'a> Place<'a> {
    fn new(shared: &'a Shared) -> Self {
        Self {
            shared,
            number: None,
        }
    }

    /// Waits, with this waker. Gives back the one before, which is not dropped under the lock: what
    /// goes with it may be another handle of the session.
    fn take(&mut self, state: &mut State, waker: &Waker) -> Option<Waker> {
        let number = *self.number.get_or_insert_with(|| {
            state.waits += 1;
            state.waits
        });
        let mut waiting = state.waiting.iter_mut();
        if let Some(own) = waiting.find(|other| other.number == Some(number)) {
            if own.waker.will_wake(waker) {
                return None;
            }
            return Some(std::mem::replace(&mut own.waker, waker.clone()));
        }
        state.waiting.push(Waiting {
            number: Some(number),
            waker: waker.clone(),
        });
        None
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.number.is_none() {
            return;
        }
        let mut state = self.shared.lock();
        let place = |other: &Waiting| other.number == self.number;
        let own = state.waiting.iter().position(place);
        let own = own.map(|index| state.waiting.remove(index));
        drop(state);
        drop(own);
    }
}

/// Runs a session until it is over and nothing is left to send or to answer. `connected` is called
/// once, when both ends know each other.
pub(crate) async fn run(
    shared: Arc<Shared>,
    network: Arc<dyn Network>,
    source: Source,
    mut connected: impl FnMut() + Send,
) {
    // Whoever waits is told of the end, however the task ends.
    let ending = Ending(Arc::clone(&shared));
    let mut task = Task {
        shared,
        source,
        packets: Vec::new(),
        routed: Vec::new(),
        incoming: Vec::new(),
        outgoing: Vec::new(),
    };
    loop {
        let (deadline, is_done) = task.turn(&mut connected);
        let is_idle = task.outgoing.is_empty();
        for packet in task.outgoing.drain(..) {
            if let Err(error) = network.send(&packet.dest, packet.bytes).await {
                task.shared.not_sent(&error);
            }
        }
        if is_done {
            break;
        }
        if !is_idle {
            // More may be ready to leave; what has come meanwhile is taken in first.
            task.take_in_what_is_here();
            tokio::task::yield_now().await;
            continue;
        }
        let timer = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let shared = Arc::clone(&task.shared);
        tokio::select! {
            biased;
            is_open = task.source.receive(&mut task.packets, &mut task.routed) => {
                if !is_open {
                    // The network has gone away for good.
                    task.shared.lock().engine.abort(now());
                    task.source = Source::Gone;
                    task.turn(&mut connected);
                    break;
                }
            }
            () = shared.changed.notified() => {}
            () = timer => {}
        }
    }
    drop(ending);
}

struct Task {
    shared: Arc<Shared>,
    source: Source,
    packets: Vec<Bytes>,
    routed: Vec<Arrived>,
    incoming: Vec<Incoming>,
    outgoing: Vec<Transmit>,
}

impl Task {
    /// Takes in what came, does what is due, collects what is to be sent, wakes who waits.
    fn turn(&mut self, connected: &mut impl FnMut()) -> (Option<std::time::Instant>, bool) {
        let mut undecodable = 0;
        // Reading packets and comparing checksums needs no lock.
        for packet in self.packets.drain(..) {
            match Incoming::decode(&packet, self.shared.max_data) {
                Ok(incoming) => self.incoming.push(incoming),
                Err(_) => undecodable += 1,
            }
        }
        self.incoming
            .extend(self.routed.drain(..).map(|arrived| arrived.incoming));
        let now = now();
        let mut state = self.shared.lock();
        state.undecodable += undecodable;
        for incoming in self.incoming.drain(..) {
            state.engine.handle(now, incoming);
        }
        if state.engine.deadline().is_some_and(|at| at <= now.instant) {
            state.engine.handle_timeout(now);
        }
        while self.outgoing.len() < BATCH
            && let Some(transmit) = state.engine.poll_transmit(now)
        {
            self.outgoing.push(transmit);
        }
        let mut wakes = Vec::new();
        let mut is_connected = false;
        while let Some(event) = state.engine.poll_event() {
            is_connected |= event == EngineEvent::Connected;
            wakes.append(&mut state.waiting);
        }
        let result = (state.engine.deadline(), state.engine.is_done());
        drop(state);
        for waiting in wakes {
            waiting.waker.wake();
        }
        if is_connected {
            connected();
        }
        result
    }

    fn take_in_what_is_here(&mut self) {
        match &mut self.source {
            Source::Inbox(inbox) => {
                while self.packets.len() < BATCH
                    && let Some(packet) = inbox.try_receive()
                {
                    self.packets.push(packet);
                }
            }
            Source::Routed(routed) => {
                while self.routed.len() < BATCH
                    && let Some(arrived) = routed.packets.try_take()
                {
                    self.routed.push(arrived);
                }
            }
            Source::Gone => {}
        }
    }
}

impl Source {
    /// Waits for packets; false if none will ever come.
    async fn receive(&mut self, packets: &mut Vec<Bytes>, arrived: &mut Vec<Arrived>) -> bool {
        match self {
            Self::Inbox(inbox) => inbox.receive_many(packets, BATCH).await > 0,
            Self::Routed(routed) => routed.packets.take_many(arrived, BATCH).await > 0,
            Self::Gone => std::future::pending().await,
        }
    }
}

/// Marks the end of a task, even of one that was aborted.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.engine.abort(now());
        state.is_over = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for waiting in waiting {
            waiting.waker.wake();
        }
    }
}

impl Weight for Arrived {
    fn weight(&self) -> usize {
        let read = match &self.incoming {
            Incoming::Classic(packet) => CLASSIC + packet.data.len(),
            Incoming::Compact(frame) => {
                COMPACT
                    + match &frame.kind {
                        CompactKind::Data { data, .. } => data.len(),
                        _ => 0,
                    }
            }
        };
        // Names and padding count too.
        read.max(self.len)
    }
}
