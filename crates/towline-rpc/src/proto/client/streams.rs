//! Parts of streams, in both directions.

use std::collections::VecDeque;

use towline_codec::Text;

use super::{Call, Client, ClientEvent, Kind};
use crate::proto::{
    CallType, Hdr, Message, Now, OutOfSync,
    credit::{self, Spending, Terms},
    inbound::InboundQueue,
};

/// How a stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEnd {
    /// The final reply came (docs/wire S8).
    Reply(Message),
    /// The server refused the stream: its text.
    Refused(Text),
    /// A part was missing or came twice.
    OutOfSync(OutOfSync),
    /// The deadline of its request passed (docs/wire C11).
    TimedOut,
}

/// What [`Client::take_part`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// The next part of a download.
    Part(Message),
    /// Nothing yet.
    Nothing,
    /// All parts have been taken and the stream has ended; the client has forgotten it.
    End(StreamEnd),
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) queue: InboundQueue,
    pub(super) end: Option<StreamEnd>,
    announced: bool,
    next_sent: i64,
    spending: Spending,
    /// Its request offered credit.
    offered: bool,
}

impl<W> Client<W> {
    /// Registers an upload and stamps its first part (docs/wire S3). It ends at the deadline in its
    /// header, as every stream (docs/wire C11).
    pub fn begin_upload(&mut self, now: Now, first: &mut Message) -> u64 {
        self.begin_stream(now, first, CallType::UPLOAD_BEGIN, 1)
    }

    /// Registers a download and stamps the request for it (docs/wire S6).
    pub fn begin_download(&mut self, now: Now, request: &mut Message) -> u64 {
        self.begin_stream(now, request, CallType::DOWNLOAD, 0)
    }

    /// Registers a bistream and stamps its first part (docs/wire S19).
    pub fn begin_bistream(&mut self, now: Now, first: &mut Message) -> u64 {
        self.begin_stream(now, first, CallType::BISTREAM, 1)
    }

    /// Stamps the next part of an upload or bistream. False if the stream has ended: then nothing should be
    /// sent, and [`take_part`](Self::take_part) tells how it ended.
    ///
    /// The owner asks [`may_send`](Self::may_send) before.
    pub fn stamp_part(&mut self, now: Now, seqno: u64, part: &mut Message, last: bool) -> bool {
        let Some(Call {
            hdr,
            kind: Kind::Stream(stream),
        }) = self.calls.get_mut(&seqno)
        else {
            return false;
        };
        if stream.end.is_some() {
            return false;
        }
        part.hdr.stream_part = stream.next_sent;
        stream.next_sent += 1;
        stream.spending.spend(part);
        part.hdr.typ = if last {
            CallType::UPLOAD_END
        } else {
            CallType::UPLOAD_MORE
        };
        part.hdr.seqno = seqno;
        part.hdr.call_id = hdr.call_id.clone();
        part.hdr.service_name = hdr.service_name.clone();
        part.hdr.deadline = part.hdr.deadline.or(hdr.deadline);
        self.stamp(now, part);
        true
    }

    /// Takes back what [`stamp_part`](Self::stamp_part) noted of a part that could not be queued: the next one
    /// stands in its place.
    pub fn unstamp_part(&mut self, seqno: u64, part: &Message) {
        if let Some(Call {
            kind: Kind::Stream(stream),
            ..
        }) = self.calls.get_mut(&seqno)
        {
            stream.next_sent = part.hdr.stream_part;
            stream.spending.take_back(part);
        }
    }

    /// False while the server has no room for another part of this stream (docs/wire S20):
    /// [`ClientEvent::MaySend`] tells when it has.
    pub fn may_send(&self, seqno: u64) -> bool {
        match self.calls.get(&seqno) {
            Some(Call {
                kind: Kind::Stream(stream),
                ..
            }) => stream.end.is_some() || stream.spending.may_send(),
            _ => true,
        }
    }

    /// Takes the next part of a stream, or how it ended.
    pub fn take_part(&mut self, now: Now, seqno: u64) -> Taken {
        let Some(Call {
            hdr,
            kind: Kind::Stream(stream),
        }) = self.calls.get_mut(&seqno)
        else {
            return Taken::Nothing;
        };
        stream.announced = false;
        if let Some(part) = self.link.take_part(now, &mut stream.queue) {
            if stream.end.is_none() {
                let queue = &mut stream.queue;
                self.owed_credit
                    .grant(&mut self.link, now, seqno, (seqno, &hdr.call_id), queue);
            }
            return Taken::Part(part);
        }
        match stream.end.take() {
            Some(end) => {
                self.remove(seqno);
                Taken::End(end)
            }
            None => Taken::Nothing,
        }
    }

    /// True if a stream's end has come, whether or not its parts have been taken. An uploader need
    /// not send more.
    pub fn has_ended(&self, seqno: u64) -> bool {
        match self.calls.get(&seqno) {
            Some(Call {
                kind: Kind::Stream(stream),
                ..
            }) => stream.end.is_some(),
            _ => true,
        }
    }

    fn begin_stream(
        &mut self,
        now: Now,
        message: &mut Message,
        typ: CallType,
        next_sent: i64,
    ) -> u64 {
        let offer = self.link.offer_of_credit();
        let offered = offer.is_some();
        let seqno = self.stamp_request(now, message, typ, offer);
        message.hdr.stream_part = 0;
        let mut stream = Stream {
            queue: InboundQueue::default(),
            end: None,
            announced: false,
            next_sent,
            spending: Spending::new(self.link.terms),
            offered,
        };
        if let Terms::Agreed(_) = self.link.terms {
            self.link.begin_granting(&mut stream.queue);
        }
        self.set_timeout(now, seqno, &message.hdr, None);
        self.calls.insert(
            seqno,
            Call {
                hdr: message.hdr.clone(),
                kind: Kind::Stream(Box::new(stream)),
            },
        );
        seqno
    }

    /// docs/wire S20: what looks like a keep-alive may tell of credit.
    pub(super) fn handle_credit(&mut self, now: Now, hdr: &Hdr) {
        let Some(credit) = credit::told(hdr) else {
            return;
        };
        match (self.link.terms, hdr.call_id.is_empty()) {
            (Terms::Unknown, true) if self.link.has_offered => self.agree_on_credit(now, credit),
            (Terms::Agreed(_), false) => {
                if let Some(Call {
                    hdr: request,
                    kind: Kind::Stream(stream),
                }) = self.calls.get_mut(&hdr.seqno)
                    && request.call_id == hdr.call_id
                    && stream.spending.raise(credit)
                {
                    let seqno = hdr.seqno;
                    self.events.push_back(ClientEvent::MaySend { seqno });
                }
            }
            _ => {}
        }
    }

    /// The server has taken the offer, for all streams that made it and those to come.
    fn agree_on_credit(&mut self, now: Now, first: credit::Credit) {
        self.link.terms = Terms::Agreed(first);
        let mut open: Vec<u64> = self.calls.keys().copied().collect();
        open.sort_unstable();
        for seqno in open {
            if let Some(Call {
                hdr,
                kind: Kind::Stream(stream),
            }) = self.calls.get_mut(&seqno)
                && stream.end.is_none()
            {
                stream.spending.raise(first);
                let queue = &mut stream.queue;
                self.link.begin_granting(queue);
                self.owed_credit
                    .grant(&mut self.link, now, seqno, (seqno, &hdr.call_id), queue);
            }
        }
    }

    /// A stream is answered: without a word of credit before, the server is the original.
    pub(super) fn note_answer(&mut self, seqno: u64) {
        if self.link.terms == Terms::Unknown
            && let Some(Call {
                kind: Kind::Stream(stream),
                ..
            }) = self.calls.get(&seqno)
            && stream.offered
        {
            self.link.terms = Terms::Declined;
        }
    }

    pub(super) fn handle_part(&mut self, now: Now, message: Message) {
        let seqno = message.hdr.seqno;
        self.note_answer(seqno);
        let call = self
            .calls
            .get_mut(&seqno)
            .filter(|call| call.hdr.call_id == message.hdr.call_id);
        let Some(Call {
            kind: Kind::Stream(stream),
            ..
        }) = call
        else {
            // Parts of a download that was cancelled while they were on their way.
            self.deliver(message);
            return;
        };
        if stream.end.is_some() {
            self.unclaimed += 1;
            return;
        }
        match self.link.queue_part(&mut stream.queue, message) {
            Ok(()) => Self::announce(stream, seqno, &mut self.events),
            Err(out_of_sync) => self.give_up(now, seqno, StreamEnd::OutOfSync(out_of_sync)),
        }
    }

    /// Ends a stream at this end, and tells the server.
    pub(super) fn give_up(&mut self, now: Now, seqno: u64, end: StreamEnd) {
        let hdr = self.calls.get(&seqno).map(|call| call.hdr.clone());
        self.end_stream(seqno, end);
        if let Some(mut hdr) = hdr {
            // docs/wire S16
            hdr.serial = self.link.next_serial();
            self.send_cancel(now, hdr);
        }
    }

    pub(super) fn end_stream(&mut self, seqno: u64, end: StreamEnd) {
        if let Some(Call {
            kind: Kind::Stream(stream),
            ..
        }) = self.calls.get_mut(&seqno)
            && stream.end.is_none()
        {
            stream.end = Some(end);
            Self::announce(stream, seqno, &mut self.events);
            // Its sender may wait for credit, or for room.
            if !stream.spending.may_send() || !self.link.has_room() {
                self.events.push_back(ClientEvent::MaySend { seqno });
            }
        }
    }

    fn announce(stream: &mut Stream, seqno: u64, events: &mut VecDeque<ClientEvent<W>>) {
        if !stream.announced {
            stream.announced = true;
            events.push_back(ClientEvent::StreamReady { seqno });
        }
    }

    /// Says what could not be said while too much waited to be written.
    pub(super) fn pay_owed_credit(&mut self) {
        while self.link.has_room()
            && let Some(seqno) = self.owed_credit.pop()
        {
            if let Some(Call {
                hdr,
                kind: Kind::Stream(stream),
            }) = self.calls.get_mut(&seqno)
                && stream.end.is_none()
            {
                self.link
                    .grant_behind(seqno, &hdr.call_id, &mut stream.queue);
            }
        }
    }
}
