//! Calls, one fact a test.

mod support;

use std::{collections::BTreeSet, time::Duration};

use support::{
    at,
    calls::{answer, request, started},
    peer::{ClientPeer, ServerPeer},
    start,
};
use towline_rpc::proto::{
    CallKey, CallType, ClientEvent, Concurrency, Failed, Limits, Message, ServerEvent, ServiceKind,
};

const SECOND: Duration = Duration::from_secs(1);

fn reply_to(request: &Message) -> Message {
    let mut reply = Message::from_body("output");
    reply.hdr.typ = CallType::REPLY;
    reply.hdr.seqno = request.hdr.seqno;
    reply.hdr.call_id = request.hdr.call_id.clone();
    reply
}

/// docs/wire C8
#[test]
fn only_seqno_call_id_and_type_together_complete_a_call() {
    let mut client = ClientPeer::new();
    let sent = client.call(start(), Message::request("work", "input"), 1);
    let right = reply_to(&sent);
    let mut wrong_id = right.clone();
    wrong_id.hdr.call_id = "another".into();
    let mut wrong_seqno = right.clone();
    wrong_seqno.hdr.seqno += 1;
    let mut push = right.clone();
    push.hdr.typ = CallType::ONE_WAY;
    let mut foreign_refusal = right.clone();
    foreign_refusal.hdr.typ = CallType::ERROR;
    let stays = ("towline.stays".into(), "1".into());
    foreign_refusal.hdr.args.extend([stays]);
    foreign_refusal.hdr.call_id = "another".into();
    let strange = [wrong_id, wrong_seqno, push, foreign_refusal];
    for message in &strange {
        client.send(start(), message);
        assert!(client.events().is_empty(), "{message:?}");
    }
    assert_eq!(
        (client.core.in_flight(), client.core.unclaimed()),
        (1, strange.len() as u64)
    );
    client.send(start(), &right);
    let events = client.events();
    let [
        ClientEvent::Ended {
            waiter: 1,
            result: Ok(reply),
        },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(reply.body, "output");
    assert_eq!(client.core.in_flight(), 0);
}

/// docs/wire C9, C11, C12
#[test]
fn a_call_that_times_out_is_cancelled_and_its_late_reply_leaves_nothing() {
    let mut client = ClientPeer::new();
    let mut call = Message::request("work", "input").with_arg("k", "v");
    client.core.begin_call(start(), &mut call, Some(SECOND), 1);
    client.core.enqueue(start(), &call).expect("small enough");
    client.sent();
    assert_eq!(client.core.deadline(), Some(at(SECOND).instant));
    client
        .core
        .handle_timeout(at(SECOND / 2))
        .expect("the peer did nothing wrong");
    assert!(client.events().is_empty());
    client
        .core
        .handle_timeout(at(SECOND))
        .expect("the peer did nothing wrong");
    let events = client.events();
    assert!(
        matches!(
            events[..],
            [ClientEvent::Ended {
                waiter: 1,
                result: Err(Failed::TimedOut)
            }]
        ),
        "{events:?}"
    );
    let mut expected = call.clone();
    expected.hdr.typ = CallType::CANCEL;
    expected.body.clear();
    assert_eq!(client.message(), expected);
    assert_eq!((client.core.in_flight(), client.core.deadline()), (0, None));
    client.send(at(SECOND * 2), &reply_to(&call));
    assert!(client.events().is_empty());
    assert_eq!((client.core.in_flight(), client.core.unclaimed()), (0, 1));
}

/// docs/wire C12
#[test]
fn a_cancel_repeats_the_header_of_its_request_and_is_sent_once() {
    let mut client = ClientPeer::new();
    let sent = client.call(
        start(),
        Message::request("work", "input")
            .with_subject("s")
            .with_arg("k", "v"),
        1,
    );
    client.sent();
    client.core.cancel(at(SECOND), sent.hdr.seqno);
    client.core.cancel(at(SECOND), sent.hdr.seqno);
    let mut expected = Message {
        hdr: sent.hdr.clone(),
        ..Message::new()
    };
    expected.hdr.typ = CallType::CANCEL;
    assert_eq!(client.message(), expected);
    client.send(at(SECOND), &reply_to(&sent));
    assert!(client.events().is_empty());
}

/// docs/wire C12
#[test]
fn a_call_that_ends_before_its_request_was_queued_sends_nothing() {
    let mut client = ClientPeer::new();
    let mut call = Message::request("work", "input");
    let seqno = client.core.begin_call(start(), &mut call, Some(SECOND), 1);
    assert_eq!(client.core.abandon(seqno), Some(1));
    client.core.cancel(start(), seqno);
    client
        .core
        .handle_timeout(at(SECOND * 2))
        .expect("nothing is due");
    assert!(client.sent().is_empty() && client.events().is_empty());
    assert_eq!((client.core.in_flight(), client.core.deadline()), (0, None));
}

/// docs/wire M6, M7, M8
#[test]
fn seqnos_start_at_2_and_increase_and_call_ids_have_28_characters() {
    let mut client = ClientPeer::new();
    let mut ids = BTreeSet::new();
    let mut serial = 0;
    for expected in 2..100 {
        let sent = client.call(start(), Message::request("work", ""), 1);
        assert_eq!(sent.hdr.seqno, expected);
        assert!(sent.hdr.serial > serial);
        serial = sent.hdr.serial;
        assert_eq!(sent.hdr.call_id.len(), 28);
        assert!(sent.hdr.call_id.as_bytes().ends_with(b"="));
        ids.insert(sent.hdr.call_id);
    }
    assert_eq!(ids.len(), 98);
}

/// docs/wire M6, M7
#[test]
fn the_callers_call_id_is_kept_and_its_seqno_only_in_one_way_messages() {
    let mut client = ClientPeer::new();
    let sent = client.call(start(), request(CallType::NONE, "mine", 77), 1);
    assert_eq!(
        (&sent.hdr.call_id, sent.hdr.seqno, sent.hdr.typ),
        (&"mine".into(), 2, CallType::CALL)
    );
    let mut kept = request(CallType::NONE, "mine", 77);
    client.core.stamp_one_way(start(), &mut kept);
    assert_eq!(
        (&kept.hdr.call_id, kept.hdr.seqno, kept.hdr.typ),
        (&"mine".into(), 77, CallType::ONE_WAY)
    );
    let mut given = Message::request("work", "");
    client.core.stamp_one_way(start(), &mut given);
    assert_eq!((given.hdr.seqno, given.hdr.call_id.len()), (3, 28));
}

/// docs/wire C7, E1, M4, M10, M11
#[test]
fn a_reply_carries_what_the_function_set_and_the_identity_of_its_request() {
    let mut server = ServerPeer::new();
    let mut call = request(CallType::CALL, "id", 9)
        .with_subject("asked")
        .with_arg("asked", "yes");
    call.hdr.deadline = Some(at(SECOND).wall);
    server.send(start(), &call);
    let key = started(&mut server)[0];
    let mut output = Message::from_body("half").with_arg("answered", "yes");
    output.error = "and then it broke".into();
    let reply = server
        .core
        .reply(start(), key, output)
        .expect("the call is open");
    server.enqueue(start(), &reply);
    let reply = server.message();
    assert_eq!((reply.hdr.typ, reply.hdr.seqno), (CallType::REPLY, 9));
    assert_eq!(
        (&reply.hdr.call_id, &reply.hdr.service_name),
        (&"id".into(), &"work".into())
    );
    assert_eq!(
        (reply.hdr.deadline, &reply.hdr.subject),
        (call.hdr.deadline, &"asked".into())
    );
    assert_eq!(
        (reply.arg("answered"), reply.arg("asked")),
        (Some("yes"), None)
    );
    assert_eq!(
        (&reply.body[..], &reply.error),
        (&b"half"[..], &"and then it broke".into())
    );
    assert_eq!(
        (reply.hdr.from, reply.hdr.to),
        (support::peer::SERVER_ADDRESS, support::peer::CLIENT_ADDRESS)
    );
    // Once is enough.
    assert_eq!(server.core.reply(start(), key, Message::new()), None);
}

/// docs/wire C20
#[test]
fn calls_that_share_a_call_id_are_told_apart_by_their_seqno() {
    let (mut client, mut server) = (ClientPeer::new(), ServerPeer::new());
    let sent: Vec<Message> = (0..3)
        .map(|waiter| client.call(start(), request(CallType::NONE, "shared", 0), waiter))
        .collect();
    for message in client.messages() {
        server.send(start(), &message);
    }
    let keys = started(&mut server);
    assert_eq!(keys.len(), 3);
    for (waiter, &key) in keys.iter().enumerate().rev() {
        let reply = answer(&mut server, key);
        assert_eq!(reply.hdr.seqno, sent[waiter].hdr.seqno);
        client.send(start(), &reply);
        let events = client.events();
        let [
            ClientEvent::Ended {
                waiter: ended,
                result: Ok(_),
            },
        ] = &events[..]
        else {
            panic!("{events:?}")
        };
        assert_eq!(*ended as usize, waiter);
    }
}

/// docs/wire C13, C20
#[test]
fn a_cancel_reaches_every_call_with_its_call_id_and_no_other() {
    let mut server = ServerPeer::new();
    for (call_id, seqno) in [("shared", 2), ("other", 3), ("shared", 4)] {
        server.send(start(), &request(CallType::CALL, call_id, seqno));
    }
    let keys = started(&mut server);
    server.send(start(), &request(CallType::CANCEL, "shared", 99));
    let cancelled: Vec<CallKey> = server
        .events()
        .into_iter()
        .map(|event| match event {
            ServerEvent::Cancelled { key } => key,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(cancelled, [keys[0], keys[2]]);
    // A second one finds nothing new; a cancelled function may still answer.
    server.send(start(), &request(CallType::CANCEL, "shared", 99));
    assert!(server.events().is_empty() && server.sent().is_empty());
    assert_eq!(answer(&mut server, keys[0]).hdr.seqno, 2);
}

/// docs/wire C14: also when both arrive in one segment, and while the call waits
#[test]
fn a_cancel_behind_its_request_finds_it() {
    let mut server = ServerPeer::with(Limits::default(), Concurrency::default().running(1));
    let segment: Vec<u8> = [
        request(CallType::CALL, "running", 2),
        request(CallType::CALL, "waiting", 3),
        request(CallType::CANCEL, "waiting", 3),
    ]
    .iter()
    .flat_map(|message| support::peer::frame(message).to_vec())
    .collect();
    server.feed(start(), &segment).expect("legal");
    let running = started(&mut server)[0];
    let reply = server.message();
    assert_eq!(
        (reply.hdr.seqno, &*reply.error.to_string()),
        (3, "context canceled")
    );
    answer(&mut server, running);
    assert!(server.events().is_empty());
}

/// docs/wire E2 to E5
#[test]
fn an_unknown_service_ends_its_call_at_once_and_the_connection_lives_on() {
    let (mut client, mut server) = (ClientPeer::new(), ServerPeer::new());
    client.call(start(), Message::request("nosuch", "x"), 1);
    let request = client.message();
    server.send(start(), &request);
    let key = started(&mut server)[0];
    server.core.refuse(start(), key, &request.hdr);
    client.send(start(), &server.message());
    let events = client.events();
    let [
        ClientEvent::Ended {
            waiter: 1,
            result: Err(Failed::Refused(text)),
        },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert!(text.to_string_lossy().starts_with(
        "error! CallRPC begin received but no server side upcall registered for req.HDR.ServiceName='nosuch'; \
         req.HDR.CallID='"
    ));
    assert_eq!((client.core.in_flight(), server.core.in_flight()), (0, 0));
    client.call(start(), Message::request("work", "x"), 2);
    server.send(start(), &client.message());
    let key = started(&mut server)[0];
    client.send(start(), &answer(&mut server, key));
    assert!(matches!(
        client.events()[..],
        [ClientEvent::Ended {
            waiter: 2,
            result: Ok(_)
        }]
    ));
}

/// docs/wire E5, X9: a refusal of the original's says nothing about the connection, which ends; its first is told.
#[test]
fn the_first_refusal_of_an_original_tells_that_it_leaves() {
    let mut client = ClientPeer::new();
    for waiter in 1..=2 {
        client.call(start(), Message::request("nosuch", "x"), waiter);
        let mut refusal = client.message();
        refusal.hdr.typ = CallType::ERROR;
        client.send(start(), &refusal);
        let events = client.events();
        let leaves = events
            .iter()
            .filter(|event| matches!(event, ClientEvent::ServerLeaves))
            .count();
        assert_eq!(
            (events.len(), leaves),
            if waiter == 1 { (2, 1) } else { (1, 0) }
        );
    }
}

/// docs/wire C15, E4: it belongs to no call
#[test]
fn the_refusal_of_a_one_way_message_is_counted_and_disturbs_no_call() {
    let (mut client, mut server) = (ClientPeer::new(), ServerPeer::new());
    client.call(start(), Message::request("work", ""), 1);
    client.sent();
    let mut one_way = Message::request("nosuch", "x");
    client.core.stamp_one_way(start(), &mut one_way);
    server.send(start(), &one_way);
    let events = server.events();
    let [
        ServerEvent::Start {
            key,
            kind: ServiceKind::OneWay,
            ..
        },
    ] = events[..]
    else {
        panic!("{events:?}")
    };
    server.core.refuse(start(), key, &one_way.hdr);
    client.send(start(), &server.message());
    assert!(client.events().is_empty());
    assert_eq!((client.core.in_flight(), client.core.unclaimed()), (1, 1));
}

/// docs/wire C3
#[test]
fn the_empty_name_is_a_name() {
    let (mut client, mut server) = (ClientPeer::new(), ServerPeer::new());
    client.call(start(), Message::request("", "x"), 1);
    server.send(start(), &client.message());
    let events = server.events();
    let [ServerEvent::Start { request, .. }] = &events[..] else {
        panic!("{events:?}")
    };
    assert!(request.hdr.service_name.is_empty());
}

/// docs/wire C2, C17, C22
#[test]
fn types_without_a_meaning_in_their_direction_are_ignored() {
    let (mut client, mut server) = (ClientPeer::new(), ServerPeer::new());
    client.call(start(), Message::request("work", ""), 1);
    client.sent();
    for typ in [
        0,
        4,
        5,
        6,
        9,
        11,
        12,
        14,
        19,
        20,
        21,
        22,
        23,
        24,
        77,
        -1,
        i64::MIN,
        i64::MAX,
    ] {
        server.send(start(), &request(CallType(typ), "id", 2));
        assert!(
            server.events().is_empty() && server.sent().is_empty(),
            "{typ}"
        );
    }
    for typ in [0, 1, 2, 3, 4, 13, 15, 16, 17, 18, 19, 20, 21, 77, -1] {
        client.send(start(), &request(CallType(typ), "id", 2));
        assert!(
            client.events().is_empty() && client.sent().is_empty(),
            "{typ}"
        );
    }
    assert_eq!((client.core.in_flight(), server.core.in_flight()), (1, 0));
}

/// docs/wire C18
#[test]
fn the_end_of_the_connection_hands_back_every_caller_once_and_in_order() {
    let mut client = ClientPeer::new();
    for waiter in 0..5 {
        let mut call = Message::request("work", "");
        let timeout = (waiter % 2 == 0).then_some(SECOND);
        client.core.begin_call(start(), &mut call, timeout, waiter);
    }
    assert_eq!(client.core.close(), [0, 1, 2, 3, 4]);
    assert_eq!((client.core.in_flight(), client.core.deadline()), (0, None));
    client
        .core
        .handle_timeout(at(SECOND * 2))
        .expect("nothing is due");
    assert!(client.events().is_empty() && client.sent().is_empty());
}
