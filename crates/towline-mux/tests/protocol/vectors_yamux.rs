//! What five implementations of yamux were recorded to send, and how six reacted to odd input.

use serde_json::Value;
use towline_mux::proto::{ReadError, Reading, Role, SessionEnd, StreamEnd, Violation, yamux};

use crate::support::{Side, describe, hex, number, quiet, text, to_hex, vectors};

/// The bytes of an entry; payloads that the recording leaves out are zeros.
fn bytes(entry: &Value) -> Vec<u8> {
    if !entry["payload_elided"].as_bool().unwrap_or_default() && !text(entry, "hex").is_empty() {
        return hex(text(entry, "hex"));
    }
    let mut bytes = Vec::new();
    for frame in frames(entry) {
        bytes.extend_from_slice(&header(frame));
        if number(frame, "type_num") == 0 {
            bytes.resize(bytes.len() + number(frame, "length") as usize, 0);
        }
    }
    bytes
}

fn frames(entry: &Value) -> &[Value] {
    entry["decoded"].as_array().map_or(&[], Vec::as_slice)
}

fn header(frame: &Value) -> Vec<u8> {
    let mut bytes = vec![
        number(frame, "version") as u8,
        number(frame, "type_num") as u8,
    ];
    bytes.extend_from_slice(&(number(frame, "flags_num") as u16).to_be_bytes());
    bytes.extend_from_slice(&number(frame, "stream_id").to_be_bytes());
    bytes.extend_from_slice(&number(frame, "length").to_be_bytes());
    bytes
}

/// docs/wire Y1, Y73: every recorded header is read as it was told, and written alike.
#[test]
fn recorded_headers_are_read_and_written() {
    let mut count = 0;
    for file in [
        "hashicorp",
        "go-yamux-v3",
        "go-yamux-v5",
        "rust-yamux",
        "tokio-yamux",
    ] {
        for entry in vectors(&format!("yamux/{file}.json")) {
            for frame in frames(&entry) {
                let bytes: [u8; 12] = header(frame).try_into().unwrap();
                let read = yamux::Header::decode(&bytes).unwrap();
                assert_eq!(read.kind as u32, number(frame, "type_num"));
                assert_eq!(u32::from(read.flags.0), number(frame, "flags_num"));
                assert_eq!(read.stream, number(frame, "stream_id"));
                assert_eq!(read.length, number(frame, "length"));
                assert_eq!(read.encode(), bytes);
                count += 1;
            }
        }
    }
    assert!(count > 150, "{count}");
}

/// docs/wire Y73, Y75: the other end of every recorded session takes everything, in the order in which
/// it was sent, byte by byte, too.
#[test]
fn recorded_sessions_are_taken() {
    for file in [
        "hashicorp",
        "go-yamux-v3",
        "go-yamux-v5",
        "rust-yamux",
        "tokio-yamux",
    ] {
        let entries = vectors(&format!("yamux/{file}.json"));
        let mut scenarios: Vec<(String, Vec<&Value>)> = Vec::new();
        for entry in &entries {
            let name = text(entry, "name");
            // implementation/scenario/step; implementations without scenarios are one.
            let scenario = match name.split('/').collect::<Vec<_>>()[..] {
                [_, scenario, _] => scenario,
                _ => "",
            };
            match scenarios.last_mut() {
                Some((last, steps)) if last == scenario => steps.push(entry),
                _ => scenarios.push((scenario.to_owned(), vec![entry])),
            }
        }
        for (scenario, steps) in scenarios {
            for direction in ["client->server", "server->client"] {
                for piece in [usize::MAX, 1] {
                    play(&format!("{file}/{scenario}"), &steps, direction, piece);
                }
            }
        }
    }
}

/// Plays one direction of a scenario into the end that receives it. It accepts and reads everything,
/// and has opened the streams that the recording answers to.
fn play(name: &str, steps: &[&Value], direction: &str, piece: usize) {
    let to_server = direction == "client->server";
    let role = if to_server {
        Role::Server
    } else {
        Role::Client
    };
    // The recorded receiver had windows of 1 MiB where the scenario says so.
    let config = if name.contains("1MiB") {
        quiet().initial_stream_window(1 << 20)
    } else {
        quiet()
    };
    let mut side = Side::yamux(role, config);
    let mut streams: Vec<_> = (0..8).map(|_| side.open()).collect();
    side.said();
    let mut ended = false;
    for step in steps
        .iter()
        .filter(|step| text(step, "direction") == direction)
    {
        let bytes = bytes(step);
        for part in bytes.chunks(piece.min(bytes.len()).max(1)) {
            if !side.engine.is_over() {
                side.hear(part)
                    .unwrap_or_else(|violation| panic!("{name}: {violation}"));
            }
            streams.extend(side.accept_all());
            for &key in &streams {
                while let Ok(Reading::Chunk(_)) = side.read(key, usize::MAX) {}
            }
        }
        ended |= frames(step)
            .iter()
            .any(|frame| text(frame, "type") == "GO_AWAY" && number(frame, "length") != 0);
        side.said();
    }
    assert_eq!(side.engine.end().is_some(), ended, "{name} {direction}");
}

/// docs/wire Y74: what this side says in the recorded scenarios of go-yamux is what go-yamux said.
#[test]
fn the_same_scenarios_give_the_same_bytes() {
    let entries = vectors("yamux/go-yamux-v3.json");
    let recorded = |name: &str| {
        let entry = entries
            .iter()
            .find(|entry| text(entry, "name") == format!("go-yamux-v3/{name}"))
            .unwrap_or_else(|| panic!("{name} was not recorded"));
        to_hex(&bytes(entry))
    };
    let (mut client, mut server) = (Side::client(), Side::server());
    let say = |from: &mut Side, to: &mut Side, name: &str| {
        let said = from.said();
        assert_eq!(to_hex(&said), recorded(name), "{name}");
        to.hear(&said).unwrap();
    };
    let (c, s) = (&mut client, &mut server);
    let one = c.open();
    say(c, s, "basic/open");
    let one_there = s.accept();
    say(s, c, "basic/accept");
    c.write(one, b"hello").unwrap();
    say(c, s, "basic/write-hello");
    c.engine.shutdown(one).unwrap();
    say(c, s, "basic/close-write");
    s.write(one_there, b"still here").unwrap();
    say(s, c, "basic/server-write");
    s.engine.shutdown(one_there).unwrap();
    say(s, c, "basic/server-close");
    let three = c.open();
    say(c, s, "basic/open-2#c2s");
    s.accept();
    say(s, c, "basic/open-2#s2c");
    c.engine.shutdown(three).unwrap();
    say(c, s, "basic/close");
    let five = c.open();
    say(c, s, "basic/open-3#c2s");
    s.accept();
    say(s, c, "basic/open-3#s2c");
    let now = c.now;
    c.engine.reset(now, five, 0);
    say(c, s, "basic/reset");
    s.open();
    say(s, c, "basic/server-open");
    c.engine.go_away(0, bytes::Bytes::new()).unwrap();
    say(c, s, "basic/goaway");
    c.open();
    say(c, s, "basic/client-open-after-local-goaway");
}

/// docs/wire Y7, Y38, Y51, Y52: window updates, first windows and the first pings, as recorded.
#[test]
fn windows_and_pings_are_the_recorded_ones() {
    let (mut client, mut server) = (Side::client(), Side::server());
    let stream = client.open();
    server.hear(&client.said()).unwrap();
    let there = server.accept();
    client.hear(&server.said()).unwrap();
    assert_eq!(client.write(stream, &vec![0; 262_145]).unwrap(), 262_144);
    let said = client.said();
    assert_eq!(
        describe(&said),
        [
            "DATA[] sid=1 len=65524",
            "DATA[] sid=1 len=65524",
            "DATA[] sid=1 len=65524",
            "DATA[] sid=1 len=65524",
            "DATA[] sid=1 len=48"
        ]
    );
    server.hear(&said).unwrap();
    let mut left = 131_071;
    while left > 0 {
        let Ok(Reading::Chunk(chunk)) = server.read(there, left) else {
            panic!("there is more to read");
        };
        left -= chunk.len();
    }
    assert!(server.said().is_empty());
    server.read(there, 1).unwrap();
    assert_eq!(server.said_hex(), "000100000000000100020000");
    server.drain(there);
    assert_eq!(server.said_hex(), "000100000000000100020000");

    let config = quiet().initial_stream_window(1 << 20);
    let mut client = Side::yamux(Role::Client, config);
    client.open();
    assert_eq!(client.said_hex(), "0001000100000001000c0000");

    let mut client = Side::yamux(Role::Client, yamux::Config::default());
    assert_eq!(client.said_hex(), "000200010000000000000000");
    client.hear_hex("000200020000000000000000").unwrap();
    client.engine.ping(client.now).unwrap();
    assert_eq!(
        client.said_hex(),
        "000200010000000000000001000200010000000000000002"
    );
}

/// docs/wire Y1, Y2, Y5, Y9, Y14: the verdicts of the derived headers.
#[test]
fn derived_headers_have_their_verdicts() {
    for entry in vectors("yamux/derived-headers.json") {
        let (name, expect) = (text(&entry, "name"), text(&entry, "expect"));
        let bytes = hex(text(&entry, "hex"));
        // Ids that a server gives are heard by a client.
        let mut server = match name {
            "derived/last-server-id" => Side::client(),
            _ => Side::server(),
        };
        // Stream 1 exists and has been accepted, unless the frame opens it.
        let opens = bytes[3] & 1 != 0 && bytes[1] == 1;
        let mut key = None;
        if !opens && name != "derived/last-server-id" {
            server.hear_hex("000100010000000100000000").unwrap();
            key = Some(server.accept());
            server.said();
        }
        let result = server.hear(&bytes);
        match name {
            "derived/bad-version" => assert_eq!(result, Err(Violation::Version(1))),
            "derived/bad-version-255" => assert_eq!(result, Err(Violation::Version(255))),
            "derived/bad-type-4" => assert_eq!(result, Err(Violation::FrameType(4))),
            "derived/bad-type-255" => assert_eq!(result, Err(Violation::FrameType(255))),
            "derived/wu-max" => assert_eq!(result, Err(Violation::CreditOverflow(1))),
            "derived/all-flags" => {
                assert_eq!((result, server.engine.stream_count()), (Ok(()), 0));
            }
            "derived/rst-v5-code" => {
                let (_, end) = server.read_all(key.unwrap());
                assert!(matches!(
                    end,
                    Err(ReadError::Ended(StreamEnd::ResetByPeer(1000)))
                ));
            }
            "derived/ping-max" => {
                assert_eq!(server.said_yamux(), ["PING[ACK] sid=0 len=4294967295"]);
            }
            "derived/goaway-v5-code" => {
                assert_eq!(result, Ok(()));
                assert!(matches!(
                    server.engine.end(),
                    Some(SessionEnd::GoneAway { .. })
                ));
            }
            "derived/truncated-11" => {
                assert_eq!(result, Ok(()));
                server.hear_end();
                assert!(matches!(server.engine.end(), Some(SessionEnd::Truncated)));
            }
            "derived/fin-data" => {
                let (data, end) = server.read_all(key.unwrap());
                assert!(
                    !data.is_empty() && matches!(end, Ok(Reading::End)),
                    "{expect}"
                );
            }
            _ => assert_eq!(result, Ok(()), "{name}: {expect}"),
        }
    }
}

/// docs/wire Y44: the credit of the recorded growth, without the part that the original loses.
#[test]
fn windows_grow_as_recorded_but_lose_no_credit() {
    let entry = &vectors("yamux/auto-tune-v3.json")[0];
    let mut client = Side::client();
    let mut server = Side::yamux(Role::Server, yamux::Config::default().keep_alive(None));
    // The round trip takes 50 ms.
    server.measure(std::time::Duration::from_millis(50));
    let stream = client.open();
    server.hear(&client.said()).unwrap();
    let there = server.accept();
    client.hear(&server.said()).unwrap();
    let mut granted = Vec::new();
    let (mut window, mut consumed) = (262_144_u64, 0_u64);
    while window < 16 << 20 {
        client.write(stream, &[0; 1024]).unwrap();
        server.hear(&client.said()).unwrap();
        consumed += server.read_all(there).0.len() as u64;
        let said = server.said();
        if !said.is_empty() {
            let header = yamux::Header::decode(said.first_chunk().unwrap()).unwrap();
            granted.push(u64::from(header.length));
            window *= 2;
            // Everything but what was consumed is the peer's to use.
            assert_eq!(262_144 + granted.iter().sum::<u64>(), consumed + window);
            client.hear(&said).unwrap();
        }
        server.wait(std::time::Duration::from_millis(1) / 128);
        client.now = server.now;
    }
    assert_eq!(granted.len(), 6);
    // The first is given at half a window, as the original's; the later ones at a quarter.
    let first = &entry["decoded"][0];
    assert_eq!(
        granted[0],
        u64::from(
            number(first, "a_correct_sender_would_put")
                .max(number(first, "delta_a_correct_sender_would_put"))
        )
    );
}

/// What is expected of a hostile input that go-yamux reacts to otherwise: the verdict, or the frames.
enum Expected {
    /// As go-yamux v3 replied, and alive.
    AsRecorded,
    /// GO_AWAY 1, and the end, by this violation.
    Ends(Violation),
    /// Alive, with these frames.
    Says(Vec<String>),
    /// The peer ended it.
    Gone,
}

fn expected(name: &str, description: &str) -> Expected {
    use Expected::{AsRecorded, Ends, Gone, Says};
    match name.trim_start_matches("hostile/") {
        // Defect D6.1: the originals close without the GO_AWAY.
        "version-1" => Ends(Violation::Version(1)),
        "type-4" => Ends(Violation::FrameType(4)),
        "syn-id-0" => Ends(Violation::StreamIdZero),
        "syn-id-2-even-from-client" => Ends(Violation::Parity(2)),
        "syn-id-1-then-id-1-again" => Ends(Violation::DuplicateStream(1)),
        "window-1-in-one-frame-262145" | "window-full-then-1-more-byte" | "syn-data-262145" => {
            Ends(Violation::WindowExceeded(1))
        }
        // Defect D17: the window wraps.
        "syn-wu-delta-0xffffffff" => {
            let _ = description;
            Ends(Violation::CreditOverflow(1))
        }
        // Defect D16: answers above 32 are dropped.
        "40-ping-syn-burst" => Says(
            (0..40)
                .map(|n| format!("PING[ACK] sid=0 len={n}"))
                .collect(),
        ),
        "goaway-1" | "goaway-2" | "goaway-3" => Gone,
        // How many are refused depends on how fast the application accepts; here it accepts all.
        "600-syn-accepted-held" => Says(
            (0..600)
                .map(|n| format!("WU[ACK] sid={} len=0", 2 * n + 1))
                .collect(),
        ),
        "1001-syn-accepted-held" => Says(
            ["WU[RST] sid=2001 len=0".to_owned()]
                .into_iter()
                .chain((0..1000).map(|n| format!("WU[ACK] sid={} len=0", 2 * n + 1)))
                .collect(),
        ),
        // An inbound stream that ended by RST before it was accepted is skipped.
        _ => AsRecorded,
    }
}

/// The bytes of a hostile input; those that the file leaves out are made from its name.
fn hostile_bytes(entry: &Value) -> Vec<u8> {
    let name = text(entry, "name");
    let syn = "000100010000000100000000";
    let data = |head: &str, len: usize| {
        let mut bytes = hex(head);
        bytes.resize(bytes.len() + len, b'x');
        bytes
    };
    let syns = |count: u32| {
        (0..count)
            .flat_map(|n| hex(&format!("00010001{:08x}00000000", 2 * n + 1)))
            .collect()
    };
    match name.trim_start_matches("hostile/") {
        "window-exactly-full-262144-in-one-frame" => {
            data(&format!("{syn}000000000000000100040000"), 262_144)
        }
        "window-1-in-one-frame-262145" => data(&format!("{syn}000000000000000100040001"), 262_145),
        "window-full-then-1-more-byte" => {
            let mut bytes = data(&format!("{syn}000000000000000100040000"), 262_144);
            bytes.extend_from_slice(&data("000000000000000100000001", 1));
            bytes
        }
        "syn-data-262144" => data("000000010000000100040000", 262_144),
        "syn-data-262145" => data("000000010000000100040001", 262_145),
        "256-syn-no-accept" => syns(256),
        "257-syn-no-accept" => syns(257),
        "600-syn-accepted-held" => syns(600),
        "1001-syn-accepted-held" => syns(1001),
        "data-len-1mib-1-unknown-stream" => data("000000000000006300100001", (1 << 20) + 1),
        _ => {
            let bytes = hex(text(entry, "hex"));
            assert!(
                !bytes.is_empty() || name == "hostile/clean-eof",
                "{name} has no bytes"
            );
            bytes
        }
    }
}

/// docs/wire Y2, Y9, Y15 to Y18, Y20, Y28, Y31, Y35, Y39 to Y42, Y52, Y53, Y58 to Y60, Y72.
#[test]
fn hostile_input_is_answered_as_the_rules_say() {
    let entries = vectors("yamux/hostile-inputs.json");
    assert_eq!(entries.len(), 62);
    for entry in &entries {
        let name = text(entry, "name");
        let recorded = &entry["reactions"]["go-yamux-v3.1.0"];
        let mut server = Side::server();
        let accepts = !text(entry, "receiver_application").contains("never calls Accept");
        if text(entry, "receiver_application").contains("GoAway() first") {
            server.engine.go_away(0, bytes::Bytes::new()).unwrap();
            assert_eq!(server.said_yamux(), ["GOAWAY[] sid=0 len=0"]);
        }
        let mut result = Ok(());
        let all = hostile_bytes(entry);
        // An application that accepts runs between frames that open streams.
        let step = if name.contains("-syn-accepted-held") {
            12
        } else {
            all.len().max(1)
        };
        for part in all.chunks(step) {
            result = result.and_then(|()| server.hear(part));
            if accepts && result.is_ok() {
                server.accept_all();
            }
        }
        if text(entry, "then").contains("EOF") || name.contains("eof") {
            server.hear_end();
            let clean = name.contains("clean");
            match server.engine.end() {
                Some(SessionEnd::ClosedByPeer) if clean => {}
                Some(SessionEnd::Truncated) if !clean => {}
                other => panic!("{name}: {other:?}"),
            }
            continue;
        }
        let said = server.said_yamux();
        match expected(name, text(entry, "description")) {
            Expected::Ends(violation) => {
                assert_eq!(result, Err(violation), "{name}");
                assert_eq!(said, ["GOAWAY[] sid=0 len=1"], "{name}");
                assert!(server.engine.wants_shutdown(), "{name}");
                continue;
            }
            Expected::Gone => {
                assert!(
                    matches!(server.engine.end(), Some(SessionEnd::GoneAway { .. })),
                    "{name}"
                );
                continue;
            }
            Expected::Says(frames) => {
                let mut frames = frames;
                let mut said = said.clone();
                frames.sort();
                said.sort();
                assert_eq!(said, frames, "{name}");
            }
            Expected::AsRecorded => {
                let reply = text(recorded, "reply");
                let frames: Vec<&str> = match reply {
                    "(nothing)" => Vec::new(),
                    frames => frames.split(", ").collect(),
                };
                assert_eq!(said, frames, "{name}");
            }
        }
        assert_eq!(result, Ok(()), "{name}");
        assert!(text(recorded, "session").contains("stays alive"), "{name}");
        server.hear_hex("000200010000000000000007").unwrap();
        assert_eq!(server.said_yamux(), ["PING[ACK] sid=0 len=7"], "{name}");
    }
}
