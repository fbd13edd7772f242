//! Requests as the original sends them, and a server's owner who answers.

use towline_rpc::proto::{CallKey, CallType, Message, ServerEvent};

use super::{peer::ServerPeer, start};

/// A request as a client of the original would send it.
pub(crate) fn request(typ: CallType, call_id: &'static str, seqno: u64) -> Message {
    let mut message = Message::request("work", "input");
    message.hdr.typ = typ;
    message.hdr.call_id = call_id.into();
    message.hdr.seqno = seqno;
    message
}

/// The keys of the calls that start.
pub(crate) fn started(server: &mut ServerPeer) -> Vec<CallKey> {
    let start = |event| match event {
        ServerEvent::Start { key, .. } => key,
        other => panic!("{other:?}"),
    };
    server.events().into_iter().map(start).collect()
}

/// Answers a call, and returns the answer as it was sent.
pub(crate) fn answer(server: &mut ServerPeer, key: CallKey) -> Message {
    let reply = server
        .core
        .reply(start(), key, Message::from_body("output"))
        .expect("the call is open");
    server.enqueue(start(), &reply);
    server.message()
}
