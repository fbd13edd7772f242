//! Parts of streams, in both directions.

use towline_codec::Text;

use super::{Call, CallKey, Server, ServerEvent, ServiceKind, admission::Begun};
use crate::proto::{
    CallType, Hdr, Message, Now, OutOfSync, Violation,
    credit::{self, Spending, Terms},
    inbound::InboundQueue,
    refusal,
};

/// What [`Server::take_part`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartTaken {
    /// The next part, and whether it is the last.
    Part(Message, bool),
    /// Nothing yet.
    Nothing,
    /// All parts were taken.
    End,
    /// Not all parts came, and no more will: the client has cancelled. The call is still to be ended.
    Cancelled,
    /// The call is over.
    Over,
    /// A part was missing or came twice (docs/wire S9).
    OutOfSync(OutOfSync),
}

#[derive(Debug, Default)]
pub(super) struct Upload {
    pub(super) queue: InboundQueue,
    last_came: bool,
    pub(super) out_of_sync: Option<OutOfSync>,
    announced: bool,
}

impl Upload {
    /// The request itself is part 0.
    pub(super) fn behind_the_request() -> Self {
        Self {
            queue: InboundQueue::starting_at(1),
            ..Self::default()
        }
    }

    /// The handler is to end: nothing more is queued for it.
    pub(super) fn forget_parts(&mut self) {
        *self = Self {
            out_of_sync: self.out_of_sync,
            ..Self::default()
        };
    }
}

impl Server {
    /// Takes the next part of an upload, or of the client's half of a bistream.
    pub fn take_part(&mut self, now: Now, key: CallKey) -> PartTaken {
        let Some(Call {
            upload: Some(upload),
            cancelled,
            repeated,
            ..
        }) = self.calls.get_mut(&key)
        else {
            return PartTaken::Over;
        };
        upload.announced = false;
        if let Some(part) = self.link.take_part(now, &mut upload.queue) {
            let last = upload.last_came && upload.queue.is_empty();
            if !upload.last_came {
                let stream = (repeated.seqno, &repeated.call_id);
                self.owed_credit
                    .grant(&mut self.link, now, key, stream, &mut upload.queue);
            }
            return PartTaken::Part(part, last);
        }
        if let Some(out_of_sync) = upload.out_of_sync {
            return PartTaken::OutOfSync(out_of_sync);
        }
        match (*cancelled, upload.last_came) {
            // What had come was discarded.
            (true, _) => PartTaken::Cancelled,
            (false, true) => PartTaken::End,
            (false, false) => PartTaken::Nothing,
        }
    }

    /// Stamps a part of a download, or of the server's half of a bistream, to be queued next. False if the client has cancelled or the
    /// call is over: then nothing should be sent (docs/wire S6, S7).
    ///
    /// The owner asks [`may_send`](Self::may_send) before, and calls [`take_back_part`](Self::take_back_part) if the
    /// part cannot be queued.
    pub fn stamp_part(&mut self, now: Now, key: CallKey, part: &mut Message, last: bool) -> bool {
        let Some(call) = self.calls.get_mut(&key).filter(|call| !call.cancelled) else {
            return false;
        };
        call.spending.spend(part);
        part.hdr.stream_part = call.next_sent;
        part.hdr.typ = match (call.next_sent, last) {
            (0, _) => CallType::DOWNLOAD_BEGIN,
            (_, true) => CallType::DOWNLOAD_END,
            (_, false) => CallType::DOWNLOAD_MORE,
        };
        call.next_sent += 1;
        Self::stamp_answer(&mut self.link, now, call.repeated.clone(), part);
        true
    }

    /// Takes back a part that was stamped and could not be queued: the stream is as it was before.
    pub fn take_back_part(&mut self, key: CallKey, part: &mut Message) {
        self.link.take_back_acceptance(&mut part.hdr);
        if let Some(call) = self.calls.get_mut(&key)
            && call.next_sent == part.hdr.stream_part + 1
        {
            call.next_sent -= 1;
            call.spending.take_back(part);
        }
    }

    /// False while the client has no room for another part of this stream (docs/wire S20):
    /// [`ServerEvent::MaySend`] tells when it has.
    pub fn may_send(&self, key: CallKey) -> bool {
        self.calls
            .get(&key)
            .is_none_or(|call| call.cancelled || call.spending.may_send())
    }

    /// docs/wire S20
    pub(super) fn begin_credit(&mut self, call: &mut Call) {
        call.spending = Spending::new(self.link.terms);
        if let (Some(upload), Terms::Agreed(_)) = (&mut call.upload, self.link.terms) {
            self.link.begin_granting(&mut upload.queue);
        }
    }

    /// docs/wire S20: what looks like a keep-alive may tell of credit.
    pub(super) fn handle_credit(&mut self, hdr: &Hdr) {
        if let Terms::Agreed(_) = self.link.terms
            && let Some(credit) = credit::told(hdr)
            && let Some(&key) = self.streams.get(&hdr.call_id)
            && let Some(call) = self.calls.get_mut(&key)
            && call.repeated.seqno == hdr.seqno
            && call.spending.raise(credit)
        {
            self.events.push_back(ServerEvent::MaySend { key });
        }
    }

    /// Says what could not be said while too much waited to be written.
    pub(super) fn pay_owed_credit(&mut self) {
        while self.link.has_room()
            && let Some(key) = self.owed_credit.pop()
        {
            if let Some(Call {
                upload: Some(upload),
                repeated,
                ..
            }) = self.calls.get_mut(&key)
                && !upload.last_came
            {
                let (seqno, call_id) = (repeated.seqno, &repeated.call_id);
                self.link.grant_behind(seqno, call_id, &mut upload.queue);
            }
        }
    }

    /// docs/wire S11: a second Begin with a live CallID is refused; the first stream goes on.
    pub(super) fn begin_stream(&mut self, now: Now, kind: ServiceKind, message: Message) {
        if self.streams.contains_key(&message.hdr.call_id) {
            let text = refusal::second_begin(&message.hdr);
            self.send_refusal(now, &message.hdr, text);
            return;
        }
        if kind.takes_parts() && message.hdr.stream_part != 0 {
            let out_of_sync = OutOfSync {
                expected: 0,
                got: message.hdr.stream_part,
            };
            let call = Call::new(kind, &message);
            self.reply_error(
                now,
                call,
                Text::from(out_of_sync.to_string()),
                Begun::Perhaps,
            );
            return;
        }
        self.admit(now, kind, message);
    }

    pub(super) fn handle_part(&mut self, now: Now, part: Message) -> Result<(), Violation> {
        let key = self.streams.get(&part.hdr.call_id).copied();
        let Some((
            key,
            Call {
                started,
                upload: Some(upload),
                ..
            },
        )) = key.and_then(|key| Some((key, self.calls.get_mut(&key)?)))
        else {
            return self.link.stray_part();
        };
        if upload.last_came || upload.out_of_sync.is_some() {
            return self.link.stray_part();
        }
        self.link.end_stray_parts();
        let last = part.hdr.typ == CallType::UPLOAD_END;
        match self.link.queue_part(&mut upload.queue, part) {
            Ok(()) => {
                upload.last_came = last;
                if !*started && !self.link.takes_parts() {
                    self.refuse_waiting(now, key);
                    return Ok(());
                }
            }
            Err(out_of_sync) => upload.out_of_sync = Some(out_of_sync),
        }
        if !upload.announced {
            upload.announced = true;
            self.events.push_back(ServerEvent::PartReady { key });
        }
        Ok(())
    }

    /// docs/wire C5: if the connection were not read until a waiting upload has started, the running
    /// ones that it waits for would starve.
    fn refuse_waiting(&mut self, now: Now, key: CallKey) {
        if let Some(call) = self.leave_queue(key) {
            self.refuse_too_many(now, call);
        }
    }
}
