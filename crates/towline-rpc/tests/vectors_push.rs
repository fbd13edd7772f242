//! Captured pushes of the original: our server makes them, our client hears them.

mod support;

use support::{
    peer::{ClientPeer, ServerPeer, frame},
    start,
    vectors::{Vector, load, play, read_frame},
};
use towline_rpc::proto::{
    CallType, ClientEvent, Compression, Concurrency, Heard, Limits, Message, Server, WhenFull,
};

fn server_of(vector: &Vector) -> ServerPeer {
    let hdr = vector.message().hdr;
    ServerPeer::from(Server::new(
        Limits::default(),
        Concurrency::default(),
        Compression::None,
        true,
        hdr.from,
        hdr.to,
        start(),
    ))
}

/// docs/wire C16, X11
#[test]
fn captured_pushes_are_read_and_written_alike() {
    play("push", &[], |vector| {
        let message = read_frame(&vector.bytes);
        assert_eq!(message, vector.message(), "{}", vector.name);
        assert_eq!(message.hdr.typ, CallType::ONE_WAY);
        assert_eq!(frame(&message), vector.bytes, "{}", vector.name);
    });
}

/// docs/wire C16: both functions of the original that push.
#[test]
fn our_server_makes_the_recorded_pushes() {
    let vectors = load("push");
    let [sent, forwarded] = &vectors[..] else {
        panic!("{} pushes", vectors.len());
    };

    let recorded = sent.message();
    let mut server = server_of(sent);
    let mut push = Message::from_body(recorded.body.clone()).with_subject("subject_here");
    push.hdr.call_id = recorded.hdr.call_id.clone();
    push.hdr.seqno = recorded.hdr.seqno;
    server.core.stamp_push(start(), &mut push);
    server.enqueue(start(), &push);
    let mut ours = server.message();
    assert!(ours.hdr.created.is_some() && ours.hdr.serial > 0);
    ours.hdr.created = recorded.hdr.created;
    ours.hdr.serial = recorded.hdr.serial;
    assert_eq!(ours, recorded);

    let recorded = forwarded.message();
    let mut server = server_of(forwarded);
    let mut push = Message::from_body(recorded.body.clone()).with_subject("s");
    push.hdr.call_id = recorded.hdr.call_id.clone();
    push.hdr.seqno = recorded.hdr.seqno;
    push.hdr.typ = CallType::ONE_WAY;
    server.core.stamp_forwarded(&mut push);
    server.enqueue(start(), &push);
    // docs/wire X11: without Created and Serial, to the byte.
    assert_eq!(frame(&server.message()), forwarded.bytes);
}

/// docs/wire C17, X11
#[test]
fn our_client_hears_the_recorded_pushes() {
    let mut client = ClientPeer::new();
    let general = client.core.listen(None, WhenFull::Wait);
    let subscriber = client.core.listen(Some("callid-x".into()), WhenFull::Wait);
    play("push", &[], |vector| {
        client.feed(start(), &vector.bytes).expect("legal");
        let listener = if vector.message().hdr.call_id == "callid-x" {
            subscriber
        } else {
            general
        };
        assert!(
            matches!(client.events()[..], [ClientEvent::MessageReady { listener: told }] if told == listener),
            "{}",
            vector.name
        );
        assert_eq!(
            client.core.take_heard(start(), listener),
            Heard::Message(vector.message())
        );
    });
    assert_eq!(client.core.unclaimed(), 0);
}
