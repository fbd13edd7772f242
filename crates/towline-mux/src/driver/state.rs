//! What is known of a session at one moment: its engine, and who waits for what.

use std::{
    io,
    task::{Context, Waker},
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
    pub(super) waiting_for_end: Vec<Waker>,
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
            waiting_for_end: Vec::new(),
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

    /// True if there is something for the driver to write, or to try to.
    pub(super) fn wants_writing(&self) -> bool {
        self.engine.has_output() || self.blocked || self.left
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
    }

    fn wakers(&mut self, key: StreamKey) -> &mut Wakers {
        let index = key.index();
        if self.wakers.len() <= index {
            self.wakers.resize_with(index + 1, Wakers::default);
        }
        &mut self.wakers[index]
    }

    pub(crate) fn wait_to_read(&mut self, key: StreamKey, cx: &Context<'_>) {
        set(&mut self.wakers(key).read, cx);
    }

    pub(crate) fn wait_to_write(&mut self, key: StreamKey, cx: &Context<'_>) {
        set(&mut self.wakers(key).write, cx);
    }

    /// Nobody waits for this stream any more.
    pub(crate) fn forget_wakers(&mut self, key: StreamKey) {
        if let Some(wakers) = self.wakers.get_mut(key.index()) {
            *wakers = Wakers::default();
        }
    }

    /// Why the session is over, or is to be taken for.
    pub(crate) fn end_reason(&self) -> SessionEnd {
        self.engine.end().cloned().unwrap_or(SessionEnd::ClosedHere)
    }

    pub(crate) const fn is_over(&self) -> bool {
        self.over
    }
}

fn set(place: &mut Option<Waker>, cx: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *place = Some(cx.waker().clone()),
    }
}
