//! One end of a sync in the simulation: an engine, a tree in memory, and work that is done in any order.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use towline_sim::{Node, Rng};
use towline_sync::engine::{Engine, Event, Job, Output, Violation};
use towline_sync::fs::{Memory, Worker};
use towline_sync::wire::Message;

pub(crate) struct End {
    pub(crate) engine: Engine,
    worker: Worker<Memory>,
    jobs: Vec<Job>,
    rng: Rng,
    input: BytesMut,
    pub(crate) violation: Option<Violation>,
    pub(crate) events: Vec<Event>,
    pub(crate) ended: bool,
    wait: Option<Instant>,
    /// Bytes that were sent.
    pub(crate) sent: u64,
    /// Most bytes of one message.
    pub(crate) lie: Option<fn(&mut Rng, Message) -> Message>,
}

impl End {
    pub(crate) fn new(engine: Engine, store: Memory, mut rng: Rng) -> Self {
        let worker = Worker::new(store, rng.any()).keep_root(engine.keeps_root());
        Self {
            engine,
            worker,
            jobs: Vec::new(),
            rng,
            input: BytesMut::new(),
            violation: None,
            events: Vec::new(),
            ended: false,
            wait: None,
            sent: 0,
            lie: None,
        }
    }

    /// Takes on work, and does some of it, in any order.
    fn work(&mut self) -> bool {
        while self.jobs.len() < 8 {
            let Some(job) = self.engine.poll_job() else {
                break;
            };
            self.jobs.push(job);
        }
        if self.jobs.is_empty() {
            return false;
        }
        let job = self.jobs.swap_remove(self.rng.below(self.jobs.len()));
        let done = self.worker.run(job);
        if let Err(violation) = self.engine.handle_done(done) {
            self.violation = Some(violation);
        }
        while let Some(event) = self.engine.poll_event() {
            self.events.push(event);
        }
        true
    }
}

/// Bytes of the first message, if all of it is there.
fn whole(input: &[u8]) -> Option<usize> {
    let mut length = 0;
    for (at, byte) in input.iter().enumerate().take(10) {
        length |= usize::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            let end = length + at + 1;
            return (end <= input.len()).then_some(end);
        }
    }
    None
}

impl Node for End {
    fn handle_bytes(&mut self, _: Instant, bytes: &[u8]) {
        if self.violation.is_some() || self.ended {
            return;
        }
        self.input.extend_from_slice(bytes);
        while let Some(length) = whole(&self.input) {
            let mut message = self.input.split_to(length).freeze();
            let Ok(message) = Message::decode(&mut message) else {
                self.ended = true;
                return;
            };
            if let Err(violation) = self.engine.handle_message(message) {
                self.violation = Some(violation);
                return;
            }
            while let Some(event) = self.engine.poll_event() {
                self.events.push(event);
            }
        }
    }

    fn handle_end(&mut self, _: Instant) {
        self.ended = true;
    }

    fn wants_bytes(&self) -> bool {
        self.engine.wants_input()
    }

    fn poll_bytes(&mut self, now: Instant) -> Option<Bytes> {
        if self.ended || self.violation.is_some() {
            return None;
        }
        loop {
            match self.engine.poll_message(now) {
                Output::Message(mut message) => {
                    self.wait = None;
                    if let Some(lie) = self.lie {
                        message = lie(&mut self.rng, message);
                    }
                    let mut out = BytesMut::new();
                    message.encode(&mut out);
                    self.sent += out.len() as u64;
                    while let Some(event) = self.engine.poll_event() {
                        self.events.push(event);
                    }
                    return Some(out.freeze());
                }
                Output::Wait(then) => self.wait = Some(then),
                Output::Idle => self.wait = None,
                Output::Broken(violation) => {
                    self.violation = Some(violation);
                    return None;
                }
            }
            if !self.work() {
                return None;
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.wait.filter(|_| !self.ended)
    }

    fn handle_timeout(&mut self, _: Instant) {
        self.wait = None;
    }

    fn is_closed(&self) -> bool {
        self.violation.is_some()
    }
}
