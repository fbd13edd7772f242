//! Real keys, certificates and key texts of the original, read and written byte for byte.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use towline_identity::{Authority, Identity, LeafOptions, LoadError, PublicKey};

fn vectors(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vectors")
        .join(file);
    let entries: Vec<Value> = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert!(!entries.is_empty());
    entries
}

fn entry<'a>(entries: &'a [Value], name: &str) -> &'a Value {
    entries
        .iter()
        .find(|entry| entry["name"] == name)
        .unwrap_or_else(|| panic!("no entry {name}"))
}

fn hex(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap();
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn pem(entry: &Value) -> &str {
    entry["decoded"]["pem"].as_str().unwrap()
}

fn public_key(entry: &Value) -> PublicKey {
    <[u8; 32]>::try_from(hex(&entry["decoded"]["public_key"]))
        .unwrap()
        .into()
}

/// A moment within the vectors' validity, whatever this machine's clock says.
fn then() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_164_428 + 3600)
}

#[test]
fn base58check() {
    for entry in vectors("base58check.json") {
        let key = PublicKey::from(<[u8; 32]>::try_from(hex(&entry["hex"])).unwrap());
        let text = entry["decoded"]["base58check"].as_str().unwrap();
        assert_eq!(key.to_string(), text, "{}", entry["name"]);
        assert_eq!(text.parse::<PublicKey>(), Ok(key), "{}", entry["name"]);
    }
}

#[test]
fn plain_identities_load_and_are_written_back_byte_for_byte() {
    let entries = vectors("certs_plain.json");
    let mut seen = 0;
    for name in ["client", "node"] {
        let (crt, key) = (
            entry(&entries, &format!("{name}.crt")),
            entry(&entries, &format!("certs/{name}.key")),
        );
        let ca = entry(&entries, "certs/ca.crt");
        let from = tempfile::tempdir().unwrap();
        fs::write(from.path().join("ca.crt"), pem(ca)).unwrap();
        fs::write(from.path().join(format!("{name}.crt")), pem(crt)).unwrap();
        fs::write(from.path().join(format!("{name}.key")), pem(key)).unwrap();

        let identity = Identity::load_at(from.path(), name, then()).unwrap();
        assert_eq!(identity.public_key(), public_key(crt));
        assert_eq!(identity.public_key(), public_key(key));
        assert_eq!(identity.certificate_der(), hex(&crt["hex"]));
        assert_eq!(identity.roots_der(), [hex(&ca["hex"])]);
        let emails: Vec<String> = serde_json::from_value(crt["decoded"]["emails"].clone()).unwrap();
        assert_eq!(identity.emails(), emails);
        let end = crt["decoded"]["not_after_unix"].as_u64().unwrap();
        assert_eq!(
            identity.not_after(),
            SystemTime::UNIX_EPOCH + Duration::from_secs(end)
        );
        assert_eq!(
            PublicKey::from_certificate_der(&hex(&ca["hex"])).unwrap(),
            public_key(ca)
        );

        let to = tempfile::tempdir().unwrap();
        identity.save(to.path(), name, false).unwrap();
        for file in [
            "ca.crt".to_owned(),
            format!("{name}.crt"),
            format!("{name}.key"),
        ] {
            let (old, new) = (
                fs::read(from.path().join(&file)),
                fs::read(to.path().join(&file)),
            );
            assert_eq!(old.unwrap(), new.unwrap(), "{file}");
        }
        assert_eq!(
            fs::metadata(to.path().join(format!("{name}.key")))
                .unwrap()
                .len(),
            119
        );
        seen += 1;
    }
    assert_eq!(seen, 2);
}

#[test]
fn the_originals_certificates_have_an_end_and_a_beginning() {
    let entries = vectors("certs_plain.json");
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("ca.crt"),
        pem(entry(&entries, "certs/ca.crt")),
    )
    .unwrap();
    fs::write(
        dir.path().join("client.crt"),
        pem(entry(&entries, "client.crt")),
    )
    .unwrap();
    fs::write(
        dir.path().join("client.key"),
        pem(entry(&entries, "certs/client.key")),
    )
    .unwrap();
    let begin = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_164_428);
    let second = Duration::from_secs(1);
    assert!(Identity::load_at(dir.path(), "client", begin).is_ok());
    let early = Identity::load_at(dir.path(), "client", begin - second);
    assert!(
        matches!(early, Err(LoadError::NotYetValid { .. })),
        "{early:?}"
    );
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(4_957_404_428);
    assert!(Identity::load_at(dir.path(), "client", end).is_ok());
    let late = Identity::load_at(dir.path(), "client", end + second);
    assert!(matches!(late, Err(LoadError::Expired { .. })), "{late:?}");
}

#[test]
fn the_originals_authority_loads_and_issues() {
    let entries = vectors("certs_plain.json");
    let (crt, key) = (
        entry(&entries, "certs/ca.crt"),
        entry(&entries, "my-keep-private-dir/ca.key"),
    );
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("ca.crt"), pem(crt)).unwrap();
    fs::write(dir.path().join("ca.key"), pem(key)).unwrap();
    let authority = Authority::load(dir.path()).unwrap();
    assert_eq!(authority.public_key(), public_key(crt));
    let leaf = authority
        .issue(&LeafOptions::new("new").at(then()))
        .unwrap();

    let copy = tempfile::tempdir().unwrap();
    authority.save(copy.path(), false).unwrap();
    for file in ["ca.crt", "ca.key"] {
        assert_eq!(
            fs::read(dir.path().join(file)).unwrap(),
            fs::read(copy.path().join(file)).unwrap()
        );
    }

    // The new leaf names its issuer with the very bytes of the authority's subject.
    let subject = hex(&crt["hex"]);
    let start = subject
        .windows(2)
        .position(|pair| pair == [0x30, 0x6a])
        .unwrap();
    let subject = &subject[start..start + 2 + 0x6a];
    assert!(
        leaf.certificate_der()
            .windows(subject.len())
            .any(|part| part == subject)
    );
}
