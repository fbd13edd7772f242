//! Limits of calls that run, wait and hold bodies, one fact a test.

mod support;

use std::time::Duration;

use support::{
    at,
    calls::{answer, request, started},
    peer::{ServerPeer, frame},
    start,
};
use towline_rpc::proto::{CallType, Concurrency, Limits, Message, ServerEvent};

const SECOND: Duration = Duration::from_secs(1);

/// docs/wire C5, E7, E14
#[test]
fn calls_beyond_the_limit_wait_and_beyond_the_queue_are_refused() {
    let mut server = ServerPeer::with(
        Limits::default(),
        Concurrency::default().running(2).waiting(2),
    );
    for seqno in 2..8 {
        server.send(start(), &request(CallType::CALL, "id", seqno));
    }
    let keys = started(&mut server);
    assert_eq!(
        (keys.len(), server.core.in_flight(), server.core.refused()),
        (2, 4, 2)
    );
    for (refusal, seqno) in server.messages().iter().zip([6, 7]) {
        assert_eq!(
            (refusal.hdr.typ, refusal.hdr.seqno),
            (CallType::REPLY, seqno)
        );
        assert_eq!(refusal.error, "too many calls on this connection");
        assert_eq!(refusal.arg("towline.not-begun"), Some("1"));
    }
    // A one-way message that is dropped is counted, not answered.
    server.send(start(), &request(CallType::ONE_WAY, "id", 8));
    assert!(server.sent().is_empty());
    assert_eq!(server.core.refused(), 3);
    // Each end lets the next one run, in order.
    answer(&mut server, keys[0]);
    answer(&mut server, keys[1]);
    let next = started(&mut server);
    assert_eq!(
        [
            answer(&mut server, next[0]).hdr.seqno,
            answer(&mut server, next[1]).hdr.seqno
        ],
        [4, 5]
    );
    assert_eq!(server.core.in_flight(), 0);
}

/// docs/wire C5
#[test]
fn the_bodies_of_waiting_calls_are_limited_in_bytes() {
    let concurrency = Concurrency::default().running(1).waiting_bytes(10);
    let mut server = ServerPeer::with(Limits::default(), concurrency);
    for (seqno, body) in [(2, "runs"), (3, "waits ok"), (4, "too much"), (5, "ok")] {
        server.send(
            start(),
            &request(CallType::CALL, "id", seqno).with_body(body),
        );
    }
    assert_eq!(server.message().hdr.seqno, 4);
    assert_eq!(server.core.in_flight(), 3);
    // What runs no longer waits: there is room for as much again.
    for _ in 0..3 {
        let key = started(&mut server)[0];
        answer(&mut server, key);
    }
    for seqno in [6, 7] {
        server.send(
            start(),
            &request(CallType::CALL, "id", seqno).with_body("ten bytes!"),
        );
    }
    assert_eq!((server.core.in_flight(), server.core.refused()), (2, 1));
}

/// docs/wire C5: streams are not counted, as they end only if they are read on.
#[test]
fn the_bodies_of_calls_in_work_stop_the_reading_at_their_limit() {
    let limits = Limits::default().idle_timeout(Some(SECOND));
    let mut server = ServerPeer::with(limits, Concurrency::default().body_bytes(10));
    let typed = |typ, seqno| request(typ, "id", seqno).with_body("12345");
    server.send(start(), &typed(CallType::CALL, 2));
    server.send(start(), &request(CallType::UPLOAD_BEGIN, "up", 3));
    assert!(server.core.wants_input());
    server.send(start(), &typed(CallType::ONE_WAY, 4));
    assert!(!server.core.wants_input());
    // Whoever does not read has nobody to blame for the silence.
    server.core.handle_timeout(at(5 * SECOND)).expect("alive");
    let keys = started(&mut server);
    server.core.finish(keys[2]);
    assert!(server.core.wants_input());
    server.core.handle_timeout(at(5 * SECOND)).expect("alive");
    server
        .core
        .handle_timeout(at(7 * SECOND))
        .expect_err("silent");
    answer(&mut server, keys[0]);
    server.send(start(), &typed(CallType::CALL, 5));
    assert!(server.core.wants_input());
}

/// docs/wire C5: the limit is full of uploads that wait for their parts
#[test]
fn parts_cancels_and_keep_alives_pass_the_limit_of_running_calls() {
    let mut server = ServerPeer::with(
        Limits::default(),
        Concurrency::default().running(1).waiting(0),
    );
    server.send(start(), &request(CallType::UPLOAD_BEGIN, "up", 2));
    let key = started(&mut server)[0];
    server.send(start(), &Message::keep_alive());
    let mut part = request(CallType::UPLOAD_MORE, "up", 2);
    part.hdr.stream_part = 1;
    server.send(start(), &part);
    assert!(matches!(server.events()[..], [ServerEvent::PartReady { key: ready }] if ready == key));
    server.send(start(), &request(CallType::CANCEL, "up", 2));
    assert!(matches!(server.events()[..], [ServerEvent::Cancelled { key: ready }] if ready == key));
    assert_eq!(server.core.refused(), 0);
}

/// docs/wire C5
#[test]
fn what_stands_beside_the_body_of_a_waiting_call_counts_too() {
    let concurrency = Concurrency::default().running(1).waiting_bytes(100_000);
    let stuff = || "x".repeat(60_000);
    let call = |seqno| request(CallType::CALL, "id", seqno).with_body("");
    let mut wordy = call(5);
    wordy.error = stuff().into();
    let mut from_afar = call(6);
    from_afar.hdr.from = stuff().into();
    for second in [
        call(4).with_arg("a", stuff()),
        call(4).with_subject(stuff()),
        wordy,
        from_afar,
    ] {
        let mut server = ServerPeer::with(Limits::default(), concurrency);
        server.send(start(), &call(2));
        server.send(start(), &call(3).with_arg("a", stuff()));
        assert!(server.sent().is_empty());
        server.send(start(), &second);
        assert_eq!(server.message().hdr.seqno, second.hdr.seqno);
        assert_eq!((server.core.in_flight(), server.core.refused()), (2, 1));
    }
    // Many small parameters are not small together.
    let mut server = ServerPeer::with(Limits::default(), concurrency);
    server.send(start(), &call(2));
    let mut many = call(3);
    many.hdr
        .args
        .extend((0..1000).map(|n| (n.to_string().into(), "".into())));
    server.send(start(), &many);
    assert_eq!(server.message().hdr.seqno, 3);
}

/// docs/wire C5
#[test]
fn what_stands_beside_the_bodies_of_calls_in_work_stops_the_reading_too() {
    let concurrency = Concurrency::default().body_bytes(100_000);
    let mut server = ServerPeer::with(Limits::default(), concurrency);
    let stuffed = |seqno| request(CallType::CALL, "id", seqno).with_arg("a", "x".repeat(60_000));
    server.send(start(), &stuffed(2));
    assert!(server.core.wants_input());
    server.send(start(), &stuffed(3));
    assert!(!server.core.wants_input());
    let keys = started(&mut server);
    answer(&mut server, keys[0]);
    assert!(server.core.wants_input());
}

/// docs/wire C5, E7, E14: reading goes on, as an upload ends only if it is read on.
#[test]
fn first_messages_of_streams_are_limited_in_bytes_and_stop_no_reading() {
    for typ in [
        CallType::UPLOAD_BEGIN,
        CallType::DOWNLOAD,
        CallType::BISTREAM,
    ] {
        let concurrency = Concurrency::default().body_bytes(100_000);
        let mut server = ServerPeer::with(Limits::default(), concurrency);
        let begin = |call_id, seqno, len: usize| {
            request(typ, call_id, seqno)
                .with_body("")
                .with_arg("a", "x".repeat(len / 2))
                .with_body(vec![0; len / 2])
        };
        // One may be of any size.
        server.send(start(), &begin("a", 2, 300_000));
        let key = started(&mut server)[0];
        assert!(server.core.wants_input());
        server.send(start(), &begin("b", 3, 60_000));
        let refusal = server.message();
        assert_eq!(refusal.hdr.seqno, 3);
        assert_eq!(refusal.error, "too many calls on this connection");
        assert_eq!(refusal.arg("towline.not-begun"), Some("1"));
        assert_eq!((server.core.in_flight(), server.core.refused()), (1, 1));
        assert!(server.events().is_empty());
        // Calls have their own bound.
        server.send(start(), &request(CallType::CALL, "id", 4));
        let call = started(&mut server)[0];
        answer(&mut server, call);
        answer(&mut server, key);
        server.events();
        for (call_id, seqno) in [("c", 5), ("d", 6)] {
            server.send(start(), &begin(call_id, seqno, 60_000));
        }
        assert_eq!(started(&mut server).len(), 1);
        assert_eq!(server.message().hdr.seqno, 6);
    }
}

/// docs/wire C5, C14
#[test]
fn a_call_that_is_cancelled_while_it_waits_never_runs() {
    for (typ, text) in [
        (CallType::CALL, Some("context canceled")),
        (CallType::ONE_WAY, None),
        (CallType::UPLOAD_BEGIN, Some("context cancelled")),
        (CallType::DOWNLOAD, Some("context cancelled")),
    ] {
        let concurrency = Concurrency::default().running(1).waiting_bytes(10);
        let mut server = ServerPeer::with(Limits::default(), concurrency);
        server.send(start(), &request(CallType::CALL, "runs", 2));
        let running = started(&mut server)[0];
        let waiting = |call_id| request(typ, call_id, 3).with_body("ten bytes!");
        server.send(start(), &waiting("waits"));
        server.send(start(), &request(CallType::CANCEL, "waits", 3));
        let answers = server.messages();
        assert_eq!(answers.len(), usize::from(text.is_some()));
        for reply in &answers {
            assert_eq!((reply.hdr.typ, reply.hdr.seqno), (CallType::REPLY, 3));
            assert_eq!(Some(&*reply.error.to_string()), text);
        }
        assert_eq!((server.core.in_flight(), server.core.refused()), (1, 0));
        // Its place is free, and it is not started when its turn would have come.
        server.send(start(), &waiting("behind"));
        assert!(server.sent().is_empty());
        answer(&mut server, running);
        let next = server.events();
        assert!(
            matches!(&next[..], [ServerEvent::Start { request, .. }] if request.hdr.call_id == "behind"),
            "{next:?}"
        );
    }
}

/// docs/wire C19, E14
#[test]
fn a_server_that_shuts_down_starts_nothing_that_waits() {
    let concurrency = Concurrency::default().running(1);
    let mut server = ServerPeer::with(Limits::default(), concurrency);
    server.send(start(), &request(CallType::CALL, "id", 2));
    let running = started(&mut server)[0];
    for (typ, call_id, seqno) in [
        (CallType::CALL, "id", 3),
        (CallType::ONE_WAY, "id", 4),
        (CallType::UPLOAD_BEGIN, "up", 5),
    ] {
        server.send(start(), &request(typ, call_id, seqno));
    }
    assert!(server.sent().is_empty());
    server.core.drain(start());
    let refusals = server.messages();
    assert_eq!(refusals.len(), 2, "{refusals:?}");
    for (refusal, seqno) in refusals.iter().zip([3, 5]) {
        assert_eq!(refusal.hdr.seqno, seqno);
        assert_eq!(refusal.error, "the server is shutting down");
        assert_eq!(refusal.arg("towline.not-begun"), Some("1"));
    }
    assert_eq!(answer(&mut server, running).hdr.seqno, 2);
    assert!(server.events().is_empty());
    assert_eq!(server.core.in_flight(), 0);
}

#[test]
fn the_longest_durations_mean_never() {
    let limits = Limits::default()
        .frame_timeout(Duration::MAX)
        .keep_alive(Some(Duration::MAX))
        .idle_timeout(Some(Duration::MAX))
        .write_timeout(Some(Duration::MAX));
    let mut server = ServerPeer::with(limits, Concurrency::default());
    server.send(start(), &request(CallType::CALL, "id", 2));
    let key = started(&mut server)[0];
    let reply = server.core.reply(start(), key, Message::new());
    server.enqueue(start(), &reply.expect("the call is open"));
    let half = &frame(&Message::keep_alive())[..9];
    server.feed(start(), half).expect("legal");
    assert!(server.core.unsent() > 0);
    assert_eq!(server.core.deadline(), None);
    server
        .core
        .handle_timeout(at(1_000_000 * SECOND))
        .expect("alive");
    assert_eq!(server.messages().len(), 1);
}
