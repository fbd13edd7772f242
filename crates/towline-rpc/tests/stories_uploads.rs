//! Uploads, one fact a test.

mod support;

use std::time::Duration;

use support::{
    at,
    peer::{ClientPeer, ServerPeer, frame},
    start,
};
use towline_rpc::proto::{
    CallKey, CallType, ClientEvent, Concurrency, Limits, Message, OutOfSync, PartTaken,
    ServerEvent, ServiceKind, StreamEnd, Taken, Violation,
};

fn part(typ: CallType, call_id: &'static str, number: i64) -> Message {
    let mut message = Message::request("up", format!("part {number}"));
    message.hdr.typ = typ;
    message.hdr.call_id = call_id.into();
    message.hdr.seqno = 2;
    message.hdr.stream_part = number;
    message
}

fn begin(server: &mut ServerPeer, call_id: &'static str) -> CallKey {
    server.send(start(), &part(CallType::UPLOAD_BEGIN, call_id, 0));
    let events = server.events();
    let [
        ServerEvent::Start {
            key,
            kind: ServiceKind::Upload,
            ..
        },
    ] = events[..]
    else {
        panic!("{events:?}")
    };
    key
}

/// Takes what there is: the bodies, and how it went on.
fn take(server: &mut ServerPeer, key: CallKey) -> (Vec<String>, PartTaken) {
    let mut bodies = Vec::new();
    loop {
        match server.core.take_part(start(), key) {
            PartTaken::Part(part, _) => {
                bodies.push(String::from_utf8(part.body.to_vec()).expect("UTF-8"))
            }
            other => return (bodies, other),
        }
    }
}

fn end(server: &mut ServerPeer, key: CallKey) -> Message {
    server.events();
    let reply = server
        .core
        .reply(start(), key, Message::new())
        .expect("the stream is open");
    server.enqueue(start(), &reply);
    server.message()
}

/// docs/wire S2, S3
#[test]
fn an_upload_delivers_its_parts_in_order_and_names_the_last() {
    let mut server = ServerPeer::new();
    let key = begin(&mut server, "a");
    server.send(start(), &part(CallType::UPLOAD_MORE, "a", 1));
    assert_eq!(
        take(&mut server, key),
        (vec!["part 1".to_owned()], PartTaken::Nothing)
    );
    server.send(start(), &part(CallType::UPLOAD_END, "a", 2));
    let PartTaken::Part(last, true) = server.core.take_part(start(), key) else {
        panic!("not the last")
    };
    assert_eq!(last.body, "part 2");
    assert_eq!(server.core.take_part(start(), key), PartTaken::End);
    assert_eq!(end(&mut server, key).hdr.typ, CallType::REPLY);
    assert_eq!(server.core.in_flight(), 0);
}

/// docs/wire S9, S12
#[test]
fn a_gap_or_a_repetition_ends_its_stream_and_nothing_else() {
    for (number, typ) in [
        (2, CallType::UPLOAD_MORE),
        (0, CallType::UPLOAD_MORE),
        (-1, CallType::UPLOAD_END),
    ] {
        let mut server = ServerPeer::new();
        let other = begin(&mut server, "other");
        let key = begin(&mut server, "a");
        server.send(start(), &part(typ, "a", number));
        let out_of_sync = OutOfSync {
            expected: 1,
            got: number,
        };
        assert_eq!(
            take(&mut server, key),
            (vec![], PartTaken::OutOfSync(out_of_sync))
        );
        end(&mut server, key);
        // The parts that follow are nobody's.
        server.send(start(), &part(CallType::UPLOAD_MORE, "a", 1));
        assert!(server.events().is_empty() && server.sent().is_empty());
        server.send(start(), &part(CallType::UPLOAD_END, "other", 1));
        assert_eq!(
            take(&mut server, other),
            (vec!["part 1".to_owned()], PartTaken::End)
        );
        assert_eq!(server.core.in_flight(), 1);
    }
}

/// docs/wire S9, E10
#[test]
fn parts_that_came_before_a_gap_are_delivered_before_the_error() {
    let mut server = ServerPeer::new();
    let key = begin(&mut server, "a");
    for number in [1, 2, 4] {
        server.send(start(), &part(CallType::UPLOAD_MORE, "a", number));
    }
    let out_of_sync = OutOfSync {
        expected: 3,
        got: 4,
    };
    assert_eq!(
        take(&mut server, key),
        (
            vec!["part 1".to_owned(), "part 2".to_owned()],
            PartTaken::OutOfSync(out_of_sync)
        )
    );
    assert_eq!(
        out_of_sync.to_string(),
        "stream out of sync, expected next StreamPart to be 3; but we see 4"
    );
}

/// docs/wire S9
#[test]
fn a_begin_with_part_1_is_answered_and_starts_nothing() {
    let mut server = ServerPeer::new();
    server.send(start(), &part(CallType::UPLOAD_BEGIN, "a", 1));
    assert!(server.events().is_empty());
    let reply = server.message();
    assert_eq!(
        reply.error,
        "stream out of sync, expected next StreamPart to be 0; but we see 1"
    );
    assert_eq!(server.core.in_flight(), 0);
}

/// docs/wire S11
#[test]
fn a_second_begin_is_refused_and_the_first_stream_goes_on() {
    for typ in [CallType::UPLOAD_BEGIN, CallType::DOWNLOAD] {
        let mut server = ServerPeer::new();
        let key = begin(&mut server, "a");
        let mut second = part(typ, "a", 0);
        second.hdr.seqno = 3;
        server.send(start(), &second);
        assert!(server.events().is_empty());
        let refusal = server.message();
        assert_eq!((refusal.hdr.typ, refusal.hdr.seqno), (CallType::ERROR, 3));
        server.send(start(), &part(CallType::UPLOAD_END, "a", 1));
        assert_eq!(take(&mut server, key).0, ["part 1"]);
        assert_eq!(end(&mut server, key).hdr.seqno, 2);
        // When it has ended, its CallID is free.
        begin(&mut server, "a");
    }
}

/// docs/wire S11
#[test]
fn a_begin_with_the_call_id_of_a_download_is_refused() {
    for typ in [CallType::UPLOAD_BEGIN, CallType::DOWNLOAD] {
        let mut server = ServerPeer::new();
        server.send(start(), &part(CallType::DOWNLOAD, "a", 0));
        assert_eq!(server.events().len(), 1);
        server.send(start(), &part(typ, "a", 0));
        assert!(server.events().is_empty());
        assert_eq!(server.message().hdr.typ, CallType::ERROR);
        assert_eq!(server.core.in_flight(), 1);
    }
}

/// docs/wire S10
#[test]
fn parts_of_no_stream_are_dropped_and_10000_in_a_row_close_the_connection() {
    let mut server = ServerPeer::new();
    let stray = frame(&part(CallType::UPLOAD_END, "nobody", 7));
    for _ in 0..3 {
        for _ in 0..9_999 {
            server.feed(start(), &stray).expect("not too many");
        }
        // Something else between them.
        server.send(start(), &Message::keep_alive());
    }
    assert!(server.events().is_empty() && server.sent().is_empty());
    for _ in 0..10_000 {
        server.feed(start(), &stray).expect("not too many");
    }
    assert_eq!(
        server.feed(start(), &stray),
        Err(Violation::StrayParts(10_001))
    );
}

/// docs/wire C14
#[test]
fn a_cancel_directly_behind_the_begin_cancels() {
    let mut server = ServerPeer::new();
    let segment = [
        frame(&part(CallType::UPLOAD_BEGIN, "a", 0)),
        frame(&part(CallType::CANCEL, "a", 0)),
        frame(&part(CallType::UPLOAD_MORE, "a", 1)),
    ]
    .concat();
    server.feed(start(), &segment).expect("legal");
    let events = server.events();
    let [
        ServerEvent::Start { key, .. },
        ServerEvent::Cancelled { key: cancelled },
    ] = events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(key, cancelled);
    assert_eq!(take(&mut server, key), (vec![], PartTaken::Cancelled));
    end(&mut server, key);
    assert_eq!(server.core.in_flight(), 0);
}

/// docs/wire S5, C13
#[test]
fn a_cancelled_upload_gives_up_what_waits_and_still_may_reply() {
    let mut server = ServerPeer::with(Limits::default().queue_parts(2), Concurrency::default());
    let key = begin(&mut server, "a");
    for number in 1..3 {
        server.send(start(), &part(CallType::UPLOAD_MORE, "a", number));
    }
    assert!(!server.core.wants_input());
    // It was read with the segment that filled the queue.
    server.send(start(), &part(CallType::CANCEL, "a", 0));
    assert!(server.core.wants_input());
    assert_eq!(take(&mut server, key), (vec![], PartTaken::Cancelled));
    assert_eq!(end(&mut server, key).hdr.call_id, "a");
}

/// docs/wire S13, S14
#[test]
fn a_full_upload_stops_reading_until_a_part_is_taken_or_the_stream_ends() {
    let mut server = ServerPeer::with(Limits::default().queue_parts(3), Concurrency::default());
    let key = begin(&mut server, "a");
    for number in 1..4 {
        assert!(server.core.wants_input());
        server.send(start(), &part(CallType::UPLOAD_MORE, "a", number));
    }
    assert!(!server.core.wants_input());
    let PartTaken::Part(..) = server.core.take_part(start(), key) else {
        panic!("it is full")
    };
    assert!(server.core.wants_input());
    server.send(start(), &part(CallType::UPLOAD_MORE, "a", 4));
    assert!(!server.core.wants_input());
    end(&mut server, key);
    assert!(server.core.wants_input());
}

/// docs/wire S13
#[test]
fn a_queue_is_full_by_bytes_too_and_takes_one_part_of_any_size() {
    let mut server = ServerPeer::with(
        Limits::default().queue_bytes(100_000),
        Concurrency::default(),
    );
    let key = begin(&mut server, "a");
    server.send(
        start(),
        &part(CallType::UPLOAD_MORE, "a", 1).with_body(vec![1; 150_000]),
    );
    assert!(!server.core.wants_input());
    let PartTaken::Part(part, false) = server.core.take_part(start(), key) else {
        panic!("it is full")
    };
    assert_eq!(part.body.len(), 150_000);
    assert!(server.core.wants_input());
}

/// docs/wire S13
#[test]
fn all_queues_of_a_connection_share_one_budget() {
    let limits = Limits::default().connection_bytes(250_000);
    let mut server = ServerPeer::with(limits, Concurrency::default());
    let keys = ["a", "b", "c"].map(|call_id| begin(&mut server, call_id));
    for call_id in ["a", "b", "c"] {
        assert!(server.core.wants_input());
        server.send(
            start(),
            &part(CallType::UPLOAD_MORE, call_id, 1).with_body(vec![1; 100_000]),
        );
    }
    assert!(!server.core.wants_input());
    let PartTaken::Part(..) = server.core.take_part(start(), keys[1]) else {
        panic!("a part waits")
    };
    assert!(server.core.wants_input());
    // What a stream that ends has not taken is given back too.
    server.send(
        start(),
        &part(CallType::UPLOAD_MORE, "b", 2).with_body(vec![1; 100_000]),
    );
    assert!(!server.core.wants_input());
    end(&mut server, keys[0]);
    assert!(server.core.wants_input());
}

/// docs/wire C5: reading goes on for those that run
#[test]
fn an_upload_that_fills_its_queue_before_it_runs_is_refused() {
    let limits = Limits::default().queue_parts(2);
    let mut server = ServerPeer::with(limits, Concurrency::default().running(1));
    let running = begin(&mut server, "runs");
    for number in 0..2 {
        let typ = if number == 0 {
            CallType::UPLOAD_BEGIN
        } else {
            CallType::UPLOAD_MORE
        };
        server.send(start(), &part(typ, "waits", number));
    }
    assert!(server.sent().is_empty());
    server.send(start(), &part(CallType::UPLOAD_MORE, "waits", 2));
    assert!(server.core.wants_input());
    let refusal = server.message();
    assert_eq!(
        (refusal.hdr.call_id, refusal.error),
        ("waits".into(), "too many calls on this connection".into())
    );
    assert_eq!((server.core.in_flight(), server.core.refused()), (1, 1));
    server.events();
    // Its further parts are nobody's, and it never starts.
    server.send(start(), &part(CallType::UPLOAD_END, "waits", 3));
    server.send(start(), &part(CallType::UPLOAD_END, "runs", 1));
    assert_eq!(
        take(&mut server, running),
        (vec!["part 1".to_owned()], PartTaken::End)
    );
    // Of the refused one the owner heard before its refusal at most that parts came.
    assert!(
        server
            .events()
            .iter()
            .all(|event| matches!(event, ServerEvent::PartReady { .. }))
    );
    end(&mut server, running);
    assert!(server.events().is_empty());
    assert_eq!(server.core.in_flight(), 0);
}

/// docs/wire S1
#[test]
fn streams_with_different_call_ids_stay_separate() {
    let mut server = ServerPeer::new();
    let keys = [begin(&mut server, "a"), begin(&mut server, "b")];
    for number in 1..4 {
        for call_id in ["a", "b"] {
            let body = format!("{call_id}{number}");
            server.send(
                start(),
                &part(CallType::UPLOAD_MORE, call_id, number).with_body(body),
            );
        }
    }
    assert_eq!(take(&mut server, keys[1]).0, ["b1", "b2", "b3"]);
    assert_eq!(take(&mut server, keys[0]).0, ["a1", "a2", "a3"]);
}

/// docs/wire S4, S10
#[test]
fn an_upload_that_the_function_ends_early_drops_what_still_comes() {
    let mut server = ServerPeer::new();
    let key = begin(&mut server, "a");
    let error = Message {
        error: "disk full".into(),
        ..Message::new()
    };
    let reply = server
        .core
        .reply(start(), key, error)
        .expect("the upload is open");
    server.enqueue(start(), &reply);
    assert_eq!(server.message().error, "disk full");
    server.send(start(), &part(CallType::UPLOAD_MORE, "a", 1));
    server.send(start(), &part(CallType::UPLOAD_END, "a", 2));
    assert!(server.events().is_empty() && server.sent().is_empty());
    assert_eq!(server.core.in_flight(), 0);
}

/// docs/wire S4, S17
#[test]
fn the_fastest_reply_finds_its_upload_and_stops_it() {
    let mut client = ClientPeer::new();
    let mut first = Message::request("up", "part 0").with_deadline(at(Duration::from_secs(9)).wall);
    let seqno = client.core.begin_upload(start(), &mut first);
    // The server answers what has not even been written.
    let mut reply = Message {
        hdr: first.hdr.clone(),
        error: "no".into(),
        ..Message::new()
    };
    reply.hdr.typ = CallType::REPLY;
    client.send(start(), &reply);
    assert!(
        matches!(client.events()[..], [ClientEvent::StreamReady { seqno: ready }] if ready == seqno)
    );
    assert!(client.core.has_ended(seqno));
    assert!(
        !client
            .core
            .stamp_part(start(), seqno, &mut Message::from_body("part 1"), false)
    );
    let Taken::End(StreamEnd::Reply(end)) = client.core.take_part(start(), seqno) else {
        panic!("no end")
    };
    assert_eq!(end.error, "no");
}

/// docs/wire S1, S2, S3, C10
#[test]
fn all_parts_of_an_upload_share_identity_and_deadline_and_count_up() {
    let mut client = ClientPeer::new();
    let deadline = at(Duration::from_secs(9)).wall;
    let mut first = Message::request("up", "0").with_deadline(deadline);
    let seqno = client.core.begin_upload(start(), &mut first);
    let mut parts = vec![first];
    for number in 1..4 {
        let mut part = Message::from_body(number.to_string());
        assert!(
            client
                .core
                .stamp_part(start(), seqno, &mut part, number == 3)
        );
        parts.push(part);
    }
    let types = [
        CallType::UPLOAD_BEGIN,
        CallType::UPLOAD_MORE,
        CallType::UPLOAD_MORE,
        CallType::UPLOAD_END,
    ];
    for (number, (part, typ)) in parts.iter().zip(types).enumerate() {
        assert_eq!((part.hdr.typ, part.hdr.stream_part), (typ, number as i64));
        assert_eq!(
            (part.hdr.seqno, &part.hdr.call_id),
            (seqno, &parts[0].hdr.call_id)
        );
        assert_eq!(
            (&part.hdr.service_name, part.hdr.deadline),
            (&"up".into(), Some(deadline))
        );
    }
}
