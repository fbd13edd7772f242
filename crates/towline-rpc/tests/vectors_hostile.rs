//! Hostile input: what the server must do with each recorded attack.

mod support;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use support::{
    at,
    peer::{ClientPeer, ServerPeer, frame},
    start,
    vectors::{Exceptions, load, play, read_frames},
};
use towline_codec::greenpack::{DecodeError, Kind};
use towline_rpc::proto::{
    CallType, FrameReader, Message, NetRpcResponse, PartTaken, ServerEvent, ServiceKind, Violation,
};

/// What a server must do.
enum Reaction {
    /// Close this connection.
    Closes(Violation),
    /// Nothing, and live on.
    Ignores,
    /// Reply with this error text, and live on.
    Replies(&'static str),
    /// Answer a net/rpc call with an error that begins so, and live on.
    AnswersNetRpc(&'static str),
    /// Start a call, although the original refuses the frame.
    Starts(ServiceKind),
    /// Close when nothing follows for the in-frame time limit.
    TimesOut,
}

/// docs/wire F22 names all of them; where a rule of its own applies it stands beside.
fn required(name: &str) -> Reaction {
    use Reaction::{AnswersNetRpc, Closes, Ignores, Replies, Starts, TimesOut};
    match name {
        "magic7-8" => Closes(Violation::UnknownCompression(8)),
        "magic7-255" => Closes(Violation::UnknownCompression(255)),
        "wrong-magic" => Closes(Violation::WrongMagic),
        "bad-s2" | "bad-lz4" | "bad-zstd" => Closes(Violation::CorruptCompression),
        // F29: nothing is not an LZ4 frame
        "empty-body-2" => Closes(Violation::CorruptCompression),
        // F5
        "empty-body-0" | "empty-body-1" | "empty-body-4" => {
            Closes(Violation::Decode(DecodeError::Truncated))
        }
        // F3
        "length-over-limit" => Closes(Violation::LengthOverLimit(67_108_785)),
        // F23
        "length-max-then-silence" => TimesOut,
        // G30
        "greenpack-not-a-map" => Closes(Violation::Decode(DecodeError::WrongType {
            wanted: Kind::Map,
            got: Kind::Int,
        })),
        // G23: the entry is skipped; what remains has Typ 0, which is ignored (C2)
        "nil-key" | "empty-key" => Ignores,
        // G21
        "typ-as-uint8" => Starts(ServiceKind::Call),
        // G28
        "args-map32-4-billion" => Closes(Violation::Decode(DecodeError::Truncated)),
        // G27
        "nested-arrays-100000" => Closes(Violation::Decode(DecodeError::TooDeep)),
        // C2
        "typ-0" | "typ-77" => Ignores,
        // S9, E10
        "upload-begin-part-1" => {
            Replies("stream out of sync, expected next StreamPart to be 0; but we see 1")
        }
        "upload-gap" => {
            Replies("stream out of sync, expected next StreamPart to be 1; but we see 2")
        }
        // S10
        "upload-more-without-begin" => Ignores,
        // C13
        "cancel-unknown-callid" => Ignores,
        // C23, E13
        "netrpc-empty-body" => AnswersNetRpc("msgp: too few bytes left to read object"),
        "netrpc-not-an-array" => AnswersNetRpc("msgp: attempted to decode type"),
        "netrpc-request-3-tuple" => AnswersNetRpc("msgp: wanted array of size 2; got 3"),
        // The argument is read by the method.
        "netrpc-args-missing" | "netrpc-args-bad" => Starts(ServiceKind::NetRpc),
        other => panic!("{other}: a new attack"),
    }
}

/// The file holds the beginning of this one: its description says how it goes on.
fn whole(name: &str, bytes: Bytes) -> Bytes {
    if name != "nested-arrays-100000" {
        return bytes;
    }
    let body = [&b"\x81\xa1z"[..], &[0x91; 100_000], b"\x01"].concat();
    assert!(body.starts_with(&bytes[16..]));
    let length = (body.len() as u64).to_be_bytes();
    [&bytes[..8], &length, &body].concat().into()
}

/// docs/wire F22
#[test]
fn the_server_reacts_to_each_recorded_attack_as_the_rules_say() {
    play("hostile-frames", &[], |vector| {
        let name = &*vector.name;
        let now = start();
        let mut server = ServerPeer::new();
        let result = server.feed(now, &whole(name, vector.bytes.clone()));
        let reaction = required(name);
        if let Reaction::Closes(violation) = reaction {
            assert_eq!(result, Err(violation), "{name}");
            assert!(
                server.events().is_empty() && server.sent().is_empty(),
                "{name}"
            );
            return;
        }
        assert_eq!(result, Ok(()), "{name}");
        match reaction {
            Reaction::Closes(_) => unreachable!("handled above"),
            Reaction::Ignores => {
                assert!(
                    server.events().is_empty() && server.sent().is_empty(),
                    "{name}"
                );
            }
            Reaction::Replies(text) => {
                end_out_of_sync_uploads(&mut server);
                let reply = server.message();
                assert_eq!(
                    (reply.hdr.typ, &reply.error),
                    (CallType::REPLY, &text.into()),
                    "{name}"
                );
                assert_eq!(
                    (reply.hdr.seqno, &reply.hdr.call_id),
                    (1, &"q".into()),
                    "{name}"
                );
            }
            Reaction::AnswersNetRpc(text) => {
                let reply = server.message();
                let (header, _) = NetRpcResponse::split(&reply.body).expect("its header");
                let error = header.error.to_string_lossy();
                assert!(error.starts_with(text), "{name}: {error}");
            }
            Reaction::Starts(expected) => {
                let events = server.events();
                let [ServerEvent::Start { key, kind, .. }] = events[..] else {
                    panic!("{name}: {events:?}")
                };
                assert_eq!(kind, expected, "{name}");
                let reply = server
                    .core
                    .reply(now, key, Message::new())
                    .expect("the call is open");
                server.enqueue(now, &reply);
                // What was read in a wider form is never written so.
                assert_eq!(server.message().hdr.typ, CallType::REPLY);
            }
            Reaction::TimesOut => {
                let due = server.core.deadline().expect("the rest of a frame is due");
                assert_eq!(due - now.instant, Duration::from_secs(30), "{name}");
                assert_eq!(
                    server.core.handle_timeout(at(Duration::from_secs(29))),
                    Ok(())
                );
                let late = server.core.handle_timeout(at(Duration::from_secs(30)));
                assert_eq!(late, Err(Violation::FrameTimeout), "{name}");
                return;
            }
        }
        assert_eq!(server.core.in_flight(), 0, "{name}: nothing is left behind");
        assert_serves(&mut server, name);
    });
}

fn sorted(bytes: &[u8]) -> Vec<u8> {
    let mut sorted = bytes.to_vec();
    sorted.sort_unstable();
    sorted
}

/// Inputs that are no frame of anybody's, or none that we would write.
const NEVER_WRITTEN: Exceptions<'_> = &[
    // docs/wire F8, F20, F29
    ("magic7-8", "P33"),
    ("magic7-255", "P33"),
    ("bad-s2", "P33"),
    ("bad-lz4", "P33"),
    ("bad-zstd", "P33"),
    ("empty-body-2", "P33"),
    // docs/wire F3 to F5, F23, G30
    ("wrong-magic", "P34"),
    ("empty-body-0", "P34"),
    ("empty-body-1", "P34"),
    ("empty-body-4", "P34"),
    ("length-over-limit", "P34"),
    ("length-max-then-silence", "P34"),
    ("greenpack-not-a-map", "P34"),
    // docs/wire G23, G27, G28
    ("nil-key", "P33"),
    ("empty-key", "P33"),
    ("args-map32-4-billion", "P33"),
    ("nested-arrays-100000", "P33"),
    // docs/wire G21
    ("typ-as-uint8", "P35"),
];

/// docs/wire F1, G11: what is a frame is written by us with the same bytes, its keys in order.
#[test]
fn attacks_that_are_frames_are_written_alike() {
    play("hostile-frames", NEVER_WRITTEN, |vector| {
        let frames = read_frames(&vector.bytes).expect("frames");
        let ours: Vec<u8> = frames
            .iter()
            .flat_map(|received| frame(&received.message))
            .collect();
        assert_eq!(read_frames(&ours).as_ref(), Ok(&frames), "{}", vector.name);
        assert_eq!(sorted(&ours), sorted(&vector.bytes), "{}", vector.name);
    });
}

/// docs/wire F22: a client closes for what closes a server, and passes over the rest.
#[test]
fn a_client_closes_for_what_closes_a_server_and_ignores_the_rest() {
    play("hostile-frames", &[], |vector| {
        let name = &*vector.name;
        let mut client = ClientPeer::new();
        client.call(start(), Message::request("work", ""), 1);
        drop(client.messages());
        let result = client.feed(start(), &whole(name, vector.bytes.clone()));
        match required(name) {
            Reaction::Closes(violation) => assert_eq!(result, Err(violation), "{name}"),
            Reaction::TimesOut => {
                let late = client.core.handle_timeout(at(Duration::from_secs(30)));
                assert_eq!(late, Err(Violation::FrameTimeout), "{name}");
            }
            _ => {
                assert_eq!(result, Ok(()), "{name}");
                assert!(client.events().is_empty(), "{name}");
                // No call has ended, and nothing is answered.
                assert_eq!(client.core.in_flight(), 1, "{name}");
                assert!(client.messages().is_empty(), "{name}");
            }
        }
    });
}

/// Does what an owner does with uploads: takes parts until it learns how they end.
fn end_out_of_sync_uploads(server: &mut ServerPeer) {
    let now = start();
    for event in server.events() {
        let ServerEvent::PartReady { key } = event else {
            continue;
        };
        let PartTaken::OutOfSync(out_of_sync) = server.core.take_part(now, key) else {
            panic!("in sync")
        };
        let error = Message {
            error: out_of_sync.to_string().into(),
            ..Message::new()
        };
        let reply = server
            .core
            .reply(now, key, error)
            .expect("the upload is open");
        server.enqueue(now, &reply);
    }
}

fn assert_serves(server: &mut ServerPeer, name: &str) {
    let now = start();
    let mut request = Message::request("customEcho", "still there?");
    request.hdr.typ = CallType::CALL;
    request.hdr.call_id = "after".into();
    server.send(now, &request);
    let events = server.events();
    let [ServerEvent::Start { key, .. }] = events[..] else {
        panic!("{name}: {events:?}")
    };
    let reply = server
        .core
        .reply(now, key, Message::new())
        .expect("the call is open");
    server.enqueue(now, &reply);
    assert_eq!(server.message().hdr.call_id, "after", "{name}");
}

/// docs/wire F23
#[test]
fn an_announced_body_claims_memory_only_as_it_comes() {
    let header = load("hostile-frames")
        .into_iter()
        .find(|vector| vector.name == "length-max-then-silence")
        .expect("the vector is there")
        .bytes;
    let mut reader = FrameReader::new();
    let mut input = BytesMut::from(&header[..]);
    assert_eq!(reader.handle_input(&mut input), Ok(None));
    reader.make_room(&mut input, 64 << 10);
    assert!(
        input.capacity() < 1 << 20,
        "{} bytes for a body of which nothing came",
        input.capacity()
    );
    // A kilobyte a second does not buy more than a multiple of itself.
    for came in 1..200_usize {
        input.extend_from_slice(&[0xc0; 1 << 10]);
        assert_eq!(reader.handle_input(&mut input), Ok(None));
        reader.make_room(&mut input, 4 << 10);
        let allowed = (came << 10) * 33 + (64 << 10);
        assert!(
            input.capacity() <= allowed,
            "{} bytes for {came} KiB",
            input.capacity()
        );
    }
}
