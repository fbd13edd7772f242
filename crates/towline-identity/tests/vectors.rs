//! Real keys, certificates and key texts of the original, read and written byte for byte.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use towline_identity::{
    Authority, AuthorityOptions, Description, Identity, LeafOptions, LoadError, Passphrase,
    PreSharedKey, Profile, ProtectionError, PublicKey,
};

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

/// A file that only its owner may read, as the original leaves its keys.
fn write_secret(path: &Path, text: impl AsRef<[u8]>) {
    fs::write(path, text).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
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
        write_secret(&from.path().join(format!("{name}.key")), pem(key));

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
    write_secret(
        &dir.path().join("client.key"),
        pem(entry(&entries, "certs/client.key")),
    );
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
    write_secret(&dir.path().join("ca.key"), pem(key));
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

/// The moment at which the vectors' plain certificates were made.
fn made() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_164_428)
}

/// docs/wire I35: the same key, moment and e-mail give the same DER.
#[test]
fn the_selfy_profile_is_the_originals_byte_for_byte() {
    let entries = vectors("certs_plain.json");
    let (crt, key) = (
        entry(&entries, "certs/ca.crt"),
        entry(&entries, "my-keep-private-dir/ca.key"),
    );
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("ca.crt"), pem(crt)).unwrap();
    write_secret(&dir.path().join("ca.key"), pem(key));
    let authority = Authority::load(dir.path()).unwrap();

    let options = AuthorityOptions::new().profile(Profile::Selfy).at(made());
    let again = authority.renew(&options).unwrap();
    assert_eq!(again.certificate_der(), hex(&crt["hex"]));

    for name in ["client", "node"] {
        let leaf = entry(&entries, &format!("{name}.crt"));
        let old = hex(&leaf["hex"]);
        // Another certificate for the same key, so that nothing but the options can make it equal.
        let plain = authority
            .reissue(&old, &LeafOptions::new(name).at(then()))
            .unwrap();
        assert_ne!(plain, old);
        let options = LeafOptions::new(name).profile(Profile::Selfy).at(made());
        assert_eq!(authority.reissue(&plain, &options).unwrap(), old, "{name}");
        let email = leaf["decoded"]["emails"][0].as_str().unwrap();
        let named = options.email(email);
        assert_eq!(authority.reissue(&plain, &named).unwrap(), old, "{name}");
        assert_eq!(Profile::of_certificate(&old), Profile::Selfy);
        assert_eq!(Profile::of_certificate(&plain), Profile::Towline);
    }
}

/// docs/wire I30
#[test]
fn protected_identities_load_with_their_passphrase() {
    let entries = vectors("keys_encrypted.json");
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("ca.crt"), pem(entry(&entries, "ca.crt"))).unwrap();
    let ca_key = entry(&entries, "my-keep-private-dir/ca.key");
    write_secret(&dir.path().join("ca.key"), pem(ca_key));
    let word = |entry: &Value| {
        Passphrase::new(
            entry["decoded"]["passphrase_utf8"]
                .as_str()
                .unwrap()
                .to_owned(),
        )
    };
    for name in ["alice", "bob", "dave"] {
        let key = entry(&entries, &format!("certs/{name}.key"));
        let crt = entry(&entries, &format!("{name}.crt"));
        fs::write(dir.path().join(format!("{name}.crt")), pem(crt)).unwrap();
        write_secret(&dir.path().join(format!("{name}.key")), pem(key));
        let mut asked = 0;
        let mut source = |path: &Path| {
            asked += 1;
            assert!(path.ends_with(format!("{name}.key")));
            Ok(word(key))
        };
        let identity = Identity::load_with(dir.path(), name, &mut source);
        // This machine's clock decides whether their time has come.
        match identity {
            Ok(identity) => {
                assert_eq!(identity.public_key(), public_key(key));
                assert_eq!(asked, 1);
            }
            Err(error) => assert!(matches!(error, LoadError::NotYetValid { .. }), "{error}"),
        }
        let error = Identity::load_at(dir.path(), name, then()).unwrap_err();
        assert!(matches!(error, LoadError::Passphrase { .. }), "{error}");
    }
    let authority = Authority::load_with(dir.path(), &mut word(ca_key)).unwrap();
    assert_eq!(authority.public_key(), public_key(ca_key));
    let error = Authority::load_with(dir.path(), &mut Passphrase::new("wrong")).unwrap_err();
    assert!(
        matches!(error, LoadError::WrongPassphrase { .. }),
        "{error}"
    );
    let damaged = pem(ca_key).replace("Argon2id.Memory: 262144", "Argon2id.Memory: 4194304");
    write_secret(&dir.path().join("ca.key"), damaged);
    let mut nobody = |_: &Path| -> Result<Passphrase, _> { panic!("asked in vain") };
    let error = Authority::load_with(dir.path(), &mut nobody).unwrap_err();
    let LoadError::Protection { source, .. } = error else {
        panic!("{error}");
    };
    assert!(
        matches!(source, ProtectionError::OutOfRange { .. }),
        "{source}"
    );
}

/// docs/wire I32
#[test]
fn pre_shared_keys_are_derived_as_by_the_original() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("psk.binary");
    let mut seen = 0;
    for entry in vectors("psk_file.json") {
        if entry["decoded"]["enabled"] == true {
            write_secret(&path, hex(&entry["hex"]));
            let key = PreSharedKey::load(&path).unwrap();
            let derived = hex(&entry["decoded"]["derived"]);
            assert_eq!(key.as_bytes()[..], derived[..], "{}", entry["name"]);
            assert!(
                !format!("{key:?}").contains(&derived[0].to_string()),
                "{key:?}"
            );
            seen += 1;
        } else {
            // The original goes on in clear text here (P8).
            fs::remove_file(&path).unwrap();
            let error = PreSharedKey::load(&path).unwrap_err();
            assert!(matches!(error, LoadError::Read { .. }), "{error}");
        }
    }
    assert_eq!(seen, 4);
}

/// docs/wire I48
#[test]
fn a_certificate_is_listed_as_by_the_original() {
    let certificates = vectors("certs_plain.json");
    let listings = vectors("selfy_cli.json");
    for (file, name) in [("client.crt", "client.crt"), ("certs/ca.crt", "ca.crt")] {
        let der = hex(&entry(&certificates, file)["hex"]);
        let printed = entry(&listings, &format!("selfy -v certs/{name}"));
        let printed = printed["decoded"]["stdout"].as_str().unwrap();
        let description = Description::read(&der).unwrap();
        let key = description.public_key;
        let hex: String = key
            .as_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let ours = format!(
            "{description}\nthe raw public key is 32 bytes, but to make it readable:\n\n\
             hex encoded public-key:          {hex} (64 bytes)\n\n\
             base58-check encoded public-key: {key} (51 bytes)\n"
        );
        assert_eq!(ours, printed);
    }
}
