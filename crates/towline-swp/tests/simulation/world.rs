//! Two ends, a bad network, virtual time, and what must always hold.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use towline_codec::greenpack::Timestamp;
use towline_sim::{PacketNet, Rng};
use towline_swp::proto::{Compact, CompactKind, Incoming, Now, TcpEvent};

/// What one end sends, what it expects, and how it reads.
#[derive(Debug)]
pub(crate) struct Script {
    rng: Rng,
    to_send: Vec<usize>,
    sent: usize,
    expected: Vec<usize>,
    salt: u8,
    expected_salt: u8,
    /// The message that comes next, and bytes of it that were read.
    read: (usize, usize),
    pub(crate) acked: usize,
    stalled_until: Instant,
    pause: Duration,
    read_size: Option<usize>,
    last_wall: Timestamp,
}

impl Script {
    pub(crate) fn new(
        to_send: Vec<usize>,
        expected: Vec<usize>,
        salts: (u8, u8),
        start: Now,
        mut rng: Rng,
        (stall, pause, read_size): (Duration, Duration, Option<usize>),
    ) -> Self {
        Self {
            rng: rng.fork(),
            to_send,
            sent: 0,
            expected,
            salt: salts.0,
            expected_salt: salts.1,
            read: (0, 0),
            acked: 0,
            stalled_until: start.instant + stall,
            pause,
            read_size,
            last_wall: start.wall,
        }
    }

    pub(crate) fn next_to_send(&mut self) -> Option<Bytes> {
        let len = *self.to_send.get(self.sent)?;
        let data = content(self.sent, len, self.salt);
        self.sent += 1;
        Some(data)
    }

    pub(crate) fn all_sent(&self) -> bool {
        self.sent == self.to_send.len()
    }

    pub(crate) fn largest(&self) -> usize {
        self.expected.iter().copied().max().unwrap_or(0)
    }

    /// docs/wire W24: whole messages, in order, each once.
    pub(crate) fn received(&mut self, data: &[u8]) {
        let (index, _) = self.read;
        let Some(&len) = self.expected.get(index) else {
            panic!("message {index} was never sent");
        };
        assert_eq!(
            data,
            content(index, len, self.expected_salt),
            "message {index} is another"
        );
        self.read = (index + 1, 0);
    }

    pub(crate) fn received_bytes(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let (index, at) = self.read;
            let Some(&len) = self.expected.get(index) else {
                panic!("byte {at} of message {index} was never sent");
            };
            let here = data.len().min(len - at);
            assert_eq!(
                data[..here],
                content(index, len, self.expected_salt)[at..at + here],
                "message {index} is another"
            );
            data = &data[here..];
            self.read = if at + here == len {
                (index + 1, 0)
            } else {
                (index, at + here)
            };
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        // A reader of bytes does not see empty messages.
        let rest = self.expected.get(self.read.0..).unwrap_or(&[]);
        self.all_sent()
            && self.read.1 == 0
            && (rest.is_empty() || (self.read_size.is_some() && rest.iter().all(|&len| len == 0)))
    }

    /// Readers stall at first, then read at intervals.
    pub(crate) fn may_read(&mut self, now: Instant) -> bool {
        if now < self.stalled_until {
            return false;
        }
        if !self.pause.is_zero() {
            self.stalled_until = now + self.rng.duration(self.pause);
        }
        true
    }

    pub(crate) fn reads_at(&self) -> Instant {
        self.stalled_until
    }

    pub(crate) fn read_size(&self) -> Option<usize> {
        self.read_size
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.rng.chance(1, 2)
    }

    /// The original's clock moves between two packets.
    pub(crate) fn wall(&mut self, now: Timestamp) -> Timestamp {
        let after = self.last_wall.saturating_add(Duration::from_nanos(1));
        self.last_wall = after.max(now);
        self.last_wall
    }

    pub(crate) fn progress(&self) -> String {
        format!(
            "sent {} of {}, read {:?} of {}",
            self.sent,
            self.to_send.len(),
            self.read,
            self.expected.len()
        )
    }
}

fn content(index: usize, len: usize, salt: u8) -> Bytes {
    (0..len)
        .map(|at| (index.wrapping_mul(31) ^ at ^ (at >> 8)) as u8 ^ salt)
        .collect()
}

/// One end, with its application.
pub(crate) trait Node {
    fn open(&mut self, now: Now);
    fn handle(&mut self, now: Now, bytes: Bytes);
    fn handle_timeout(&mut self, now: Now);
    fn deadline(&self) -> Option<Instant>;
    /// The application reads and writes.
    fn work(&mut self, now: Now);
    fn poll(&mut self, now: Now) -> Option<Bytes>;
    fn script(&self) -> &Script;
    /// Everything was delivered, both ways, and this end knows.
    fn is_settled(&self) -> bool;
    fn close(&mut self, now: Now);
    fn is_closed(&self) -> bool;
    /// False for an end that is known to send beyond the window.
    fn keeps_to_windows(&self) -> bool {
        true
    }
    /// What holds at every moment.
    fn check(&self);
}

/// What one end has told the other of its window, as far as that has arrived: an end that is not ours
/// to look into is watched on the wire.
#[derive(Debug, Default, Clone)]
struct Edge {
    messages: u64,
    sizes: BTreeMap<u64, u64>,
    bytes: u64,
}

pub(crate) struct World {
    pub(crate) nodes: [Box<dyn Node>; 2],
    pub(crate) net: PacketNet<u8>,
    pub(crate) now: Now,
    start: Now,
    /// Of what each end may send.
    edges: [Edge; 2],
    rng: Rng,
    damage: usize,
}

impl World {
    pub(crate) fn new(
        nodes: [Box<dyn Node>; 2],
        mut net: PacketNet<u8>,
        rng: Rng,
        damage: usize,
        now: Now,
    ) -> Self {
        net.listen(0);
        net.listen(1);
        Self {
            nodes,
            net,
            now,
            start: now,
            edges: [Edge::default(), Edge::default()],
            rng,
            damage,
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.now.instant - self.start.instant
    }

    /// Lets everything happen that is due, then moves the time to what is due next, while `goes_on`.
    pub(crate) fn run(&mut self, limit: Duration, mut goes_on: impl FnMut(&Self) -> bool) {
        let mut idle = 0;
        loop {
            self.settle_now();
            if !goes_on(self) {
                return;
            }
            assert!(
                self.elapsed() < limit,
                "not done after {:?}: {} / {}",
                self.elapsed(),
                self.nodes[0].script().progress(),
                self.nodes[1].script().progress()
            );
            let next = self
                .nodes
                .iter()
                .flat_map(|node| {
                    let reads_at = node.script().reads_at();
                    [
                        node.deadline(),
                        (reads_at > self.now.instant).then_some(reads_at),
                    ]
                })
                .chain([self.net.next_arrival()])
                .flatten()
                .min();
            let Some(next) = next else {
                panic!(
                    "nothing will ever happen again: {} / {}",
                    self.nodes[0].script().progress(),
                    self.nodes[1].script().progress()
                );
            };
            let passed = next.saturating_duration_since(self.now.instant);
            idle = if passed.is_zero() { idle + 1 } else { 0 };
            assert!(
                idle < 100,
                "time stands still: {:?}",
                [0, 1].map(|index| self.nodes[index]
                    .deadline()
                    .map(|at| self.now.instant.saturating_duration_since(at)))
            );
            self.now = Now {
                instant: self.now.instant + passed,
                wall: self.now.wall.saturating_add(passed),
            };
        }
    }

    fn settle_now(&mut self) {
        let now = self.now;
        let mut turns = 0;
        loop {
            let mut moved = false;
            while let Some((to, packet)) = self.net.receive(now.instant) {
                let packet = self.damaged(packet);
                self.note_window(to, &packet);
                self.nodes[usize::from(to)].handle(now, packet);
                moved = true;
            }
            for index in 0..2 {
                let node = &mut self.nodes[index];
                if node.deadline().is_some_and(|at| at <= now.instant) {
                    node.handle_timeout(now);
                }
                node.work(now);
                let mut packets = 0;
                while let Some(packet) = self.nodes[index].poll(now) {
                    packets += 1;
                    assert!(packets < 10_000, "packets without end");
                    self.expect_in_window(index, &packet);
                    let (from, to) = (index as u8, 1 - index as u8);
                    self.net.send(now.instant, &from, &to, packet);
                    moved = true;
                }
                self.nodes[index].check();
            }
            turns += 1;
            assert!(turns < 10_000, "time stands still");
            if !moved {
                return;
            }
        }
    }

    /// Flips a bit now and then, in compact frames alone: the original's format protects nothing but
    /// its data (docs/wire W9, W48).
    fn damaged(&mut self, packet: Bytes) -> Bytes {
        if !Compact::is_compact(&packet) || !self.rng.chance(self.damage, 1_000_000) {
            return packet;
        }
        let mut packet = packet.to_vec();
        let bit = 8 + self.rng.below((packet.len() - 1) * 8);
        packet[bit / 8] ^= 1 << (bit % 8);
        packet.into()
    }

    /// docs/wire W34: what `to` has heard of the window of the other end.
    fn note_window(&mut self, to: u8, packet: &Bytes) {
        let Ok(incoming) = Incoming::decode(packet, 1 << 20) else {
            return;
        };
        let (next, messages, bytes) = match &incoming {
            Incoming::Classic(packet) if packet.event == TcpEvent::SYN => return,
            Incoming::Classic(packet) => (
                (packet.ack.max(-1) + 1) as u64,
                packet.window_messages.max(0) as u64,
                packet.window_bytes.max(0) as u64,
            ),
            Incoming::Compact(frame) => (frame.ack_next, frame.window_messages, frame.window_bytes),
        };
        let edge = &mut self.edges[usize::from(to)];
        edge.messages = edge.messages.max(next + messages);
        let acked: u64 = edge.sizes.range(..next).map(|(_, size)| size).sum();
        edge.bytes = edge.bytes.max(acked + bytes);
    }

    /// docs/wire W34: nothing is ever sent beyond the window that was heard of; in bytes, but for one
    /// packet.
    fn expect_in_window(&mut self, from: usize, packet: &Bytes) {
        let (seq, len) = match Incoming::decode(packet, 1 << 20) {
            Ok(Incoming::Classic(packet)) if packet.event == TcpEvent::DATA => {
                (packet.seq as u64, packet.data.len() as u64)
            }
            Ok(Incoming::Compact(frame)) => match frame.kind {
                CompactKind::Data { seq, data, .. } => (seq, data.len() as u64),
                _ => return,
            },
            _ => return,
        };
        let edge = &mut self.edges[from];
        // The original starts with a guess, and lets an old packet overwrite what newer ones said.
        let keeps_to_it = self.nodes[from].keeps_to_windows();
        if edge.sizes.insert(seq, len).is_none() && keeps_to_it {
            assert!(
                seq < edge.messages,
                "packet {seq} was sent, the window reaches to {}",
                edge.messages
            );
            let before: u64 = edge.sizes.range(..seq).map(|(_, size)| size).sum();
            assert!(
                before < edge.bytes.max(1) || len == 0,
                "packet {seq} was sent from byte {before}, the window reaches to {}",
                edge.bytes
            );
        }
    }
}
