//! Which calls are started, which wait, which are refused, and which are cancelled.

use towline_codec::Text;

use super::{Call, CallKey, Server, ServerEvent, ServiceKind};
use crate::proto::{
    CallType, Hdr, Message, NetRpcRequest, Now, inbound::weight, net_rpc::original_words, refusal,
};

/// Whether a call that is answered by an error may have had an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begun {
    Perhaps,
    /// The client may make it again, and is told so (docs/wire E14).
    No,
}

impl Server {
    /// Ends a call that has not begun, because the server has too much to do: queues a reply with this text that says so
    /// (docs/wire E7, E14). A one-way call ends without a word.
    pub fn refuse_not_begun(&mut self, now: Now, key: CallKey, text: &'static str) {
        let Some(call) = self.remove(key) else {
            return;
        };
        self.refused += 1;
        self.end_not_begun(now, call, text);
    }

    pub(super) fn admit(&mut self, now: Now, kind: ServiceKind, request: Message) {
        self.admit_call(now, Call::new(kind, &request), request);
    }

    /// docs/wire C23
    pub(super) fn admit_net_rpc(&mut self, now: Now, mut request: Message) {
        let split = NetRpcRequest::split(&request.body);
        let mut call = Call::new(ServiceKind::NetRpc, &request);
        match split {
            Ok((header, argument)) => {
                request.body = argument;
                // Whoever judges the request judges what will be called.
                request.hdr.service_name = header.method.clone();
                call.net_rpc = Some(Box::new(header));
                self.admit_call(now, call, request);
            }
            Err(error) => {
                let method = request.hdr.service_name.clone();
                call.net_rpc = Some(Box::new(NetRpcRequest { method, seq: 0 }));
                self.reply_error(now, call, original_words(error), Begun::Perhaps);
            }
        }
    }

    /// Starts a call, lets it wait, or refuses it (docs/wire C5, E7).
    pub(super) fn admit_call(&mut self, now: Now, call: Call, request: Message) {
        self.last_key += 1;
        let key = CallKey(self.last_key);
        let kind = call.kind;
        if self.draining {
            self.end_not_begun(now, call, refusal::SHUTTING_DOWN);
        } else if kind.is_stream() && !self.has_room_for_stream(call.counted) {
            self.refuse_too_many(now, call);
        } else if self.running < self.concurrency.running {
            self.insert(key, call);
            self.start(key, request);
        } else if self.waiting.len() < self.concurrency.waiting
            && self.waiting_bytes + weight(&request) <= self.concurrency.waiting_bytes
        {
            self.insert(key, call);
            self.waiting_bytes += weight(&request);
            self.waiting.push_back((key, request));
        } else {
            self.refuse_too_many(now, call);
        }
    }

    /// docs/wire C5: they are counted by themselves, and refused rather than left unread, because an upload
    /// ends only if it is read on.
    const fn has_room_for_stream(&self, bytes: usize) -> bool {
        self.stream_bytes == 0 || self.stream_bytes + bytes <= self.concurrency.body_bytes
    }

    /// docs/wire E7
    pub(super) fn refuse_too_many(&mut self, now: Now, call: Call) {
        self.refused += 1;
        self.end_not_begun(now, call, refusal::TOO_MANY_CALLS);
    }

    /// docs/wire E14: a one-way call ends without a word.
    fn end_not_begun(&mut self, now: Now, call: Call, text: &'static str) {
        if call.kind != ServiceKind::OneWay {
            self.reply_error(now, call, Text::from_static(text), Begun::No);
        }
    }

    /// Forgets a call that waits.
    pub(super) fn leave_queue(&mut self, key: CallKey) -> Option<Call> {
        let at = self.waiting.iter().position(|&(other, _)| other == key)?;
        let (_, request) = self.waiting.remove(at)?;
        self.waiting_bytes -= weight(&request);
        self.remove(key)
    }

    /// From now on no call is started; each, and each of those that wait, is told that the server is shutting
    /// down (docs/wire C19).
    pub fn drain(&mut self, now: Now) {
        self.draining = true;
        while let Some(&(key, _)) = self.waiting.front()
            && let Some(call) = self.leave_queue(key)
        {
            self.end_not_begun(now, call, refusal::SHUTTING_DOWN);
        }
    }

    /// Answers a call that never got a handler.
    pub(super) fn reply_error(&mut self, now: Now, call: Call, error: Text, begun: Begun) {
        let mut reply = Message {
            error,
            ..Message::new()
        };
        call.dress(&mut reply);
        reply.hdr.typ = CallType::REPLY;
        if begun == Begun::No {
            let (name, value) = (refusal::NOT_BEGUN, refusal::YES);
            reply
                .hdr
                .args
                .insert(Text::from_static(name), Text::from_static(value));
        }
        Self::stamp_answer(&mut self.link, now, call.repeated, &mut reply);
        self.enqueue_small(now, &reply);
    }

    /// docs/wire C14: what nobody waits for any more is not begun.
    fn cancel_waiting(&mut self, now: Now, key: CallKey) {
        if let Some(call) = self.leave_queue(key) {
            let text = refusal::cancelled(call.kind);
            self.end_not_begun(now, call, text);
            self.link.resume_reading(now);
        }
    }

    /// docs/wire C13, C14, C20: cancels every call of this connection with this CallID.
    pub(super) fn handle_cancel(&mut self, now: Now, hdr: &Hdr) {
        let mut hit: Vec<CallKey> = self
            .calls
            .iter()
            .filter(|(_, call)| call.repeated.call_id == hdr.call_id && !call.cancelled)
            .map(|(&key, _)| key)
            .collect();
        hit.sort_unstable();
        for key in hit {
            let Some(call) = self.calls.get_mut(&key) else {
                continue;
            };
            if !call.started {
                self.cancel_waiting(now, key);
                continue;
            }
            call.cancelled = true;
            if let Some(upload) = &mut call.upload {
                // The handler is to end: what it has not taken must not hold up the connection.
                self.link.discard_parts(&mut upload.queue);
                upload.forget_parts();
                self.link.resume_reading(now);
            }
            if self.streams.get(&call.repeated.call_id) == Some(&key) {
                self.streams.remove(&call.repeated.call_id);
            }
            self.events.push_back(ServerEvent::Cancelled { key });
            if !call.spending.may_send() {
                self.events.push_back(ServerEvent::MaySend { key });
            }
        }
    }
}
