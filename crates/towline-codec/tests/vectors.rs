//! Every vector of tinytcp, in memory and on a stream.

#![cfg(feature = "tokio")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::Value;
use towline_codec::framing::{
    Cut, Framing, FramingError, LengthPrefix, Oversize, PacketCodec, PacketError, PacketReader,
    Separator,
};
use towline_codec::primitives::{
    BufExt, BufMutExt, MAX_VAR_INT_RAW, ReadError, ReadExt, ValueError, WriteExt,
};

use crate::support::{Dribble, Sink, hex, load, receive, text};

/// The number in a vector, as text or as number.
fn number(value: &Value) -> i64 {
    value
        .as_i64()
        .unwrap_or_else(|| value.as_str().unwrap().parse().unwrap())
}

/// The bits in a vector: `0x42f6e666`.
fn bits(value: &Value) -> u64 {
    let digits = value.as_str().unwrap().strip_prefix("0x").unwrap();
    u64::from_str_radix(digits, 16).unwrap()
}

/// Writes a vector's value in memory and on a stream; what came out, and with how many writes.
async fn written(decoded: &Value) -> (BytesMut, Sink) {
    let (mut buf, mut sink) = (BytesMut::new(), Sink::default());
    let value = &decoded["value"];
    let little = decoded["order"] == "le";
    macro_rules! write {
        ($method:ident($value:expr)) => {{
            BufMutExt::$method(&mut buf, $value);
            WriteExt::$method(&mut sink, $value).await.unwrap();
        }};
    }
    match decoded["type"].as_str().unwrap() {
        "byte" => write!(write_byte(number(value) as u8)),
        "bool" => write!(write_bool(value.as_bool().unwrap())),
        "int16" if little => write!(write_int16_le(number(value) as i16)),
        "int16" => write!(write_int16(number(value) as i16)),
        "int32" if little => write!(write_int32_le(number(value) as i32)),
        "int32" => write!(write_int32(number(value) as i32)),
        "int64" if little => write!(write_int64_le(number(value))),
        "int64" => write!(write_int64(number(value))),
        "float32" => {
            let value = f32::from_bits(bits(&decoded["bits"]) as u32);
            if little {
                write!(write_float32_le(value));
            } else {
                write!(write_float32(value));
            }
        }
        "float64" => {
            let value = f64::from_bits(bits(&decoded["bits"]));
            if little {
                write!(write_float64_le(value));
            } else {
                write!(write_float64(value));
            }
        }
        // The original's argument has 64 bits; what does not fit an `i32` is a VarLong here.
        "varint" => match i32::try_from(number(value)) {
            Ok(value) => write!(write_var_int(value)),
            Err(_) => write!(write_var_long(number(value))),
        },
        "varint_i32" => write!(write_var_int(number(value) as i32)),
        "varlong" | "varlong_i64" => write!(write_var_long(number(value))),
        "bytes" => write!(write_bytes(&hex(text(&decoded["value_hex"])))),
        "bytearray" => {
            let value = hex(text(&decoded["value_hex"]));
            BufMutExt::write_byte_array(&mut buf, &value).unwrap();
            WriteExt::write_byte_array(&mut sink, &value).await.unwrap();
        }
        "string" => {
            let value = hex(text(&decoded["value_hex"]));
            match std::str::from_utf8(&value) {
                Ok(value) => {
                    BufMutExt::write_string(&mut buf, value).unwrap();
                    WriteExt::write_string(&mut sink, value).await.unwrap();
                }
                // A string of ours is UTF-8; other bytes are written as what they are.
                Err(_) => {
                    BufMutExt::write_byte_array(&mut buf, &value).unwrap();
                    WriteExt::write_byte_array(&mut sink, &value).await.unwrap();
                }
            }
        }
        other => panic!("no writer for {other}"),
    }
    (buf, sink)
}

/// docs/wire L1, L2, L4, L7, L10, L11, L12: byte for byte, each with a single write.
#[tokio::test]
async fn every_value_is_written_as_by_the_original() {
    let files = [
        ("primitives_write.json", 127),
        ("primitives_write_byte_order.json", 12),
        ("varint_negative_derived.json", 14),
    ];
    for (file, count) in files {
        let vectors = load(file);
        assert_eq!(vectors.len(), count);
        for vector in vectors {
            let (buf, sink) = written(&vector.decoded).await;
            assert_eq!(buf, vector.bytes, "{file}: {}", vector.name);
            assert_eq!(sink.bytes, vector.bytes, "{file}: {}", vector.name);
            let expected = usize::from(!vector.bytes.is_empty());
            assert_eq!(sink.writes, expected, "{file}: {}", vector.name);
        }
    }
}

/// What a reader gave, in the words of the vectors.
#[derive(Debug, PartialEq)]
enum Read {
    Number(i128),
    Bits(u64),
    Bytes(Bytes),
    Error(ValueError),
}

/// Reads `$type` of a vector with the reader `$input`.
macro_rules! read_value {
    ($input:ident, $type:expr $(, $await:tt)?) => {{
        let read = match $type {
            "byte" => $input.read_byte()$(.$await)?.map(|value| Read::Number(value.into())),
            "bool" => $input.read_bool()$(.$await)?.map(|value| Read::Number(value.into())),
            "int16" => $input.read_int16()$(.$await)?.map(|value| Read::Number(value.into())),
            "int32" => $input.read_int32()$(.$await)?.map(|value| Read::Number(value.into())),
            "int64" => $input.read_int64()$(.$await)?.map(|value| Read::Number(value.into())),
            "float32" => $input.read_float32()$(.$await)?.map(|value| Read::Bits(value.to_bits().into())),
            "float64" => $input.read_float64()$(.$await)?.map(|value| Read::Bits(value.to_bits())),
            "varint" => $input.read_var_int_raw()$(.$await)?.map(|value| Read::Number(value.into())),
            "varint_i32" => $input.read_var_int()$(.$await)?.map(|value| Read::Number(value.into())),
            "varlong" | "varlong_i64" => {
                $input.read_var_long()$(.$await)?.map(|value| Read::Number(value.into()))
            }
            "bytearray" | "string" => $input.read_byte_array(1024)$(.$await)?.map(Read::Bytes),
            other => panic!("no reader for {other}"),
        };
        read
    }};
}

fn expected(decoded: &Value) -> Read {
    let value = &decoded["value"];
    match (decoded["type"].as_str().unwrap(), value) {
        (_, Value::Bool(value)) => Read::Number((*value).into()),
        ("float32" | "float64", value) => Read::Bits(bits(value)),
        ("bytearray" | "string", value) => Read::Bytes(hex(text(value))),
        (_, value) => Read::Number(number(value).into()),
    }
}

/// docs/wire L1 to L3, L5, L6, L10 to L12: the value or the kind of error, and how many bytes were taken,
/// in memory and on a stream that brings one byte at a time.
#[tokio::test]
async fn every_value_is_read_as_by_the_original() {
    let vectors = load("primitives_read.json");
    assert_eq!(vectors.len(), 39);
    for vector in vectors {
        let name = &vector.name;
        let kind = vector.decoded["type"].as_str().unwrap();
        let consumed = number(&vector.decoded["consumed"]) as usize;

        let mut slice = vector.bytes.clone();
        let in_memory = read_value!(slice, kind).unwrap_or_else(Read::Error);
        let mut stream = Dribble::new(vector.bytes.clone());
        let read = read_value!(stream, kind, await);
        let streamed = read.unwrap_or_else(|error| match error {
            ReadError::Value(error) => Read::Error(error),
            error => panic!("{name}: {error}"),
        });

        assert_eq!(in_memory, streamed, "{name}");
        assert_eq!(vector.bytes.len() - slice.len(), consumed, "{name}");
        assert_eq!(stream.taken(), consumed, "{name}");
        match &vector.decoded["error"] {
            Value::Null => assert_eq!(in_memory, expected(&vector.decoded), "{name}"),
            // docs/wire L3: the original does not tell the two ends apart.
            error if error == "EOF" => {
                let end = match consumed {
                    0 => ValueError::End,
                    _ => ValueError::Truncated,
                };
                assert_eq!(in_memory, Read::Error(end), "{name}");
            }
            error => {
                let Read::Error(ours) = in_memory else {
                    panic!("{name}: {in_memory:?}");
                };
                assert!(ours.to_string().starts_with(text(error)), "{name}: {ours}");
            }
        }
    }
}

/// docs/wire L5, L7, L9: what we write for a negative number, and what the original reads in it.
#[test]
fn negative_numbers_are_read_by_both() {
    for vector in load("varint_negative_derived.json") {
        let kind = vector.decoded["type"].as_str().unwrap();
        let mut input = vector.bytes.clone();
        let read = read_value!(input, kind).unwrap();
        assert_eq!(
            read,
            Read::Number(number(&vector.decoded["value"]).into()),
            "{}",
            vector.name
        );
        assert!(input.is_empty());
        let original = number(&vector.decoded["go_reader_returns"]);
        let raw = match kind {
            "varint_i32" => vector.bytes.clone().read_var_int_raw().unwrap() as i64,
            _ => vector.bytes.clone().read_var_long_strict().unwrap(),
        };
        assert_eq!(raw, original, "{}", vector.name);
    }
    // docs/wire L9: bits above the 32nd are dropped, or refused.
    let mut wide = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x7f]);
    assert_eq!(wide.read_var_int(), Ok(-1));
    let mut wide = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x7f]);
    assert_eq!(wide.read_var_int_raw(), Ok(MAX_VAR_INT_RAW));
    let mut wide = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x7f]);
    assert_eq!(wide.read_var_int_strict(), Err(ValueError::OutOfRange));
}

fn framing(protocol: &str) -> Framing {
    let prefix = match protocol.split(' ').next().unwrap() {
        "separator" => {
            let (_, separator) = protocol.split_once(' ').unwrap();
            return Framing::separator(hex(separator)).unwrap();
        }
        "varint" => LengthPrefix::VarInt,
        "varlong" => LengthPrefix::VarLong,
        "int16_be" => LengthPrefix::U16Be,
        "int16_le" => LengthPrefix::U16Le,
        "int32_be" => LengthPrefix::U32Be,
        "int32_le" => LengthPrefix::U32Le,
        "int64_be" => LengthPrefix::U64Be,
        "int64_le" => LengthPrefix::U64Le,
        other => panic!("no framing {other}"),
    };
    Framing::length_prefixed(prefix)
}

/// docs/wire L13, L15 to L18: the first packet and the rest, or none yet.
#[test]
fn packets_are_cut_as_by_the_original() {
    let vectors = load("framing_extract.json");
    assert_eq!(vectors.len(), 69);
    for vector in vectors {
        let (name, decoded) = (&vector.name, &vector.decoded);
        let protocol = text(&decoded["protocol"]);
        if protocol == "separator (empty)" {
            // Deliberately different: docs/wire L15.
            assert!(Separator::new([]).is_err());
            continue;
        }
        // The limit is not what these vectors are about.
        let mut codec = PacketCodec::new(framing(protocol), usize::MAX);
        let step = codec.step(&vector.bytes);
        match name.as_str() {
            // Deliberately different: docs/wire L17, L18; the original panics or waits for ever.
            "varlong_negative" | "int64_be_negative" | "int64_le_negative" => {
                assert!(
                    matches!(step, Err(FramingError::NegativeLength { .. })),
                    "{name}"
                );
                continue;
            }
            "varint_too_long_prefix" => {
                assert_eq!(
                    step,
                    Err(FramingError::OverlongPrefix(ValueError::VarIntTooLong))
                );
                continue;
            }
            _ => {}
        }
        let step = step.unwrap();
        // The first version panics on half a prefix (docs/wire L16); it is half a prefix.
        if decoded["extracted"] == true {
            let Cut::Packet(range) = step.cut else {
                panic!("{name}: {step:?}");
            };
            assert_eq!(vector.bytes[range], hex(text(&decoded["packet"])), "{name}");
            assert_eq!(
                vector.bytes[step.consumed..],
                hex(text(&decoded["rest"])),
                "{name}"
            );
        } else {
            assert!(matches!(step.cut, Cut::Incomplete { .. }), "{name}");
            assert_eq!(step.consumed, 0, "{name}");
        }
    }
}

fn packets(list: &Value) -> Vec<Bytes> {
    list.as_array()
        .into_iter()
        .flatten()
        .map(|packet| hex(text(packet)))
        .collect()
}

/// docs/wire L21: for the recorded reads, for every cut in two, and byte by byte.
#[test]
fn streams_give_the_recorded_packets_however_they_are_cut() {
    let vectors = load("framing_stream.json");
    assert_eq!(vectors.len(), 48);
    for vector in vectors {
        let decoded = &vector.decoded;
        let codec = PacketCodec::new(
            framing(text(&decoded["protocol"])),
            number(&decoded["max_packet"]) as usize,
        );
        let expected = (packets(&decoded["packets"]), Ok(()));
        let bytes = &vector.bytes;
        // Of the streams with lengths, the reads were not recorded.
        let reads = match &decoded["reads"] {
            Value::Null => vec![bytes.clone()],
            reads => packets(reads),
        };
        assert_eq!(receive(codec.clone(), &reads), expected, "{}", vector.name);
        for at in 0..bytes.len() {
            let reads = [bytes.slice(..at), bytes.slice(at..)];
            assert_eq!(receive(codec.clone(), &reads), expected, "{}", vector.name);
        }
        let reads: Vec<_> = (0..bytes.len()).map(|at| bytes.slice(at..=at)).collect();
        assert_eq!(receive(codec, &reads), expected, "{}", vector.name);
    }
}

/// docs/wire L24: the first version's rule, with what it loses and what it lets through. The sizes of its
/// reads are not repeated: they only ever shrink.
#[test]
fn dropping_what_is_buffered_is_as_in_the_first_version() {
    let vectors = load("framing_stream_first_version.json");
    assert_eq!(vectors.len(), 11);
    for vector in vectors {
        let decoded = &vector.decoded;
        let codec = PacketCodec::new(
            framing(text(&decoded["protocol"])),
            number(&decoded["max_packet"]) as usize,
        )
        .oversize(Oversize::DropBuffered);
        let came = receive(codec, &packets(&decoded["reads"]));
        assert_eq!(
            came,
            (packets(&decoded["packets"]), Ok(())),
            "{}",
            vector.name
        );
    }
}

/// docs/wire L21, L23: what the later version gets wrong comes out right, never with bytes nobody sent.
#[test]
fn the_later_versions_defects_are_not_ours() {
    let vectors = load("framing_stream_later_version_defects.json");
    assert_eq!(vectors.len(), 5);
    for vector in vectors {
        let decoded = &vector.decoded;
        let codec = PacketCodec::new(
            framing(text(&decoded["protocol"])),
            number(&decoded["max_packet"]) as usize,
        );
        let came = receive(codec, &packets(&decoded["reads"]));
        assert_eq!(
            came,
            (packets(&decoded["correct_packets"]), Ok(())),
            "{}",
            vector.name
        );
    }
}

/// docs/wire L26: the blocking readers of the first generation, and what they leave unread.
#[tokio::test]
async fn packet_readers_read_what_the_seed_promises() {
    let vectors = load("read_packet_seed_derived.json");
    assert_eq!(vectors.len(), 15);
    for vector in vectors {
        let (name, decoded) = (&vector.name, &vector.decoded);
        let max = number(&decoded["max_packet"]) as usize;
        let mut reader = PacketReader::new(Dribble::new(vector.bytes.clone()));
        let (read, payload_at) = match &decoded["separator"] {
            Value::Null => {
                // The kind of prefix that the first generation calls PrefixInt32.
                assert_eq!(
                    (&decoded["order"], &decoded["prefix"]),
                    (&"le".into(), &"PrefixInt32".into())
                );
                (
                    reader.read_length_prefixed(LengthPrefix::U32Le, max).await,
                    4,
                )
            }
            separator => {
                let separator = Separator::new(hex(text(separator))).unwrap();
                (reader.read_separated(&separator, max).await, 0)
            }
        };
        match (text(&decoded["error"]), read) {
            ("", Ok(packet)) => {
                assert_eq!(packet, hex(text(&decoded["packet"])), "{name}");
                if let Some(unread) = decoded["unread"].as_str() {
                    let mut rest = BytesMut::new();
                    while let Ok(byte) = reader.read_byte().await {
                        rest.put_u8(byte);
                    }
                    assert_eq!(rest, hex(unread), "{name}");
                }
            }
            ("packet too big", Err(PacketError::Framing(error))) => {
                assert!(error.to_string().starts_with("packet too big"), "{name}");
                // Nothing of the payload was taken.
                let left = reader.read_byte().await.ok();
                assert_eq!(left, vector.bytes.get(payload_at).copied(), "{name}");
            }
            ("EOF", Err(PacketError::Ended(end))) => assert_eq!(end, ValueError::Truncated),
            (_, read) => panic!("{name}: {read:?}"),
        }
    }
}
