//! What answers do to the calls and streams that wait for them.

use super::{Call, Client, ClientEvent, Failed, Kind, StreamEnd};
use crate::proto::{Hdr, Message, NetRpcResponse, refusal};
use towline_codec::Text;

impl<W> Client<W> {
    /// docs/wire C8: sequence number, CallID and type must agree; anything else completes nothing.
    pub(super) fn handle_reply(&mut self, mut message: Message) {
        self.note_net_rpc_answer(&message.hdr);
        self.note_answer(message.hdr.seqno);
        let seqno = message.hdr.seqno;
        let Some(call) = self
            .calls
            .get_mut(&seqno)
            .filter(|call| call.hdr.call_id == message.hdr.call_id)
        else {
            self.deliver(message);
            return;
        };
        // docs/wire E14: the key is between the two ends.
        let not_begun = message
            .hdr
            .args
            .remove(refusal::NOT_BEGUN.as_bytes())
            .is_some();
        match &mut call.kind {
            Kind::Unary { .. } if not_begun => {
                self.end_unary(seqno, Err(Failed::NotBegun(text_of(message))));
            }
            Kind::Unary { .. } => self.end_unary(seqno, Ok(message)),
            Kind::Stream(_) if not_begun => {
                self.end_stream(seqno, StreamEnd::Refused(text_of(message)));
            }
            Kind::Stream(_) => self.end_stream(seqno, StreamEnd::Reply(message)),
        }
    }

    /// docs/wire X16
    fn note_net_rpc_answer(&mut self, hdr: &Hdr) {
        let is_answer =
            |(seqno, call_id): &mut (u64, Text)| *seqno == hdr.seqno && *call_id == hdr.call_id;
        if self.net_rpc.take_if(is_answer).is_some() {
            self.events.push_back(ClientEvent::NetRpcAnswered);
        }
    }

    /// docs/wire E4, X9
    pub(super) fn handle_refusal(&mut self, mut message: Message) {
        // docs/wire E5, X9
        let stays = message.hdr.args.remove(refusal::STAYS.as_bytes()).is_some();
        if !stays && !std::mem::replace(&mut self.server_leaves, true) {
            self.events.push_back(ClientEvent::ServerLeaves);
        }
        self.note_net_rpc_answer(&message.hdr);
        self.note_answer(message.hdr.seqno);
        let seqno = message.hdr.seqno;
        let text = message.hdr.subject.clone();
        match self
            .calls
            .get(&seqno)
            .filter(|call| call.hdr.call_id == message.hdr.call_id)
        {
            None => self.deliver(message),
            Some(Call {
                kind: Kind::Unary { .. },
                ..
            }) => self.end_unary(seqno, Err(Failed::Refused(text))),
            Some(Call {
                kind: Kind::Stream(_),
                ..
            }) => self.end_stream(seqno, StreamEnd::Refused(text)),
        }
    }

    fn end_unary(&mut self, seqno: u64, result: Result<Message, Failed>) {
        if let Some(Call {
            kind: Kind::Unary { waiter },
            ..
        }) = self.remove(seqno)
        {
            self.events.push_back(ClientEvent::Ended { waiter, result });
        }
    }
}

/// Why a call was refused: of a net/rpc call the text stands in the body (docs/wire C23, E14).
fn text_of(reply: Message) -> Text {
    if !reply.error.is_empty() {
        return reply.error;
    }
    NetRpcResponse::split(&reply.body).map_or(Text::EMPTY, |(header, _)| header.error)
}
