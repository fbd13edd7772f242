//! One end of a simulated session, and the application on it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use towline_mux::proto::{
    Accepting, CloseOutcome, Dialect, Engine, OpenError, Opening, ReadError, Reading, Role,
    StreamKey, Transmit, WriteError,
};
use towline_sim::{Node, Rng};

use crate::plan::{Appetite, Fate, Plan, byte};

/// The application looks at everything this often, even when nothing has come.
const TICK: Duration = Duration::from_millis(20);
/// When those who never read let go.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct End {
    pub(crate) engine: Engine,
    plan: Plan,
    rng: Rng,
    input: BytesMut,
    out: Transmit,
    streams: BTreeMap<StreamKey, Stream>,
    to_open: usize,
    start: Instant,
    tick: Instant,
    now: Instant,
    shut: bool,
    /// Streams that were read to their end, and those that were not.
    pub(crate) whole: usize,
    pub(crate) broken: usize,
    finished: usize,
}

#[derive(Debug)]
struct Stream {
    id: u32,
    opener: bool,
    len: usize,
    fate: Fate,
    sent: usize,
    send_done: bool,
    got: usize,
    receive_done: bool,
    appetite: Appetite,
}

impl End {
    pub(crate) fn new(plan: &Plan, role: Role, rng: &mut Rng, now: Instant) -> Self {
        let engine = match plan.dialect {
            Dialect::Yamux => Engine::yamux(role, &plan.yamux(), rng.seed(), now),
            Dialect::Muxado => Engine::muxado(role, &plan.muxado(), rng.seed(), now),
        };
        Self {
            engine: engine.unwrap(),
            plan: plan.clone(),
            rng: rng.fork(),
            input: BytesMut::new(),
            out: Transmit::new(),
            streams: BTreeMap::new(),
            to_open: plan.streams[usize::from(role == Role::Server)],
            start: now,
            tick: now,
            now,
            shut: false,
            whole: 0,
            broken: 0,
            finished: 0,
        }
    }

    /// Everything that this end has to do is done.
    pub(crate) fn is_done(&self) -> bool {
        (self.to_open == 0 && self.streams.is_empty() && self.engine.stream_count() == 0)
            || self.engine.end().is_some()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.engine.is_over()
    }

    pub(crate) fn close(&mut self) {
        self.engine.close(self.now);
    }

    pub(crate) fn check_limits(&self) {
        let stats = self.engine.stats();
        if let Some(budget) = self.plan.overcommit {
            assert!(
                stats.bytes_held <= budget,
                "{} bytes held",
                stats.bytes_held
            );
        }
        let queued = self.plan.send_budget + self.plan.send_budget / 4;
        assert!(
            stats.bytes_queued <= queued as u64,
            "{} bytes queued",
            stats.bytes_queued
        );
    }

    pub(crate) fn check_at_end(&mut self, plan: &Plan) {
        self.act();
        assert!(
            self.streams.is_empty(),
            "streams are left at the application"
        );
        assert_eq!(
            self.engine.stream_count(),
            0,
            "streams are left in the table"
        );
        let stats = self.engine.stats();
        assert_eq!((stats.bytes_held, stats.bytes_queued), (0, 0));
        if !plan.may_be_cut {
            let end = self.engine.end().unwrap();
            assert!(end.is_clean(), "{end}");
            if self.engine.role() == Role::Client {
                let outcome = self.engine.outcome().unwrap();
                assert_ne!(outcome, CloseOutcome::TimedOut);
            }
        }
    }

    /// The application: opens, accepts, reads, writes, lets go.
    fn act(&mut self) {
        while self.to_open > 0 {
            match self.engine.open(self.now) {
                Ok(Opening::Stream(key)) => {
                    self.to_open -= 1;
                    self.begin(key, true);
                }
                Ok(Opening::Blocked) => break,
                Err(OpenError::Session(_) | OpenError::RemoteNotAccepting) => self.to_open = 0,
                Err(error) => panic!("{error}"),
            }
        }
        // An application that does not accept at once.
        while self.engine.end().is_some() || self.rng.chance(2, 3) {
            match self.engine.accept(self.now) {
                Accepting::Stream(key) => self.begin(key, false),
                Accepting::Blocked | Accepting::Ended => break,
            }
        }
        let keys: Vec<StreamKey> = self.streams.keys().copied().collect();
        for key in keys {
            let Some(mut stream) = self.streams.remove(&key) else {
                continue;
            };
            self.write(key, &mut stream);
            self.read(key, &mut stream);
            if stream.send_done && stream.receive_done {
                self.engine.release(self.now, key);
                self.finished += 1;
            } else {
                self.streams.insert(key, stream);
            }
        }
        while self.engine.poll_event().is_some() {}
    }

    fn begin(&mut self, key: StreamKey, opener: bool) {
        let id = self.engine.stream_id(key);
        let (len, fate) = self.plan.direction(id, opener);
        if opener && self.plan.dialect == Dialect::Muxado {
            self.engine.announce(key);
        }
        self.streams.insert(
            key,
            Stream {
                id,
                opener,
                len,
                fate,
                sent: 0,
                send_done: false,
                got: 0,
                receive_done: false,
                appetite: self.plan.appetite(id, opener),
            },
        );
    }

    fn write(&mut self, key: StreamKey, stream: &mut Stream) {
        while !stream.send_done {
            let until = match stream.fate {
                Fate::Whole => stream.len,
                Fate::Reset(at) | Fate::Dropped(at) => at,
            };
            if stream.sent == until {
                match stream.fate {
                    // It ends with the session if that ends first.
                    Fate::Whole => drop(self.engine.shutdown(key)),
                    Fate::Reset(_) => {
                        self.engine.reset(self.now, key, 7);
                        stream.receive_done = true;
                    }
                    // Released below, without an end.
                    Fate::Dropped(_) => stream.receive_done = true,
                }
                stream.send_done = true;
                return;
            }
            let room = match self.engine.write_room(key) {
                Ok(0) => return,
                Ok(room) => room,
                Err(WriteError::Ended(_) | WriteError::Session(_)) => {
                    stream.send_done = true;
                    return;
                }
                Err(error) => panic!("{error}"),
            };
            let count = room
                .min(until - stream.sent)
                .min(1 + self.rng.spread(40_000));
            let bytes: Bytes = (stream.sent..stream.sent + count)
                .map(|at| byte(stream.id, stream.opener, at))
                .collect();
            assert!(self.engine.write(key, bytes).unwrap().is_empty());
            stream.sent += count;
        }
    }

    fn read(&mut self, key: StreamKey, stream: &mut Stream) {
        let over = self.engine.end().is_some();
        match stream.appetite {
            Appetite::Slow if !over && !self.rng.chance(1, 4) => return,
            Appetite::Dead if !over => {
                if self.now >= self.start + PATIENCE {
                    stream.receive_done = true;
                    stream.send_done = true;
                }
                return;
            }
            _ => {}
        }
        while !stream.receive_done {
            let max = match stream.appetite {
                Appetite::Slow => 1 + self.rng.spread(2000),
                _ => 1 + self.rng.spread(100_000),
            };
            match self.engine.read(key, max) {
                Ok(Reading::Chunk(chunk)) => {
                    for (at, &found) in chunk.iter().enumerate() {
                        let expected = byte(stream.id, !stream.opener, stream.got + at);
                        assert_eq!(
                            found,
                            expected,
                            "stream {} at {}",
                            stream.id,
                            stream.got + at
                        );
                    }
                    stream.got += chunk.len();
                }
                Ok(Reading::Blocked) => return,
                Ok(Reading::End) => {
                    let (len, fate) = self.plan.direction(stream.id, !stream.opener);
                    assert_eq!(
                        (stream.got, fate),
                        (len, Fate::Whole),
                        "stream {}",
                        stream.id
                    );
                    stream.receive_done = true;
                    self.whole += 1;
                }
                Err(ReadError::Ended(_) | ReadError::Session(_)) => {
                    let (len, _) = self.plan.direction(stream.id, !stream.opener);
                    assert!(stream.got <= len);
                    stream.receive_done = true;
                    self.broken += 1;
                }
                Err(error) => panic!("{error}"),
            }
            if stream.appetite == Appetite::Slow && !over {
                return;
            }
        }
    }
}

impl std::fmt::Debug for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("End")
            .field("engine", &self.engine)
            .field("stats", &self.engine.stats())
            .field("to_open", &self.to_open)
            .field("streams", &self.streams)
            .finish_non_exhaustive()
    }
}

impl Node for End {
    fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) {
        self.now = now;
        self.input.extend_from_slice(bytes);
        self.engine
            .handle_input(now, &mut self.input)
            .unwrap_or_else(|violation| panic!("{violation}"));
        self.act();
    }

    fn handle_end(&mut self, now: Instant) {
        self.now = now;
        let rest = std::mem::take(&mut self.input);
        self.engine.handle_end(now, &rest);
        self.act();
    }

    fn poll_bytes(&mut self, now: Instant) -> Option<Bytes> {
        self.now = now;
        self.act();
        self.engine.poll_transmit(now, &mut self.out, 16 << 10);
        if self.out.is_empty() {
            if self.engine.wants_shutdown() && !self.shut {
                self.shut = true;
                self.engine.handle_shutdown(now);
            }
            return None;
        }
        Some(self.out.take().into())
    }

    fn deadline(&self) -> Option<Instant> {
        let tick = (!self.engine.is_over() && !self.is_done()).then_some(self.tick);
        [self.engine.deadline(), tick].into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        if self.tick <= now {
            self.tick = now + TICK;
        }
        if self
            .engine
            .deadline()
            .is_some_and(|deadline| deadline <= now)
        {
            self.engine.handle_timeout(now);
        }
        self.act();
    }

    fn is_closed(&self) -> bool {
        self.shut || self.engine.is_over()
    }
}
