//! Messages from a server that answer no call, one fact a test.

mod support;

use support::{
    peer::{ClientPeer, ServerPeer},
    start,
};
use towline_codec::Text;
use towline_rpc::proto::{
    CallType, ClientEvent, Compression, Heard, Limits, ListenerKey, Message, WhenFull,
};

fn push(number: usize) -> Message {
    let mut message = Message::from_body(number.to_string());
    message.hdr.typ = CallType::ONE_WAY;
    message.hdr.call_id = "feed".into();
    message
}

fn with_queue_of(parts: usize) -> ClientPeer {
    ClientPeer::with(Limits::default().queue_parts(parts), Compression::None)
}

fn heard(client: &mut ClientPeer, listener: ListenerKey) -> Vec<String> {
    std::iter::from_fn(|| match client.core.take_heard(start(), listener) {
        Heard::Message(message) => Some(String::from_utf8_lossy(&message.body).into_owned()),
        Heard::Lost(lost) => Some(format!("lost {lost}")),
        Heard::Nothing | Heard::End => None,
    })
    .collect()
}

/// docs/wire C16
#[test]
fn a_push_says_its_subject_in_the_service_name() {
    let mut server = ServerPeer::new();
    let mut message = Message::from_body("b")
        .with_subject("tick")
        .with_arg("a", "1");
    server.core.stamp_push(start(), &mut message);
    server.enqueue(start(), &message);
    let sent = server.message();
    assert_eq!(sent.hdr.typ, CallType::ONE_WAY);
    assert_eq!(sent.hdr.service_name, "srv.SendMessage('tick')");
    assert_eq!(
        (&sent.hdr.subject, sent.arg("a")),
        (&Text::EMPTY, Some("1"))
    );
    assert_eq!(
        (sent.hdr.from, sent.hdr.to),
        ("mem://server".into(), "mem://client".into())
    );
}

/// docs/wire C17: a push with the number of a call that waits is no reply to it.
#[test]
fn a_push_completes_no_call() {
    let mut client = ClientPeer::new();
    let listener = client.core.listen(None, WhenFull::Wait);
    let request = client.call(start(), Message::request("echo", "x"), 1);
    let mut message = push(1);
    message.hdr.seqno = request.hdr.seqno;
    message.hdr.call_id = request.hdr.call_id;
    client.send(start(), &message);
    assert!(matches!(
        client.events()[..],
        [ClientEvent::MessageReady { .. }]
    ));
    assert_eq!(heard(&mut client, listener), ["1"]);
    assert_eq!(client.core.in_flight(), 1);
}

/// docs/wire C17
#[test]
fn the_listener_of_a_call_id_hears_it_alone_and_general_ones_hear_all_else() {
    let mut client = ClientPeer::new();
    let (one, two) = (
        client.core.listen(None, WhenFull::Wait),
        client.core.listen(None, WhenFull::Drop),
    );
    let feed = client.core.listen(Some("feed".into()), WhenFull::Wait);
    client.send(start(), &push(1));
    let mut other = push(2);
    other.hdr.call_id = "other".into();
    client.send(start(), &other);
    assert_eq!(heard(&mut client, feed), ["1"]);
    assert_eq!(heard(&mut client, one), ["2"]);
    assert_eq!(heard(&mut client, two), ["2"]);

    client.core.unlisten(feed);
    client.send(start(), &push(3));
    assert_eq!(heard(&mut client, one), ["3"]);
    client.core.unlisten(one);
    client.core.unlisten(two);
    client.send(start(), &push(4));
    assert_eq!((client.core.unclaimed(), client.core.listeners()), (1, 0));
}

/// docs/wire C17
#[test]
fn a_second_listener_of_a_call_id_ends_the_first() {
    let mut client = ClientPeer::new();
    let first = client.core.listen(Some("feed".into()), WhenFull::Wait);
    client.send(start(), &push(1));
    let second = client.core.listen(Some("feed".into()), WhenFull::Wait);
    client.send(start(), &push(2));
    assert_eq!(heard(&mut client, first), ["1"]);
    assert_eq!(client.core.take_heard(start(), first), Heard::End);
    // The end of the first is not the end of the second.
    client.core.unlisten(first);
    client.send(start(), &push(3));
    assert_eq!(heard(&mut client, second), ["2", "3"]);
}

/// docs/wire C17: nothing is lost; what the listener does not take stays in the transport.
#[test]
fn a_full_listener_that_waits_stops_reading() {
    let mut client = with_queue_of(2);
    let listener = client.core.listen(None, WhenFull::Wait);
    client.send(start(), &push(1));
    assert!(client.core.wants_input());
    client.send(start(), &push(2));
    assert!(!client.core.wants_input());
    assert_eq!(heard(&mut client, listener), ["1", "2"]);
    assert!(client.core.wants_input());

    // One that leaves with a full queue frees the connection, too.
    client.send(start(), &push(3));
    client.send(start(), &push(4));
    assert!(!client.core.wants_input());
    client.core.unlisten(listener);
    assert!(client.core.wants_input());
}

/// docs/wire C17: the connection never waits, and the loss is told.
#[test]
fn a_full_listener_that_drops_counts_what_it_lost() {
    let mut client = with_queue_of(2);
    let listener = client.core.listen(None, WhenFull::Drop);
    for number in 0..10 {
        client.send(start(), &push(number));
        assert!(client.core.wants_input());
    }
    assert_eq!(client.events().len(), 1, "announced once until it is taken");
    assert_eq!(heard(&mut client, listener), ["lost 8", "0", "1"]);
    client.send(start(), &push(10));
    assert_eq!(client.events().len(), 1);
    assert_eq!(heard(&mut client, listener), ["10"]);
}

/// docs/wire C15, E4: the refusal of a one-way message is told to who listens.
#[test]
fn a_refused_one_way_message_is_heard() {
    let (mut client, mut server) = (ClientPeer::new(), ServerPeer::new());
    let listener = client.core.listen(None, WhenFull::Wait);
    let mut message = Message::request("nosuch", "x");
    client.core.stamp_one_way(start(), &mut message);
    server.send(start(), &message);
    let Some(towline_rpc::proto::ServerEvent::Start { key, request, .. }) = server.events().pop()
    else {
        panic!("it did not arrive");
    };
    server.core.refuse(start(), key, &request.hdr);
    client.send(start(), &server.message());
    let Heard::Message(refusal) = client.core.take_heard(start(), listener) else {
        panic!("nothing was heard");
    };
    assert_eq!(
        (refusal.hdr.typ, refusal.hdr.call_id),
        (CallType::ERROR, message.hdr.call_id)
    );
    assert!(
        refusal
            .hdr
            .subject
            .to_string_lossy()
            .starts_with("error! CallOneWay received")
    );
}

/// docs/wire C9, C17: what is left of a call or stream that has ended is no push.
#[test]
fn remnants_of_calls_reach_only_those_who_ask_for_their_call_id() {
    let mut client = ClientPeer::new();
    let general = client.core.listen(None, WhenFull::Wait);
    let asked = client.core.listen(Some("gone".into()), WhenFull::Wait);
    for (typ, call_id) in [
        (CallType::REPLY, "late"),
        (CallType::DOWNLOAD_MORE, "late"),
        (CallType::REPLY, "gone"),
    ] {
        let mut message = push(1);
        message.hdr.typ = typ;
        message.hdr.call_id = call_id.into();
        client.send(start(), &message);
    }
    assert_eq!(heard(&mut client, general), Vec::<String>::new());
    assert_eq!(heard(&mut client, asked), ["1"]);
    assert_eq!(client.core.unclaimed(), 2);
}
