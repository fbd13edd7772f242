//! Greenpack messages of the original, both ways.

mod support;

use bytes::{Bytes, BytesMut};
use support::vectors::{Vector, assert_present, load, play};
use towline_codec::{
    Text,
    greenpack::{DecodeError, Kind, Timestamp},
};
use towline_rpc::proto::{CallType, Hdr, Message};

fn encode(message: &Message) -> Bytes {
    let mut out = BytesMut::new();
    message.encode(&mut out);
    out.freeze()
}

/// The second writer of the original adds `@` entries (docs/wire G13): read, never written.
fn is_streaming_form(vector: &Vector) -> bool {
    vector.name.starts_with("encodemsg-")
}

/// The file holds only the first 64 bytes of these.
const CUT: [&str; 4] = [
    "str-JobErrs-len-65535",
    "bin-JobSerz-len-65535",
    "str-JobErrs-len-65536",
    "bin-JobSerz-len-65536",
];

/// docs/wire G1 to G13, M1 to M3: the form of the second writer is read and never written.
#[test]
fn every_message_is_written_byte_for_byte_as_the_original_writes_it() {
    assert_present(&load("greenpack-encode"), CUT);
    play("greenpack-encode", &[], |vector| {
        let message = vector.message();
        let ours = encode(&message);
        assert_eq!(
            Message::decode(&ours).as_ref(),
            Ok(&message),
            "{}",
            vector.name
        );
        if is_streaming_form(vector) {
            assert_ne!(ours, vector.bytes, "{}", vector.name);
        } else if let Some(total) = vector.number("total_len") {
            assert!(
                CUT.contains(&&*vector.name),
                "{}: a new cut vector",
                vector.name
            );
            assert_eq!(
                (ours.len(), &ours[..64]),
                (total, &vector.bytes[..]),
                "{}",
                vector.name
            );
        } else if message.hdr.args.len() > 1 {
            // docs/wire G11: the original writes Args in random order.
            assert_eq!(sorted(&ours), sorted(&vector.bytes), "{}", vector.name);
        } else {
            assert_eq!(ours, vector.bytes, "{}", vector.name);
        }
    });
}

/// docs/wire G16 to G25
#[test]
fn every_message_of_either_writer_of_the_original_is_read() {
    play("greenpack-encode", &[], |vector| {
        let message = vector.message();
        let bytes = match vector.number("total_len") {
            Some(_) => encode(&message),
            None => vector.bytes.clone(),
        };
        assert_eq!(Message::decode(&bytes), Ok(message), "{}", vector.name);
    });
}

/// Where our reader accepts what the original's refuses or dies of.
fn difference(name: &str) -> Option<Message> {
    let hdr = |hdr: Hdr| Message {
        hdr: Box::new(hdr),
        ..Message::new()
    };
    Some(match name {
        // docs/wire G23: the entry is passed over, the original's process dies
        "nil-key" | "empty-str-key" => hdr(Hdr {
            typ: CallType::CALL,
            ..Hdr::default()
        }),
        // docs/wire G23: bytes as a key are read as text
        "bin-key" => Message::new(),
        // docs/wire G21: integers are judged by value
        "int-as-uint8" => hdr(Hdr {
            typ: CallType::KEEP_ALIVE,
            ..Hdr::default()
        }),
        "int-as-uint16" => hdr(Hdr {
            serial: 256,
            ..Hdr::default()
        }),
        "uint-as-int16" => hdr(Hdr {
            seqno: 256,
            ..Hdr::default()
        }),
        _ => return None,
    })
}

const DIFFERENCES: [&str; 6] = [
    "nil-key",
    "empty-str-key",
    "bin-key",
    "int-as-uint8",
    "int-as-uint16",
    "uint-as-int16",
];

/// Why an input is refused.
fn refusal(name: &str) -> DecodeError {
    let wrong = |wanted, got| DecodeError::WrongType { wanted, got };
    match name {
        // docs/wire G26, G28, G29
        "empty-input" | "time-truncated" | "truncated" | "bin-too-long" => DecodeError::Truncated,
        "prefix-c1" => DecodeError::InvalidPrefix,
        // docs/wire G21
        "uint-negative-fixint" => DecodeError::OutOfRange,
        // docs/wire G22
        "float-for-int" => wrong(Kind::Int, Kind::Float64),
        "bool-for-int" => wrong(Kind::Int, Kind::Bool),
        "int-for-bool" => wrong(Kind::Bool, Kind::Int),
        "str-for-bin" => wrong(Kind::Bin, Kind::Str),
        "bin-for-str" => wrong(Kind::Str, Kind::Bin),
        "time-int" => wrong(Kind::Ext, Kind::Uint),
        "args-nonstring" => wrong(Kind::Str, Kind::Int),
        // docs/wire G30
        "top-array" => wrong(Kind::Map, Kind::Array),
        "top-int" => wrong(Kind::Map, Kind::Int),
        // docs/wire G7
        "time-msgpack-timestamp" | "time-msgpack-timestamp96" => {
            DecodeError::ExtensionType { wanted: 5, got: -1 }
        }
        other => panic!("{other}: a new refused input"),
    }
}

/// docs/wire G16 to G30
#[test]
fn the_reader_accepts_and_refuses_what_the_original_does_but_for_the_listed_differences() {
    assert_present(&load("greenpack-decode"), DIFFERENCES);
    play("greenpack-decode", &[], |vector| {
        let ours = Message::decode(&vector.bytes);
        let name = &vector.name;
        if let Some(expected) = difference(name) {
            assert!(
                vector.decoded.get("HDR").is_none(),
                "{name}: the original accepts it too"
            );
            assert!(DIFFERENCES.contains(&&**name));
            assert_eq!(ours, Ok(expected), "{name}");
        } else if vector.decoded.get("HDR").is_some() {
            // docs/wire G24: the file shows invalid UTF-8 as U+FFFD, the message keeps the bytes.
            let lossy = |mut message: Message| {
                message.error = Text::from(&*message.error.to_string_lossy());
                message
            };
            assert_eq!(ours.map(lossy), Ok(vector.message()), "{name}");
        } else {
            assert_eq!(ours, Err(refusal(name)), "{name}");
        }
    });
}

/// docs/wire G11, G12, G20: whatever forms a message came in, it is written in those of the rules, once and for all. An
/// input that is refused leaves nothing to write.
#[test]
fn what_was_read_in_any_form_is_written_in_ours() {
    let mut written = 0;
    play("greenpack-decode", &[], |vector| {
        let name = &vector.name;
        let Ok(message) = Message::decode(&vector.bytes) else {
            let _names_it: DecodeError = refusal(name);
            return;
        };
        let ours = encode(&message);
        assert_eq!(Message::decode(&ours), Ok(message), "{name}");
        written += 1;
    });
    assert_eq!(written, 37);
}

/// docs/wire G2, G3, M2
#[test]
fn integers_take_the_forms_of_their_fields() {
    let encoded = |hdr: Hdr| {
        encode(&Message {
            hdr: Box::new(hdr),
            ..Message::new()
        })
    };
    let serial = encoded(Hdr {
        serial: 128,
        ..Hdr::default()
    });
    assert!(serial.ends_with(&[0xd1, 0x00, 0x80]));
    let seqno = encoded(Hdr {
        seqno: 128,
        ..Hdr::default()
    });
    assert!(seqno.ends_with(&[0xcc, 0x80]));
    let typ = encoded(Hdr {
        typ: CallType(-5),
        ..Hdr::default()
    });
    assert!(typ.ends_with(&[0xfb]));
    assert_eq!(&encode(&Message::new())[..], b"\x81\xadHDR_zid00_rct\x80");
}

/// docs/wire G7, G25
#[test]
fn the_zero_instant_nil_and_absence_all_read_as_unset_and_unset_is_not_written() {
    let with_created = |value: &[u8]| {
        Bytes::from([b"\x81\xadHDR_zid00_rct\x81\xb1Created_zid00_tim", value].concat())
    };
    let zero = [
        &[0xc7, 12, 5][..],
        &(-62_135_596_800_i64).to_be_bytes(),
        &[0; 4],
    ]
    .concat();
    for value in [&zero[..], &[0xc0]] {
        assert_eq!(Message::decode(&with_created(value)), Ok(Message::new()));
    }
    // A nanosecond later is a time.
    let later = [&zero[..14], &[1]].concat();
    let message = Message::decode(&with_created(&later)).expect("well-formed");
    assert_eq!(
        message.hdr.created,
        Some(Timestamp::new(-62_135_596_800, 1))
    );
    assert_eq!(encode(&message), with_created(&later));
}

/// docs/wire M3, G19: a header by itself is the map that stands in its message.
#[test]
fn headers_are_written_and_read_by_themselves() {
    let vectors = load("greenpack-encode");
    for vector in &vectors {
        let message = vector.message();
        let mut alone = BytesMut::new();
        message.hdr.encode(&mut alone);
        let alone = alone.freeze();
        assert_eq!(Hdr::decode(&alone).as_ref(), Ok(&*message.hdr));
        // Behind the map's header and the key.
        let whole = encode(&message);
        assert_eq!(whole[15..15 + alone.len()], alone, "{}", vector.name);
        for cut in 1..alone.len().min(20) {
            assert!(Hdr::decode(&alone.slice(..cut)).is_err());
        }
    }
}

/// docs/wire G27, G28
#[test]
fn deep_nesting_and_huge_counts_are_refused_without_memory_or_stack() {
    let mut nested = b"\x81\xa1z".to_vec();
    nested.extend([0x91; 10_000]);
    nested.push(1);
    assert_eq!(Message::decode(&nested.into()), Err(DecodeError::TooDeep));
    let args = b"\x81\xadHDR_zid00_rct\x81\xaeArgs_zid12_map\xdf\xff\xff\xff\xff";
    assert_eq!(
        Message::decode(&Bytes::from_static(args)),
        Err(DecodeError::Truncated)
    );
}

fn sorted(bytes: &[u8]) -> Vec<u8> {
    let mut sorted = bytes.to_vec();
    sorted.sort_unstable();
    sorted
}
