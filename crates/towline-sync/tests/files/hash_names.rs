//! The original's hash names, and the generators of their inputs.

use towline_sync::HashName;

use crate::inputs::{entries, generate, unhex};

#[test]
fn the_generators_make_the_bytes_the_vectors_mean() {
    let entries = entries(include_str!("../vectors/generators.json"));
    assert_eq!(entries.len(), 9);
    for entry in entries {
        let bytes = generate(&entry["decoded"]);
        let name = &entry["name"];
        let start = unhex(entry["hex"].as_str().unwrap());
        assert_eq!(bytes[..start.len()], start, "{name}");
        assert_eq!(
            bytes.len() as u64,
            entry["decoded"]["len"].as_u64().unwrap(),
            "{name}"
        );
    }
}

#[test]
fn every_name_of_the_original_is_written_and_read() {
    let entries = entries(include_str!("../vectors/blake3_names.json"));
    assert_eq!(entries.len(), 8);
    for entry in entries {
        let decoded = &entry["decoded"];
        let bytes = generate(&decoded["input"]);
        let text = decoded["string"].as_str().unwrap();
        let name = HashName::of(&bytes);
        assert_eq!(name.to_string(), text, "{}", entry["name"]);
        assert_eq!(text.parse::<HashName>(), Ok(name));
        assert_eq!(
            name.as_bytes()[..],
            unhex(decoded["first32_hex"].as_str().unwrap())
        );
        // All 64 bytes, of which the name is the first half.
        let mut output = [0; 64];
        blake3::Hasher::new()
            .update(&bytes)
            .finalize_xof()
            .fill(&mut output);
        assert_eq!(output[..], unhex(entry["hex"].as_str().unwrap()));
    }
}

#[test]
fn split_writes_give_the_same_sum_and_a_reset_starts_anew() {
    for entry in entries(include_str!("../vectors/blake3_names.json")) {
        let bytes = generate(&entry["decoded"]["input"]);
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"something else");
        hasher.reset();
        for piece in bytes.chunks(1021) {
            hasher.update(piece);
        }
        assert_eq!(
            HashName::from(hasher.finalize()),
            HashName::of(&bytes),
            "{}",
            entry["name"]
        );
    }
}
