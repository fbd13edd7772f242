//! Frames, compression, limits and clocks, one fact a test.

mod support;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use support::{
    at,
    peer::{CLIENT_ADDRESS, ClientPeer, SERVER_ADDRESS, ServerPeer, frame},
    start,
    vectors::{load, read_frames},
};
use towline_codec::greenpack::DecodeError;
use towline_rpc::proto::{
    CallType, ClientEvent, Compression, Concurrency, EncodedFrame, FrameReader, Limits, MAX_BODY,
    MAX_FRAME, Message, Received, Server, ServerEvent, TooLarge, USER_MAX_PAYLOAD, Violation,
};

const SECOND: Duration = Duration::from_secs(1);

fn call(seqno: u64, body: impl Into<Bytes>) -> Message {
    let mut message = Message::request("work", body);
    message.hdr.typ = CallType::CALL;
    message.hdr.seqno = seqno;
    message.hdr.call_id = "id".into();
    message
}

/// Reads a stream that arrives in the given pieces.
fn read_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Received> {
    let mut reader = FrameReader::new();
    let mut input = BytesMut::new();
    let mut received = Vec::new();
    for piece in pieces {
        reader.make_room(&mut input, piece.len());
        input.extend_from_slice(piece);
        while let Some(next) = reader.handle_input(&mut input).expect("legal") {
            received.push(next);
        }
    }
    assert_eq!(reader.violation_at_end(&input), None);
    received
}

/// docs/wire F6
#[test]
fn frames_cut_at_any_byte_and_frames_in_one_segment_read_alike() {
    let stream: Vec<u8> = [
        frame(&call(2, "one")),
        EncodedFrame::new(&call(3, vec![7; 3000]), Compression::S2)
            .expect("small enough")
            .bytes()
            .clone(),
        frame(&Message::keep_alive()),
        frame(&call(4, vec![9; 300]).without_compression()),
    ]
    .concat();
    let whole = read_frames(&stream).expect("legal");
    assert_eq!(whole.len(), 4);
    for at in 0..=stream.len() {
        let (before, after) = stream.split_at(at);
        assert_eq!(read_pieces([before, after]), whole, "cut at {at}");
    }
    for size in [1, 2, 3, 7, 16, 17, 100] {
        assert_eq!(read_pieces(stream.chunks(size)), whole, "pieces of {size}");
    }
}

/// docs/wire F3, F23
#[test]
fn the_largest_length_is_accepted_and_the_next_refused_at_its_header() {
    let header = |len: u64| {
        let mut header = frame(&Message::keep_alive())[..16].to_vec();
        header[8..].copy_from_slice(&len.to_be_bytes());
        header
    };
    assert_eq!(
        read_frames(&header(MAX_FRAME as u64)),
        Err(Violation::Truncated(MAX_FRAME as u32)),
        "the header is accepted, the body is missing"
    );
    for (len, reported) in [(MAX_FRAME as u64 + 1, 67_108_785), (u64::MAX, u32::MAX)] {
        assert_eq!(
            read_frames(&header(len)),
            Err(Violation::LengthOverLimit(reported))
        );
    }
}

/// docs/wire F4
#[test]
fn a_wrong_byte_of_the_magic_is_reported_when_it_comes() {
    let good = frame(&Message::keep_alive());
    for at in 0..7 {
        let mut bad = good[..=at].to_vec();
        bad[at] ^= 0x40;
        assert_eq!(read_frames(&bad), Err(Violation::WrongMagic), "byte {at}");
    }
    assert_eq!(
        read_frames(b"GET / HTTP/1.1\r\n\r\n"),
        Err(Violation::WrongMagic)
    );
    assert_eq!(
        read_frames(&[0x16, 0x03, 0x01, 0x02, 0x00]),
        Err(Violation::TlsHello)
    );
    assert_eq!(
        read_frames(&[0x15, 0x03, 0x03, 0x00, 0x02]),
        Err(Violation::TlsAlert)
    );
}

/// docs/wire F26
#[test]
fn two_frames_written_into_each_other_are_named() {
    let good = frame(&Message::keep_alive());
    let interleaved = [&good[..8], &good[..8], &good[8..], &good[8..]].concat();
    assert_eq!(read_frames(&interleaved), Err(Violation::InterleavedFrames));
}

/// docs/wire F23
#[test]
fn the_rest_of_a_frame_must_keep_coming() {
    let mut server = ServerPeer::new();
    let bytes = frame(&call(2, vec![1; 100]));
    // A byte every 29 seconds is slow, and alive.
    let mut now = Duration::ZERO;
    for byte in &bytes[..bytes.len() - 1] {
        now += 29 * SECOND;
        server
            .core
            .handle_timeout(at(now))
            .expect("it keeps coming");
        server.feed(at(now), &[*byte]).expect("legal");
    }
    assert_eq!(server.core.deadline(), Some(at(now + 30 * SECOND).instant));
    assert_eq!(
        server.core.handle_timeout(at(now + 30 * SECOND)),
        Err(Violation::FrameTimeout)
    );
    // Between frames there is no such limit.
    server
        .feed(at(now), &bytes[bytes.len() - 1..])
        .expect("legal");
    assert_eq!(server.core.deadline(), None);
    assert_eq!(server.core.handle_timeout(at(now + 9999 * SECOND)), Ok(()));
}

/// docs/wire F24, E11, M12
#[test]
fn a_body_at_the_limit_is_sent_and_one_more_byte_refused_without_harm() {
    let mut client = ClientPeer::new();
    let mut message = Message::request("work", vec![0; MAX_BODY + 1]);
    let seqno = client.core.begin_call(start(), &mut message, None, 1);
    assert_eq!(
        client.core.enqueue(start(), &message),
        Err(TooLarge {
            len: MAX_BODY + 1,
            max: MAX_BODY
        })
    );
    assert_eq!(client.core.abandon(seqno), Some(1));
    assert_eq!(client.core.unsent(), 0);
    message.body.truncate(MAX_BODY);
    assert_eq!(client.core.enqueue(start(), &message), Ok(()));
    assert_eq!(client.message().body.len(), MAX_BODY);
}

/// docs/wire F20, F24
#[test]
fn a_frame_that_its_header_makes_too_large_is_refused_under_every_compression() {
    let message = Message::request("work", vec![0; MAX_BODY]).with_arg("big", "x".repeat(2000));
    for compression in [Compression::None, Compression::S2] {
        let mut client = ClientPeer::with(Limits::default(), compression);
        let error = client.core.enqueue(start(), &message).unwrap_err();
        assert!(error.len > error.max && error.max >= MAX_FRAME, "{error}");
        assert_eq!(client.core.unsent(), 0);
        client.call(start(), Message::request("work", "next"), 1);
        assert_eq!(client.message().body, "next");
    }
}

/// docs/wire M12, F24: what the original advises leaves room for a header, which the largest body does not.
#[test]
fn a_body_of_the_advised_size_leaves_room_for_its_header() {
    let with_header = |body: usize| {
        let message = Message::request("work", vec![0; body]).with_arg("big", "x".repeat(1500));
        EncodedFrame::new(&message, Compression::None)
    };
    assert!(with_header(USER_MAX_PAYLOAD).is_ok());
    assert!(with_header(MAX_BODY).is_err());
}

/// docs/wire F9, F10, F12
#[test]
fn a_client_compresses_every_frame_but_those_that_ask_not_to_be() {
    for (compression, byte) in [(Compression::None, 0), (Compression::S2, 1)] {
        let limits = Limits::default().keep_alive(Some(SECOND));
        let mut client = ClientPeer::with(limits, compression);
        client.call(start(), Message::request("work", "plain"), 1);
        client.call(
            start(),
            Message::request("work", "packed before").without_compression(),
            2,
        );
        let mut one_way = Message::request("work", "");
        client.core.stamp_one_way(start(), &mut one_way);
        client
            .core
            .enqueue(start(), &one_way)
            .expect("small enough");
        let bytes: Vec<u8> = client
            .sent()
            .iter()
            .map(|received| received.compression_byte)
            .collect();
        assert_eq!(bytes, [byte, 7, byte]);
        client
            .core
            .handle_timeout(at(SECOND))
            .expect("nothing is wrong");
        assert_eq!(client.sent()[0].compression_byte, byte, "of a keep-alive");
    }
}

/// The bytes of the replies to requests of the given bytes.
fn mirrored(mirror: bool, own: Compression, requests: &[u8]) -> Vec<u8> {
    let mut server = ServerPeer::from(Server::new(
        Limits::default(),
        Concurrency::default(),
        own,
        mirror,
        SERVER_ADDRESS,
        CLIENT_ADDRESS,
        start(),
    ));
    let mut replies = Vec::new();
    for (&byte, seqno) in requests.iter().zip(2..) {
        let mut request = call(seqno, "x");
        request.hdr.no_system_compression = byte == 7;
        let compression = match byte {
            0 => Compression::None,
            2 => Compression::Lz4,
            _ => Compression::S2,
        };
        let request = EncodedFrame::new(&request, compression).expect("small enough");
        assert_eq!(request.bytes()[7], byte);
        server.feed(start(), request.bytes()).expect("legal");
        let events = server.events();
        let [ServerEvent::Start { key, .. }] = events[..] else {
            panic!("{events:?}")
        };
        let reply = server
            .core
            .reply(start(), key, Message::new())
            .expect("the call is open");
        server.enqueue(start(), &reply);
        replies.push(server.sent()[0].compression_byte);
    }
    replies
}

/// docs/wire F11, F13
#[test]
fn a_server_mirrors_the_last_byte_that_was_not_7() {
    let (none, s2) = (Compression::None, Compression::S2);
    assert_eq!(mirrored(true, none, &[1, 7, 1]), [1, 1, 1]);
    assert_eq!(mirrored(true, s2, &[1, 7, 0, 7, 1]), [1, 1, 0, 0, 1]);
    assert_eq!(mirrored(true, none, &[1, 7, 2, 7]), [1, 1, 2, 2]);
    // Before any such frame its own.
    assert_eq!(mirrored(true, s2, &[7, 7]), [1, 1]);
    assert_eq!(mirrored(true, none, &[7, 1]), [0, 1]);
    assert_eq!(mirrored(false, none, &[1, 7, 0]), [0, 0, 0]);
}

/// docs/wire F20: streams one after the other are one stream
#[test]
fn a_body_that_expands_beyond_the_limit_closes_the_connection() {
    let five_million = load("compression")
        .into_iter()
        .find(|vector| vector.name == "s2-zeros-5000000")
        .expect("the vector is there")
        .bytes;
    let bomb = five_million.repeat(14);
    let mut bytes = frame(&Message::keep_alive())[..7].to_vec();
    bytes.push(1);
    bytes.extend_from_slice(&(bomb.len() as u64).to_be_bytes());
    bytes.extend_from_slice(&bomb);
    assert!(bytes.len() < 4096);
    let mut server = ServerPeer::new();
    assert_eq!(
        server.feed(start(), &bytes),
        Err(Violation::DecompressedTooLarge(64 << 20))
    );
}

/// docs/wire K1, K2
#[test]
fn keep_alives_leave_only_when_nothing_else_did() {
    let mut client = ClientPeer::with(
        Limits::default().keep_alive(Some(10 * SECOND)),
        Compression::None,
    );
    assert_eq!(client.core.deadline(), Some(at(10 * SECOND).instant));
    client.call(at(6 * SECOND), Message::request("work", ""), 1);
    client.sent();
    client
        .core
        .handle_timeout(at(10 * SECOND))
        .expect("nothing is wrong");
    assert!(client.sent().is_empty());
    assert_eq!(client.core.deadline(), Some(at(16 * SECOND).instant));
    client
        .core
        .handle_timeout(at(16 * SECOND))
        .expect("nothing is wrong");
    assert_eq!(client.message(), Message::keep_alive());
    assert_eq!(client.core.deadline(), Some(at(26 * SECOND).instant));
}

/// docs/wire K3, K4
#[test]
fn a_peer_that_sends_only_keep_alives_stays_connected() {
    let mut server = ServerPeer::with(
        Limits::default().idle_timeout(Some(10 * SECOND)),
        Concurrency::default(),
    );
    for tick in 1..20 {
        server.send(at(9 * SECOND * tick), &Message::keep_alive());
        server
            .core
            .handle_timeout(at(9 * SECOND * tick))
            .expect("it lives");
    }
    assert!(server.events().is_empty() && server.sent().is_empty());
    let silent = at(9 * SECOND * 19 + 10 * SECOND);
    assert_eq!(
        server.core.handle_timeout(silent),
        Err(Violation::IdleTimeout)
    );
}

/// docs/wire S14, F23, K4
#[test]
fn a_pause_that_our_own_back_pressure_made_is_not_the_peers_silence() {
    let limits = Limits::default()
        .outbox_bytes(100)
        .idle_timeout(Some(10 * SECOND))
        .queue_parts(1);
    // The client does not read its reply for a minute.
    let mut server = ServerPeer::with(limits.clone(), Concurrency::default());
    server.send(start(), &call(2, "x"));
    let events = server.events();
    let [ServerEvent::Start { key, .. }] = events[..] else {
        panic!("{events:?}")
    };
    let reply = server
        .core
        .reply(start(), key, Message::from_body(vec![0; 1000]))
        .expect("the call is open");
    server
        .feed(start(), &frame(&call(3, "y"))[..20])
        .expect("legal");
    server.enqueue(start(), &reply);
    assert!(!server.core.wants_input());
    server
        .core
        .handle_timeout(at(60 * SECOND))
        .expect("we did not read");
    server.sent();
    assert!(server.core.wants_input());
    server
        .core
        .handle_timeout(at(60 * SECOND))
        .expect("we could not read until now");
    assert_eq!(server.core.deadline(), Some(at(70 * SECOND).instant));
    assert_eq!(
        server.core.handle_timeout(at(70 * SECOND)),
        Err(Violation::IdleTimeout)
    );

    // A function that leaves its full upload lying and then ends.
    let mut server = ServerPeer::with(limits, Concurrency::default());
    let mut part = call(2, "0");
    part.hdr.typ = CallType::UPLOAD_BEGIN;
    server.send(start(), &part);
    let events = server.events();
    let [ServerEvent::Start { key, .. }] = events[..] else {
        panic!("{events:?}")
    };
    part.hdr.typ = CallType::UPLOAD_MORE;
    part.hdr.stream_part = 1;
    server.send(start(), &part);
    assert!(!server.core.wants_input());
    server
        .core
        .handle_timeout(at(60 * SECOND))
        .expect("we did not read");
    server
        .core
        .reply(at(60 * SECOND), key, Message::new())
        .expect("the upload is open");
    assert!(server.core.wants_input());
    server
        .core
        .handle_timeout(at(60 * SECOND))
        .expect("we could not read until now");
}

/// docs/wire F7
#[test]
fn many_small_frames_leave_in_few_pieces_and_in_order() {
    let mut client = ClientPeer::new();
    for waiter in 0..1000 {
        client.call(start(), Message::request("work", vec![b'x'; 64]), waiter);
    }
    let queued = client.core.unsent();
    let mut pieces = 0;
    let mut bytes = Vec::new();
    while let Some(piece) = client.core.poll_transmit() {
        pieces += 1;
        bytes.extend_from_slice(&piece);
    }
    assert_eq!(bytes.len(), queued);
    assert!(
        pieces <= 1 + queued / (16 << 10),
        "{pieces} pieces for {queued} bytes"
    );
    let frames = read_frames(&bytes).expect("whole frames");
    assert!(
        frames
            .iter()
            .map(|received| received.message.hdr.seqno)
            .eq(2..1002)
    );
    assert_eq!(
        client.core.unsent(),
        queued,
        "until they are reported as written"
    );
    client.core.written(queued);
    assert_eq!(client.core.unsent(), 0);
}

/// docs/wire C4, M6: concurrent calls find their replies in any order
#[test]
fn a_thousand_calls_answered_backwards_find_their_replies() {
    let (mut client, mut server) = (ClientPeer::new(), ServerPeer::new());
    for waiter in 0..1000 {
        client.call(
            start(),
            Message::request("work", waiter.to_string()),
            waiter,
        );
    }
    for message in client.messages() {
        server.send(start(), &message);
    }
    let mut started = server.events();
    while let Some(ServerEvent::Start { key, request, .. }) = started.pop() {
        let reply = server
            .core
            .reply(start(), key, Message::from_body(request.body))
            .expect("open");
        server.enqueue(start(), &reply);
    }
    for message in server.messages() {
        client.send(start(), &message);
    }
    let events = client.events();
    assert_eq!(events.len(), 1000);
    for event in events {
        let ClientEvent::Ended {
            waiter,
            result: Ok(reply),
        } = event
        else {
            panic!("{event:?}")
        };
        assert_eq!(reply.body, waiter.to_string());
    }
}

/// docs/wire M10, E9, E11
#[test]
fn a_message_has_no_more_parameters_than_a_reader_takes() {
    let with = |count: usize| {
        let mut message = Message::request("work", "");
        message.hdr.typ = CallType::ONE_WAY;
        let args = (0..count).map(|n| (n.to_string().into(), "".into()));
        message.hdr.args.extend(args);
        message
    };
    let mut server = ServerPeer::new();
    server.send(start(), &with(4096));
    assert_eq!(server.events().len(), 1);
    // What nobody would read is not sent.
    let error = EncodedFrame::new(&with(4097), Compression::None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the message has 4097 parameters, the limit is 4096: put what they say into the body"
    );
    for compression in [Compression::None, Compression::S2] {
        let mut client = ClientPeer::with(Limits::default(), compression);
        assert_eq!(client.core.enqueue(start(), &with(4097)), Err(error));
        assert_eq!(client.core.unsent(), 0);
    }
    let mut body = BytesMut::new();
    with(4097).encode(&mut body);
    let refused = Message::decode(&body.freeze());
    assert_eq!(refused, Err(DecodeError::TooManyEntries(4096)));
}
