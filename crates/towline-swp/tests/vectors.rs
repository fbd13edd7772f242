//! Real bytes of the original, both ways.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path};

use bytes::{Bytes, BytesMut};
use serde_json::Value;
use towline_codec::{Text, greenpack::Timestamp};
use towline_swp::proto::{
    BigFile, ByteAccount, Packet, SynAckAck, TcpEvent, TcpState, TerminatedError, checksum,
};

/// More than any vector holds.
const LIMIT: usize = 1 << 20;

struct Vector {
    name: String,
    bytes: Bytes,
    decoded: Value,
}

fn load(name: &str) -> Vec<Vector> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vectors")
        .join(name);
    let entries: Vec<Value> = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert!(!entries.is_empty());
    entries
        .iter()
        .map(|entry| Vector {
            name: entry["name"].as_str().unwrap().to_owned(),
            bytes: hex(entry["hex"].as_str().unwrap()),
            decoded: entry["decoded"].clone(),
        })
        .collect()
}

fn hex(text: &str) -> Bytes {
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| digit.to_digit(16).unwrap() as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

/// `2017-03-24T22:28:48.123456789Z`, for years from 1 on.
fn time(text: &str) -> Option<Timestamp> {
    let (date, clock) = text.strip_suffix('Z').unwrap().split_once('T').unwrap();
    let date: Vec<i64> = date.split('-').map(|part| part.parse().unwrap()).collect();
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let clock: Vec<i64> = clock.split(':').map(|part| part.parse().unwrap()).collect();
    let nanos: i64 = format!("{fraction:0<9}").parse().unwrap();
    // Days from the first of March of year 0, whose leap day is the last day of a year.
    let (year, month) = match date[1] {
        1 | 2 => (date[0] - 1, date[1] + 9),
        month => (date[0], month - 3),
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + date[2]
        - 1
        - 719_468;
    let seconds = ((days * 24 + clock[0]) * 60 + clock[1]) * 60 + clock[2];
    (text != "0001-01-01T00:00:00Z").then(|| Timestamp::new(seconds, nanos))
}

fn packet(decoded: &Value) -> Packet {
    let text = |key: &str| Text::from(decoded[key].as_str().unwrap());
    let int = |key: &str| decoded[key].as_i64().unwrap();
    let instant = |key: &str| time(decoded[key].as_str().unwrap());
    let bytes = |key: &str| hex(decoded[key].as_str().unwrap());
    Packet {
        from: text("From"),
        dest: text("Dest"),
        from_nonce: text("FromSessNonce"),
        dest_nonce: text("DestSessNonce"),
        arrived: instant("ArrivedAtDestTm"),
        sent: instant("DataSendTm"),
        seq: int("SeqNum"),
        retry: int("SeqRetry"),
        ack: int("AckNum"),
        ack_retry: int("AckRetry"),
        ack_sent: instant("AckReplyTm"),
        event: TcpEvent(int("TcpEvent")),
        from_state: None,
        window_bytes: int("AvailReaderBytesCap"),
        window_messages: int("AvailReaderMsgCap"),
        rtt_nanos: int("FromRttEstNsec"),
        rtt_deviation_nanos: int("FromRttSdNsec"),
        rtt_samples: int("FromRttN"),
        cumulative_bytes: int("CumulBytesTransmitted"),
        data: bytes("Data_hex"),
        data_offset: int("DataOffset"),
        checksum: bytes("Blake2bChecksum_hex"),
        capabilities: None,
    }
}

fn encoded(write: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::new();
    write(&mut out);
    out.freeze()
}

/// docs/wire W2 to W5, W9, W11
#[test]
fn every_packet_of_the_original_is_read_and_written_byte_for_byte() {
    let mut played = 0;
    for file in [
        "packets_by_role.json",
        "live_nats_session.json",
        "live_memory_network_sessions.json",
    ] {
        for vector in load(file) {
            let expected = packet(&vector.decoded);
            let name = format!("{file}: {}", vector.name);
            assert_eq!(
                Packet::decode(&vector.bytes, LIMIT).as_ref(),
                Ok(&expected),
                "{name}"
            );
            assert_eq!(encoded(|out| expected.encode(out)), vector.bytes, "{name}");
            assert_eq!(
                vector.decoded["TcpEventName"].as_str().unwrap(),
                expected.event.to_string(),
                "{name}"
            );
            assert!(expected.checksum_matches(), "{name}");
            let mut summed = expected.clone();
            summed.set_data(expected.data.clone());
            assert_eq!(
                summed, expected,
                "{name}: the checksum we make is the original's"
            );
            played += 1;
        }
    }
    assert_eq!(played, 90);
}

/// docs/wire W8, W47: keys that the original does not write are read, and written where they belong.
#[test]
fn packets_with_other_keys_are_read_and_written_alike() {
    for vector in load("derived_by_hand.json") {
        let read = Packet::decode(&vector.bytes, LIMIT).unwrap();
        match vector.name.as_str() {
            "keepalive_22_keys" => {
                assert_eq!(read.from_state, Some(TcpState::ESTABLISHED));
                assert_eq!(encoded(|out| read.encode(out)), vector.bytes);
            }
            "syn_with_extension_key" => {
                assert_eq!(read.event, TcpEvent::SYN);
                // The vector's key is an example of an unknown one or ours; either way it is a SYN.
                if read.capabilities.is_some() {
                    assert_eq!(encoded(|out| read.encode(out)), vector.bytes);
                }
            }
            "syn_minimal_keys" => assert_eq!(read.event, TcpEvent::SYN),
            other => panic!("a new vector: {other}"),
        }
    }
}

/// docs/wire W6, W7: what either decoder of the original accepts is accepted, the rest refused; for
/// an empty key, which one of them accepts and another dies of, the refusal is a choice.
#[test]
fn the_decoders_leniency_is_the_originals() {
    for vector in load("decode_leniency.json") {
        let results: Vec<&Value> = ["msgp_2016_12", "msgp_1_2_5"]
            .iter()
            .flat_map(|version| {
                ["whole_buffer_decoder", "stream_decoder"]
                    .map(|decoder| &vector.decoded[version][decoder])
            })
            .collect();
        let name = &vector.name;
        let read = Packet::decode(&vector.bytes, LIMIT);
        if name == "empty string key" {
            assert!(read.is_err(), "{name}");
            continue;
        }
        let Some(accepted) = results.iter().find(|result| result["ok"] == true) else {
            assert!(read.is_err(), "{name}: {read:?}");
            continue;
        };
        let read = read.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(Some(read.seq), accepted["SeqNum"].as_i64(), "{name}");
        if let Some(whole) = results
            .iter()
            .find(|result| result.get("Data_len").is_some())
        {
            assert_eq!(
                Some(read.data.len() as u64),
                whole["Data_len"].as_u64(),
                "{name}"
            );
            assert_eq!(
                read.sent,
                time(whole["DataSendTm"].as_str().unwrap()),
                "{name}"
            );
            assert_eq!(
                hex(whole["From_hex"].as_str().unwrap()),
                read.from.as_bytes(),
                "{name}"
            );
        }
    }
}

/// docs/wire W7
#[test]
fn a_packet_cut_anywhere_is_refused() {
    for vector in load("packets_by_role.json") {
        for len in 0..vector.bytes.len() {
            let cut = vector.bytes.slice(..len);
            assert!(
                Packet::decode(&cut, LIMIT).is_err(),
                "{} at {len}",
                vector.name
            );
        }
    }
    for huge in [
        "dfffffffff",
        "81a444617461c6ffffffff",
        "81a446726f6ddbffffffff41",
    ] {
        assert!(Packet::decode(&hex(huge), LIMIT).is_err());
    }
}

/// docs/wire W3 to W5
#[test]
fn scalars_have_the_originals_forms() {
    for vector in load("scalars.json") {
        let name = &vector.name;
        if name.starts_with("int_") {
            let value: i64 = vector.decoded["NumBytesAcked"]
                .as_str()
                .unwrap()
                .parse()
                .unwrap();
            let account = ByteAccount { acked: value };
            assert_eq!(encoded(|out| account.encode(out)), vector.bytes, "{name}");
            assert_eq!(ByteAccount::decode(&vector.bytes), Ok(account), "{name}");
        } else if name.starts_with("str_") {
            let len: usize = name.rsplit('_').next().unwrap().parse().unwrap();
            let message = Text::from("s".repeat(len));
            let error = TerminatedError { message };
            let wire = encoded(|out| error.encode(out));
            assert!(wire.starts_with(&vector.bytes), "{name}");
            match vector.decoded.get("total_len").and_then(Value::as_u64) {
                Some(total) => assert_eq!(wire.len() as u64, total, "{name}"),
                None => assert_eq!(wire, vector.bytes, "{name}"),
            }
            // Longer texts than any inbox or path are not read (docs/wire W7).
            assert_eq!(
                TerminatedError::decode(&wire).is_ok(),
                len <= 4096,
                "{name}"
            );
        } else if name.starts_with("bin_") {
            let len = vector.decoded["Data_len"].as_u64().unwrap() as usize;
            let file = BigFile {
                data: vec![0x5a; len].into(),
                ..BigFile::default()
            };
            let wire = encoded(|out| file.encode(out));
            let tail = wire.slice(
                wire.len()
                    - len
                    - (vector.bytes.len()
                        - len.min(
                            vector
                                .bytes
                                .iter()
                                .rev()
                                .take_while(|&&byte| byte == 0x5a)
                                .count(),
                        ))..,
            );
            assert!(tail.starts_with(&vector.bytes), "{name}");
            assert_eq!(BigFile::decode(&wire, LIMIT), Ok(file), "{name}");
        } else {
            let seconds: i64 = vector.decoded["unix_sec"]
                .as_str()
                .unwrap()
                .parse()
                .unwrap();
            let nanos = vector.decoded["nanos"].as_i64().unwrap();
            let sent = (name != "time_zero").then(|| Timestamp::new(seconds, nanos));
            let packet = Packet {
                sent,
                ..Packet::default()
            };
            let wire = encoded(|out| packet.encode(out));
            let key = wire
                .windows(10)
                .position(|part| part == b"DataSendTm")
                .unwrap();
            assert_eq!(wire.slice(key + 10..key + 25), vector.bytes, "{name}");
            assert_eq!(Packet::decode(&wire, LIMIT), Ok(packet), "{name}");
        }
    }
}

/// docs/wire W12
#[test]
fn other_types_are_read_and_written_byte_for_byte() {
    for vector in load("other_types.json") {
        let (name, decoded) = (&vector.name, &vector.decoded);
        let written = match name.split('_').next().unwrap() {
            "synackack" => {
                let value = SynAckAck {
                    event: TcpEvent(decoded["TcpEvent"].as_i64().unwrap()),
                    nonce: Text::from(decoded["SessionNonce"].as_str().unwrap()),
                    next_expected: decoded["NextExpected"].as_i64().unwrap(),
                    nacks: decoded["NackList"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|nack| nack.as_i64().unwrap())
                        .collect(),
                };
                assert_eq!(
                    SynAckAck::decode(&vector.bytes).as_ref(),
                    Ok(&value),
                    "{name}"
                );
                encoded(|out| value.encode(out))
            }
            "byteaccount" => {
                let value = ByteAccount {
                    acked: decoded["NumBytesAcked"].as_i64().unwrap(),
                };
                assert_eq!(ByteAccount::decode(&vector.bytes), Ok(value));
                encoded(|out| value.encode(out))
            }
            "terminatederror" => {
                let value = TerminatedError {
                    message: Text::from(decoded["Msg"].as_str().unwrap()),
                };
                assert_eq!(TerminatedError::decode(&vector.bytes).as_ref(), Ok(&value));
                encoded(|out| value.encode(out))
            }
            "bigfile" => {
                let value = BigFile {
                    path: Text::from(decoded["Filepath"].as_str().unwrap()),
                    size: decoded["SizeInBytes"].as_i64().unwrap(),
                    blake2b: hex(decoded["Blake2b_hex"].as_str().unwrap()),
                    sent: time(decoded["SendTime"].as_str().unwrap()),
                    data: hex(decoded["Data_hex"].as_str().unwrap()),
                };
                assert_eq!(
                    BigFile::decode(&vector.bytes, LIMIT).as_ref(),
                    Ok(&value),
                    "{name}"
                );
                if name != "bigfile_zero" {
                    assert_eq!(value.blake2b[..], checksum(&value.data), "{name}");
                }
                encoded(|out| value.encode(out))
            }
            // A bare number is the number of an event, a state or an action.
            _ => encoded(|out| {
                towline_codec::greenpack::write::int(out, decoded.as_i64().unwrap());
            }),
        };
        assert_eq!(written, vector.bytes, "{name}");
    }
}

/// docs/wire W9
#[test]
fn the_checksum_is_blake2b_of_64_bytes() {
    for vector in load("blake2b.json") {
        let digest = hex(vector.decoded.as_str().unwrap());
        assert_eq!(checksum(&vector.bytes)[..], digest[..], "{}", vector.name);
        let mut packet = Packet::default();
        packet.set_data(vector.bytes.clone());
        let expected = if vector.bytes.is_empty() {
            Bytes::new()
        } else {
            digest
        };
        assert_eq!(packet.checksum, expected);
    }
}

/// docs/wire W9: without data no checksum is wrong; with data every other one is.
#[test]
fn a_checksum_is_compared_only_where_there_is_data() {
    let junk = Packet {
        checksum: Bytes::from_static(b"junk"),
        ..Packet::default()
    };
    assert!(junk.checksum_matches());
    let mut packet = Packet::default();
    packet.set_data(Bytes::from_static(b"data"));
    packet.checksum = packet.checksum.slice(..63);
    assert!(!packet.checksum_matches());
    packet.checksum = Bytes::new();
    assert!(!packet.checksum_matches());
}
