//! Credit for each stream between two towlines, one fact a test.

mod support;

use std::time::Duration;

use support::{
    at,
    peer::{ClientPeer, ServerPeer},
    start,
};
use towline_rpc::proto::{
    CallKey, CallType, ClientEvent, Compression, Concurrency, Limits, Message, PartTaken,
    ServerEvent, StreamEnd, Taken,
};

/// What a stream may be sent at first, and what a part costs beside its body.
const FIRST: usize = 64 << 10;
const OVERHEAD: usize = 512;

fn pair(client: Limits, server: Limits) -> (ClientPeer, ServerPeer) {
    (
        ClientPeer::with(client, Compression::None),
        ServerPeer::with(server, Concurrency::default()),
    )
}

/// Passes on what waits at either end, until nothing does. Returns how much of it told of credit.
fn exchange(client: &mut ClientPeer, server: &mut ServerPeer) -> usize {
    let mut told = 0;
    loop {
        let (there, here) = (client.messages(), server.messages());
        if there.is_empty() && here.is_empty() {
            return told;
        }
        told += there.iter().chain(&here).filter(|m| tells(m)).count();
        there
            .iter()
            .for_each(|message| server.send(start(), message));
        here.iter()
            .for_each(|message| client.send(start(), message));
    }
}

fn tells(message: &Message) -> bool {
    message.hdr.typ == CallType::KEEP_ALIVE && message.arg("towline").is_some()
}

fn started(server: &mut ServerPeer) -> CallKey {
    let events = server.events();
    match events.last() {
        Some(&ServerEvent::Start { key, .. }) => key,
        other => panic!("{other:?}"),
    }
}

/// Begins an upload, and has the server start it.
fn upload(client: &mut ClientPeer, server: &mut ServerPeer) -> (u64, CallKey) {
    let mut first = Message::request("up", "first");
    let seqno = client.core.begin_upload(start(), &mut first);
    client.core.enqueue(start(), &first).expect("small");
    exchange(client, server);
    (seqno, started(server))
}

/// Sends parts of a kilobyte until the client is told to wait; returns how many.
fn send_all(client: &mut ClientPeer, server: &mut ServerPeer, seqno: u64) -> usize {
    let mut parts = 0;
    while client.core.may_send(seqno) {
        assert!(parts < 100_000, "never held");
        let mut part = Message::from_body(vec![0; 1024]);
        assert!(client.core.stamp_part(start(), seqno, &mut part, false));
        client.core.enqueue(start(), &part).expect("small");
        exchange(client, server);
        parts += 1;
    }
    parts
}

/// docs/wire C21, S20
#[test]
fn a_slow_upload_holds_up_its_own_sender_alone() {
    let (mut client, mut server) = pair(Limits::default(), Limits::default());
    let (slow, slow_key) = upload(&mut client, &mut server);
    let parts = send_all(&mut client, &mut server, slow);
    assert_eq!(parts, FIRST.div_ceil(1024 + OVERHEAD));
    assert!(server.core.wants_input(), "the connection is read on");

    // Beside it a quick one goes on as long as it likes, and its window grows.
    let (quick, quick_key) = upload(&mut client, &mut server);
    let (mut sent, mut longest) = (0, 0);
    for _ in 0..20 {
        let parts = send_all(&mut client, &mut server, quick);
        longest = longest.max(parts);
        sent += parts;
        while let PartTaken::Part(..) = server.core.take_part(start(), quick_key) {
            sent -= 1;
        }
        exchange(&mut client, &mut server);
    }
    assert_eq!(sent, 0, "all of it came");
    assert!(longest > 1000, "{longest} parts at a time");
    assert!(!client.core.may_send(slow));

    // The slow one's first word wakes its sender.
    client.events();
    for _ in 0..parts / 2 + 1 {
        assert!(matches!(
            server.core.take_part(start(), slow_key),
            PartTaken::Part(..)
        ));
    }
    assert_eq!(exchange(&mut client, &mut server), 1);
    assert!(matches!(client.events()[..], [ClientEvent::MaySend { seqno }] if seqno == slow));
    assert!(client.core.may_send(slow));
}

/// docs/wire C21, S20
#[test]
fn a_slow_taker_of_a_download_holds_up_its_own_sender_alone() {
    let (mut client, mut server) = pair(Limits::default(), Limits::default());
    let mut request = Message::request("down", "");
    let seqno = client.core.begin_download(start(), &mut request);
    client.core.enqueue(start(), &request).expect("small");
    exchange(&mut client, &mut server);
    let key = started(&mut server);
    let mut parts = 0;
    while server.core.may_send(key) {
        let mut part = Message::from_body(vec![0; 1024]);
        assert!(server.core.stamp_part(start(), key, &mut part, false));
        server.enqueue(start(), &part);
        exchange(&mut client, &mut server);
        parts += 1;
    }
    assert_eq!(parts, FIRST.div_ceil(1024 + OVERHEAD));
    assert!(client.core.wants_input(), "the connection is read on");
    for _ in 0..=parts / 2 {
        assert!(matches!(
            client.core.take_part(start(), seqno),
            Taken::Part(_)
        ));
    }
    assert_eq!(exchange(&mut client, &mut server), 1);
    assert!(server.core.may_send(key));
    assert!(matches!(server.events()[..], [ServerEvent::MaySend { key: told }] if told == key));

    // A cancel gets through at once, and lets go of a handler that waits.
    while server.core.may_send(key) {
        let mut part = Message::from_body(vec![0; 1024]);
        assert!(server.core.stamp_part(start(), key, &mut part, false));
        server.enqueue(start(), &part);
    }
    client.core.cancel(start(), seqno);
    exchange(&mut client, &mut server);
    let events = server.events();
    assert!(
        matches!(
            events[..],
            [ServerEvent::Cancelled { .. }, ServerEvent::MaySend { .. }]
        ),
        "{events:?}"
    );
    assert!(server.core.may_send(key));
    assert!(
        !server
            .core
            .stamp_part(start(), key, &mut Message::new(), false)
    );
}

/// docs/wire C21: the original is sent nothing of it, and its answer ends the offers.
#[test]
fn the_original_hears_of_credit_in_a_parameter_of_first_requests_alone() {
    let mut client = ClientPeer::with(Limits::default(), Compression::None);
    let begin = |client: &mut ClientPeer| {
        let mut request = Message::request("down", "");
        let seqno = client.core.begin_download(start(), &mut request);
        client.core.enqueue(start(), &request).expect("small");
        (seqno, client.message())
    };
    let (first, offer) = begin(&mut client);
    assert_eq!(offer.arg("towline"), Some("credit?65536,1024"));
    // Calls have nothing to do with it.
    client.call(start(), Message::request("echo", ""), 1);
    assert_eq!(client.message().arg("towline"), None);

    // It sends back whatever it was sent, even as a keep-alive would be.
    let mut part = Message::from_body("x").with_arg("towline", "credit?65536,1024");
    part.hdr.typ = CallType::DOWNLOAD_BEGIN;
    part.hdr.seqno = first;
    part.hdr.call_id = offer.hdr.call_id.clone();
    client.send(start(), &part);
    let Taken::Part(taken) = client.core.take_part(start(), first) else {
        panic!("a part came")
    };
    assert_eq!(taken.arg("towline"), None);
    let (_, second) = begin(&mut client);
    assert_eq!(second.arg("towline"), None);
    let mut late = Message::keep_alive().with_arg("towline", "credit=1,1");
    client.send(start(), &late);
    late.hdr.seqno = first;
    late.hdr.call_id = offer.hdr.call_id.clone();
    client.send(start(), &late);
    assert!(client.core.may_send(first), "too late to agree");
    for number in 1..2000 {
        part.hdr.typ = CallType::DOWNLOAD_MORE;
        part.hdr.stream_part = number;
        client.send(start(), &part);
        client.core.take_part(start(), first);
    }
    assert_eq!(client.messages(), [], "nothing is said to the original");
}

/// docs/wire S14, S20: what comes without credit is held as from the original.
#[test]
fn who_ignores_credit_stops_the_connection_at_the_bound_of_the_queue() {
    let limits = Limits::default().queue_bytes(200_000);
    let (mut client, mut server) = pair(Limits::default(), limits);
    let (seqno, key) = upload(&mut client, &mut server);
    let mut came = 0;
    while server.core.wants_input() {
        let mut part = Message::from_body(vec![0; 1024]);
        assert!(client.core.stamp_part(start(), seqno, &mut part, false));
        server.send(start(), &part);
        came += 1;
        assert!(came < 1000, "never held");
    }
    assert_eq!(came, 200_000_usize.div_ceil(1024 + OVERHEAD));
    assert!(matches!(
        server.core.take_part(start(), key),
        PartTaken::Part(..)
    ));
    assert!(server.core.wants_input());
}

/// docs/wire S20: a window is no more than the queue, and many streams share what the connection holds.
#[test]
fn windows_grow_while_there_is_room_for_all() {
    let limits = Limits::default()
        .queue_bytes(1 << 20)
        .connection_bytes(1 << 20);
    let (mut client, mut server) = pair(Limits::default(), limits);
    let streams: Vec<_> = (0..4).map(|_| upload(&mut client, &mut server)).collect();
    for _ in 0..20 {
        for &(seqno, key) in &streams {
            send_all(&mut client, &mut server, seqno);
            while let PartTaken::Part(..) = server.core.take_part(start(), key) {}
            exchange(&mut client, &mut server);
        }
    }
    let waiting: usize = streams
        .iter()
        .map(|&(seqno, _)| send_all(&mut client, &mut server, seqno) * (1024 + OVERHEAD))
        .sum();
    assert!(
        (500 << 10..600 << 10).contains(&waiting),
        "{waiting} bytes wait"
    );
    assert!(server.core.wants_input(), "the connection is read on");
    // What ended gives its window back.
    for &(_, key) in &streams[1..] {
        server.core.reply(start(), key, Message::new());
    }
    let (seqno, key) = streams[0];
    for _ in 0..20 {
        while let PartTaken::Part(..) = server.core.take_part(start(), key) {}
        exchange(&mut client, &mut server);
        send_all(&mut client, &mut server, seqno);
    }
    let alone = {
        while let PartTaken::Part(..) = server.core.take_part(start(), key) {}
        exchange(&mut client, &mut server);
        send_all(&mut client, &mut server, seqno) * (1024 + OVERHEAD)
    };
    assert!(alone > 400 << 10, "{alone} bytes wait");
}

/// docs/wire S20: a peer that sends and never reads does not fill the memory with words of credit.
#[test]
fn words_of_credit_wait_for_room() {
    let limits = Limits::default().outbox_bytes(2000);
    let (mut client, mut server) = pair(Limits::default(), limits);
    let (seqno, key) = upload(&mut client, &mut server);
    let mut most = 0;
    for _ in 0..5000 {
        let mut part = Message::from_body(vec![0; 1024]);
        assert!(client.core.stamp_part(start(), seqno, &mut part, false));
        let piece = support::peer::frame(&part);
        server.feed(start(), &piece).expect("legal");
        server.core.take_part(start(), key);
        most = most.max(server.core.unsent());
    }
    assert!(most < 2500, "{most} bytes wait");
    // Once there is room, the last word is said.
    let told: Vec<Message> = server.messages().into_iter().filter(tells).collect();
    let last = told
        .last()
        .expect("some")
        .arg("towline")
        .expect("a word")
        .to_owned();
    let bytes: u64 = last
        .strip_prefix("credit=")
        .and_then(|text| text.split_once(',')?.0.parse().ok())
        .expect("two numbers");
    assert!(bytes > 5000 * (1024 + 512), "{last}");
}

/// docs/wire C11: a stream ends at its deadline, at the client too.
#[test]
fn a_stream_ends_at_its_deadline() {
    let (mut client, mut server) = pair(Limits::default(), Limits::default());
    let deadline = at(Duration::from_secs(5)).wall;
    let mut first = Message::request("up", "").with_deadline(deadline);
    let seqno = client.core.begin_upload(start(), &mut first);
    client.core.enqueue(start(), &first).expect("small");
    exchange(&mut client, &mut server);
    let key = started(&mut server);
    send_all(&mut client, &mut server, seqno);
    client.events();

    client
        .core
        .handle_timeout(at(Duration::from_millis(4999)))
        .expect("in time");
    assert!(!client.core.has_ended(seqno));
    assert_eq!(
        client.core.deadline(),
        Some(at(Duration::from_secs(5)).instant)
    );
    client
        .core
        .handle_timeout(at(Duration::from_secs(5)))
        .expect("in time");
    let events = client.events();
    assert!(
        matches!(
            events[..],
            [ClientEvent::StreamReady { .. }, ClientEvent::MaySend { .. }]
        ),
        "{events:?}"
    );
    assert!(
        !client
            .core
            .stamp_part(start(), seqno, &mut Message::new(), true)
    );
    let cancel = client.message();
    assert_eq!(
        (cancel.hdr.typ, cancel.hdr.seqno),
        (CallType::CANCEL, seqno)
    );
    server.events();
    server.send(start(), &cancel);
    assert!(matches!(server.events()[..], [ServerEvent::Cancelled { key: told }] if told == key));
    assert_eq!(
        client.core.take_part(start(), seqno),
        Taken::End(StreamEnd::TimedOut)
    );
    assert_eq!(client.core.in_flight(), 0);
}
