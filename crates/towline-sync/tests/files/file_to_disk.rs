//! The original's receiving state, run on its own inputs.
//!
//! The numbers of its defects are those of docs/wire/pitfalls.md.

use std::collections::BTreeMap;

use serde_json::Value;
use towline_sync::part::{UploadBegin, read_hash};
use towline_sync::{
    Durability, Finish, HashName, InPart, IncomingOptions, IncomingSink, Root, Stored,
};

use crate::inputs::{entries, unhex};

/// Entries on which this differs from the original on purpose: name, why, and what the error says.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "later part without blake3",
        "P11: the original's server process ends",
        "part 1 came without its hash",
    ),
    (
        "first part wrong blake3",
        "P11: the original's server process ends",
        "part 0 was damaged on its way",
    ),
    (
        "later part wrong blake3",
        "P11: the original's server process ends",
        "part 1 was damaged on its way",
    ),
    (
        "no readFile",
        "P11: the original's server process ends",
        "the argument `readFile` is missing",
    ),
    (
        "duplicate part number",
        "P11: the original's server process ends",
        "stream out of sync, expected next StreamPart to be 2; but we see 1",
    ),
    (
        "part 0 repeated",
        "P11: the original's server process ends",
        "stream out of sync, expected next StreamPart to be 1; but we see 0",
    ),
    (
        "skipped part number (not checked by this type)",
        "P11: the original checks the order beside this type, and its server process ends",
        "stream out of sync, expected next StreamPart to be 1; but we see 5",
    ),
    (
        "directory in name does not exist",
        "P9: a name never holds a separator, so it does not matter whether the directory exists",
        "the name `nodir/f.txt` holds a separator",
    ),
    (
        "parent directory escape is not prevented",
        "P9: the original stores outside its directory",
        "the name `../up.txt` holds a separator",
    ),
];

/// Receives the parts of one entry as a server does.
async fn receive(root: &Root, entry: &Value) -> Result<Stored, Box<dyn std::error::Error>> {
    let mut sink: Option<IncomingSink> = None;
    for part in entry["parts"].as_array().unwrap() {
        let get = |key: &str| part["args"][key].as_str();
        let sink = match &mut sink {
            Some(sink) => sink,
            None => {
                let begin;
                let name = match entry["override_filename"].as_str().unwrap() {
                    "" => {
                        begin = UploadBegin::read(get)?;
                        begin.name
                    }
                    name => name,
                };
                let target = root.target(name, None, entry["suffix"].as_str())?;
                let options = IncomingOptions::default().durability(Durability::None);
                sink.insert(IncomingSink::start(
                    root.create_incoming(&target, &options)?,
                )?)
            }
        };
        sink.push(InPart {
            number: part["stream_part"].as_i64().unwrap(),
            body: part["body"].as_str().unwrap().to_owned().into(),
            hash: read_hash(get)?,
            last: part["last"].as_bool().unwrap(),
        })
        .await?;
    }
    Ok(sink.ok_or("no parts")?.finish(Finish::default()).await?)
}

#[tokio::test]
async fn the_originals_successes_are_identical_and_its_crashes_are_errors() {
    let entries = entries(include_str!("../vectors/file_to_disk.json"));
    assert_eq!(entries.len(), 13);
    let mut exceptions = 0;
    for entry in &entries {
        let name = entry["name"].as_str().unwrap();
        let decoded = &entry["decoded"];
        let outer = tempfile::tempdir().unwrap();
        let dir = outer.path().join("root");
        std::fs::create_dir(&dir).unwrap();
        let result = receive(&Root::open(&dir).unwrap(), decoded).await;

        if let Some((_, _, says)) = EXCEPTIONS.iter().find(|(entry, _, _)| *entry == name) {
            exceptions += 1;
            let error = result.expect_err(name).to_string();
            assert!(error.contains(says), "{name}: {error}");
            wait_until_empty(&dir).await;
            assert_eq!(
                std::fs::read_dir(outer.path()).unwrap().count(),
                1,
                "{name}"
            );
            continue;
        }

        for part in decoded["parts"].as_array().unwrap() {
            assert_eq!(part["result"], "ok", "{name} is not listed as an exception");
        }
        let stored = result.expect(name);
        assert_eq!(stored.bytes, decoded["bytes_written"].as_u64().unwrap());
        let total: HashName = decoded["total_hash"].as_str().unwrap().parse().unwrap();
        assert_eq!(stored.total, total, "{name}");
        let expected: BTreeMap<String, Vec<u8>> = decoded["files_after_hex"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(file, hex)| (file.clone(), unhex(hex.as_str().unwrap())))
            .collect();
        let found: BTreeMap<String, Vec<u8>> = std::fs::read_dir(&dir)
            .unwrap()
            .map(|file| {
                let file = file.unwrap();
                let bytes = std::fs::read(file.path()).unwrap();
                (file.file_name().into_string().unwrap(), bytes)
            })
            .collect();
        assert_eq!(found, expected, "{name}");
        assert!(expected.contains_key(&stored.path), "{name}");
    }
    assert_eq!(exceptions, EXCEPTIONS.len());
}

/// A dropped sink's thread removes its temporary file soon after.
async fn wait_until_empty(dir: &std::path::Path) {
    while std::fs::read_dir(dir).unwrap().next().is_some() {
        tokio::task::yield_now().await;
    }
}
