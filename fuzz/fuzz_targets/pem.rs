//! Any text where a key or certificate file is expected: it is read or refused, never unlocked, and
//! nothing in it decides how much memory that takes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use towline_identity::{Description, Inspected, Profile, inspect_pem};

/// What the files begin with; a fuzzer seldom guesses a whole line.
const HEADS: [&str; 4] = [
    "",
    "-----BEGIN PRIVATE KEY-----\n",
    "-----BEGIN CERTIFICATE-----\n",
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAESGCM.Nonce: db9d9eeaac3e253ae94cd03e\n\
     Argon2id.Iterations: 12\nArgon2id.KeyLength: 32\nArgon2id.Memory: 262144\n",
];
const TAILS: [&str; 4] = [
    "",
    "\n-----END PRIVATE KEY-----\n",
    "\n-----END CERTIFICATE-----\n",
    "\n-----END ENCRYPTED PRIVATE KEY-----\n",
];

fuzz_target!(|data: &[u8]| {
    let [mode, rest @ ..] = data else {
        return;
    };
    let at = usize::from(*mode) % 5;
    // A certificate's bytes without the text around them.
    if at == 4 {
        look(rest);
        return;
    }
    let text = [HEADS[at].as_bytes(), rest, TAILS[at].as_bytes()].concat();
    let Ok(found) = inspect_pem(&text, "fuzz.pem") else {
        return;
    };
    for inspected in found {
        match inspected {
            Inspected::Certificate(certificate) => visible(&certificate.to_string()),
            Inspected::ProtectedKey {
                iterations,
                memory_kib,
                public_key,
            } => {
                assert!((1..=100).contains(&iterations) && memory_kib <= 2_097_152);
                assert!(public_key.is_none());
            }
            _ => {}
        }
    }
});

fn look(der: &[u8]) {
    let _known_or_not = Profile::of_certificate(der);
    if let Ok(description) = Description::read(der) {
        visible(&description.to_string());
    }
}

/// What is shown cannot command a terminal.
fn visible(text: &str) {
    assert!(
        text.chars().all(|c| c == '\n' || !c.is_control()),
        "{text:?}"
    );
}
