//! What is known of a session at one moment: its engine, and who waits for what.

use std::{
    collections::BTreeMap,
    io,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use super::{clock::now, defer, waiters::Waiters};
use crate::proto::{Engine, Event, SessionEnd, StreamKey, Transmit};

/// Bytes taken from the engine at a time: what is taken can no longer be overtaken.
const WRITE_AHEAD: usize = 128 << 10;
/// Bytes that callers write while the driver waits for its turn. It may wait for the thread that the
/// writer runs on, and no other thread can take it from there.
const PASSED: usize = 256 << 10;

pub(crate) struct State {
    pub(crate) engine: Engine,
    /// When something last came: near enough where only the order of events matters.
    pub(crate) heard: Instant,
    wakers: Vec<Wakers>,
    pub(crate) accepting: Waiters,
    pub(crate) opening: Waiters,
    pub(crate) pings: Vec<PingWait>,
    pub(crate) next_ping_wait: u64,
    /// Who waits until what a stream has written was handed to the transport.
    flushing: BTreeMap<usize, Flushing>,
    /// Wakes the driver, once it has run.
    pub(super) driver: Waker,
    /// The driver runs or will run, and looks at everything before it sleeps: it need not be woken.
    pub(super) awake: bool,
    /// Bytes that callers have written since the driver last ran.
    pub(super) passed: usize,
    /// The driver will write after all tasks that are ready now.
    pub(super) gathering: bool,
    /// The transport takes nothing; the driver is told when it does.
    pub(super) blocked: bool,
    /// Whoever wrote last has left the rest to the driver.
    pub(super) left: bool,
    pub(super) io_error: Option<io::Error>,
    /// How far the transport has got.
    position: Position,
    /// When the driver's timer fires, if it does.
    pub(super) timer: Option<Instant>,
    /// The driver has ended.
    pub(super) over: bool,
    pub(super) coalesce: bool,
}

/// Who waits for one stream.
#[derive(Debug, Default)]
struct Wakers {
    read: Option<Waker>,
    write: Option<Waker>,
}

/// How far the transport has got, in bytes since the session began.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Position {
    /// What it has taken.
    pub(super) written: u64,
    /// What was put before it.
    pub(super) pushed: u64,
}

/// Somebody who waits until the transport has got somewhere.
#[derive(Debug)]
struct Flushing {
    until: u64,
    waker: Waker,
}

/// Somebody who waits for an answer to a ping.
#[derive(Debug)]
pub(crate) struct PingWait {
    pub(crate) wait: u64,
    pub(crate) number: u64,
    pub(crate) waker: Option<Waker>,
    /// How long it took; nothing if the answer did not come in time.
    pub(crate) result: Option<Option<Duration>>,
}

impl State {
    pub(super) fn new(engine: Engine, coalesce: bool) -> Self {
        Self {
            engine,
            heard: now(),
            wakers: Vec::new(),
            accepting: Waiters::default(),
            opening: Waiters::default(),
            pings: Vec::new(),
            next_ping_wait: 0,
            flushing: BTreeMap::new(),
            position: Position::default(),
            timer: None,
            driver: Waker::noop().clone(),
            awake: true,
            passed: 0,
            gathering: false,
            blocked: false,
            left: false,
            io_error: None,
            over: false,
            coalesce,
        }
    }

    /// True if there is something for the driver to write, to try to, or to tell: a session that is
    /// closing goes on as it is asked for the next frame.
    pub(super) fn has_work(&self) -> bool {
        self.blocked
            || self.left
            || self.engine.has_events()
            || self.engine.has_output()
            || self.engine.transmits_by_the_clock()
    }

    /// True if something is due before the driver would look.
    pub(super) fn is_early(&self) -> bool {
        !self.awake
            && self
                .engine
                .deadline()
                .is_some_and(|deadline| self.timer.is_none_or(|timer| deadline < timer))
    }

    /// What time it is for what is transmitted next. Data alone goes by no clock, and to read one
    /// would cost a message more than its header.
    pub(super) fn transmit_time(&self) -> Instant {
        if self.engine.transmits_by_the_clock() {
            now()
        } else {
            self.heard
        }
    }

    /// Puts what is to be written next into `out`.
    pub(super) fn transmit(&mut self, out: &mut Transmit) {
        let now = self.transmit_time();
        self.engine.poll_transmit(now, out, WRITE_AHEAD);
    }

    /// The transport has got as far as this; those who wait for it are to be woken.
    pub(super) fn note_position(&mut self, position: Position, woken: &mut Vec<Waker>) {
        self.position = position;
        if self.flushing.is_empty() {
            return;
        }
        let written = position.written;
        self.flushing.retain(|_, flushing| {
            if flushing.until > written {
                return true;
            }
            woken.push(std::mem::replace(
                &mut flushing.waker,
                Waker::noop().clone(),
            ));
            false
        });
    }

    /// Everything was written.
    pub(super) const fn note_written(&mut self) {
        self.blocked = false;
        self.left = false;
        self.engine.note_unblocked();
    }

    /// The transport takes no more; `progressed` if it has taken something since it was asked last.
    pub(super) fn note_blocked(&mut self, progressed: bool) {
        self.blocked = true;
        self.left = false;
        if progressed {
            self.engine.note_unblocked();
        }
        self.engine.note_blocked(now());
    }

    /// The transport failed. The driver looks at it: what the peer said before may say why.
    pub(super) fn fail(&mut self, error: io::Error) {
        self.io_error.get_or_insert(error);
    }

    /// One event tells of a stream to one who waits: others that wait are told of the next one.
    pub(crate) fn keep_accepting(&mut self) {
        if self.accepting.is_waiting() {
            self.engine.ask_for_acceptable();
        }
    }

    /// True if small writes are better left to the driver: those of tasks that were woken together then
    /// leave together, and so do the opening, the data and the end that one task sends in a row.
    pub(super) const fn driver_writes_soon(&self) -> bool {
        self.gathering || (self.awake && self.coalesce)
    }

    /// True if a writer should give the driver its turn first. Who writes without pause would else keep
    /// it, and whoever waits for an answer, from reading for milliseconds.
    pub(super) fn lets_driver_pass(&mut self, cx: &Context<'_>, len: usize) -> bool {
        if !self.awake {
            self.passed = 0;
            return false;
        }
        if self.passed < PASSED {
            self.passed += len.min(PASSED);
            return false;
        }
        self.passed = 0;
        defer(cx.waker());
        true
    }

    /// Tells everybody whom the engine's events are for. True if tasks were woken that may want to
    /// send together.
    pub(super) fn drain_events(&mut self, woken: &mut Vec<Waker>) -> bool {
        let mut accepts = false;
        while let Some(event) = self.engine.poll_event() {
            match event {
                Event::Readable(key) => woken.extend(self.wakers(key).read.take()),
                Event::Writable(key) => woken.extend(self.wakers(key).write.take()),
                Event::Acceptable => {
                    woken.extend(self.accepting.next());
                    accepts = true;
                }
                Event::Openable => {
                    // One place may have become free, or the reason to wait has gone for all.
                    if self.engine.end().is_some() || self.engine.remote_go_away().is_some() {
                        woken.extend(std::iter::from_fn(|| self.opening.next()));
                    } else {
                        woken.extend(self.opening.next());
                    }
                }
                Event::Pong(number, took) => self.answer_ping(number, Some(took), woken),
                Event::PingLost(number) => self.answer_ping(number, None, woken),
                Event::Ended => self.wake_everybody(woken),
            }
        }
        self.coalesce && (accepts || woken.len() > 1)
    }

    fn answer_ping(&mut self, number: u64, result: Option<Duration>, woken: &mut Vec<Waker>) {
        for wait in self.pings.iter_mut().filter(|wait| wait.number == number) {
            wait.result.get_or_insert(result);
            woken.extend(wait.waker.take());
        }
    }

    pub(super) fn wake_everybody(&mut self, woken: &mut Vec<Waker>) {
        for wakers in &mut self.wakers {
            woken.extend(wakers.read.take());
            woken.extend(wakers.write.take());
        }
        woken.extend(std::iter::from_fn(|| self.accepting.next()));
        woken.extend(std::iter::from_fn(|| self.opening.next()));
        woken.extend(self.pings.iter_mut().filter_map(|wait| wait.waker.take()));
        let flushing = std::mem::take(&mut self.flushing);
        woken.extend(flushing.into_values().map(|flushing| flushing.waker));
    }

    fn wakers(&mut self, key: StreamKey) -> &mut Wakers {
        let index = key.index();
        if self.wakers.len() <= index {
            self.wakers.resize_with(index + 1, Wakers::default);
        }
        &mut self.wakers[index]
    }

    /// Has the task woken when the stream can be read. What is returned is to be dropped once the
    /// state is let go of: with the last waker a task may go, and with it other streams.
    #[must_use]
    pub(crate) fn wait_to_read(&mut self, key: StreamKey, cx: &Context<'_>) -> Option<Waker> {
        replace(&mut self.wakers(key).read, cx)
    }

    /// As [`wait_to_read`](Self::wait_to_read), for writing.
    #[must_use]
    pub(crate) fn wait_to_write(&mut self, key: StreamKey, cx: &Context<'_>) -> Option<Waker> {
        replace(&mut self.wakers(key).write, cx)
    }

    /// Ready when the transport has taken everything that was put before it so far, on behalf of `key`.
    pub(super) fn poll_position(&mut self, key: StreamKey, cx: &Context<'_>) -> Poll<()> {
        let Position { written, pushed } = self.position;
        let flushing = self
            .flushing
            .entry(key.index())
            .or_insert_with(|| Flushing {
                until: pushed,
                waker: Waker::noop().clone(),
            });
        if flushing.until <= written {
            self.flushing.remove(&key.index());
            return Poll::Ready(());
        }
        flushing.waker.clone_from(cx.waker());
        Poll::Pending
    }

    /// Something more is written on a stream: who waited for what was before waits anew.
    pub(super) fn note_write(&mut self, key: StreamKey) {
        if !self.flushing.is_empty() {
            self.flushing.remove(&key.index());
        }
    }

    /// Nobody waits for this stream any more. What is returned is to be dropped once the state is let
    /// go of.
    #[must_use]
    pub(crate) fn forget_wakers(&mut self, key: StreamKey) -> impl Sized + use<> {
        let flushing = self.flushing.remove(&key.index());
        let wakers = self.wakers.get_mut(key.index()).map(std::mem::take);
        (flushing, wakers)
    }

    /// Why the session is over, or is to be taken for.
    pub(crate) fn end_reason(&self) -> SessionEnd {
        self.engine.end().cloned().unwrap_or(SessionEnd::ClosedHere)
    }

    pub(crate) const fn is_over(&self) -> bool {
        self.over
    }
}

fn replace(place: &mut Option<Waker>, cx: &Context<'_>) -> Option<Waker> {
    match place {
        Some(waker) if waker.will_wake(cx.waker()) => None,
        _ => place.replace(cx.waker().clone()),
    }
}
