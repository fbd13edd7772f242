//! What the driver and the handles of one connection share.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use futures_util::task::AtomicWaker;
use rustc_hash::FxHashMap;
use tokio::sync::{Notify, futures::Notified};

use super::{Core, now};
use crate::{
    close::CloseReason,
    proto::{Compression, EncodedFrame, Message, Now, TooLarge},
};

/// A body at least this large is compressed outside the lock.
const COMPRESS_OUTSIDE: usize = 8 << 10;

/// What the driver and the handles of one connection share.
pub(crate) struct Shared<C: Core> {
    state: Mutex<State<C>>,
    pub(super) driver: AtomicWaker,
    /// Tells one of those who wait for room that there is some; who was told tells the next when it
    /// has seen room. So none is woken in vain, however many wait.
    pub(super) room: Notify,
    /// Tells everybody that the connection is over.
    pub(super) end: Notify,
}

impl<C: Core> std::fmt::Debug for Shared<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("closed", &self.lock().closed)
            .finish_non_exhaustive()
    }
}

pub(crate) struct State<C: Core> {
    pub(crate) core: C,
    /// Why the connection is over, once it is.
    pub(crate) closed: Option<CloseReason>,
    /// Nothing more will be queued: write what there is, then end.
    pub(super) closing: bool,
    /// When it ends even if something is left to write.
    pub(super) close_by: Option<Instant>,
    /// The driver is running, or will run: it need not be woken. It looks at everything before it
    /// takes this back.
    pub(super) woken: bool,
    /// Reading is paused by the core's back-pressure.
    pub(super) paused: bool,
    waiting_for_part: FxHashMap<C::Stream, Waker>,
}

impl<C: Core> Shared<C> {
    pub(crate) fn new(core: C) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                core,
                closed: None,
                closing: false,
                close_by: None,
                woken: false,
                paused: false,
                waiting_for_part: FxHashMap::default(),
            }),
            driver: AtomicWaker::new(),
            room: Notify::new(),
            end: Notify::new(),
        })
    }

    /// The state. A poisoned lock is a bug that has been reported where it happened; the tables
    /// are consistent between any two statements that can panic, so the others go on.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of the state and has the driver look at what has changed in it.
    pub(crate) fn wake_driver(&self, mut state: MutexGuard<'_, State<C>>) {
        let asleep = !std::mem::replace(&mut state.woken, true);
        drop(state);
        if asleep {
            self.driver.wake();
        }
    }

    /// Waits until senders may queue more, or nothing can be sent any more.
    ///
    /// Cancel-safe: who is dropped lets the next one know.
    pub(crate) async fn room(&self) -> Result<(), CloseReason> {
        self.may_send(None, |_| false, |_| true).await
    }

    /// Waits until the next part of a stream may be queued, the stream is over, or nothing can be sent
    /// any more.
    ///
    /// Cancel-safe: who is dropped lets the next one know.
    pub(crate) async fn may_send(
        &self,
        stream: Option<C::Stream>,
        is_over: impl Fn(&C) -> bool,
        may_send: impl Fn(&C) -> bool,
    ) -> Result<(), CloseReason> {
        let mut told = pin!(None::<Notified<'_>>);
        poll_fn(|cx| {
            loop {
                let waits = told.is_some();
                let was_told = told
                    .as_mut()
                    .as_pin_mut()
                    .is_some_and(|told| told.poll(cx).is_ready());
                let mut state = self.lock();
                let has_room = state.core.has_room();
                let result = match &state.closed {
                    Some(reason) => Some(Err(reason.clone())),
                    None if is_over(&state.core) => Some(Ok(())),
                    None => (has_room && may_send(&state.core)).then_some(Ok(())),
                };
                if result.is_none()
                    && let Some(stream) = stream
                {
                    state.wait_for_part(stream, cx);
                }
                drop(state);
                if was_told && (has_room || result.is_some()) {
                    self.room.notify_one();
                }
                if let Some(result) = result {
                    return Poll::Ready(result);
                }
                if has_room {
                    // It waits for credit alone.
                    told.set(None);
                    return Poll::Pending;
                }
                if waits && !was_told {
                    return Poll::Pending;
                }
                // One more look when it is among those who are told, so that nothing is missed.
                told.set(Some(self.room.notified()));
            }
        })
        .await
    }

    /// Waits for the end of the connection.
    ///
    /// Cancel-safe.
    pub(crate) async fn closed(&self) -> CloseReason {
        loop {
            // Made before the look, so that nothing is missed.
            let told = self.end.notified();
            let closed = self.lock().closed.clone();
            if let Some(reason) = closed {
                return reason;
            }
            told.await;
        }
    }

    /// Has the driver write what is queued, and end: after `within` even if something is left.
    pub(crate) fn start_closing(&self, within: Option<Duration>) {
        let by = within.and_then(|within| now().instant.checked_add(within));
        let mut state = self.lock();
        state.closing = true;
        state.close_by = state.close_by.into_iter().chain(by).min();
        self.wake_driver(state);
    }

    /// Tells everybody who waits that the connection is over: these, and who waits for room or the end.
    pub(super) fn tell_end(&self, waiting: Vec<Waker>) {
        waiting.into_iter().for_each(Waker::wake);
        self.room.notify_waiters();
        self.end.notify_waiters();
    }

    /// Queues a message that the core has stamped under the lock `state`. A large one is compressed
    /// with the lock released: other tasks go on meanwhile.
    pub(crate) fn enqueue<'a>(
        &'a self,
        mut state: MutexGuard<'a, State<C>>,
        now: Now,
        message: &Message,
    ) -> Result<(), TooLarge> {
        if state.is_better_encoded_outside(message) {
            let compression = state.core.compression();
            drop(state);
            let frame = EncodedFrame::new(message, compression)?;
            state = self.lock();
            state.core.enqueue_encoded(now, frame);
        } else {
            state.core.enqueue(now, message)?;
        }
        self.wake_driver(state);
        Ok(())
    }
}

impl<C: Core> State<C> {
    /// True for a message whose compression would hold the lock for long.
    pub(crate) fn is_better_encoded_outside(&self, message: &Message) -> bool {
        message.body.len() >= COMPRESS_OUTSIDE
            && self.core.compression() != Compression::None
            && !message.hdr.no_system_compression
    }

    /// Notes whom to wake when a stream has something to take or may send, or the connection ends.
    pub(crate) fn wait_for_part(&mut self, stream: C::Stream, cx: &Context<'_>) {
        match self.waiting_for_part.get_mut(&stream) {
            Some(waker) => waker.clone_from(cx.waker()),
            None => {
                self.waiting_for_part.insert(stream, cx.waker().clone());
            }
        }
    }

    /// Nobody waits for this stream any more.
    pub(crate) fn forget_stream(&mut self, stream: C::Stream) {
        self.waiting_for_part.remove(&stream);
    }

    pub(crate) fn take_stream_waker(&mut self, stream: C::Stream) -> Option<Waker> {
        self.waiting_for_part.remove(&stream)
    }

    /// True if the driver should be woken because reading can go on.
    pub(crate) fn may_resume(&self) -> bool {
        self.paused && self.core.wants_input()
    }

    /// Takes something out of the core. True if the driver should be woken: reading can go on, or there
    /// is credit to tell of.
    pub(crate) fn take<T>(&mut self, take: impl FnOnce(&mut C) -> T) -> (T, bool) {
        let unsent = self.core.unsent();
        let taken = take(&mut self.core);
        let wake = self.may_resume() || self.core.unsent() > unsent;
        (taken, wake)
    }

    pub(super) fn take_stream_wakers(&mut self) -> Vec<Waker> {
        self.waiting_for_part
            .drain()
            .map(|(_, waker)| waker)
            .collect()
    }
}
