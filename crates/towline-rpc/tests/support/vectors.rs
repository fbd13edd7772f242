//! Real bytes of the original: `tests/vectors/*.json`.

use std::{collections::BTreeSet, fs, path::Path};

use bytes::{Bytes, BytesMut};
use serde_json::Value;
use towline_codec::{Text, greenpack::Timestamp};
use towline_rpc::proto::{CallType, FrameReader, Hdr, Message, Received, Violation};

/// One entry of a vector file.
#[derive(Debug, Clone)]
pub(crate) struct Vector {
    pub(crate) name: String,
    pub(crate) bytes: Bytes,
    pub(crate) decoded: Value,
}

impl Vector {
    /// The message that the bytes hold, as far as the file shows it.
    pub(crate) fn message(&self) -> Message {
        message(&self.decoded)
    }

    /// A number of the decoded form.
    pub(crate) fn number(&self, key: &str) -> Option<usize> {
        self.decoded
            .get(key)
            .map(|value| usize::try_from(integer(value)).expect("a length"))
    }

    /// A text of the decoded form.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.decoded.get(key)?.as_str()
    }

    /// Whether a client of the original sent it.
    pub(crate) fn is_from_client(&self) -> bool {
        match self.text("direction") {
            Some("c2s") => true,
            Some("s2c") => false,
            other => panic!("{}: direction {other:?}", self.name),
        }
    }
}

/// All entries of `tests/vectors/NAME.json`.
pub(crate) fn load(name: &str) -> Vec<Vector> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vectors")
        .join(format!("{name}.json"));
    let entries: Vec<Value> =
        serde_json::from_slice(&fs::read(path).expect("the vector file is there"))
            .expect("it is JSON");
    assert!(!entries.is_empty());
    entries
        .iter()
        .map(|entry| Vector {
            name: entry["name"].as_str().expect("a name").to_owned(),
            bytes: hex(entry["hex"].as_str().expect("bytes")),
            decoded: entry["decoded"].clone(),
        })
        .collect()
}

/// Entries that are not played in a direction, and the defect of the original (docs/wire/pitfalls.md) for which they are not.
pub(crate) type Exceptions<'a> = &'a [(&'a str, &'a str)];

/// Counts off the entries of a file as they are played, so that none is left out unnoticed.
pub(crate) struct Played {
    left: BTreeSet<String>,
}

impl Played {
    /// Those of several files, none of them played.
    pub(crate) fn none_of(files: &[&str]) -> Self {
        let entries = files.iter().flat_map(|file| load(file));
        let mut left = BTreeSet::new();
        for entry in entries {
            let name = entry.name.clone();
            assert!(left.insert(entry.name), "two entries are named {name}");
        }
        Self { left }
    }

    /// The entry has been played.
    pub(crate) fn played(&mut self, vector: &Vector) {
        assert!(
            self.left.remove(&vector.name),
            "{} was played before",
            vector.name
        );
    }

    /// Fails unless everything was played but what is listed.
    pub(crate) fn finish(self, but: Exceptions<'_>) {
        for (name, defect) in but {
            let number = defect.strip_prefix('P').expect("P and a number");
            assert!(number.parse::<u32>().is_ok(), "{name}: {defect}");
        }
        let excepted: BTreeSet<String> = but.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(self.left, excepted, "not played");
    }
}

/// Plays every entry of a file but those listed.
pub(crate) fn play(file: &str, but: Exceptions<'_>, mut entry: impl FnMut(&Vector)) {
    let mut count = Played::none_of(&[file]);
    for vector in load(file) {
        if but.iter().all(|(name, _)| *name != vector.name) {
            entry(&vector);
            count.played(&vector);
        }
    }
    count.finish(but);
}

/// Fails unless every listed name is in the file, so that a list cannot outlive its entries.
pub(crate) fn assert_present<'a>(vectors: &[Vector], names: impl IntoIterator<Item = &'a str>) {
    for name in names {
        assert!(
            vectors.iter().any(|vector| vector.name == name),
            "no vector is named {name}"
        );
    }
}

/// Reads the frames that `bytes` hold; fails if they end inside one.
pub(crate) fn read_frames(bytes: &[u8]) -> Result<Vec<Received>, Violation> {
    let mut reader = FrameReader::new();
    let mut input = BytesMut::from(bytes);
    let mut received = Vec::new();
    while let Some(next) = reader.handle_input(&mut input)? {
        received.push(next);
    }
    match reader.violation_at_end(&input) {
        Some(violation) => Err(violation),
        None => Ok(received),
    }
}

/// The one message of a frame.
pub(crate) fn read_frame(bytes: &[u8]) -> Message {
    let mut frames = read_frames(bytes).expect("a frame");
    assert_eq!(frames.len(), 1);
    frames.remove(0).message
}

pub(crate) fn hex(text: &str) -> Bytes {
    assert!(text.len().is_multiple_of(2));
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal"))
        .collect()
}

fn message(decoded: &Value) -> Message {
    let mut message = Message::new();
    for (key, value) in decoded.as_object().expect("an object") {
        match key.as_str() {
            "HDR" => *message.hdr = hdr(value),
            "JobSerz_hex" => message.body = hex(value.as_str().expect("hexadecimal")),
            "JobErrs" => message.error = text(value),
            "JobSerz_len" => message.body = vec![b'Z'; length(value)].into(),
            "JobErrs_len" => message.error = Text::from("a".repeat(length(value))),
            "direction" | "frame_body_len" | "frame_magic7" | "total_len" => {}
            other => panic!("unknown key {other} in a decoded form"),
        }
    }
    message
}

fn hdr(decoded: &Value) -> Hdr {
    let mut hdr = Hdr::default();
    for (key, value) in decoded.as_object().expect("an object") {
        match key.as_str() {
            "Created" => hdr.created = Some(time(value)),
            "From" => hdr.from = text(value),
            "To" => hdr.to = text(value),
            "Subject" => hdr.subject = text(value),
            "Seqno" => hdr.seqno = value.as_u64().expect("unsigned"),
            "Typ" => hdr.typ = CallType(integer(value)),
            "CallID" => hdr.call_id = text(value),
            "Serial" => hdr.serial = integer(value),
            "LocalRecvTm" => hdr.local_recv_tm = Some(time(value)),
            "Deadline" => hdr.deadline = Some(time(value)),
            "StreamPart" => hdr.stream_part = integer(value),
            "ServiceName" => hdr.service_name = text(value),
            "Args" => {
                for (name, value) in value.as_object().expect("an object") {
                    hdr.args.insert(Text::from(name.as_str()), text(value));
                }
            }
            "NoSystemCompression" => hdr.no_system_compression = value.as_bool().expect("a bool"),
            other => panic!("unknown key {other} in a decoded header"),
        }
    }
    hdr
}

fn text(value: &Value) -> Text {
    Text::from(value.as_str().expect("a text"))
}

fn integer(value: &Value) -> i64 {
    value.as_i64().expect("an integer")
}

fn length(value: &Value) -> usize {
    usize::try_from(integer(value)).expect("a length")
}

fn time(value: &Value) -> Timestamp {
    Timestamp::new(integer(&value["unix_sec"]), integer(&value["nanos"]))
}
