//! The original's protected keys, and what is refused before any work is done.

use super::*;

/// A protected key of the vectors.
struct Vector {
    name: String,
    passphrase: String,
    pem: String,
    derived: Vec<u8>,
    plaintext: Vec<u8>,
}

fn vectors() -> Vec<Vector> {
    let text = include_str!("../../tests/vectors/keys_encrypted.json");
    let entries: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    entries
        .iter()
        .filter(|entry| entry["decoded"]["passphrase_utf8"].is_string())
        .map(|entry| {
            let decoded = &entry["decoded"];
            Vector {
                name: text(&entry["name"]),
                passphrase: text(&decoded["passphrase_utf8"]),
                pem: text(&decoded["pem"]),
                derived: hex(&text(&decoded["argon2id_key_hex"])).unwrap(),
                plaintext: hex(&text(&decoded["plaintext_pkcs8_hex"])).unwrap(),
            }
        })
        .collect()
}

fn sample() -> String {
    vectors().swap_remove(1).pem
}

fn refusal(text: &str) -> ProtectionError {
    ProtectedKey::parse(text.as_bytes()).unwrap_err()
}

/// docs/wire I30: with the original's salt, nonce and passphrase the file is the original's, header
/// order and quotes included, and the original's files open.
#[test]
fn the_originals_files_are_read_and_written_byte_for_byte() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 4);
    for vector in vectors {
        let Vector { name, pem, .. } = &vector;
        let protected = ProtectedKey::parse(pem.as_bytes()).unwrap();
        let passphrase = Passphrase::new(vector.passphrase.as_str());
        let key = derive(&passphrase, &protected.salt, protected.cost, KEY_BYTES).unwrap();
        assert_eq!(key[..], vector.derived[..], "{name}");
        assert_eq!(
            protected.open(&key).unwrap()[..],
            vector.plaintext[..],
            "{name}"
        );
        let nonce = protected.body[..NONCE_BYTES].try_into().unwrap();
        let (salt, cost) = (&protected.salt, protected.cost);
        let again = write(&vector.plaintext, &key, salt, nonce, cost).unwrap();
        assert_eq!(String::from_utf8(again).unwrap(), *pem, "{name}");
        assert_eq!(pem.len(), 382, "{name}");
    }
}

/// docs/wire I30
#[test]
fn a_wrong_passphrase_gives_nothing_at_all() {
    let cheap = Protection::new(Passphrase::new("right"))
        .memory_kib(64)
        .iterations(1);
    let path = Path::new("x.key");
    let sealed = seal(&[7; 48], &cheap, path).unwrap();
    let protected = ProtectedKey::parse(&sealed).unwrap();
    assert_eq!(
        protected.unlock(&Passphrase::new("right"), path).unwrap()[..],
        [7; 48]
    );
    for wrong in ["", "Right", "right ", "right\n"] {
        let error = protected.unlock(&Passphrase::new(wrong), path).unwrap_err();
        assert!(
            matches!(error, LoadError::WrongPassphrase { .. }),
            "{error}"
        );
    }
}

#[test]
fn every_bit_of_the_body_counts() {
    let cheap = Protection::new(Passphrase::new("p"))
        .memory_kib(8)
        .iterations(1);
    let path = Path::new("x.key");
    let protected = ProtectedKey::parse(&seal(&[7; 48], &cheap, path).unwrap()).unwrap();
    let key = derive(&Passphrase::new("p"), &protected.salt, protected.cost, 32).unwrap();
    assert!(protected.open(&key).is_some());
    for at in 0..protected.body.len() {
        let mut body = protected.body.clone();
        body[at] ^= 1;
        let salt = protected.salt.clone();
        let changed = ProtectedKey {
            body,
            salt,
            ..protected
        };
        assert!(changed.open(&key).is_none(), "byte {at}");
    }
}

#[test]
fn salt_and_nonce_are_fresh_for_every_file() {
    let cheap = Protection::new(Passphrase::new("p"))
        .memory_kib(8)
        .iterations(1);
    let seal = || {
        let text = seal(&[7; 48], &cheap, Path::new("x.key")).unwrap();
        ProtectedKey::parse(&text).unwrap()
    };
    let (one, two) = (seal(), seal());
    assert_ne!(one.salt, two.salt);
    assert_ne!(one.body[..NONCE_BYTES], two.body[..NONCE_BYTES]);
}

/// docs/wire I30: each of the seven headers, missing or malformed, is named.
#[test]
fn a_missing_or_malformed_header_is_named() {
    let good = sample();
    for header in HEADERS {
        let line = good.lines().find(|line| line.starts_with(header)).unwrap();
        let without = good.replace(&format!("{line}\n"), "");
        let error = refusal(&without);
        assert_eq!(error, ProtectionError::MissingHeader(header));
        assert!(error.to_string().contains(header));
        for bad in ["", "x", "-1", "+1", "0x10", "1 1", "99999999999", "zz"] {
            let error = refusal(&good.replace(line, &format!("{header}: {bad}")));
            assert!(
                error.to_string().contains(header),
                "{header}: {bad}: {error}"
            );
        }
    }
}

/// docs/wire I30
#[test]
fn the_cipher_may_stand_without_quotes_but_not_be_another() {
    let good = sample();
    let unquoted = good.replace("\"AES-GCM\"", "AES-GCM");
    assert_eq!(
        ProtectedKey::parse(unquoted.as_bytes()),
        ProtectedKey::parse(good.as_bytes())
    );
    for other in ["AES-CBC", "\"ChaCha20\"", "aes-gcm", "\"AES-GCM"] {
        let error = refusal(&good.replace("\"AES-GCM\"", other));
        assert!(error.to_string().contains(CIPHER), "{error}");
    }
}

/// docs/wire I30: what a hostile file asks for is bounded before memory is reserved for it.
#[test]
fn costs_beyond_the_bounds_are_refused_before_any_work() {
    let good = sample();
    for (from, to) in [
        ("Memory: 262144", "Memory: 4194304"),
        ("Memory: 262144", "Memory: 2097153"),
        ("Memory: 262144", "Memory: 7"),
        ("Iterations: 12", "Iterations: 0"),
        ("Iterations: 12", "Iterations: 101"),
        ("Threads: 1", "Threads: 0"),
        ("Threads: 1", "Threads: 17"),
        ("KeyLength: 32", "KeyLength: 31"),
        ("KeyLength: 32", "KeyLength: 0"),
    ] {
        assert!(good.contains(from), "{from}");
        let error = refusal(&good.replace(from, to)).to_string();
        assert!(
            error.contains(to.split_once(':').unwrap().0),
            "{to}: {error}"
        );
    }
    // Eight blocks for each thread.
    let thin = good
        .replace("Memory: 262144", "Memory: 8")
        .replace("Threads: 1", "Threads: 2");
    assert!(matches!(
        refusal(&thin),
        ProtectionError::OutOfRange {
            header: MEMORY,
            low: 16,
            ..
        }
    ));
}

#[test]
fn shorter_aes_keys_are_read() {
    let salt = [5; SALT_BYTES];
    let cost = Cost {
        iterations: 1,
        memory_kib: 8,
        threads: 1,
    };
    for length in [16, 24] {
        let key = derive(&Passphrase::new("p"), &salt, cost, length).unwrap();
        let mut sealed = vec![7; 48];
        let nonce = [3; NONCE_BYTES];
        if length == 16 {
            Aes128Gcm::new_from_slice(&key)
                .unwrap()
                .encrypt_in_place((&nonce).into(), b"", &mut sealed)
                .unwrap();
        } else {
            AesGcm::<Aes192, U12>::new_from_slice(&key)
                .unwrap()
                .encrypt_in_place((&nonce).into(), b"", &mut sealed)
                .unwrap();
        }
        let protected = ProtectedKey {
            cost,
            key_length: length,
            salt: salt.to_vec(),
            body: [&nonce[..], &sealed].concat(),
        };
        let opened = protected
            .unlock(&Passphrase::new("p"), Path::new("x.key"))
            .unwrap();
        assert_eq!(opened[..], [7; 48], "{length}");
    }
}

/// docs/wire I30
#[test]
fn the_two_nonces_must_agree() {
    let good = sample();
    let line = good.lines().find(|line| line.starts_with(NONCE)).unwrap();
    let error = refusal(&good.replace(line, &format!("{NONCE}: 000000000000000000000000")));
    assert_eq!(error, ProtectionError::NonceMismatch);
}

/// docs/wire I30
#[test]
fn a_body_without_room_for_nonce_and_tag_is_refused() {
    let good = sample();
    let (head, _) = good.split_once("\n\n").unwrap();
    // 27 bytes, the nonce in front the right one.
    let body = hex("db9d9eeaac3e253ae94cd03e").unwrap();
    let short = [&body[..], &[0; 15]].concat();
    let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, short);
    let text = format!("{head}\n\n{base64}\n-----END {TAG}-----\n");
    assert_eq!(refusal(&text), ProtectionError::Body(27));
}

#[test]
fn pkcs8_encryption_of_the_same_name_is_told_apart() {
    let text =
        format!("-----BEGIN {TAG}-----\nMIGbMFcGCSqGSIb3DQEFDTBKMCkG\n-----END {TAG}-----\n");
    let error = refusal(&text);
    assert_eq!(error, ProtectionError::OtherForm);
    assert!(error.to_string().contains("openssl pkey"), "{error}");
}

#[test]
fn every_truncation_is_an_error() {
    let good = sample();
    for end in 0..good.len() - 1 {
        assert!(
            ProtectedKey::parse(&good.as_bytes()[..end]).is_err(),
            "{end}"
        );
    }
    // docs/wire I5: text in front is skipped.
    let junk = format!("Bag attributes\n  name: x\n{good}");
    assert_eq!(
        ProtectedKey::parse(junk.as_bytes()),
        ProtectedKey::parse(good.as_bytes())
    );
}

/// docs/wire I30: an empty passphrase is read, because the original writes it, and never written.
#[test]
fn an_empty_passphrase_is_refused_when_a_key_is_made() {
    let empty = Protection::new(Passphrase::new(""));
    assert_eq!(empty.validate(), Err(ProtectionError::EmptyPassphrase));
    let error = seal(&[7; 48], &empty, Path::new("x.key")).unwrap_err();
    assert!(matches!(error, SaveError::Protection { .. }), "{error}");
    for (memory, passes) in [(7, 1), (2_097_153, 1), (8, 0), (8, 101)] {
        let cost = Protection::new(Passphrase::new("p"))
            .memory_kib(memory)
            .iterations(passes);
        assert!(matches!(
            cost.validate(),
            Err(ProtectionError::OutOfRange { .. })
        ));
    }
}

#[test]
fn passphrases_are_not_in_debug_output() {
    let shown = format!("{:?}", Protection::new(Passphrase::new("hunter2")));
    assert!(
        !shown.contains("hunter2") && !shown.contains("104"),
        "{shown}"
    );
}
