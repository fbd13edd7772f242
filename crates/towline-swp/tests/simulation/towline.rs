//! A towline end in the simulated world.

use std::time::Instant;

use bytes::Bytes;
use towline_swp::proto::{Config, Engine, Incoming, Now, ReadState, SendError};

use crate::world::{Node, Script};

pub(crate) struct Towline {
    pub(crate) engine: Engine,
    pub(crate) script: Script,
    pub(crate) undecodable: u64,
    window: (usize, u64),
    largest: u64,
    waiting: Option<Bytes>,
    half_closes: bool,
    finished: bool,
}

impl Towline {
    pub(crate) fn new(
        config: Config,
        window: (u32, u64),
        half_closes: bool,
        script: Script,
        seed: [u8; 32],
        now: Now,
    ) -> Self {
        Self {
            engine: Engine::new(config, seed, now).expect("a valid configuration"),
            largest: script.largest() as u64,
            script,
            undecodable: 0,
            window: (window.0 as usize, window.1),
            waiting: None,
            half_closes,
            finished: false,
        }
    }
}

impl Node for Towline {
    fn open(&mut self, now: Now) {
        self.engine.open(now).expect("a remote");
    }

    fn handle(&mut self, now: Now, bytes: Bytes) {
        match Incoming::decode(&bytes, 1 << 20) {
            Ok(incoming) => self.engine.handle(now, incoming),
            Err(_) => self.undecodable += 1,
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        self.engine.handle_timeout(now);
    }

    fn deadline(&self) -> Option<Instant> {
        self.engine.deadline()
    }

    fn work(&mut self, now: Now) {
        while self.engine.poll_event().is_some() {}
        if self.script.may_read(now.instant) {
            match self.script.read_size() {
                None => {
                    while let Some(data) = self.engine.recv(now) {
                        self.script.received(&data);
                    }
                }
                Some(size) => {
                    while let Some(data) = self.engine.read(now, size) {
                        self.script.received_bytes(&data);
                    }
                }
            }
        }
        loop {
            let Some(data) = self.waiting.take().or_else(|| self.script.next_to_send()) else {
                break;
            };
            match self.engine.send(now, data.clone()) {
                Ok(_) => {}
                Err(SendError::Full) => {
                    self.waiting = Some(data);
                    break;
                }
                Err(error) => panic!("sending failed: {error}"),
            }
        }
        if self.half_closes && !self.finished && self.script.all_sent() && self.waiting.is_none() {
            self.finished = true;
            self.engine.finish(now);
        }
        // What is read may be answered at once.
        if self.engine.deadline().is_some_and(|at| at <= now.instant) {
            self.engine.handle_timeout(now);
        }
    }

    fn poll(&mut self, now: Now) -> Option<Bytes> {
        self.engine.poll_transmit(now).map(|packet| packet.bytes)
    }

    fn script(&self) -> &Script {
        &self.script
    }

    fn is_settled(&self) -> bool {
        self.script.is_complete()
            && self.waiting.is_none()
            && (self.engine.stats().buffered_to_send == 0 || self.engine.close_reason().is_some())
    }

    fn close(&mut self, now: Now) {
        self.engine.close(now);
    }

    fn is_closed(&self) -> bool {
        self.engine.is_done() && self.engine.read_state() != ReadState::Open
    }

    fn check(&self) {
        let stats = self.engine.stats();
        assert!(
            stats.buffered_received <= self.window.0,
            "{} messages in a window of {}",
            stats.buffered_received,
            self.window.0
        );
        assert!(
            stats.buffered_received_bytes < self.window.1 + self.largest.max(1),
            "{} bytes in a window of {}",
            stats.buffered_received_bytes,
            self.window.1
        );
        if let Some(reason) = self.engine.close_reason() {
            assert!(
                self.script.is_complete() || stats.buffered_received > 0,
                "the session ended before everything was delivered: {reason}"
            );
        }
    }
}
