//! The calling side of a connection.

mod answers;
mod listeners;
mod streams;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rustc_hash::FxHashMap;
use towline_codec::Text;

use super::{
    CallType, Compression, EncodedFrame, Hdr, Limits, Message, NetRpcRequest, Now, Received,
    TooLarge, Violation, call_id::CallIds, credit::Owed, link::Link, timeouts::Timeouts,
};

use self::{listeners::Listeners, streams::Stream};
pub use self::{
    listeners::{Heard, ListenerKey, WhenFull},
    streams::{StreamEnd, Taken},
};

/// How a unary call ended without a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failed {
    /// The server refused it: its text (docs/wire E2, E4).
    Refused(Text),
    /// The server has not begun it, and says why: it may be made again (docs/wire E14).
    NotBegun(Text),
    /// The time limit passed (docs/wire C11).
    TimedOut,
}

/// What a client tells its owner.
#[derive(Debug)]
pub enum ClientEvent<W> {
    /// A unary call ended; `waiter` is what the caller left for the answer.
    Ended {
        /// Whom to tell.
        waiter: W,
        /// The reply, or why there is none.
        result: Result<Message, Failed>,
    },
    /// A stream has something for [`Client::take_part`]. Announced once until it is taken.
    StreamReady {
        /// The stream.
        seqno: u64,
    },
    /// The server has room for another part of a stream whose owner was told by
    /// [`Client::may_send`] to wait, or a stream whose owner may wait for that or for
    /// [`Client::has_room`] has ended.
    MaySend {
        /// The stream.
        seqno: u64,
    },
    /// The net/rpc call that was begun alone has been answered, in time or late: the next may begin
    /// (docs/wire X16).
    NetRpcAnswered,
    /// The server has refused a call or a stream as the original does, which will close the connection 3 s later: make
    /// later calls over another (docs/wire X9). Told once.
    ServerLeaves,
    /// A listener has something for [`Client::take_heard`]. Announced once until it is taken.
    MessageReady {
        /// The listener.
        listener: ListenerKey,
    },
}

/// The protocol of a client, without I/O: calls and streams by sequence number, over one
/// connection.
///
/// `W` is whatever the owner wants back with the answer of a call. The owner
///
/// 1. gives every [`Received`] message to [`handle_message`](Self::handle_message), and tells of
///    bytes that did not complete a frame by [`note_input`](Self::note_input);
/// 2. makes calls by the `begin_*` methods, which stamp the message, and queues the stamped message
///    by [`enqueue`](Self::enqueue) or, compressed outside its lock, [`enqueue_encoded`](Self::enqueue_encoded);
/// 3. after either, drains [`poll_transmit`](Self::poll_transmit) and [`poll_event`](Self::poll_event);
/// 4. calls [`handle_timeout`](Self::handle_timeout) at [`deadline`](Self::deadline).
///
/// `now` must never go back.
#[derive(Debug)]
pub struct Client<W> {
    link: Link,
    call_ids: CallIds,
    last_seqno: u64,
    calls: FxHashMap<u64, Call<W>>,
    timeouts: Timeouts,
    events: VecDeque<ClientEvent<W>>,
    listeners: Listeners,
    /// The net/rpc call that has not been answered, whether anybody waits for it or not.
    net_rpc: Option<(u64, Text)>,
    unclaimed: u64,
    owed_credit: Owed<u64>,
    heard: bool,
    server_leaves: bool,
}

#[derive(Debug)]
struct Call<W> {
    /// Of the request; a cancel repeats it (docs/wire C12).
    hdr: Box<Hdr>,
    kind: Kind<W>,
}

#[derive(Debug)]
enum Kind<W> {
    Unary { waiter: W },
    Stream(Box<Stream>),
}

impl<W> Client<W> {
    /// A client of a connection between `local` and `remote` (docs/wire M5). All its random choices
    /// follow from `seed`.
    pub fn new(
        limits: Limits,
        compression: Compression,
        local: Text,
        remote: Text,
        seed: [u8; 32],
        now: Now,
    ) -> Self {
        Self {
            link: Link::new(limits, compression, local, remote, now),
            call_ids: CallIds::new(seed),
            last_seqno: 1,
            calls: FxHashMap::default(),
            timeouts: Timeouts::default(),
            events: VecDeque::new(),
            listeners: Listeners::default(),
            net_rpc: None,
            unclaimed: 0,
            owed_credit: Owed::default(),
            heard: false,
            server_leaves: false,
        }
    }

    /// Registers a call and stamps its message, which is to be queued next. Returns its sequence
    /// number (docs/wire C6). It ends after `timeout`, or at the deadline in its header if that comes
    /// first (docs/wire C11).
    pub fn begin_call(
        &mut self,
        now: Now,
        message: &mut Message,
        timeout: Option<Duration>,
        waiter: W,
    ) -> u64 {
        let seqno = self.stamp_request(now, message, CallType::CALL, None);
        self.register_call(now, seqno, message.hdr.clone(), timeout, waiter);
        seqno
    }

    /// Registers a net/rpc call and stamps its message, which is to be queued next: the service name is
    /// that of the method, the body the argument (docs/wire C23). The reply's body is split by
    /// [`NetRpcResponse::split`](super::NetRpcResponse::split).
    ///
    /// With `alone`, no other may begin until [`ClientEvent::NetRpcAnswered`]: a server of the original
    /// mixes up calls that overlap (docs/wire X16).
    pub fn begin_net_rpc(
        &mut self,
        now: Now,
        message: &mut Message,
        timeout: Option<Duration>,
        alone: bool,
        waiter: W,
    ) -> u64 {
        let header = NetRpcRequest {
            method: message.hdr.service_name.clone(),
            // docs/wire M6: the number in the body has a value of its own.
            seq: self.next_seqno(),
        };
        message.body = header.with_argument(&message.body);
        let seqno = self.stamp_request(now, message, CallType::NET_RPC, None);
        if alone {
            self.net_rpc = Some((seqno, message.hdr.call_id.clone()));
        }
        self.register_call(now, seqno, message.hdr.clone(), timeout, waiter);
        seqno
    }

    /// Makes a call at once: [`begin_call`](Self::begin_call) and [`enqueue`](Self::enqueue) in one.
    ///
    /// # Errors
    ///
    /// [`TooLarge`]: nothing was queued and nothing is registered.
    pub fn call(
        &mut self,
        now: Now,
        mut message: Message,
        timeout: Option<Duration>,
        waiter: W,
    ) -> Result<u64, TooLarge> {
        let seqno = self.stamp_request(now, &mut message, CallType::CALL, None);
        self.link.enqueue(now, &message)?;
        self.register_call(now, seqno, message.hdr, timeout, waiter);
        Ok(seqno)
    }

    /// Stamps a message that is not answered (docs/wire C15).
    pub fn stamp_one_way(&mut self, now: Now, message: &mut Message) {
        message.hdr.typ = CallType::ONE_WAY;
        if message.hdr.seqno == 0 {
            message.hdr.seqno = self.next_seqno();
        }
        if message.hdr.call_id.is_empty() {
            message.hdr.call_id = self.call_ids.next();
        }
        self.stamp(now, message);
    }

    /// A CallID that no call has had (docs/wire M7).
    pub fn new_call_id(&mut self) -> Text {
        self.call_ids.next()
    }

    /// Queues a stamped message, compressing it on the spot.
    ///
    /// # Errors
    ///
    /// [`TooLarge`]: nothing was queued; forget the call with [`abandon`](Self::abandon).
    pub fn enqueue(&mut self, now: Now, message: &Message) -> Result<(), TooLarge> {
        self.link.enqueue(now, message)
    }

    /// Queues a stamped message that was encoded outside.
    pub fn enqueue_encoded(&mut self, now: Now, frame: EncodedFrame) {
        self.link.enqueue_encoded(now, frame);
    }

    /// How frames are compressed (docs/wire F10).
    pub const fn compression(&self) -> Compression {
        self.link.compression()
    }

    /// Forgets a call or stream whose request could not be queued. Nothing is sent.
    pub fn abandon(&mut self, seqno: u64) -> Option<W> {
        self.net_rpc.take_if(|(alone, _)| *alone == seqno);
        match self.remove(seqno)?.kind {
            Kind::Unary { waiter } => Some(waiter),
            Kind::Stream(_) => None,
        }
    }

    /// Cancels a call or stream that nobody waits for any more: tells the server once and forgets
    /// it (docs/wire C12, S16). Of one that has ended, or whose end has come, nothing is sent.
    pub fn cancel(&mut self, now: Now, seqno: u64) {
        let Some(call) = self.remove(seqno) else {
            return;
        };
        let mut hdr = call.hdr;
        if let Kind::Stream(stream) = call.kind {
            if stream.end.is_some() {
                return;
            }
            // docs/wire S16
            hdr.serial = self.link.next_serial();
        }
        self.send_cancel(now, hdr);
    }

    /// Handles what came.
    ///
    /// # Errors
    ///
    /// A [`Violation`] ends the connection.
    pub fn handle_message(&mut self, now: Now, received: Received) -> Result<(), Violation> {
        self.link.received(now, false);
        self.heard = true;
        let mut message = received.message;
        let typ = message.hdr.typ;
        if typ == CallType::REPLY || typ.is_download_part() {
            self.link.take_acceptance(&mut message.hdr);
        }
        match typ {
            CallType::KEEP_ALIVE => self.handle_credit(now, &message.hdr),
            CallType::REPLY => self.handle_reply(message),
            CallType::ERROR => self.handle_refusal(message),
            typ if typ.is_download_part() => self.handle_part(now, message),
            _ => self.deliver(message),
        }
        Ok(())
    }

    /// Notes that bytes came, and whether they end inside a frame.
    pub const fn note_input(&mut self, now: Now, inside_frame: bool) {
        self.link.received(now, inside_frame);
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

    /// False while so much waits to be written that senders should wait.
    pub const fn has_room(&self) -> bool {
        self.link.has_room()
    }

    /// False while the queue of a stream or of a listener that does not drop is full: the owner should
    /// stop reading (docs/wire S14, C17).
    pub const fn wants_input(&self) -> bool {
        self.link.takes_parts()
    }

    /// The next thing to tell somebody.
    pub fn poll_event(&mut self) -> Option<ClientEvent<W>> {
        self.events.pop_front()
    }

    /// True if [`poll_event`](Self::poll_event) has something.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn deadline(&self) -> Option<Instant> {
        let calls = self.timeouts.first().map(|(deadline, _)| deadline);
        [calls, self.link.deadline(self.wants_input())]
            .into_iter()
            .flatten()
            .min()
    }

    /// Does what is due: ends calls whose time is up and cancels them at the server, sends
    /// keep-alives.
    ///
    /// # Errors
    ///
    /// A [`Violation`] if the peer was silent for too long.
    pub fn handle_timeout(&mut self, now: Now) -> Result<(), Violation> {
        while let Some((deadline, seqno)) = self.timeouts.first()
            && deadline <= now.instant
        {
            self.timeouts.pop();
            match self.calls.get(&seqno).map(|call| &call.kind) {
                None => {}
                Some(Kind::Stream(stream)) if stream.end.is_some() => {}
                Some(Kind::Stream(_)) => self.give_up(now, seqno, StreamEnd::TimedOut),
                Some(Kind::Unary { .. }) => {
                    if let Some(Call {
                        hdr,
                        kind: Kind::Unary { waiter },
                    }) = self.calls.remove(&seqno)
                    {
                        let result = Err(Failed::TimedOut);
                        self.events.push_back(ClientEvent::Ended { waiter, result });
                        self.send_cancel(now, hdr);
                    }
                }
            }
        }
        self.link.handle_timeout(now, self.wants_input())
    }

    /// Ends the connection: hands back everybody who waits for an answer, in the order of their
    /// calls. Streams keep what has come and then report nothing more.
    pub fn close(&mut self) -> Vec<W> {
        self.timeouts.clear();
        let mut ended: Vec<_> = self
            .calls
            .extract_if(|_, call| matches!(call.kind, Kind::Unary { .. }))
            .collect();
        ended.sort_unstable_by_key(|&(seqno, _)| seqno);
        ended
            .into_iter()
            .filter_map(|(_, call)| match call.kind {
                Kind::Unary { waiter } => Some(waiter),
                Kind::Stream(_) => None,
            })
            .collect()
    }

    /// True once a message has come.
    pub const fn has_heard(&self) -> bool {
        self.heard
    }

    /// Calls and streams that have not ended.
    pub fn in_flight(&self) -> usize {
        self.calls.len()
    }

    /// Messages that came and that nobody waits for or listens to: late replies, parts of streams that
    /// were cancelled, pushes without a listener (docs/wire C9, C17).
    pub const fn unclaimed(&self) -> u64 {
        self.unclaimed
    }

    fn register_call(
        &mut self,
        now: Now,
        seqno: u64,
        hdr: Box<Hdr>,
        timeout: Option<Duration>,
        waiter: W,
    ) {
        self.set_timeout(now, seqno, &hdr, timeout);
        let kind = Kind::Unary { waiter };
        self.calls.insert(seqno, Call { hdr, kind });
    }

    /// docs/wire C11: the time limit and the deadline, whichever comes first.
    fn set_timeout(&mut self, now: Now, seqno: u64, hdr: &Hdr, timeout: Option<Duration>) {
        let left = hdr
            .deadline
            .map(|deadline| deadline.saturating_since(now.wall));
        let limit = [timeout, left].into_iter().flatten().min();
        if let Some(ends) = limit.and_then(|limit| now.instant.checked_add(limit)) {
            self.timeouts.insert(ends, seqno);
        }
    }

    /// docs/wire M4, M6, M7
    fn stamp_request(
        &mut self,
        now: Now,
        message: &mut Message,
        typ: CallType,
        offer: Option<String>,
    ) -> u64 {
        let seqno = self.next_seqno();
        message.hdr.typ = typ;
        message.hdr.seqno = seqno;
        if message.hdr.call_id.is_empty() {
            message.hdr.call_id = self.call_ids.next();
        }
        self.stamp(now, message);
        self.link.offer(&mut message.hdr, offer);
        seqno
    }

    fn stamp(&mut self, now: Now, message: &mut Message) {
        message.hdr.created.get_or_insert(now.wall);
        message.hdr.from = self.link.local.clone();
        message.hdr.to = self.link.remote.clone();
        message.hdr.serial = self.link.next_serial();
    }

    const fn next_seqno(&mut self) -> u64 {
        self.last_seqno += 1;
        self.last_seqno
    }

    fn send_cancel(&mut self, now: Now, mut hdr: Box<Hdr>) {
        hdr.typ = CallType::CANCEL;
        hdr.stream_part = 0;
        let cancel = Message {
            hdr,
            ..Message::default()
        };
        // It repeats a header that was sent before, without a body: it fits.
        if self.link.enqueue(now, &cancel).is_err() {
            debug_assert!(false, "a cancel is smaller than its request");
        }
    }

    fn remove(&mut self, seqno: u64) -> Option<Call<W>> {
        let mut call = self.calls.remove(&seqno)?;
        if let Kind::Stream(stream) = &mut call.kind {
            self.link.discard_parts(&mut stream.queue);
            self.owed_credit.forget(seqno);
        }
        self.timeouts
            .forget_ended(self.calls.len(), |seqno| self.calls.contains_key(&seqno));
        Some(call)
    }
}
