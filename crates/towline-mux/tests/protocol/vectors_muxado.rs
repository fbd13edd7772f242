//! What the original of muxado, and the Rust crate of that name, were recorded to send and to do.

use std::time::Duration;

use bytes::BytesMut;
use serde_json::Value;
use towline_mux::proto::{
    Accepting, ReadError, Reading, Role, SessionEnd, StreamKey, WriteError,
    muxado::{self, Config, Frame},
};

use crate::support::{Side, hex, number, text, to_hex, vectors};

fn frame_of(name: &str, decoded: &Value) -> Option<Frame> {
    let flag = |flag: &str| {
        decoded["flags"]
            .as_array()
            .is_some_and(|flags| flags.iter().any(|found| found == flag))
    };
    let stream = number(decoded, "stream_id");
    Some(match text(decoded, "type") {
        "DATA" => Frame::Data {
            stream,
            syn: flag("SYN"),
            fin: flag("FIN"),
            payload: match name {
                "data_256" | "data_24bit_length" => vec![0xab; 256].into(),
                _ if number(decoded, "length") == 256 => vec![0xab; 256].into(),
                _ => hex(text(decoded, "payload_hex")).into(),
            },
        },
        "RST" => Frame::Rst {
            stream,
            code: number(decoded, "error_code"),
        },
        "WNDINC" => Frame::WndInc {
            stream,
            increment: number(decoded, "increment"),
        },
        "GOAWAY" => Frame::GoAway {
            last_stream: number(decoded, "last_stream_id"),
            code: number(decoded, "error_code"),
            debug: text(decoded, "debug").to_owned().into(),
        },
        _ => return None,
    })
}

/// docs/wire U1, U2, U5 to U8, U10, U11: the frames that the original packed and read.
#[test]
fn recorded_frames_are_packed_and_read() {
    let entries = vectors("muxado/frames.json");
    assert_eq!(entries.len(), 43);
    for entry in &entries {
        let (name, decoded) = (text(entry, "name"), &entry["decoded"]);
        let bytes = hex(text(entry, "hex"));
        if let Some(error) = decoded["pack_error"].as_str() {
            let refused = match name {
                "data_bad_stream" => Frame::Data {
                    stream: 0x8000_0000,
                    syn: false,
                    fin: false,
                    payload: "".into(),
                },
                "data_too_long" => Frame::Data {
                    stream: 1,
                    syn: false,
                    fin: false,
                    payload: vec![0; 0x100_0000].into(),
                },
                "goaway_bad_last_id" => Frame::GoAway {
                    last_stream: 0x8000_0000,
                    code: 0,
                    debug: "".into(),
                },
                _ => Frame::WndInc {
                    stream: 1,
                    increment: name.trim_start_matches("wndinc_").parse().unwrap(),
                },
            };
            assert_eq!(refused.encode().unwrap_err().to_string(), error, "{name}");
            continue;
        }
        let mut input = BytesMut::from(&bytes[..]);
        if let Some(error) = decoded["error"].as_str() {
            match Frame::decode(&mut input) {
                Err(violation) => assert_eq!(violation.debug_text(), error, "{name}"),
                Ok(frame) => assert_eq!((frame, error), (None, "unexpected EOF"), "{name}"),
            }
            continue;
        }
        if name.starts_with("decode_") {
            let header = muxado::Header::decode(bytes.first_chunk().unwrap());
            assert_eq!(header.length, number(decoded, "length"), "{name}");
            assert_eq!(
                u32::from(header.flags.0),
                number(decoded, "flag_bits"),
                "{name}"
            );
            assert_eq!(header.stream, number(decoded, "stream_id"), "{name}");
            assert_eq!(header.encode(), bytes[..8], "{name}");
            if name == "decode_wndinc_top_bit" {
                let frame = Frame::decode(&mut input).unwrap().unwrap();
                assert_eq!(
                    frame,
                    Frame::WndInc {
                        stream: 1,
                        increment: 5
                    }
                );
            }
            continue;
        }
        let frame = frame_of(name, decoded).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(to_hex(&frame.encode().unwrap()), to_hex(&bytes), "{name}");
        if name != "data_stream_zero_packs" {
            assert_eq!(Frame::decode(&mut input), Ok(Some(frame)), "{name}");
            assert!(input.is_empty(), "{name}");
        }
    }
}

/// What to do with a session for one recording: blank-separated steps.
///
/// `in` hears the rest of the input, `in:9` nine bytes of it; `eof`; `open`, `use:0`, `accept`, `fin`,
/// `close`, `put:text`, `zeros:9`, `read:9`, `readall`; `=key` compares with what was observed.
fn script(name: &str) -> Option<&'static str> {
    Some(match name {
        "unknown_flags_ignored" => "in accept=accept read:9=read",
        "syn_ids_not_monotonic" => {
            "in accept=accept0 accept=accept1 accept=accept2 accept=accept3 closesession"
        }
        "syn_id_one" => "in accept=accept",
        "syn_fin_empty" => "in accept=accept read:9=read fin close",
        "syn_fin_with_data" => "in accept=accept read:99=read read:9=read2",
        "data_after_fin" => "in:9 accept in read:9=read read:9=read2",
        "fin_twice" => "in accept=accept read:9=read read:9=read2 put:x",
        "data_with_fin" => "in accept=accept read:99=read read:9=read2",
        "rst_received" => "in:11 accept=accept in read:99=read read:9=read2 close",
        "rst_unknown_code" | "rst_code_zero" => "in:8 accept in read:9=read",
        "flow_exact_window" => "data:262144 accept readall",
        "flow_overflow_one_frame" => "data:262145",
        "flow_max_frame_length" => "data:16777215",
        "wndinc_per_read" => "in accept read:3=r1 read:4=r2 read:3=r3",
        "wndinc_after_fin" => "in accept read:99=r1",
        "sender_blocks_on_window" => "open put:abcdefghijklmnopqrst in:12 in",
        "sender_window_unbounded" => "open put:x in zeros:100",
        "wndinc_top_bit_masked" => "open put:x in put:012",
        "wndinc_before_syn_sent" => "open in zeros:8",
        "accept_backlog_overflow" => "in accept=accept1 accept=accept2 accept=accept3",
        "refused_after_local_goaway" => "goaway:10:calm_down in",
        "refused_syn_with_payload_desync" | "refused_wrong_parity" => "goaway:0: in",
        "goaway_closes_higher_local_streams" => {
            "open put:A open put:B in use:1 read:9=read_stream5 use:0 put:more read:9=read_stream3"
        }
        "goaway_then_remote_syn_still_accepted" => "in accept=accept",
        "client_close_idle" | "server_close_idle" => "closesession",
        "close_with_open_streams" => "open put:x closesession read:9=read",
        "open_is_lazy" => "open",
        "first_ids" | "first_ids_server" => "open put:a open put:b open put:c",
        "open_then_close" => "open close",
        "write_closewrite_close" => "open put:x fin fin close",
        "close_unread_then_read" => "in accept close",
        "data_after_close" => "in:9 accept close in",
        "empty_write_loses_syn" => "open put: put:x",
        "write_deadline_vs_window" => "open zeros:8",
        "read_deadline_ignored" => "open put:x",
        "closewrite_blocked_by_window" => "open put:abcd fin",
        "close_blocked_behind_writer" => "open put:abcd close",
        "syn_then_separate_fin" => "in accept=accept read:9=read put:resp close",
        "opener_closewrite_first_can_still_read" => "open fin in read:9=read read:9=read2",
        "own_stream_refused" => "open put:x in read:9=read close",
        "goaway_kills_unsent_stream_close_sends_synfin" => "open in read:9=read close",
        "goaway_last_id_reserved_bit" => "open put:A in put:B",
        "partial_frame_blocks_reader" => "in:24 accept read:99",
        "reset_removed_after_5s" => "in:13 in:9 wait:4000 in:10 wait:1500 in",
        "goaway_huge_debug" => "debug:1048676 eof",
        _ => return None,
    })
}

/// Where this side says something else: the bytes, and the defect or the rule.
fn instead(name: &str) -> Option<(&'static str, &'static str)> {
    Some(match name {
        "duplicate_syn" => (
            "Q11",
            "0000343000000000000000030000000172656365697665642053594e20666f7220616c72656164792d6f70656e2073747265616d2069643a20307833",
        ),
        "stream_id_top_bit" | "stream_id_top_bit_write" => ("Q18", RESERVED_3),
        "data_unknown_top_bit" => ("Q18", RESERVED_1),
        "syn_fin_empty" => ("Q17", "0000001100000003"),
        "data_after_fin" => (
            "U32: no credit on a dead stream",
            "000004000000000300000004",
        ),
        "rst_received" => ("Q17", "000004000000000300000004"),
        "flow_overflow_one_frame" | "flow_max_frame_length" => ("Q7", "000004000000000300000003"),
        "wndinc_per_read" => ("Q22", "00000420000000030000000a"),
        "refused_after_local_goaway" => (
            "U58: the pad",
            "0000113000000000000000010000000a63616c6d5f646f776e000000f000000000000004000000000300000005",
        ),
        "refused_syn_with_payload_desync" => (
            "Q10",
            "00000830000000000000000100000000000000f000000000000004000000000300000005",
        ),
        "refused_wrong_parity" => (
            "U58: the pad",
            "00000830000000000000000100000000000000f000000000000004000000000400000005",
        ),
        "two_data_unknown_stream" => ("Q25", "000004000000000900000004"),
        "goaway_swallows_next_header" => (
            "Q1",
            "0000040000000009000000040000213000000000000000000000000f7265616420454f462066726f6d2072656d6f74652070656572",
        ),
        "goaway_huge_debug" => (
            "Q1",
            "0000213000000000000000000000000f7265616420454f462066726f6d2072656d6f74652070656572",
        ),
        "eof_mid_data_unknown_stream" => (
            "U44: the reset does not wait for the payload",
            "00000400000000030000000400000b300000000000000001000000ff454f46",
        ),
        "open_then_close" => ("Q17", "0000001300000003"),
        "write_closewrite_close" => ("Q17", "0000011200000003780000001100000003"),
        "close_unread_then_read" => ("the handle is gone", "0000001100000003"),
        "data_after_close" => ("Q25", "0000001100000003000004000000000300000004"),
        "empty_write_loses_syn" => ("Q4", "000001120000000378"),
        "close_blocked_behind_writer" => ("Q16", "0000041200000003616263640000001100000003"),
        "opener_closewrite_first_can_still_read" => ("Q5", "00000012000000030000001100000003"),
        "own_stream_refused" => ("Q17", "000001120000000378"),
        "goaway_kills_unsent_stream_close_sends_synfin" => ("Q17", ""),
        "partial_frame_blocks_reader" => ("Q9", "000004200000000300000008"),
        _ => return None,
    })
}

const RESERVED_3: &str = "00003c30000000000000000100000001746865207065657220757365642073747265616d20696420323134373438333635312c2061626f76652032313437343833363437";
const RESERVED_1: &str = "00003c30000000000000000100000001746865207065657220757365642073747265616d20696420323134373438333634392c2061626f76652032313437343833363437";

/// Recordings of what is not an engine's: where they are shown instead.
fn elsewhere(name: &str) -> Option<&'static str> {
    Some(match name {
        // Frames here are at most 64 KiB, U38; a stream's queue takes 256 KiB at a time.
        "big_write_split" | "open_before_peer_and_zero_window" => "muxado_flow.rs",
        "close_with_stalled_transport" => "tests/sessions.rs",
        // Q2: nothing waits for a caller here.
        "write_timeout_wedges_session" => "tests/sessions.rs",
        _ if name.starts_with("typed_") || name.starts_with("heartbeat_") => "tests/typed.rs",
        _ => return None,
    })
}

struct Player {
    side: Side,
    input: Vec<u8>,
    streams: Vec<Option<StreamKey>>,
    current: usize,
    pending: Vec<u8>,
    said: Vec<u8>,
}

impl Player {
    fn new(entry: &Value) -> Self {
        let role = if text(entry, "session_role") == "server" {
            Role::Server
        } else {
            Role::Client
        };
        let mut config = Config::default();
        let recorded = &entry["config"];
        if let Some(window) = recorded["MaxWindowSize"].as_u64() {
            config = config.max_window_size(u32::try_from(window).unwrap());
        }
        if let Some(backlog) = recorded["AcceptBacklog"].as_u64() {
            config = config.accept_backlog(usize::try_from(backlog).unwrap());
        }
        Self {
            side: Side::muxado(role, config),
            input: hex(text(entry, "input_hex")),
            streams: Vec::new(),
            current: 0,
            pending: Vec::new(),
            said: Vec::new(),
        }
    }

    /// Does a step; what came of it, in the words of the recordings.
    fn step(&mut self, step: &str) -> String {
        let (word, detail) = step.split_once(':').unwrap_or((step, ""));
        let count = detail.parse().unwrap_or(usize::MAX);
        let mut outcome = String::new();
        match word {
            "in" => {
                let rest = self.input.split_off(count.min(self.input.len()));
                let heard = std::mem::replace(&mut self.input, rest);
                // What it is told and says of it is compared below.
                let _violation = self.side.hear(&heard).err();
            }
            "data" => {
                let mut bytes = Vec::from((count as u32).to_be_bytes());
                bytes.remove(0);
                bytes.extend_from_slice(&[0x12, 0, 0, 0, 3]);
                bytes.resize(bytes.len() + count, 0);
                self.side.hear(&bytes).unwrap();
            }
            "debug" => {
                let frame = Frame::GoAway {
                    last_stream: 0,
                    code: 2,
                    debug: vec![b'd'; count].into(),
                };
                self.side.hear(&frame.encode().unwrap()).unwrap();
                let remote = self.side.engine.remote_go_away().unwrap();
                assert_eq!((remote.code, remote.debug.len()), (2, 1 << 20));
            }
            "eof" => self.side.hear_end(),
            "open" => {
                let key = self.side.open();
                self.streams.push(Some(key));
                self.current = self.streams.len() - 1;
            }
            "accept" => match self.side.engine.accept(self.side.now) {
                Accepting::Stream(key) => {
                    outcome = format!("stream {}", self.side.engine.stream_id(key));
                    self.streams.push(Some(key));
                    self.current = self.streams.len() - 1;
                }
                _ => outcome = "blocked".to_owned(),
            },
            "use" => self.current = count,
            "fin" => self.side.engine.shutdown(self.key()).unwrap(),
            "close" => {
                let key = self.streams[self.current].take().unwrap();
                // A stream that has died is let go of like any other.
                let _ended = self.side.engine.shutdown(key).err();
                self.side.engine.release(self.side.now, key);
            }
            "put" => self.pending.extend_from_slice(detail.as_bytes()),
            "zeros" => self.pending.resize(count, 0),
            "read" => {
                let key = self.key();
                outcome = read_outcome(self.side.read(key, count));
            }
            "readall" => {
                let key = self.key();
                self.side.drain(key);
            }
            "goaway" => {
                let (code, debug) = detail.split_once(':').unwrap();
                let debug = debug.to_owned().into();
                self.side
                    .engine
                    .go_away(code.parse().unwrap(), debug)
                    .unwrap();
            }
            "closesession" => self.side.engine.close(self.side.now),
            "wait" => self.side.wait(Duration::from_millis(count as u64)),
            other => panic!("no step {other}"),
        }
        self.pump();
        self.said.append(&mut self.side.said());
        outcome
    }

    /// Writes as much of what is to be written as the window allows.
    fn pump(&mut self) {
        if !self.pending.is_empty()
            && let Some(Some(key)) = self.streams.get(self.current)
        {
            let key = *key;
            let pending = std::mem::take(&mut self.pending);
            match self.side.write(key, &pending) {
                Ok(count) => self.pending = pending[count..].to_vec(),
                Err(WriteError::Ended(_) | WriteError::Session(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn key(&self) -> StreamKey {
        self.streams[self.current].unwrap()
    }
}

fn read_outcome(result: Result<Reading, ReadError>) -> String {
    match result {
        Ok(Reading::Chunk(bytes)) => {
            format!("n={} data={} err=nil", bytes.len(), to_hex(&bytes))
        }
        Ok(Reading::End) => "code=255".to_owned(),
        Ok(Reading::Blocked) => "blocked".to_owned(),
        Err(ReadError::Ended(end)) => format!("code={}", end.code_in(towline_mux::Dialect::Muxado)),
        Err(ReadError::Closed) => "code=4".to_owned(),
        Err(_) => "code=14".to_owned(),
    }
}

/// docs/wire U3 to U10, U12 to U26, U28 to U35, U39 to U51, U53, U56 to U62: what the original was
/// recorded to answer is answered alike, except where the defect is named.
#[test]
fn recorded_answers_are_given() {
    let entries = vectors("muxado/session_responses.json");
    assert_eq!(entries.len(), 111);
    let (mut played, mut different) = (0, 0);
    for entry in &entries {
        let name = text(entry, "name");
        if elsewhere(name).is_some() {
            continue;
        }
        played += 1;
        let mut player = Player::new(entry);
        let observed = &entry["observed"];
        let steps = script(name).unwrap_or("in");
        for step in steps.split(' ') {
            let (step, key) = step.split_once('=').unwrap_or((step, ""));
            let outcome = player.step(step);
            if let Some(recorded) = observed[key].as_str() {
                let same = recorded == outcome
                    || recorded.contains(&format!("err={outcome} "))
                    || recorded.starts_with(&format!("{outcome} "));
                // The only outcomes that differ are those of whole frames that exceed a window.
                assert!(same, "{name}, {key}: {outcome}, not {recorded}");
            }
        }
        if text(entry, "transport_after_input") == "eof" && !steps.contains("eof") {
            player.step("eof");
        }
        let said = to_hex(&player.said);
        match instead(name) {
            Some((defect, bytes)) => {
                different += 1;
                assert_eq!(said, bytes, "{name} ({defect})");
            }
            None => assert_eq!(said, text(entry, "hex"), "{name}"),
        }
        check_end(name, observed, &player);
    }
    assert!(played >= 95 && different <= 30, "{played} {different}");
}

/// The session is dead if the original's was, for the same reason.
fn check_end(name: &str, observed: &Value, player: &Player) {
    let end = player.side.engine.end();
    let ours_alone = matches!(name, "duplicate_syn" | "goaway_huge_debug")
        || name.contains("top_bit") && name.contains("stream_id");
    if ours_alone {
        assert!(end.is_some(), "{name}");
        return;
    }
    let dead = observed["session_dead"].as_bool().unwrap_or_default();
    assert_eq!(end.is_some(), dead, "{name}: {end:?}");
    let local = &observed["wait_local_error"];
    match (end, number(local, "code")) {
        (None, _) => {}
        (Some(SessionEnd::ClosedHere), 14) => {}
        (Some(SessionEnd::ClosedByPeer | SessionEnd::Truncated), 15) => {}
        (Some(SessionEnd::Truncated), 255) => {}
        // Q1: the original was out of step here.
        (Some(SessionEnd::ClosedByPeer), 255) if name.starts_with("goaway_") => {}
        // Q18.
        (Some(SessionEnd::Violation(_)), 2) if name == "data_unknown_top_bit" => {}
        (Some(SessionEnd::Violation(violation)), code) => {
            assert_eq!(violation.code(towline_mux::Dialect::Muxado), code, "{name}");
            assert_eq!(violation.debug_text(), text(local, "text"), "{name}");
        }
        (Some(end), code) => panic!("{name}: {end:?}, not {code}"),
    }
}

/// docs/wire U27, U31, U69: both ends of the recorded conversations are taken by the other end.
#[test]
fn recorded_conversations_are_taken() {
    for entry in vectors("muxado/transcripts.json") {
        for (from, role) in [("client", Role::Server), ("server", Role::Client)] {
            let mut side = Side::muxado(role, Config::default());
            let mut streams = Vec::new();
            if role == Role::Client {
                for _ in 0..3 {
                    let key = side.open();
                    side.write(key, b"x").unwrap();
                    streams.push(key);
                }
                side.said();
            }
            let mut went = false;
            for frame in entry["decoded"].as_array().unwrap() {
                if text(frame, "from") != from {
                    continue;
                }
                went |= text(frame, "type") == "GOAWAY";
                side.hear(&hex(text(frame, "hex"))).unwrap();
                streams.extend(side.accept_all());
                for &key in &streams {
                    side.drain(key);
                }
            }
            assert!(side.engine.end().is_none(), "{}", text(&entry, "name"));
            assert_eq!(side.engine.remote_go_away().is_some(), went);
        }
    }
}

/// docs/wire U61, U81: everything that the Rust crate was recorded to send is taken; its go-aways are
/// read whole, and a frame behind one is read as a frame.
#[test]
fn what_the_rust_crate_sends_is_taken() {
    for entry in vectors("muxado/rust_crate.json") {
        let name = text(&entry, "name");
        let mut side = Side::muxado(Role::Server, Config::default());
        let bytes = hex(text(&entry, "hex"));
        side.hear(&bytes)
            .unwrap_or_else(|violation| panic!("{name}: {violation}"));
        let debug = text(&entry["decoded"], "debug");
        if !debug.is_empty() {
            // What would be the last eight bytes of the text is behind the frame.
            side.hear_hex("00000112000000037a").unwrap();
            let remote = side.engine.remote_go_away().unwrap();
            assert_eq!(remote.debug, debug, "{name}");
            assert_eq!(
                remote.code,
                number(&entry["decoded"], "error_code"),
                "{name}"
            );
            let stream = side.accept();
            assert_eq!(side.read_all(stream).0, b"z", "{name}");
        }
        assert!(side.engine.end().is_none(), "{name}");
    }
}

/// docs/wire U15, U41, U47, U58: the derived frames are said where they belong.
#[test]
fn derived_frames_are_said() {
    let entries = vectors("muxado/derived.json");
    let said_of = |name: &str| {
        let entry = entries.iter().find(|entry| text(entry, "name") == name);
        text(entry.unwrap(), "hex").to_owned()
    };
    let client = || Side::muxado(Role::Client, Config::default());

    let mut side = client();
    let key = side.open();
    side.engine.announce(key);
    assert_eq!(side.said_hex(), said_of("eager_open"));
    side.engine.reset(side.now, key, 6);
    assert_eq!(side.said_hex(), said_of("user_reset"));

    let mut side = client();
    let key = side.open();
    side.engine.shutdown(key).unwrap();
    assert_eq!(side.said_hex(), said_of("half_close_never_written"));

    let mut side = Side::muxado(Role::Server, Config::default());
    side.hear_hex("0000001200000007").unwrap();
    side.engine.go_away(0, "draining".into()).unwrap();
    assert_eq!(side.said_hex(), said_of("graceful_goaway_with_pad"));

    let mut side = Side::muxado(Role::Server, Config::default());
    let violation = side
        .hear_hex(&said_of("v1_client_first_bytes"))
        .unwrap_err();
    assert_eq!(violation.debug_text(), "illegal RST frame length: 0x806");
}
