//! Downloads, one fact a test.

mod support;

use std::time::Duration;

use support::{
    at,
    peer::{ClientPeer, ServerPeer},
    start,
};
use towline_rpc::proto::{
    CallType, Compression, Limits, Message, OutOfSync, ServerEvent, ServiceKind, StreamEnd, Taken,
};

/// docs/wire S6, S7
#[test]
fn the_types_of_a_download_follow_from_place_and_last() {
    use CallType as Typ;
    let expected: [&[Typ]; 4] = [
        &[Typ::REPLY],
        &[Typ::DOWNLOAD_BEGIN, Typ::REPLY],
        &[Typ::DOWNLOAD_BEGIN, Typ::DOWNLOAD_END, Typ::REPLY],
        &[
            Typ::DOWNLOAD_BEGIN,
            Typ::DOWNLOAD_MORE,
            Typ::DOWNLOAD_END,
            Typ::REPLY,
        ],
    ];
    for (parts, expected) in expected.into_iter().enumerate() {
        let (mut client, mut server) = (ClientPeer::new(), ServerPeer::new());
        let deadline = at(Duration::from_secs(60)).wall;
        let mut request = Message::request("down", "").with_deadline(deadline);
        let seqno = client.core.begin_download(start(), &mut request);
        server.send(start(), &request);
        let events = server.events();
        let [
            ServerEvent::Start {
                key,
                kind: ServiceKind::Download,
                ..
            },
        ] = events[..]
        else {
            panic!("{events:?}")
        };
        for number in 0..parts {
            let mut part = Message::from_body(vec![number as u8]);
            assert!(
                server
                    .core
                    .stamp_part(start(), key, &mut part, number + 1 == parts)
            );
            server.enqueue(start(), &part);
        }
        let reply = server
            .core
            .reply(start(), key, Message::new())
            .expect("the download is open");
        server.enqueue(start(), &reply);
        let messages = server.messages();
        assert_eq!(
            messages
                .iter()
                .map(|message| message.hdr.typ)
                .collect::<Vec<_>>(),
            expected
        );
        for (number, message) in messages.iter().enumerate() {
            // docs/wire C10: the deadline travels back
            assert_eq!(message.hdr.deadline, Some(deadline));
            assert_eq!(
                message.hdr.stream_part,
                if number < parts { number as i64 } else { 0 }
            );
            client.send(start(), message);
        }
        for number in 0..parts {
            let Taken::Part(part) = client.core.take_part(start(), seqno) else {
                panic!("no part {number}")
            };
            assert_eq!(part.body, [number as u8][..]);
        }
        assert!(matches!(
            client.core.take_part(start(), seqno),
            Taken::End(StreamEnd::Reply(_))
        ));
        assert_eq!((client.core.in_flight(), server.core.in_flight()), (0, 0));
    }
}

/// A client with an open download, and its request.
fn downloading(limits: Limits) -> (ClientPeer, Message) {
    let mut client = ClientPeer::with(limits, Compression::None);
    let mut request = Message::request("down", "");
    client.core.begin_download(start(), &mut request);
    client
        .core
        .enqueue(start(), &request)
        .expect("small enough");
    client.sent();
    (client, request)
}

fn down(request: &Message, typ: CallType, number: i64) -> Message {
    let mut part = Message::from_body("data");
    part.hdr = request.hdr.clone();
    part.hdr.typ = typ;
    part.hdr.stream_part = number;
    part
}

/// docs/wire S8
#[test]
fn a_download_ends_with_its_reply_whether_or_not_a_last_part_came() {
    for last in [CallType::DOWNLOAD_MORE, CallType::DOWNLOAD_END] {
        let (mut client, request) = downloading(Limits::default());
        let seqno = request.hdr.seqno;
        client.send(start(), &down(&request, CallType::DOWNLOAD_BEGIN, 0));
        client.send(start(), &down(&request, last, 1));
        // A function may send after "last".
        client.send(start(), &down(&request, CallType::DOWNLOAD_MORE, 2));
        for _ in 0..3 {
            assert!(matches!(
                client.core.take_part(start(), seqno),
                Taken::Part(_)
            ));
        }
        assert_eq!(client.core.take_part(start(), seqno), Taken::Nothing);
        client.send(start(), &down(&request, CallType::REPLY, 0));
        assert!(matches!(
            client.core.take_part(start(), seqno),
            Taken::End(_)
        ));
        assert_eq!(client.core.in_flight(), 0);
    }
}

/// docs/wire S9
#[test]
fn a_download_out_of_order_ends_with_an_error_and_a_cancel() {
    let (mut client, request) = downloading(Limits::default());
    client.send(start(), &down(&request, CallType::DOWNLOAD_BEGIN, 0));
    client.send(start(), &down(&request, CallType::DOWNLOAD_MORE, 2));
    let cancel = client.message();
    assert_eq!(
        (cancel.hdr.typ, &cancel.hdr.call_id),
        (CallType::CANCEL, &request.hdr.call_id)
    );
    let seqno = request.hdr.seqno;
    assert!(matches!(
        client.core.take_part(start(), seqno),
        Taken::Part(_)
    ));
    let out_of_sync = OutOfSync {
        expected: 1,
        got: 2,
    };
    assert_eq!(
        client.core.take_part(start(), seqno),
        Taken::End(StreamEnd::OutOfSync(out_of_sync))
    );
    // It has been cancelled once already.
    client.core.cancel(start(), seqno);
    assert!(client.sent().is_empty());
    assert_eq!(client.core.in_flight(), 0);
}

/// docs/wire S14
#[test]
fn a_full_download_stops_reading_until_a_part_is_taken_or_it_is_dropped() {
    let (mut client, request) = downloading(Limits::default().queue_parts(2));
    let seqno = request.hdr.seqno;
    client.send(start(), &down(&request, CallType::DOWNLOAD_BEGIN, 0));
    assert!(client.core.wants_input());
    client.send(start(), &down(&request, CallType::DOWNLOAD_MORE, 1));
    assert!(!client.core.wants_input());
    assert!(matches!(
        client.core.take_part(start(), seqno),
        Taken::Part(_)
    ));
    assert!(client.core.wants_input());
    client.send(start(), &down(&request, CallType::DOWNLOAD_MORE, 2));
    assert!(!client.core.wants_input());
    client.core.cancel(start(), seqno);
    assert!(client.core.wants_input());
}

/// docs/wire S16, C12
#[test]
fn leaving_a_stream_cancels_it_once_with_a_new_serial() {
    let (mut client, request) = downloading(Limits::default());
    client.core.cancel(start(), request.hdr.seqno);
    client.core.cancel(start(), request.hdr.seqno);
    let cancel = client.message();
    assert_eq!(cancel.hdr.typ, CallType::CANCEL);
    assert_eq!(
        (
            &cancel.hdr.call_id,
            cancel.hdr.seqno,
            &cancel.hdr.service_name
        ),
        (
            &request.hdr.call_id,
            request.hdr.seqno,
            &request.hdr.service_name
        )
    );
    assert!(cancel.hdr.serial > request.hdr.serial);
    // What still comes is nobody's.
    client.send(start(), &down(&request, CallType::DOWNLOAD_BEGIN, 0));
    assert!(client.events().is_empty());
    assert_eq!((client.core.in_flight(), client.core.unclaimed()), (0, 1));
}

/// docs/wire S16
#[test]
fn a_stream_whose_end_has_come_is_left_without_a_cancel() {
    let (mut client, request) = downloading(Limits::default());
    client.send(start(), &down(&request, CallType::REPLY, 0));
    client.core.cancel(start(), request.hdr.seqno);
    assert!(client.sent().is_empty());
    assert_eq!(client.core.in_flight(), 0);
}
