//! Key files: modes, refusals, and errors that say what to do.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use towline_identity::{
    Authority, AuthorityOptions, Identity, IssueError, LeafOptions, LoadError, MAX_LEAF_BYTES,
    PublicKey, SaveError,
};

fn authority() -> Authority {
    Authority::generate(&AuthorityOptions::new()).unwrap()
}

fn saved(name: &str) -> (tempfile::TempDir, Identity) {
    let dir = tempfile::tempdir().unwrap();
    let identity = authority().issue(&LeafOptions::new(name)).unwrap();
    identity.save(dir.path(), name, false).unwrap();
    (dir, identity)
}

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn what_was_saved_loads_again() {
    let (dir, identity) = saved("node");
    let again = Identity::load(dir.path(), "node").unwrap();
    assert_eq!(again.public_key(), identity.public_key());
    assert_eq!(again.emails(), ["node@localhost"]);
    assert_eq!(again.certificate_der(), identity.certificate_der());
    assert_eq!(again.roots_der(), identity.roots_der());

    let dir = tempfile::tempdir().unwrap();
    let authority = authority();
    authority.save(dir.path(), false).unwrap();
    let again = Authority::load(dir.path()).unwrap();
    assert_eq!(again.public_key(), authority.public_key());
    assert_eq!(again.certificate_der(), authority.certificate_der());
}

#[cfg(unix)]
#[test]
fn files_are_0600_and_directories_0700_whatever_the_umask() {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    // The umask belongs to the process, so each one needs a process of its own: this test again.
    if let Some(dir) = std::env::var_os("TOWLINE_TEST_SAVE_INTO") {
        let authority = authority();
        authority
            .save(Path::new(&dir).join("deep/private"), false)
            .unwrap();
        authority
            .issue(&LeafOptions::new("node"))
            .unwrap()
            .save(Path::new(&dir).join("certs"), "node", false)
            .unwrap();
        return;
    }
    for umask in ["000", "022", "077", "277"] {
        let root = tempfile::tempdir().unwrap();
        let status = Command::new("sh")
            .args(["-c", "umask $0; exec \"$1\" --exact files_are_0600_and_directories_0700_whatever_the_umask"])
            .arg(umask)
            .arg(std::env::current_exe().unwrap())
            .env("TOWLINE_TEST_SAVE_INTO", root.path())
            .output()
            .unwrap();
        if umask == "277" && !status.status.success() {
            // A directory that its owner cannot write is no place for anybody but root.
            continue;
        }
        assert!(
            status.status.success(),
            "{}",
            String::from_utf8_lossy(&status.stdout)
        );
        let mode = |path: &str| {
            fs::metadata(root.path().join(path))
                .unwrap()
                .permissions()
                .mode()
                & 0o7777
        };
        if umask != "277" {
            for dir in ["deep", "deep/private", "certs"] {
                assert_eq!(mode(dir), 0o700, "{dir} under umask {umask}");
            }
        }
        for file in [
            "deep/private/ca.key",
            "deep/private/ca.crt",
            "certs/ca.crt",
            "certs/node.crt",
            "certs/node.key",
        ] {
            assert_eq!(mode(file), 0o600, "{file} under umask {umask}");
        }
    }
}

#[cfg(unix)]
#[test]
fn the_mode_of_a_directory_that_exists_is_left_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    authority().save(dir.path(), false).unwrap();
    assert_eq!(
        fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777,
        0o755
    );
}

#[test]
fn nothing_is_overwritten_unless_asked() {
    let (dir, first) = saved("node");
    let other = authority().issue(&LeafOptions::new("node")).unwrap();
    let error = other.save(dir.path(), "node", false).unwrap_err();
    assert!(
        matches!(error, SaveError::Exists { .. }) && error.to_string().contains("--force"),
        "{error}"
    );
    let error = other.save(dir.path(), "second", false).unwrap_err();
    assert!(matches!(error, SaveError::OtherAuthority { .. }), "{error}");
    assert_eq!(files(dir.path()), ["ca.crt", "node.crt", "node.key"]);
    assert_eq!(
        Identity::load(dir.path(), "node").unwrap().public_key(),
        first.public_key()
    );

    other.save(dir.path(), "node", true).unwrap();
    assert_eq!(
        Identity::load(dir.path(), "node").unwrap().public_key(),
        other.public_key()
    );

    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (authority(), authority());
    first.save(dir.path(), false).unwrap();
    assert!(matches!(
        second.save(dir.path(), false),
        Err(SaveError::Exists { .. })
    ));
    assert_eq!(
        Authority::load(dir.path()).unwrap().public_key(),
        first.public_key()
    );
    second.save(dir.path(), true).unwrap();
    assert_eq!(
        Authority::load(dir.path()).unwrap().public_key(),
        second.public_key()
    );
}

#[test]
fn a_key_without_its_certificate_is_not_overwritten_either() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("node.key"), "precious").unwrap();
    fs::write(dir.path().join("ca.key"), "precious").unwrap();
    let authority = authority();
    let identity = authority.issue(&LeafOptions::new("node")).unwrap();
    assert!(matches!(
        identity.save(dir.path(), "node", false),
        Err(SaveError::Exists { .. })
    ));
    assert!(matches!(
        authority.save(dir.path(), false),
        Err(SaveError::Exists { .. })
    ));
    assert_eq!(files(dir.path()), ["ca.key", "node.key"]);
    assert_eq!(fs::read(dir.path().join("node.key")).unwrap(), b"precious");
}

#[test]
fn identities_of_one_authority_share_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let authority = authority();
    for name in ["node", "client"] {
        authority
            .issue(&LeafOptions::new(name))
            .unwrap()
            .save(dir.path(), name, false)
            .unwrap();
    }
    assert_eq!(
        files(dir.path()),
        ["ca.crt", "client.crt", "client.key", "node.crt", "node.key"]
    );
}

#[test]
fn secrets_are_not_in_debug_output() {
    let dir = tempfile::tempdir().unwrap();
    let authority = authority();
    let identity = authority.issue(&LeafOptions::new("node")).unwrap();
    authority.save(dir.path(), false).unwrap();
    identity
        .save(dir.path().join("certs"), "node", false)
        .unwrap();
    for (shown, key) in [
        (
            format!("{authority:?} {authority:#?}"),
            dir.path().join("ca.key"),
        ),
        (
            format!("{identity:?} {identity:#?}"),
            dir.path().join("certs/node.key"),
        ),
    ] {
        let pem = fs::read_to_string(key).unwrap();
        let der = pem::parse(&pem).unwrap().into_contents();
        let seed = &der[16..];
        let decimal = format!("{}, {}, {}", seed[0], seed[1], seed[2]);
        let hex: String = seed[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        let base64 = &pem.lines().nth(1).unwrap()[24..40];
        for secret in [decimal.as_str(), hex.as_str(), base64] {
            assert!(
                !shown.to_lowercase().contains(&secret.to_lowercase()),
                "{shown}"
            );
        }
        assert!(shown.contains("public_key"), "{shown}");
    }
}

#[test]
fn a_leaf_says_what_the_profile_says() {
    use x509_parser::prelude::*;
    let authority = authority();
    let (one, two) = (
        authority.issue(&LeafOptions::new("node")).unwrap(),
        authority.issue(&LeafOptions::new("node")).unwrap(),
    );
    let parse = |der| X509Certificate::from_der(der).unwrap().1;
    let (leaf, ca) = (
        parse(one.certificate_der()),
        parse(authority.certificate_der()),
    );

    assert_ne!(leaf.raw_serial(), parse(two.certificate_der()).raw_serial());
    assert!(leaf.raw_serial()[0] < 0x80 && leaf.raw_serial().len() <= 17);
    assert_ne!(one.public_key(), two.public_key());
    assert_eq!(leaf.issuer().as_raw(), ca.subject().as_raw());
    assert!(one.certificate_der().len() <= MAX_LEAF_BYTES);

    let usage = ca.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign());
    assert_eq!(usage.value.flags.count_ones(), 2);
    let constraints = ca.basic_constraints().unwrap().unwrap();
    assert!(
        constraints.critical
            && constraints.value.ca
            && constraints.value.path_len_constraint.is_none()
    );
    assert!(ca.extended_key_usage().unwrap().is_none());

    let usage = leaf.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.digital_signature() && !usage.value.key_cert_sign());
    let purposes = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(purposes.client_auth && purposes.server_auth && !purposes.any);
    assert!(!leaf.is_ca());
    let names = &leaf
        .subject_alternative_name()
        .unwrap()
        .unwrap()
        .value
        .general_names;
    assert_eq!(
        names[..],
        [
            GeneralName::DNSName("localhost"),
            GeneralName::RFC822Name("node@localhost"),
            GeneralName::IPAddress(&[127, 0, 0, 1])
        ]
    );
    let key_id = |certificate: &X509Certificate<'_>| {
        certificate
            .extensions()
            .iter()
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
                ParsedExtension::AuthorityKeyIdentifier(id) => {
                    id.key_identifier.as_ref().map(|id| id.0.to_vec())
                }
                _ => None,
            })
    };
    assert!(key_id(&ca).is_some());
    assert_eq!(key_id(&leaf), key_id(&ca));
    leaf.verify_signature(Some(ca.public_key())).unwrap();
}

#[test]
fn options_are_checked_before_anything_is_made() {
    let authority = authority();
    let issue = |options: LeafOptions| authority.issue(&options).unwrap_err();
    assert!(matches!(
        issue(LeafOptions::new("../x")),
        IssueError::Name { .. }
    ));
    for bad in ["jürgen@example.com", "a b@c", "", "a@b,c@d", "a@b\n"] {
        assert!(
            matches!(
                issue(LeafOptions::new("x").email(bad)),
                IssueError::Email { .. }
            ),
            "{bad:?}"
        );
    }
    for bad in [0, 36_601, u32::MAX] {
        assert!(matches!(
            issue(LeafOptions::new("x").days(bad)),
            IssueError::Days { .. }
        ));
        let options = AuthorityOptions::new().days(bad);
        assert!(matches!(
            Authority::generate(&options),
            Err(IssueError::Days { .. })
        ));
    }
    let long = format!("{}@example.com", "x".repeat(300));
    assert!(matches!(
        issue(LeafOptions::new("x").email(long)),
        IssueError::TooLarge {
            max: MAX_LEAF_BYTES,
            ..
        }
    ));
    let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    assert!(matches!(
        issue(LeafOptions::new("x").at(before)),
        IssueError::Clock { .. }
    ));
}

#[test]
fn an_ordinary_long_address_still_fits() {
    let email = format!("{}@mail.example.com", "x".repeat(48));
    let name = "n".repeat(32);
    let leaf = authority()
        .issue(&LeafOptions::new(name).email(email))
        .unwrap();
    assert!(leaf.certificate_der().len() <= MAX_LEAF_BYTES);
}

#[test]
fn no_identity_outlives_its_authority() {
    let made = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    let day = Duration::from_secs(24 * 3600);
    let authority = Authority::generate(&AuthorityOptions::new().days(10).at(made)).unwrap();
    assert_eq!(authority.not_after(), made + 10 * day);
    let leaf = authority
        .issue(&LeafOptions::new("x").days(3).at(made))
        .unwrap();
    assert_eq!(leaf.not_after(), made + 3 * day);
    let leaf = authority
        .issue(&LeafOptions::new("x").days(30).at(made))
        .unwrap();
    assert_eq!(leaf.not_after(), authority.not_after());
    let late = authority.issue(&LeafOptions::new("x").at(made + 10 * day));
    assert!(matches!(late, Err(IssueError::AuthorityExpired { .. })));
}

#[test]
fn a_century_can_be_asked_for() {
    let authority = Authority::generate(&AuthorityOptions::new().days(36_600)).unwrap();
    authority
        .issue(&LeafOptions::new("x").days(36_600))
        .unwrap();
}

#[test]
fn an_expired_identity_does_not_load() {
    let (dir, identity) = saved("node");
    let after = identity.not_after() + Duration::from_secs(1);
    let error = Identity::load_at(dir.path(), "node", after).unwrap_err();
    assert!(
        matches!(error, LoadError::Expired { .. }) && error.to_string().contains("tow keys new"),
        "{error}"
    );
}

#[test]
fn a_key_of_another_certificate_is_noticed() {
    let (dir, _) = saved("node");
    let (other, _) = saved("node");
    fs::copy(other.path().join("node.key"), dir.path().join("node.key")).unwrap();
    assert!(matches!(
        Identity::load(dir.path(), "node"),
        Err(LoadError::KeyMismatch { .. })
    ));
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    authority().save(dir.path(), false).unwrap();
    authority().save(other.path(), false).unwrap();
    fs::copy(other.path().join("ca.key"), dir.path().join("ca.key")).unwrap();
    assert!(matches!(
        Authority::load(dir.path()),
        Err(LoadError::KeyMismatch { .. })
    ));
}

#[test]
fn a_leaf_is_not_an_authority() {
    let (dir, _) = saved("node");
    fs::copy(dir.path().join("node.crt"), dir.path().join("ca.crt")).unwrap();
    assert!(matches!(
        Identity::load(dir.path(), "node"),
        Err(LoadError::NotAnAuthority { .. })
    ));
    fs::copy(dir.path().join("node.key"), dir.path().join("ca.key")).unwrap();
    assert!(matches!(
        Authority::load(dir.path()),
        Err(LoadError::NotAnAuthority { .. })
    ));
}

#[test]
fn files_that_are_not_keys_are_named_for_what_they_are() {
    let (dir, _) = saved("node");
    let path = dir.path().join("node.key");
    let check = |text: &str, parts: &[&str]| {
        fs::write(&path, text).unwrap();
        let error = Identity::load(dir.path(), "node").unwrap_err().to_string();
        for part in parts.iter().chain(&["node.key"]) {
            assert!(error.contains(part), "{error:?} does not say {part:?}");
        }
    };
    check(
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nArgon2id.Memory: 1\n\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        &["protected", "missing CipherSuite header"],
    );
    check(
        "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n",
        &["RSA", "Ed25519"],
    );
    check(
        "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n",
        &["ECDSA", "Ed25519"],
    );
    check(
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        &["`CERTIFICATE`", "`PRIVATE KEY`"],
    );
    check("hello", &["no PEM block"]);
    check(
        "-----BEGIN PRIVATE KEY-----\n!!!\n-----END PRIVATE KEY-----\n",
        &["base64"],
    );
    check(
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        &["PKCS#8"],
    );
    let ecdsa = rcgen::KeyPair::generate().unwrap().serialize_pem();
    check(&ecdsa, &["ECDSA", "Ed25519"]);
    fs::remove_file(&path).unwrap();
    let error = Identity::load(dir.path(), "node").unwrap_err();
    assert!(matches!(error, LoadError::Read { .. }), "{error}");
}

#[test]
fn certificates_that_cannot_be_used_are_named() {
    let (dir, _) = saved("node");
    let path = dir.path().join("node.crt");
    let ecdsa = rcgen::generate_simple_self_signed(["localhost".to_owned()])
        .unwrap()
        .cert
        .pem();
    fs::write(&path, ecdsa).unwrap();
    let error = Identity::load(dir.path(), "node").unwrap_err().to_string();
    assert!(
        error.contains("ECDSA") && error.contains("node.crt"),
        "{error}"
    );
    for text in [
        "",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n",
    ] {
        fs::write(&path, text).unwrap();
        let error = Identity::load(dir.path(), "node").unwrap_err().to_string();
        assert!(error.contains("node.crt"), "{error}");
    }
    fs::copy(dir.path().join("node.key"), &path).unwrap();
    assert!(matches!(
        Identity::load(dir.path(), "node"),
        Err(LoadError::NotPem { .. })
    ));
}

#[test]
fn damaged_certificates_never_panic() {
    let identity = authority().issue(&LeafOptions::new("node")).unwrap();
    let good = identity.certificate_der();
    for end in 0..good.len() {
        assert!(PublicKey::from_certificate_der(&good[..end]).is_err());
    }
    for at in 0..good.len() {
        for bit in [0x01, 0x80] {
            let mut bad = good.to_vec();
            bad[at] ^= bit;
            // Many of these still parse; the signature is not this function's matter.
            let _parsed_or_not = PublicKey::from_certificate_der(&bad);
        }
    }
}

#[test]
fn openssl_accepts_the_chain_and_reads_the_key() {
    use std::process::Command;
    if Command::new("openssl").arg("version").output().is_err() {
        println!("skipped: openssl is not on PATH");
        return;
    }
    let (dir, _) = saved("node");
    let run = |args: &[&str]| {
        let output = Command::new("openssl")
            .args(args)
            .current_dir(dir.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {args:?}: {text}");
        text
    };
    for purpose in ["sslserver", "sslclient"] {
        let text = run(&[
            "verify",
            "-x509_strict",
            "-CAfile",
            "ca.crt",
            "-purpose",
            purpose,
            "-verify_hostname",
            "localhost",
            "node.crt",
        ]);
        assert!(text.contains("OK"), "{text}");
    }
    let key = run(&["pkey", "-in", "node.key", "-pubout"]);
    let certificate = run(&["x509", "-in", "node.crt", "-noout", "-pubkey"]);
    assert_eq!(key, certificate);
}
