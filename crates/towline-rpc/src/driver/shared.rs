//! What the driver and the handles of one connection share.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use futures_util::task::AtomicWaker;
use rustc_hash::FxHashMap;

use super::Core;
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
    /// The driver is running, or will run: it need not be woken. It looks at everything before it
    /// takes this back.
    pub(super) woken: bool,
    /// Reading is paused by the core's back-pressure.
    pub(super) paused: bool,
    pub(super) waiting_for_room: Vec<Waker>,
    waiting_for_part: FxHashMap<C::Stream, Waker>,
    waiting_for_close: Vec<Waker>,
}

impl<C: Core> Shared<C> {
    pub(crate) fn new(core: C) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                core,
                closed: None,
                closing: false,
                woken: false,
                paused: false,
                waiting_for_room: Vec::new(),
                waiting_for_part: FxHashMap::default(),
                waiting_for_close: Vec::new(),
            }),
            driver: AtomicWaker::new(),
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

    /// Ready when senders may queue more, or nothing can be sent any more.
    pub(crate) fn poll_room(&self, cx: &Context<'_>) -> Poll<Result<(), CloseReason>> {
        let mut state = self.lock();
        if let Some(reason) = &state.closed {
            return Poll::Ready(Err(reason.clone()));
        }
        if state.core.has_room() {
            return Poll::Ready(Ok(()));
        }
        if !state
            .waiting_for_room
            .iter()
            .any(|waker| waker.will_wake(cx.waker()))
        {
            state.waiting_for_room.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Ready when the next part of a stream may be queued, or nothing can be sent any more.
    pub(crate) fn poll_may_send(
        &self,
        cx: &Context<'_>,
        stream: C::Stream,
        may_send: impl FnOnce(&C) -> bool,
    ) -> Poll<Result<(), CloseReason>> {
        std::task::ready!(self.poll_room(cx))?;
        let mut state = self.lock();
        if let Some(reason) = &state.closed {
            return Poll::Ready(Err(reason.clone()));
        }
        if may_send(&state.core) {
            return Poll::Ready(Ok(()));
        }
        state.wait_for_part(stream, cx);
        Poll::Pending
    }

    /// Ready when the connection is over.
    pub(crate) fn poll_closed(&self, cx: &Context<'_>) -> Poll<CloseReason> {
        let mut state = self.lock();
        if let Some(reason) = &state.closed {
            return Poll::Ready(reason.clone());
        }
        if !state
            .waiting_for_close
            .iter()
            .any(|waker| waker.will_wake(cx.waker()))
        {
            state.waiting_for_close.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Has the driver write what is queued, and end.
    pub(crate) fn start_closing(&self) {
        let mut state = self.lock();
        state.closing = true;
        self.wake_driver(state);
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

    pub(super) fn all_waiting(&mut self) -> Vec<Waker> {
        let mut all = std::mem::take(&mut self.waiting_for_room);
        all.extend(self.waiting_for_part.drain().map(|(_, waker)| waker));
        all.append(&mut self.waiting_for_close);
        all
    }
}
