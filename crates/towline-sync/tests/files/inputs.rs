//! The test inputs that the vectors name by a generator.

use serde_json::Value;

/// The bytes a generator object stands for.
pub(crate) fn generate(spec: &Value) -> Vec<u8> {
    let len = spec["len"]
        .as_u64()
        .map(|len| usize::try_from(len).expect("fits"));
    match spec["gen"].as_str().expect("a generator") {
        "splitmix64" => splitmix64(
            spec["seed"].as_u64().expect("a seed"),
            len.expect("a length"),
        ),
        "text" => text(len.expect("a length")),
        "repeat" => {
            let pattern = unhex(spec["pattern_hex"].as_str().expect("a pattern"));
            pattern
                .into_iter()
                .cycle()
                .take(len.expect("a length"))
                .collect()
        }
        "hex" => unhex(spec["hex"].as_str().expect("digits")),
        "concat" => spec["parts"]
            .as_array()
            .expect("parts")
            .iter()
            .flat_map(generate)
            .collect(),
        other => panic!("unknown generator {other}"),
    }
}

/// `len` bytes of the generator of that name.
pub(crate) fn splitmix64(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bytes.extend_from_slice(&(z ^ (z >> 31)).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn text(len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 64);
    let mut line = 0;
    while bytes.len() < len {
        bytes.extend_from_slice(
            format!("line {line:08}: the quick brown fox jumps over the lazy dog\n").as_bytes(),
        );
        line += 1;
    }
    bytes.truncate(len);
    bytes
}

/// Bytes of hexadecimal digits.
pub(crate) fn unhex(digits: &str) -> Vec<u8> {
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal"))
        .collect()
}

/// A vector file: its entries.
pub(crate) fn entries(json: &str) -> Vec<Value> {
    serde_json::from_str(json).expect("a vector file is a JSON array")
}
