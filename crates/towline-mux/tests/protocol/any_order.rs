//! Whatever order two ends and their applications do things in, nobody waits for ever.

use std::collections::VecDeque;

use proptest::prelude::*;
use towline_mux::proto::{Accepting, AckPolicy, Event, Reading, Role, StreamKey, muxado};

use crate::support::{Side, quiet};

/// What an application does with one stream. It acts only when it was told to, as a task does.
struct Task {
    key: StreamKey,
    /// The one who opened: it sends so much, and reads it back. The other sends what it reads.
    to_send: usize,
    sends_what_it_reads: bool,
    read: usize,
    flushed: bool,
    ended: bool,
    read_ended: bool,
    may_read: bool,
    may_write: bool,
}

impl Task {
    fn new(key: StreamKey, to_send: usize, sends_what_it_reads: bool) -> Self {
        Self {
            key,
            to_send,
            sends_what_it_reads,
            read: 0,
            flushed: false,
            ended: false,
            read_ended: false,
            may_read: true,
            may_write: true,
        }
    }

    fn step(&mut self, side: &mut Side) {
        let holds_back = self.sends_what_it_reads && self.to_send > 0;
        if self.may_read && !self.read_ended && !holds_back {
            match side.read(self.key, 100_000).unwrap() {
                Reading::Chunk(chunk) => {
                    self.read += chunk.len();
                    if self.sends_what_it_reads {
                        self.to_send += chunk.len();
                    }
                }
                Reading::End => self.read_ended = true,
                Reading::Blocked => self.may_read = false,
            }
        }
        if !self.may_write || self.ended {
            return;
        }
        if self.to_send > 0 {
            let sent = side
                .write(self.key, &vec![7; self.to_send.min(50_000)])
                .unwrap();
            self.to_send -= sent;
            self.may_write = sent > 0;
        } else if !self.flushed && !self.sends_what_it_reads {
            self.flushed = side.engine.poll_flushed(self.key).unwrap();
            self.may_write = self.flushed;
        } else if !self.sends_what_it_reads || self.read_ended {
            side.engine.shutdown(self.key).unwrap();
            self.ended = true;
        }
    }
}

struct End {
    side: Side,
    tasks: Vec<Task>,
    may_accept: bool,
    /// What it has said and the other has not heard.
    wire: VecDeque<u8>,
}

impl End {
    fn new(side: Side) -> Self {
        Self {
            side,
            tasks: Vec::new(),
            may_accept: true,
            wire: VecDeque::new(),
        }
    }

    fn learn(&mut self) {
        for event in self.side.events() {
            match event {
                Event::Readable(key) => self.of(key).may_read = true,
                Event::Writable(key) => self.of(key).may_write = true,
                Event::Acceptable => self.may_accept = true,
                _ => {}
            }
        }
    }

    fn of(&mut self, key: StreamKey) -> &mut Task {
        self.tasks.iter_mut().find(|task| task.key == key).unwrap()
    }

    fn accept(&mut self) {
        if !self.may_accept {
            return;
        }
        match self.side.engine.accept(self.side.now) {
            Accepting::Stream(key) => self.tasks.push(Task::new(key, 0, true)),
            _ => self.may_accept = false,
        }
    }

    fn is_done(&self) -> bool {
        self.tasks.iter().all(|task| task.ended && task.read_ended)
    }
}

/// One thing of all that can happen next.
fn happen(ends: &mut [End; 2], what: u8) {
    let (who, what) = (usize::from(what & 1), what >> 1);
    match what % 8 {
        0 => ends[who].wire.extend(ends[who].side.said()),
        1 | 2 => {
            let whole = what % 8 == 1;
            let from = &mut ends[1 - who].wire;
            let count = if whole { from.len() } else { from.len() / 2 };
            let bytes: Vec<u8> = from.drain(..count).collect();
            ends[who].side.hear(&bytes).unwrap();
        }
        3 => ends[who].accept(),
        _ => {
            let count = ends[who].tasks.len();
            if count > 0 {
                let End { side, tasks, .. } = &mut ends[who];
                tasks[usize::from(what / 8) % count].step(side);
            }
        }
    }
    ends[who].learn();
}

fn play(mut ends: [End; 2], sizes: &[usize], order: &[u8]) {
    for &size in sizes {
        let key = ends[0].side.open();
        ends[0].tasks.push(Task::new(key, size, false));
    }
    for &what in order {
        happen(&mut ends, what);
    }
    // Then everything has its turn, until nothing can move.
    for _ in 0..400 {
        for what in 0..=u8::MAX {
            happen(&mut ends, what);
        }
        if ends.iter().all(End::is_done) {
            break;
        }
    }
    for (task, &size) in ends[0].tasks.iter().zip(sizes) {
        assert!(task.ended, "a writer waits for ever");
        assert!(task.read_ended, "a reader waits for ever");
        assert_eq!(task.read, size);
    }
    assert!(ends[1].is_done(), "the echo waits for ever");
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![
        Just(0_usize),
        Just(1),
        Just(262_144),
        Just(262_145),
        0..700_000_usize
    ]
}

fn policy() -> impl Strategy<Value = AckPolicy> {
    prop_oneof![
        Just(AckPolicy::OnAccept),
        Just(AckPolicy::OnArrival),
        Just(AckPolicy::Lazy)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// docs/wire Y38, Y76.
    #[test]
    fn in_yamux_nobody_waits_for_ever(
        sizes in prop::collection::vec(size(), 1..4),
        order in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let ends = [Role::Client, Role::Server].map(|role| End::new(Side::yamux(role, quiet())));
        play(ends, &sizes, &order);
    }

    /// docs/wire Y38, with first windows above what yamux begins with.
    #[test]
    fn in_yamux_with_large_windows_nobody_waits_for_ever(
        sizes in prop::collection::vec(size(), 1..4),
        order in prop::collection::vec(any::<u8>(), 0..200),
        window in 262_144_u32..1 << 20,
        policy in policy(),
    ) {
        let config = quiet()
            .initial_stream_window(window)
            .receive_budget(1 << 32)
            .ack_policy(policy);
        let ends = [Role::Client, Role::Server]
            .map(|role| End::new(Side::yamux(role, config.clone())));
        play(ends, &sizes, &order);
    }

    /// docs/wire U31.
    #[test]
    fn in_muxado_nobody_waits_for_ever(
        sizes in prop::collection::vec(size(), 1..4),
        order in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let ends = [Role::Client, Role::Server]
            .map(|role| End::new(Side::muxado(role, muxado::Config::default())));
        play(ends, &sizes, &order);
    }
}
