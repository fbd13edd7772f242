//! net/rpc calls, one fact a test.

mod support;

use bytes::Bytes;
use support::{
    peer::{ClientPeer, ServerPeer},
    start,
};
use towline_codec::Text;
use towline_rpc::proto::{
    CallType, ClientEvent, Concurrency, Limits, Message, NetRpcRequest, NetRpcResponse,
    ServerEvent, ServiceKind,
};

fn call(client: &mut ClientPeer, method: &'static str, waiter: u32) -> Message {
    let mut message = Message::request(method, Bytes::from_static(b"\x91\x07"));
    client
        .core
        .begin_net_rpc(start(), &mut message, None, true, waiter);
    client.core.enqueue(start(), &message).expect("small");
    client.message()
}

fn error_of(reply: &Message) -> (NetRpcResponse, Bytes) {
    assert_eq!(
        (reply.hdr.typ, &reply.error),
        (CallType::REPLY, &Text::EMPTY)
    );
    NetRpcResponse::split(&reply.body).expect("its header")
}

/// docs/wire C23, E13: each is answered with its header; never a CallError.
#[test]
fn a_header_that_cannot_be_read_is_answered() {
    for (body, text) in [
        (&b""[..], "msgp: too few bytes left to read object"),
        (b"\x93\xa1a\x01\x01", "msgp: wanted array of size 2; got 3"),
        (
            b"\x80",
            "msgp: attempted to decode type \"map\" with method for \"array\"",
        ),
        (b"\x92\xc1\x01", "msgp: unrecognized type prefix 0xc1"),
    ] {
        let mut server = ServerPeer::new();
        let mut request = Message::request("Arith.Add", Bytes::from_static(body));
        request.hdr.typ = CallType::NET_RPC;
        request.hdr.seqno = 9;
        server.send(start(), &request);
        assert!(server.events().is_empty());
        let reply = server.message();
        assert_eq!(reply.hdr.seqno, 9);
        let (header, value) = error_of(&reply);
        assert_eq!(
            (header.error, header.method),
            (text.into(), "Arith.Add".into())
        );
        assert_eq!(value, &[0x91, 0][..]);
        assert_eq!(server.core.in_flight(), 0);
    }
}

/// docs/wire E13, X8
#[test]
fn a_refused_net_rpc_call_gets_no_call_error() {
    let mut server = ServerPeer::new();
    let request = call(&mut ClientPeer::new(), "Nope.Add", 1);
    server.send(start(), &request);
    let Some(ServerEvent::Start { key, request, .. }) = server.events().pop() else {
        panic!("it did not start");
    };
    server.core.refuse(start(), key, &request.hdr);
    let (header, _) = error_of(&server.message());
    assert_eq!(header.error, "rpc: can't find service Nope.Add");
}

/// docs/wire C5, E7, C19: what the core itself answers has the header, too.
#[test]
fn calls_beyond_the_limit_and_after_the_end_are_answered_with_their_header() {
    let concurrency = Concurrency::default().running(1).waiting(0);
    let mut server = ServerPeer::with(Limits::default(), concurrency);
    let mut client = ClientPeer::new();
    server.send(start(), &call(&mut client, "A.B", 1));
    server.send(start(), &call(&mut client, "A.B", 2));
    let (header, _) = error_of(&server.message());
    assert_eq!(
        (header.error, header.seq),
        ("too many calls on this connection".into(), 4)
    );
    server.core.drain(start());
    server.send(start(), &call(&mut client, "A.B", 3));
    let (header, _) = error_of(&server.message());
    assert_eq!(
        (header.error, header.seq),
        ("the server is shutting down".into(), 6)
    );
}

/// docs/wire C23: what is judged is what is called, whatever the header of the message says.
#[test]
fn the_method_is_the_one_in_the_body() {
    let mut server = ServerPeer::new();
    let mut request = call(&mut ClientPeer::new(), "Secret.Wipe", 1);
    request.hdr.service_name = "Public.Read".into();
    server.send(start(), &request);
    let Some(ServerEvent::Start { key, kind, request }) = server.events().pop() else {
        panic!("it did not start");
    };
    assert_eq!(
        (kind, &request.hdr.service_name),
        (ServiceKind::NetRpc, &"Secret.Wipe".into())
    );
    assert_eq!(request.body, &b"\x91\x07"[..]);
    let reply = server
        .core
        .reply(start(), key, Message::new())
        .expect("open");
    assert_eq!(reply.hdr.service_name, "Public.Read");
}

/// docs/wire X16: the turn ends with the answer, not with the caller.
#[test]
fn the_turn_lasts_until_the_answer_comes() {
    let mut client = ClientPeer::new();
    let request = call(&mut client, "A.B", 1);
    client.core.cancel(start(), request.hdr.seqno);
    assert!(client.events().is_empty());
    let (header, _) = NetRpcRequest::split(&request.body).expect("a call");
    let mut late = Message::from_body(header.answer(&Text::EMPTY, b"\x91\x00"));
    late.hdr.typ = CallType::REPLY;
    late.hdr.seqno = request.hdr.seqno;
    late.hdr.call_id = "another".into();
    client.send(start(), &late);
    assert!(client.events().is_empty());
    late.hdr.call_id = request.hdr.call_id;
    client.send(start(), &late);
    assert!(matches!(client.events()[..], [ClientEvent::NetRpcAnswered]));
    client.send(start(), &late);
    assert!(client.events().is_empty());
}
