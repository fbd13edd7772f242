//! The serving side of a connection.

mod admission;
mod concurrency;
mod streams;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

use bytes::Bytes;
use rustc_hash::FxHashMap;
use towline_codec::{Text, greenpack::Timestamp};

use super::{
    BYTE_OFF_FOR_MESSAGE, CallType, Compression, EncodedFrame, Hdr, Limits, Message, NetRpcRequest,
    Now, Received, TooLarge, Violation,
    credit::{Owed, Spending},
    inbound::weight,
    link::Link,
    refusal,
};

use self::{admission::Begun, streams::Upload};
pub use self::{concurrency::Concurrency, streams::PartTaken};

/// Names a call while it is served. Never used twice on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallKey(u64);

/// What kind of handler a request needs (docs/wire C3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ServiceKind {
    /// Answered by one reply.
    Call,
    /// Not answered.
    OneWay,
    /// The client sends parts, the server one reply.
    Upload,
    /// The server sends parts and one reply.
    Download,
    /// Both send parts, as they like; the server one reply.
    Bistream,
    /// A net/rpc call, answered by one reply. In its request the service name is that of the method,
    /// and the body the argument; the reply's body is the value, or its error says why there is none
    /// (docs/wire C23).
    NetRpc,
}

impl ServiceKind {
    const fn takes_parts(self) -> bool {
        matches!(self, Self::Upload | Self::Bistream)
    }

    const fn is_stream(self) -> bool {
        matches!(self, Self::Upload | Self::Download | Self::Bistream)
    }
}

/// What a server tells its owner.
#[derive(Debug)]
pub enum ServerEvent {
    /// A handler should start. It ends by [`Server::reply`], [`Server::refuse`] or, one-way, by
    /// [`Server::finish`].
    Start {
        /// The call.
        key: CallKey,
        /// Which table the service is looked up in.
        kind: ServiceKind,
        /// The request; of an upload or bistream, its first part, which [`Server::take_part`] does not repeat.
        request: Message,
    },
    /// An upload or bistream has something for [`Server::take_part`]. Announced once until it is taken.
    PartReady {
        /// The upload.
        key: CallKey,
    },
    /// The client has room for another part of a stream whose handler was told by
    /// [`Server::may_send`] to wait, or the stream is over.
    MaySend {
        /// The call.
        key: CallKey,
    },
    /// The client no longer waits: the handler should end (docs/wire C13). A reply is still due.
    Cancelled {
        /// The call.
        key: CallKey,
    },
}

/// The protocol of a server, without I/O, for one connection. Driven as
/// [`Client`](super::Client) is.
#[derive(Debug)]
pub struct Server {
    link: Link,
    mirror: bool,
    concurrency: Concurrency,
    calls: FxHashMap<CallKey, Call>,
    /// Streams that nobody has cancelled, by CallID.
    streams: BTreeMap<Text, CallKey>,
    last_key: u64,
    running: usize,
    waiting: VecDeque<(CallKey, Message)>,
    waiting_bytes: usize,
    /// Of the calls that run or wait.
    body_bytes: usize,
    /// Of the first messages of streams that run or wait.
    stream_bytes: usize,
    events: VecDeque<ServerEvent>,
    refused: u64,
    draining: bool,
    owed_credit: Owed<CallKey>,
}

#[derive(Debug)]
struct Call {
    kind: ServiceKind,
    repeated: Repeated,
    started: bool,
    cancelled: bool,
    next_sent: i64,
    spending: Spending,
    /// Bytes of its request, as [`Concurrency::body_bytes`] counts them.
    counted: usize,
    upload: Option<Upload>,
    /// Of a net/rpc call: what its answer begins with.
    net_rpc: Option<Box<NetRpcRequest>>,
}

/// What answers repeat of the request (docs/wire M4, C7).
#[derive(Debug, Clone)]
struct Repeated {
    seqno: u64,
    call_id: Text,
    service_name: Text,
    subject: Text,
    deadline: Option<Timestamp>,
}

impl Call {
    fn new(kind: ServiceKind, request: &Message) -> Self {
        let hdr = &request.hdr;
        Self {
            kind,
            repeated: Repeated {
                seqno: hdr.seqno,
                call_id: hdr.call_id.clone(),
                service_name: hdr.service_name.clone(),
                subject: hdr.subject.clone(),
                deadline: hdr.deadline,
            },
            started: false,
            cancelled: false,
            next_sent: 0,
            spending: Spending::default(),
            counted: weight(request),
            upload: kind.takes_parts().then(Upload::behind_the_request),
            net_rpc: None,
        }
    }

    /// Makes a reply what the kind of call wants: that of a net/rpc call has its error in the body
    /// (docs/wire C23, E13).
    fn dress(&self, reply: &mut Message) {
        if let Some(header) = &self.net_rpc {
            reply.body = header.answer(&reply.error, &reply.body);
            reply.error = Text::EMPTY;
        }
    }
}

impl Server {
    /// A server of a connection between `local` and `remote` (docs/wire M5). With `mirror` it
    /// compresses as the client does, and as `compression` says until the client has sent something
    /// (docs/wire F11); without it always as `compression` says (docs/wire F13).
    pub fn new(
        limits: Limits,
        concurrency: Concurrency,
        compression: Compression,
        mirror: bool,
        local: Text,
        remote: Text,
        now: Now,
    ) -> Self {
        Self {
            link: Link::new(limits, compression, local, remote, now),
            mirror,
            concurrency,
            calls: FxHashMap::default(),
            streams: BTreeMap::new(),
            last_key: 0,
            running: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            body_bytes: 0,
            stream_bytes: 0,
            events: VecDeque::new(),
            refused: 0,
            draining: false,
            owed_credit: Owed::default(),
        }
    }

    /// Handles what came.
    ///
    /// # Errors
    ///
    /// A [`Violation`] ends the connection.
    pub fn handle_message(&mut self, now: Now, received: Received) -> Result<(), Violation> {
        self.link.received(now, false);
        if self.mirror
            && received.compression_byte != BYTE_OFF_FOR_MESSAGE
            && let Ok(compression) = Compression::from_byte(received.compression_byte)
        {
            self.link.set_compression(compression);
        }
        let mut message = received.message;
        if !message.hdr.args.is_empty() {
            if message.hdr.typ == CallType::KEEP_ALIVE {
                self.handle_credit(&message.hdr);
            } else if let Some(answer) = self.link.take_offer(&mut message.hdr) {
                self.enqueue_small(now, &answer);
            }
        }
        match message.hdr.typ {
            CallType::CALL => self.admit(now, ServiceKind::Call, message),
            CallType::ONE_WAY => self.admit(now, ServiceKind::OneWay, message),
            CallType::NET_RPC => self.admit_net_rpc(now, message),
            CallType::UPLOAD_BEGIN => self.begin_stream(now, ServiceKind::Upload, message),
            CallType::DOWNLOAD => self.begin_stream(now, ServiceKind::Download, message),
            CallType::UPLOAD_MORE | CallType::UPLOAD_END => return self.handle_part(now, message),
            CallType::CANCEL => self.handle_cancel(now, &message.hdr),
            CallType::BISTREAM => self.begin_stream(now, ServiceKind::Bistream, message),
            // Keep-alives, and whatever means nothing here (docs/wire C2, K3).
            _ => {}
        }
        self.link.end_stray_parts();
        Ok(())
    }

    /// Notes that bytes came, and whether they end inside a frame.
    pub const fn note_input(&mut self, now: Now, inside_frame: bool) {
        self.link.received(now, inside_frame);
    }

    /// Ends a call, upload or download: stamps its final reply, to be queued next. `None` if the
    /// call is over already (docs/wire C7, S8).
    pub fn reply(&mut self, now: Now, key: CallKey, mut reply: Message) -> Option<Message> {
        let call = self.remove(key)?;
        call.dress(&mut reply);
        if !reply.hdr.args.is_empty() {
            // docs/wire E14: a function that ran cannot say so, not even by sending Args back.
            reply.hdr.args.remove(refusal::NOT_BEGUN.as_bytes());
        }
        reply.hdr.typ = CallType::REPLY;
        Self::stamp_answer(&mut self.link, now, call.repeated, &mut reply);
        Some(reply)
    }

    /// Ends a call that no service is registered for: queues a CallError (docs/wire E2, E3).
    /// `request` is the header it came with, which the refusal repeats.
    pub fn refuse(&mut self, now: Now, key: CallKey, request: &Hdr) {
        let Some(call) = self.remove(key) else {
            return;
        };
        let text = refusal::unknown_service(call.kind, request);
        if call.kind == ServiceKind::NetRpc {
            // docs/wire E13, X8: a CallError would disable a client of the original.
            self.reply_error(now, call, text, Begun::Perhaps);
        } else {
            self.send_refusal(now, request, text);
        }
    }

    /// Ends a one-way call.
    pub fn finish(&mut self, key: CallKey) {
        self.remove(key);
    }

    /// Stamps a message to the client that answers nothing (docs/wire C16): its subject goes into the
    /// service name, as in the original. Seqno and CallID are left as they are.
    pub fn stamp_push(&mut self, now: Now, message: &mut Message) {
        let hdr = &mut *message.hdr;
        hdr.typ = CallType::ONE_WAY;
        let subject = std::mem::take(&mut hdr.subject);
        let name = [&b"srv.SendMessage('"[..], subject.as_bytes(), b"')"].concat();
        hdr.service_name = Text::from_bytes(Bytes::from(name));
        hdr.created = Some(now.wall);
        hdr.to = self.link.remote.clone();
        hdr.serial = self.link.next_serial();
        hdr.from = self.link.local.clone();
    }

    /// Stamps a message to the client whose header its maker has filled in: only From is set, and To
    /// and the type if they were not (docs/wire C16).
    pub fn stamp_forwarded(&mut self, message: &mut Message) {
        let hdr = &mut *message.hdr;
        hdr.from = self.link.local.clone();
        if hdr.to.is_empty() {
            hdr.to = self.link.remote.clone();
        }
        if hdr.typ == CallType::NONE {
            hdr.typ = CallType::ONE_WAY;
        }
    }

    /// Queues a stamped message, compressing it on the spot.
    ///
    /// # Errors
    ///
    /// [`TooLarge`]: nothing was queued.
    pub fn enqueue(&mut self, now: Now, message: &Message) -> Result<(), TooLarge> {
        self.link.enqueue(now, message)
    }

    /// Queues a stamped message that was encoded outside.
    pub fn enqueue_encoded(&mut self, now: Now, frame: EncodedFrame) {
        self.link.enqueue_encoded(now, frame);
    }

    /// How the next frame is compressed (docs/wire F11).
    pub const fn compression(&self) -> Compression {
        self.link.compression()
    }

    /// The next bytes to write. Report them with [`written`](Self::written).
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        self.pay_owed_credit();
        self.link.pop_transmit()
    }

    /// Notes that `len` transmitted bytes have reached the transport.
    pub fn written(&mut self, len: usize) {
        self.link.written(len);
    }

    /// Bytes queued and not yet written.
    pub const fn unsent(&self) -> usize {
        self.link.unsent()
    }

    /// False while so much waits to be written that handlers should wait.
    pub const fn has_room(&self) -> bool {
        self.link.has_room()
    }

    /// False while an upload's queue is full (docs/wire S14), the bodies of calls are too many bytes
    /// (docs/wire C5), or the client does not read its replies: the owner should stop reading.
    pub const fn wants_input(&self) -> bool {
        self.link.takes_parts()
            && self.link.has_room()
            && self.body_bytes < self.concurrency.body_bytes
    }

    /// The next thing to do.
    pub fn poll_event(&mut self) -> Option<ServerEvent> {
        self.events.pop_front()
    }

    /// True if [`poll_event`](Self::poll_event) has something.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.link.deadline(self.wants_input())
    }

    /// Does what is due.
    ///
    /// # Errors
    ///
    /// A [`Violation`] if the peer was silent for too long.
    pub fn handle_timeout(&mut self, now: Now) -> Result<(), Violation> {
        self.link.handle_timeout(now, self.wants_input())
    }

    /// Calls that run or wait.
    pub fn in_flight(&self) -> usize {
        self.calls.len()
    }

    /// Calls that were refused because too many ran and waited.
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    fn insert(&mut self, key: CallKey, mut call: Call) {
        if call.kind.is_stream() {
            self.begin_credit(&mut call);
            self.streams.insert(call.repeated.call_id.clone(), key);
            self.stream_bytes += call.counted;
        } else {
            self.body_bytes += call.counted;
        }
        self.calls.insert(key, call);
        if self.body_bytes >= self.concurrency.body_bytes {
            self.link.pause_reading();
        }
    }

    fn start(&mut self, key: CallKey, request: Message) {
        let Some(call) = self.calls.get_mut(&key) else {
            return;
        };
        call.started = true;
        self.running += 1;
        let kind = call.kind;
        self.events
            .push_back(ServerEvent::Start { key, kind, request });
    }

    /// docs/wire E2, M4: the request's header comes back, addresses swapped, with a text.
    fn send_refusal(&mut self, now: Now, request: &Hdr, text: Text) {
        // docs/wire E5
        let mut args = request.args.clone();
        args.insert(Text::from(refusal::STAYS), Text::from(refusal::YES));
        let hdr = Hdr {
            args,
            typ: CallType::ERROR,
            subject: text,
            from: request.to.clone(),
            to: request.from.clone(),
            local_recv_tm: None,
            no_system_compression: false,
            ..request.clone()
        };
        self.enqueue_small(
            now,
            &Message {
                hdr: Box::new(hdr),
                ..Message::new()
            },
        );
    }

    /// Queues a message that repeats no more than a header that fitted into a frame. If it does not
    /// fit with the text we add, the client goes without it.
    fn enqueue_small(&mut self, now: Now, message: &Message) {
        if let Err(error) = self.link.enqueue(now, message) {
            tracing::trace!(%error, "a refusal does not fit into a frame");
        }
    }

    /// docs/wire M4
    fn stamp_answer(link: &mut Link, now: Now, repeated: Repeated, message: &mut Message) {
        let hdr = &mut *message.hdr;
        hdr.created = Some(now.wall);
        hdr.from = link.local.clone();
        hdr.to = link.remote.clone();
        hdr.serial = link.next_serial();
        hdr.seqno = repeated.seqno;
        hdr.call_id = repeated.call_id;
        hdr.service_name = repeated.service_name;
        hdr.deadline = repeated.deadline;
        if hdr.typ == CallType::REPLY {
            hdr.stream_part = 0;
            if hdr.subject.is_empty() {
                hdr.subject = repeated.subject;
            }
        } else {
            hdr.subject = repeated.subject;
        }
        link.accept(hdr);
    }

    /// Forgets a call and starts the next that waits.
    fn remove(&mut self, key: CallKey) -> Option<Call> {
        let mut call = self.calls.remove(&key)?;
        if call.kind.is_stream() {
            self.stream_bytes -= call.counted;
        } else {
            self.body_bytes -= call.counted;
        }
        if let Some(upload) = &mut call.upload {
            self.link.discard_parts(&mut upload.queue);
            self.owed_credit.forget(key);
        }
        if !call.spending.may_send() {
            self.events.push_back(ServerEvent::MaySend { key });
        }
        if self.streams.get(&call.repeated.call_id) == Some(&key) {
            self.streams.remove(&call.repeated.call_id);
        }
        if call.started {
            self.running -= 1;
            if let Some((key, request)) = self.waiting.pop_front() {
                self.waiting_bytes -= weight(&request);
                self.start(key, request);
            }
        }
        Some(call)
    }
}
