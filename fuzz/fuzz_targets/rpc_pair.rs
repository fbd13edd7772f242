//! Any sequence of operations on a client, a server and the wire between them, hostile messages
//! included: no panic, and the cores' tables hold exactly what is open.

#![no_main]

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use towline_codec::{Text, greenpack::Timestamp};
use towline_rpc::proto::{
    CallKey, CallType, Client, ClientEvent, Compression, Concurrency, EncodedFrame, FrameReader,
    Limits, ListenerKey, Message, Now, PartTaken, Server, ServerEvent, Taken, Violation, WhenFull,
};

fuzz_target!(|data: &[u8]| {
    let mut bytes = data.iter().copied();
    let mut pair = Pair::new(bytes.next().unwrap_or(0));
    while let (Some(operation), Some(a), Some(b)) = (bytes.next(), bytes.next(), bytes.next()) {
        if pair.apply(operation, a, b).is_err() {
            // The connection ends here; what is open ends with it.
            break;
        }
        pair.check();
    }
    pair.finish();
});

struct Pair {
    now: Now,
    client: Client<u64>,
    server: Server,
    /// By direction: on its way, and behind the reader.
    wires: [Wire; 2],
    /// Sequence numbers that are open at the client: unary calls, streams.
    calls: BTreeSet<u64>,
    streams: BTreeSet<u64>,
    /// The number that the next call, stream or one-way message takes.
    next_seqno: u64,
    /// Calls whose handlers run.
    running: BTreeSet<CallKey>,
    listeners: BTreeSet<ListenerKey>,
    /// A net/rpc call waits for its answer.
    net_rpc_turn_taken: bool,
    server_leaves: bool,
}

/// How many operations there are.
const OPERATIONS: u8 = 23;

#[derive(Default)]
struct Wire {
    on_its_way: BytesMut,
    input: BytesMut,
    reader: FrameReader,
}

impl Pair {
    fn new(setting: u8) -> Self {
        // Only differences to this instant matter.
        let now = Now {
            instant: Instant::now(),
            wall: Timestamp::new(1_800_000_000, 0),
        };
        let limits = Limits::default()
            .queue_parts(1 + usize::from(setting & 3))
            .queue_bytes(2000)
            .outbox_bytes(3000)
            .keep_alive((setting & 4 != 0).then_some(Duration::from_secs(1)))
            .credit(setting & 32 == 0);
        let (here, there) = (Text::from_static("mem://a"), Text::from_static("mem://b"));
        let compression = if setting & 8 != 0 {
            Compression::S2
        } else {
            Compression::None
        };
        let concurrency = Concurrency::default()
            .running(2)
            .waiting(2)
            .waiting_bytes(1500);
        let mirror = setting & 16 != 0;
        Self {
            now,
            client: Client::new(
                limits.clone(),
                compression,
                here.clone(),
                there.clone(),
                [1; 32],
                now,
            ),
            server: Server::new(limits, concurrency, compression, mirror, there, here, now),
            wires: [Wire::default(), Wire::default()],
            calls: BTreeSet::new(),
            streams: BTreeSet::new(),
            next_seqno: 2,
            running: BTreeSet::new(),
            listeners: BTreeSet::new(),
            net_rpc_turn_taken: false,
            server_leaves: false,
        }
    }

    fn apply(&mut self, operation: u8, a: u8, b: u8) -> Result<(), Violation> {
        let now = self.now;
        match operation % OPERATIONS {
            0..=2 => self.begin(operation % OPERATIONS, a, b),
            3 => {
                if let Some(seqno) = pick(&self.streams, a) {
                    let mut part = body(b);
                    if self.client.stamp_part(now, seqno, &mut part, a > 200) {
                        self.client.enqueue(now, &part).expect("small");
                    }
                }
            }
            4 => {
                let mut message = request(a, b);
                self.client.stamp_one_way(now, &mut message);
                assert_eq!(message.hdr.seqno, self.next_seqno);
                self.next_seqno += 1;
                self.client.enqueue(now, &message).expect("small");
            }
            5 => {
                let open: BTreeSet<u64> = self.calls.union(&self.streams).copied().collect();
                if let Some(seqno) = pick(&open, a) {
                    self.client.cancel(now, seqno);
                    self.calls.remove(&seqno);
                    self.streams.remove(&seqno);
                }
                self.client.cancel(now, u64::from(b));
                self.calls.remove(&u64::from(b));
                self.streams.remove(&u64::from(b));
            }
            6 => self.take(a),
            7 => self.end(a, b),
            8 => {
                if let Some(key) = pick(&self.running, a) {
                    self.server.refuse(now, key, &request(a, b).hdr);
                    self.running.remove(&key);
                }
            }
            9 => {
                if let Some(key) = pick(&self.running, a) {
                    let mut part = body(b);
                    if self.server.stamp_part(now, key, &mut part, a > 200) {
                        self.server.enqueue(now, &part).expect("small");
                    }
                }
            }
            10 => {
                if let Some(key) = pick(&self.running, a) {
                    if let PartTaken::OutOfSync(_) = self.server.take_part(now, key) {
                        self.end(a, b);
                    }
                }
            }
            11 => {
                if let Some(key) = pick(&self.running, a) {
                    self.server.finish(key);
                    self.running.remove(&key);
                }
            }
            12 | 13 => {
                return self.deliver(
                    usize::from(operation % OPERATIONS - 12),
                    usize::from(a) * 16 + 1,
                );
            }
            14 => {
                let later = Duration::from_millis(u64::from(a) * 20);
                self.now.instant += later;
                self.now.wall = self.now.wall.saturating_add(later);
                self.client.handle_timeout(self.now)?;
                self.server.handle_timeout(self.now)?;
            }
            15 | 16 => self.forge(usize::from(operation % OPERATIONS - 15), a, b),
            17 => self.net_rpc(a, b),
            18 => {
                let mut push = body(b).with_subject("push");
                push.hdr.call_id = request(a, b).hdr.call_id;
                push.hdr.seqno = u64::from(a);
                self.server.stamp_push(now, &mut push);
                self.server.enqueue(now, &push).expect("small");
            }
            19 => {
                let call_id = (a & 1 == 1).then(|| request(a, b).hdr.call_id);
                let when_full = if b & 1 == 1 {
                    WhenFull::Wait
                } else {
                    WhenFull::Drop
                };
                if self.client.listeners() < 8 {
                    self.listeners
                        .insert(self.client.listen(call_id, when_full));
                }
            }
            20 => {
                if let Some(listener) = pick(&self.listeners, a) {
                    self.client.take_heard(now, listener);
                }
            }
            21 => {
                if let Some(listener) = pick(&self.listeners, a) {
                    self.client.unlisten(listener);
                    self.listeners.remove(&listener);
                }
            }
            _ => {
                self.deliver(0, usize::MAX)?;
                self.deliver(1, usize::MAX)?;
            }
        }
        self.events();
        Ok(())
    }

    fn begin(&mut self, kind: u8, a: u8, b: u8) {
        let mut message = request(a, b);
        let waiter = self.next_seqno;
        let seqno = match kind {
            0 => {
                let timeout = (b & 1 == 1).then(|| Duration::from_millis(u64::from(b) * 10));
                self.client
                    .begin_call(self.now, &mut message, timeout, waiter)
            }
            1 => self.client.begin_upload(self.now, &mut message),
            _ if b & 1 == 1 => self.client.begin_bistream(self.now, &mut message),
            _ => self.client.begin_download(self.now, &mut message),
        };
        assert_eq!(seqno, waiter);
        self.next_seqno += 1;
        if kind == 0 {
            &mut self.calls
        } else {
            &mut self.streams
        }
        .insert(seqno);
        if a == 255 {
            assert_eq!(self.client.abandon(seqno), (kind == 0).then_some(waiter));
            self.calls.remove(&seqno);
            self.streams.remove(&seqno);
        } else if a & 1 == 1 {
            let frame = EncodedFrame::new(&message, self.client.compression()).expect("small");
            self.client.enqueue_encoded(self.now, frame);
        } else {
            self.client.enqueue(self.now, &message).expect("small");
        }
    }

    fn net_rpc(&mut self, a: u8, b: u8) {
        let mut message = request(a, b);
        let alone = !self.net_rpc_turn_taken;
        // One number for the body, one for the header.
        let waiter = self.next_seqno + 1;
        let seqno = self
            .client
            .begin_net_rpc(self.now, &mut message, None, alone, waiter);
        assert_eq!(seqno, waiter);
        self.next_seqno += 2;
        self.net_rpc_turn_taken = true;
        self.calls.insert(seqno);
        self.client.enqueue(self.now, &message).expect("small");
    }

    fn take(&mut self, a: u8) {
        if let Some(seqno) = pick(&self.streams, a)
            && let Taken::End(_) = self.client.take_part(self.now, seqno)
        {
            self.streams.remove(&seqno);
        }
    }

    fn end(&mut self, a: u8, b: u8) {
        if let Some(key) = pick(&self.running, a) {
            let reply = self.server.reply(self.now, key, body(b)).expect("it runs");
            self.server.enqueue(self.now, &reply).expect("small");
            self.running.remove(&key);
            assert_eq!(self.server.reply(self.now, key, body(b)), None);
        }
    }

    /// Puts a message of anybody's making on a wire, between two frames.
    fn forge(&mut self, direction: usize, a: u8, b: u8) {
        self.flush();
        let mut message = request(a, b);
        message.hdr.typ = CallType(i64::from(a % 26));
        message.hdr.seqno = u64::from(b % 16);
        message.hdr.stream_part = i64::from(b >> 5) - 1;
        if a >= 128 {
            // Words of credit, true and false, and the offers before them.
            let text = [
                "credit=1000,2",
                "credit?0,1",
                "credit=",
                "alive?1 credit?99999,9",
            ];
            let text = Text::from_static(text[usize::from(b & 3)]);
            message.hdr.args.insert(Text::from_static("towline"), text);
        }
        let frame = EncodedFrame::new(&message, Compression::None).expect("small");
        self.wires[direction]
            .on_its_way
            .extend_from_slice(frame.bytes());
    }

    fn flush(&mut self) {
        while let Some(piece) = self.client.poll_transmit() {
            self.client.written(piece.len());
            self.wires[0].on_its_way.extend_from_slice(&piece);
        }
        while let Some(piece) = self.server.poll_transmit() {
            self.server.written(piece.len());
            self.wires[1].on_its_way.extend_from_slice(&piece);
        }
        assert_eq!((self.client.unsent(), self.server.unsent()), (0, 0));
    }

    fn deliver(&mut self, direction: usize, len: usize) -> Result<(), Violation> {
        self.flush();
        let wire = &mut self.wires[direction];
        let piece = wire.on_its_way.split_to(len.min(wire.on_its_way.len()));
        wire.reader.make_room(&mut wire.input, piece.len());
        wire.input.extend_from_slice(&piece);
        loop {
            let wants = if direction == 0 {
                self.server.wants_input()
            } else {
                self.client.wants_input()
            };
            let wire = &mut self.wires[direction];
            if !wants {
                return Ok(());
            }
            let Some(received) = wire.reader.handle_input(&mut wire.input)? else {
                let inside = wire.reader.is_inside_frame(&wire.input);
                match direction {
                    0 => self.server.note_input(self.now, inside),
                    _ => self.client.note_input(self.now, inside),
                }
                return Ok(());
            };
            match direction {
                0 => self.server.handle_message(self.now, received)?,
                _ => self.client.handle_message(self.now, received)?,
            }
            self.events();
        }
    }

    fn events(&mut self) {
        while let Some(event) = self.client.poll_event() {
            match event {
                ClientEvent::Ended { waiter, .. } => {
                    assert!(self.calls.remove(&waiter), "it ended before");
                }
                ClientEvent::StreamReady { seqno } => assert!(!self.calls.contains(&seqno)),
                ClientEvent::MaySend { seqno } => assert!(self.client.may_send(seqno)),
                // By a refusal of anybody's making.
                ClientEvent::ServerLeaves => {
                    assert!(!self.server_leaves, "told before");
                    self.server_leaves = true;
                }
                ClientEvent::NetRpcAnswered => {
                    assert!(self.net_rpc_turn_taken, "answered without a call");
                    self.net_rpc_turn_taken = false;
                }
                ClientEvent::MessageReady { listener } => {
                    assert!(self.listeners.contains(&listener), "nobody listens");
                }
            }
        }
        while let Some(event) = self.server.poll_event() {
            match event {
                ServerEvent::Start { key, .. } => assert!(self.running.insert(key)),
                ServerEvent::Cancelled { key } => assert!(self.running.contains(&key)),
                ServerEvent::MaySend { key } => assert!(self.server.may_send(key)),
                _ => {}
            }
        }
    }

    fn check(&self) {
        assert_eq!(
            self.client.in_flight(),
            self.calls.len() + self.streams.len()
        );
        assert!(self.running.len() <= 2);
        assert!(self.server.in_flight() <= 4);
        assert!(self.server.in_flight() >= self.running.len());
        let holds_nothing = self.streams.is_empty() && self.listeners.is_empty();
        assert!(self.client.wants_input() || !holds_nothing);
        assert_eq!(self.client.listeners(), self.listeners.len());
        assert!(self.server.wants_input() || !self.server.has_room() || !self.running.is_empty());
    }

    fn finish(mut self) {
        // What had ended when the connection did is told first.
        self.events();
        assert_eq!(self.client.close().len(), self.calls.len());
        for seqno in std::mem::take(&mut self.streams) {
            self.client.cancel(self.now, seqno);
        }
        assert_eq!(self.client.in_flight(), 0);
        self.events();
        while let Some(key) = self.running.pop_first() {
            self.server.finish(key);
            self.events();
        }
        assert_eq!(self.server.in_flight(), 0);
    }
}

/// One of few CallIDs, so that they meet.
fn request(a: u8, b: u8) -> Message {
    let mut message = body(b);
    message.hdr.service_name = Text::from_static("work");
    message.hdr.no_system_compression = a & 2 == 2;
    message.hdr.call_id = match a >> 5 {
        0 => Text::from_static("a"),
        1 => Text::from_static("b"),
        2 => Text::from_static("c"),
        _ => Text::EMPTY,
    };
    message
}

fn body(b: u8) -> Message {
    Message::from_body(Bytes::from(vec![b; usize::from(b) * 4]))
}

fn pick<T: Copy>(from: &BTreeSet<T>, which: u8) -> Option<T> {
    from.iter()
        .nth(usize::from(which) % from.len().max(1))
        .copied()
}
