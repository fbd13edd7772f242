//! The serving end: the core, and handlers that take their time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use towline_codec::Text;
use towline_rpc::proto::{
    CallKey, CallType, EncodedFrame, FrameReader, Message, PartTaken, Received, Server,
    ServerEvent, ServiceKind,
};
use towline_sim::{Node, Rng};

use crate::{
    plan::{Plan, content},
    pushes::Pusher,
    support::{at, peer, start},
};

pub(crate) struct ServerNode {
    pub(crate) core: Server,
    pub(crate) pusher: Pusher,
    reader: FrameReader,
    input: BytesMut,
    rng: Rng,
    handlers: BTreeMap<CallKey, Handler>,
    /// Parts that the core holds for each upload, by CallID.
    queued: BTreeMap<Text, usize>,
    queue_parts: usize,
    /// Operations that arrived; none may arrive twice.
    pub(crate) seen: BTreeSet<usize>,
    /// One-way messages that arrived at their service.
    pub(crate) notes: usize,
    /// How often a handler had to wait for credit.
    pub(crate) held_by_credit: usize,
    pub(crate) over: bool,
}

struct Handler {
    operation: usize,
    request: Message,
    kind: ServiceKind,
    /// `None` while it waits for something other than time.
    wakes: Option<Instant>,
    waits_for_room: bool,
    cancelled: bool,
    next: usize,
    bytes: usize,
}

impl ServerNode {
    pub(crate) fn new(plan: &Plan, rng: Rng) -> Self {
        Self {
            core: Server::new(
                plan.server_limits.clone(),
                plan.concurrency,
                plan.compressions[1],
                plan.mirror,
                peer::SERVER_ADDRESS,
                peer::CLIENT_ADDRESS,
                start(),
            ),
            pusher: Pusher::new(plan.pushes.clone()),
            reader: FrameReader::new(),
            input: BytesMut::new(),
            rng,
            handlers: BTreeMap::new(),
            queued: BTreeMap::new(),
            queue_parts: plan.queue_parts[1],
            seen: BTreeSet::new(),
            notes: 0,
            held_by_credit: 0,
            over: false,
        }
    }

    /// Takes frames while the core wants any; what it does not want stays where it is.
    fn pump(&mut self, now: Instant) {
        let now = at(now - start().instant);
        while !self.over
            && self.core.wants_input()
            && let Some(received) = self
                .reader
                .handle_input(&mut self.input)
                .expect("the peer is no enemy")
        {
            self.count(&received);
            self.core
                .handle_message(now, received)
                .expect("the peer is no enemy");
            self.handle_events(now.instant);
        }
        self.core
            .note_input(now, self.reader.is_inside_frame(&self.input));
    }

    fn count(&mut self, received: &Received) {
        let hdr = &received.message.hdr;
        if hdr.typ == CallType::UPLOAD_BEGIN {
            self.queued.insert(hdr.call_id.clone(), 0);
        }
        if matches!(hdr.typ, CallType::UPLOAD_MORE | CallType::UPLOAD_END)
            && let Some(queued) = self.queued.get_mut(&hdr.call_id)
        {
            *queued += 1;
            // One that was refused before it started has no queue.
            let runs = self
                .handlers
                .values()
                .any(|handler| handler.request.hdr.call_id == hdr.call_id);
            // docs/wire S20: one more may come of those that were sent before there was a word of credit.
            let limit = self.queue_parts + 1;
            assert!(
                !runs || *queued <= limit,
                "{queued} parts lie in a queue of {limit}"
            );
        }
    }

    fn handle_events(&mut self, now: Instant) {
        while let Some(event) = self.core.poll_event() {
            match event {
                ServerEvent::Start { key, kind, request } => {
                    let operation = request
                        .arg("op")
                        .and_then(|op| op.parse().ok())
                        .expect("every request has one");
                    assert!(
                        self.seen.insert(operation),
                        "operation {operation} arrived twice"
                    );
                    self.notes += usize::from(request.hdr.service_name == "note");
                    let handler = Handler {
                        operation,
                        request,
                        kind,
                        wakes: Some(now + self.rng.duration(Duration::from_millis(500))),
                        waits_for_room: false,
                        cancelled: false,
                        next: 0,
                        bytes: 0,
                    };
                    assert!(
                        self.handlers.insert(key, handler).is_none(),
                        "a key was used twice"
                    );
                }
                ServerEvent::PartReady { key } => {
                    // Of an upload that has not started, or was refused before it did, nobody knows.
                    if let Some(handler) = self.handlers.get_mut(&key) {
                        let pause = self.rng.duration(Duration::from_millis(40));
                        handler.wakes.get_or_insert(now + pause);
                    }
                }
                ServerEvent::MaySend { key } => {
                    assert!(self.core.may_send(key), "told to go on, and not allowed to");
                    if let Some(handler) = self.handlers.get_mut(&key) {
                        handler.wakes.get_or_insert(now);
                    }
                }
                ServerEvent::Cancelled { key } => {
                    let handler = self
                        .handlers
                        .get_mut(&key)
                        .expect("only what runs is cancelled");
                    assert!(!handler.cancelled, "cancelled twice");
                    handler.cancelled = true;
                    self.queued.remove(&handler.request.hdr.call_id);
                    // A function may look at its context at once, late, or never.
                    if self.rng.chance(2, 3) || handler.wakes.is_none() {
                        handler.wakes = Some(now + self.rng.duration(Duration::from_millis(100)));
                    }
                }
            }
        }
    }

    fn run(&mut self, now: Instant, due: impl Fn(&Handler) -> bool) {
        let keys: Vec<CallKey> = self
            .handlers
            .iter()
            .filter(|(_, handler)| due(handler))
            .map(|(&key, _)| key)
            .collect();
        for key in keys {
            let Some(mut handler) = self.handlers.remove(&key) else {
                continue;
            };
            if self.run_one(now, key, &mut handler) {
                self.queued.remove(&handler.request.hdr.call_id);
            } else {
                self.handlers.insert(key, handler);
            }
        }
        // An end may have let the next call start.
        self.handle_events(now);
        self.pump(now);
    }

    /// True if the handler has ended.
    fn run_one(&mut self, now: Instant, key: CallKey, handler: &mut Handler) -> bool {
        handler.wakes = None;
        // Handlers write only while there is room, as the driver makes them.
        handler.waits_for_room = !self.core.has_room();
        if handler.waits_for_room {
            return false;
        }
        let service = handler
            .request
            .hdr
            .service_name
            .to_string_lossy()
            .into_owned();
        let answer = match (handler.kind, &*service) {
            (_, "nosuch") => {
                self.core
                    .refuse(at(now - start().instant), key, &handler.request.hdr);
                return true;
            }
            (ServiceKind::OneWay, _) => {
                self.core.finish(key);
                return true;
            }
            (ServiceKind::NetRpc, "S.fail") => failure("no"),
            (ServiceKind::NetRpc, "S.echo") => Message::from_body(handler.request.body.clone()),
            (ServiceKind::Call, "fail") => failure(&format!("failed {}", handler.operation)),
            (ServiceKind::Call, _) => {
                Message::from_body([b"re:", &handler.request.body[..]].concat())
            }
            (ServiceKind::Upload, _) => {
                match self.take_parts(now, key, handler, service == "early") {
                    Some(answer) => answer,
                    None => return false,
                }
            }
            (ServiceKind::Download, _) => match self.feed(now, key, handler) {
                Some(answer) => answer,
                None => return false,
            },
            (kind, service) => panic!("{service}: a call of kind {kind:?}"),
        };
        let reply = self
            .core
            .reply(at(now - start().instant), key, answer)
            .expect("the call is open");
        self.enqueue(now, &reply);
        true
    }

    fn take_parts(
        &mut self,
        now: Instant,
        key: CallKey,
        handler: &mut Handler,
        early: bool,
    ) -> Option<Message> {
        if handler.next == 0 {
            let first = &handler.request.body;
            assert_eq!(*first, content(handler.operation, 0, first.len()));
            handler.bytes = first.len();
            handler.next = 1;
        }
        if early && handler.next >= 2 {
            return Some(failure("enough"));
        }
        match self.core.take_part(at(now - start().instant), key) {
            PartTaken::Part(part, last) => {
                if let Some(queued) = self.queued.get_mut(&handler.request.hdr.call_id) {
                    *queued -= 1;
                }
                assert_eq!(part.hdr.stream_part, handler.next as i64);
                assert_eq!(
                    part.body,
                    content(handler.operation, handler.next, part.body.len())
                );
                handler.bytes += part.body.len();
                handler.next += 1;
                handler.wakes = Some(now + self.rng.duration(Duration::from_millis(30)));
                if !last {
                    return None;
                }
                if early {
                    return Some(failure("enough"));
                }
                Some(Message::from_body(format!(
                    "{} parts, {} bytes",
                    handler.next, handler.bytes
                )))
            }
            PartTaken::Nothing => None,
            PartTaken::End => panic!("an upload ended before its last part"),
            PartTaken::Cancelled => {
                assert!(handler.cancelled, "nobody has cancelled");
                Some(failure("context cancelled"))
            }
            PartTaken::Over => panic!("the handler is still there"),
            PartTaken::OutOfSync(out_of_sync) => panic!("{out_of_sync}"),
        }
    }

    fn feed(&mut self, now: Instant, key: CallKey, handler: &mut Handler) -> Option<Message> {
        let sizes: Vec<usize> = handler
            .request
            .arg("sizes")
            .expect("a download says what it wants")
            .split_terminator(',')
            .map(|size| size.parse().expect("a number"))
            .collect();
        let Some(&size) = sizes.get(handler.next) else {
            return Some(Message::from_body(format!("{} parts", sizes.len())));
        };
        if !self.core.may_send(key) {
            self.held_by_credit += 1;
            return None;
        }
        let mut part = Message::from_body(content(handler.operation, handler.next, size));
        let last = handler.next + 1 == sizes.len();
        if !self
            .core
            .stamp_part(at(now - start().instant), key, &mut part, last)
        {
            assert!(handler.cancelled, "a part was refused");
            return Some(failure("context cancelled"));
        }
        self.enqueue(now, &part);
        handler.next += 1;
        handler.wakes = Some(now + self.rng.duration(Duration::from_millis(20)));
        None
    }

    fn enqueue(&mut self, now: Instant, message: &Message) {
        if self.over {
            return;
        }
        let now = at(now - start().instant);
        if self.rng.chance(1, 2) {
            let frame = EncodedFrame::new(message, self.core.compression()).expect("small enough");
            self.core.enqueue_encoded(now, frame);
        } else {
            self.core.enqueue(now, message).expect("small enough");
        }
    }
}

impl Node for ServerNode {
    fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.pump(now);
    }

    fn handle_end(&mut self, now: Instant) {
        self.over = true;
        // docs/wire C18: every context of the connection is cancelled; here all obey at once. What
        // waited starts, to end as well.
        while let Some((key, _)) = self.handlers.pop_first() {
            self.core
                .reply(at(now - start().instant), key, Message::new())
                .expect("it ran");
            self.handle_events(now);
        }
    }

    fn wants_bytes(&self) -> bool {
        !self.over && self.core.wants_input()
    }

    fn poll_bytes(&mut self, now: Instant) -> Option<Bytes> {
        if self.over {
            return None;
        }
        if self.core.has_room() && self.handlers.values().any(|handler| handler.waits_for_room) {
            self.run(now, |handler| handler.waits_for_room);
        }
        self.pusher.run(at(now - start().instant), &mut self.core);
        let piece = self.core.poll_transmit()?;
        self.core.written(piece.len());
        self.pump(now);
        Some(piece)
    }

    fn deadline(&self) -> Option<Instant> {
        if self.over {
            return None;
        }
        self.handlers
            .values()
            .filter_map(|handler| handler.wakes)
            // One that is due waits for room, not for time.
            .chain(self.pusher.deadline().filter(|_| self.core.has_room()))
            .chain(self.core.deadline())
            .min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.core
            .handle_timeout(at(now - start().instant))
            .expect("the peer keeps talking");
        self.pusher.run(at(now - start().instant), &mut self.core);
        self.run(now, |handler| {
            handler.wakes.is_some_and(|wakes| wakes <= now)
        });
    }

    fn is_closed(&self) -> bool {
        self.over
    }
}

fn failure(text: &str) -> Message {
    Message {
        error: Text::from(text),
        ..Message::new()
    }
}
