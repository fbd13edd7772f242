//! Manifests and their differences.

use std::collections::HashMap;

use serde_json::{Value, json};
use towline_codec::greenpack::{Greenpack, Reader, Timestamp};
use towline_sync::chunk::{ChunkParams, FastCdc};
use towline_sync::compat::{ManifestError, RsyncChunk, RsyncDiff, RsyncHashes};

use crate::inputs::{entries, generate, unhex};

const HASHES: &str = include_str!("../vectors/rsync_hashes.json");

fn made() -> HashMap<String, RsyncHashes> {
    let chunker = FastCdc::new(ChunkParams::RSYNC);
    let time = Timestamp::new(1_736_553_600, 123_456_789);
    let mut made = HashMap::new();
    for entry in entries(HASHES) {
        let name = entry["name"].as_str().unwrap();
        let Some(name) = name.strip_prefix("RsyncHashes ") else {
            continue;
        };
        let bytes = generate(&entry["decoded"]["input"]);
        let path = format!("data/{name}");
        let hashes = RsyncHashes::of_bytes(&chunker, "localhost", &path, &bytes, Some(time));
        let read = RsyncHashes::of_reader(&chunker, "localhost", &path, &*bytes, Some(time));
        assert_eq!(read.unwrap(), hashes);
        assert_eq!(hashes.check(), Ok(()));
        made.insert(name.to_owned(), hashes);
    }
    made
}

/// docs/wire D5, D9
#[test]
fn manifests_are_the_originals() {
    let made = made();
    let mut compared = 0;
    for entry in entries(HASHES) {
        let name = entry["name"].as_str().unwrap();
        let Some(hashes) = name.strip_prefix("RsyncHashes ").map(|name| &made[name]) else {
            continue;
        };
        let printed: Value = serde_json::from_str(&hashes.to_json()).unwrap();
        assert_eq!(printed, entry["decoded"]["json"], "{name}");
        let hex = unhex(entry["hex"].as_str().unwrap());
        if !hex.is_empty() {
            let mut out = bytes::BytesMut::new();
            hashes.encode(&mut out);
            assert_eq!(out, hex, "{name}");
            assert_eq!(
                &RsyncHashes::decode(&mut Reader::new(&hex)).unwrap(),
                hashes
            );
        }
        compared += 1;
    }
    assert_eq!(compared, 6);
}

fn numbers(chunks: &[RsyncChunk]) -> Value {
    chunks.iter().map(|chunk| chunk.chunk_number).collect()
}

fn pairs(diff: &RsyncDiff) -> Vec<[i64; 2]> {
    diff.both
        .iter()
        .map(|pair| [&pair.a, &pair.b].map(|chunk| chunk.as_ref().unwrap().chunk_number))
        .collect()
}

/// docs/wire D9
#[test]
fn differences_by_the_originals_rule_are_the_originals() {
    let made = made();
    let mut compared = 0;
    for entry in entries(HASHES) {
        let decoded = &entry["decoded"];
        let (Some(a), Some(b)) = (decoded["A"].as_str(), decoded["B"].as_str()) else {
            continue;
        };
        let diff = made[a].diff_compat(&made[b]);
        let both = match pairs(&diff) {
            none if none.is_empty() => Value::Null,
            pairs => json!(pairs),
        };
        assert_eq!(both, decoded["both"], "{a} {b}");
        assert_eq!(numbers(&diff.only_a), decoded["onlyA"], "{a} {b}");
        assert_eq!(numbers(&diff.only_b), decoded["onlyB"], "{a} {b}");
        compared += 1;
    }
    assert_eq!(compared, 8);
}

#[test]
fn repeated_chunks_are_all_matched() {
    let made = made();
    for name in ["zeros", "dup"] {
        let diff = made[name].diff(&made[name]);
        assert_eq!(diff.both.len(), made[name].chunks.len());
        assert!(diff.only_a.is_empty() && diff.only_b.is_empty());
    }
}

/// docs/wire D7
#[test]
fn manifests_that_contradict_themselves_are_refused() {
    let good = made().remove("base").unwrap();
    let spoilt = |spoil: &dyn Fn(&mut RsyncHashes)| {
        let mut hashes = good.clone();
        spoil(&mut hashes);
        hashes.check()
    };
    assert_eq!(
        spoilt(&|hashes| hashes.num_chunks = 1 << 40),
        Err(ManifestError::Count {
            said: 1 << 40,
            found: 31
        })
    );
    let wrong = Err(ManifestError::Chunk { number: 2 });
    assert_eq!(spoilt(&|hashes| hashes.chunks[2].beg -= 1), wrong);
    assert_eq!(spoilt(&|hashes| hashes.chunks[2].len += 1), wrong);
    assert_eq!(spoilt(&|hashes| hashes.chunks[2].endx = -5), wrong);
    assert_eq!(spoilt(&|hashes| hashes.chunks[2].chunk_number = 7), wrong);
    assert_eq!(spoilt(&|hashes| hashes.chunks.swap(2, 3)), wrong);
    assert_eq!(
        spoilt(&|hashes| hashes.chunks[4].hash.clear()),
        Err(ManifestError::Hash { number: 4 })
    );
    assert_eq!(
        spoilt(&|hashes| hashes.file_size += 1),
        Err(ManifestError::Size {
            said: 1_000_001,
            found: 1_000_000
        })
    );
}
