//! Secrets in files: who may read them, what opens them, what never replaces them.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use towline_identity::{
    Authority, AuthorityOptions, Identity, Inspected, IssueError, KeyFile, LeafOptions, LoadError,
    NoPassphrase, Passphrase, PassphraseError, PreSharedKey, Protection, SaveError, SaveOptions,
    inspect, verify_certificate,
};

fn authority() -> Authority {
    Authority::generate(&AuthorityOptions::new()).unwrap()
}

/// A protection that costs a test nothing.
fn cheap(passphrase: &str) -> Protection {
    Protection::new(Passphrase::new(passphrase))
        .memory_kib(16)
        .iterations(1)
}

/// docs/wire I30: what was protected loads with its passphrase, and with nothing else.
#[test]
fn a_protected_identity_and_authority_load_again() {
    let dir = tempfile::tempdir().unwrap();
    let authority = authority();
    let identity = authority.issue(&LeafOptions::new("node")).unwrap();
    let options = SaveOptions::new().protection(Some(cheap("open sesame")));
    identity.save_with(dir.path(), "node", &options).unwrap();
    let private = dir.path().join("private");
    authority.save_with(&private, &options).unwrap();
    let text = fs::read_to_string(dir.path().join("node.key")).unwrap();
    assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAESGCM.Nonce: "));

    let mut right = Passphrase::new("open sesame");
    let again = Identity::load_with(dir.path(), "node", &mut right).unwrap();
    assert_eq!(again.public_key(), identity.public_key());
    let again = Authority::load_with(&private, &mut right).unwrap();
    assert_eq!(again.public_key(), authority.public_key());

    let mut wrong = Passphrase::new("open barley");
    for error in [
        Identity::load_with(dir.path(), "node", &mut wrong).unwrap_err(),
        Authority::load_with(&private, &mut wrong).unwrap_err(),
    ] {
        assert!(
            matches!(error, LoadError::WrongPassphrase { .. }),
            "{error}"
        );
    }
    for error in [
        Identity::load(dir.path(), "node").unwrap_err(),
        Authority::load(&private).unwrap_err(),
    ] {
        assert!(matches!(error, LoadError::Passphrase { .. }), "{error}");
    }
}

/// docs/wire I30
#[test]
fn an_empty_passphrase_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let options = SaveOptions::new().protection(Some(cheap("")));
    let (certs, private) = (dir.path().join("certs"), dir.path().join("private"));
    let identity = authority().issue(&LeafOptions::new("node")).unwrap();
    let error = identity.save_with(&certs, "node", &options).unwrap_err();
    assert!(matches!(error, SaveError::Protection { .. }), "{error}");
    authority().save_with(&private, &options).unwrap_err();
    assert!(!certs.exists() && !private.exists());
}

/// docs/wire I34: the message says what to run.
#[cfg(unix)]
#[test]
fn secrets_that_others_may_read_are_refused() {
    use std::os::unix::fs::PermissionsExt;

    let dir = tempfile::tempdir().unwrap();
    let authority = authority();
    let identity = authority.issue(&LeafOptions::new("node")).unwrap();
    identity.save(dir.path(), "node", false).unwrap();
    authority.save(dir.path().join("private"), false).unwrap();
    PreSharedKey::create(dir.path().join("psk")).unwrap();
    fs::write(dir.path().join("word"), "secret\n").unwrap();
    let path = |name: &str| dir.path().join(name);
    let set = |name: &str, mode| {
        fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    for mode in [0o640, 0o604, 0o620, 0o610, 0o644, 0o666] {
        for name in ["node.key", "private/ca.key", "psk", "word"] {
            set(name, mode);
        }
        let errors = [
            Identity::load(dir.path(), "node").unwrap_err().to_string(),
            Authority::load(path("private")).unwrap_err().to_string(),
            PreSharedKey::load(path("psk")).unwrap_err().to_string(),
            Passphrase::from_file(path("word")).unwrap_err().to_string(),
            inspect(path("node.key")).unwrap_err().to_string(),
        ];
        for error in errors {
            assert!(error.contains("chmod 600 "), "{error}");
            assert!(error.contains(&format!("{mode:o}")), "{error}");
        }
    }
    for mode in [0o600, 0o400] {
        for name in ["node.key", "private/ca.key", "psk", "word"] {
            set(name, mode);
        }
        Identity::load(dir.path(), "node").unwrap();
        Authority::load(path("private")).unwrap();
        PreSharedKey::load(path("psk")).unwrap();
        let word = Passphrase::from_file(path("word")).unwrap();
        assert_eq!(word.as_bytes(), b"secret");
    }
    // Certificates are public.
    for name in ["node.crt", "ca.crt"] {
        set(name, 0o644);
    }
    Identity::load(dir.path(), "node").unwrap();
}

#[cfg(unix)]
#[test]
fn a_passphrase_file_is_its_first_line() {
    use std::os::unix::fs::PermissionsExt;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("word");
    let read = |text: &[u8]| {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        Passphrase::from_file(&path)
    };
    for (text, word) in [
        (&b"a b\n"[..], &b"a b"[..]),
        (b"a b", b"a b"),
        (b" a\r\nsecond\n", b" a"),
        (b"", b""),
        (b"\nx", b""),
        (b"\xff\xfe\n", b"\xff\xfe"),
    ] {
        assert_eq!(read(text).unwrap().as_bytes(), word);
    }
    assert!(read(&[b'x'; 4096]).is_ok());
    let error = read(&[b'x'; 4097]).unwrap_err();
    assert!(matches!(error, PassphraseError::TooLong { .. }), "{error}");
    let error = Passphrase::from_file(dir.path().join("none")).unwrap_err();
    assert!(matches!(error, PassphraseError::Read { .. }), "{error}");
    assert!(format!("{:?}", read(b"hunter2\n").unwrap()).len() < 20);
}

/// docs/wire I32: never a connection without the layer because a file is missing or short.
#[test]
fn a_missing_or_short_pre_shared_key_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("psk");
    let error = PreSharedKey::load(&path).unwrap_err();
    assert!(matches!(error, LoadError::Read { .. }), "{error}");
    PreSharedKey::create(&path).unwrap();
    let whole = fs::read(&path).unwrap();
    assert_eq!(whole.len(), 32);
    for short in [0, 1, 31] {
        fs::write(&path, &whole[..short]).unwrap();
        let error = PreSharedKey::load(&path).unwrap_err();
        assert!(
            matches!(error, LoadError::ShortPreSharedKey { found, .. } if found == short),
            "{error}"
        );
    }
    let error = PreSharedKey::load(dir.path()).unwrap_err();
    assert!(
        matches!(
            error,
            LoadError::Read { .. } | LoadError::Permissions { .. }
        ),
        "{error}"
    );
}

/// docs/wire I32: made once, whoever asks at the same time.
#[test]
fn of_many_makers_of_one_pre_shared_key_exactly_one_succeeds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("private/psk");
    let made: Vec<bool> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| PreSharedKey::create(&path)))
            .collect();
        threads
            .into_iter()
            .map(|thread| match thread.join().unwrap() {
                Ok(()) => true,
                Err(SaveError::Exists { .. }) => false,
                Err(error) => panic!("{error}"),
            })
            .collect()
    });
    assert_eq!(made.iter().filter(|made| **made).count(), 1);
    let before = fs::read(&path).unwrap();
    assert!(matches!(
        PreSharedKey::create(&path),
        Err(SaveError::Exists { .. })
    ));
    assert_eq!(fs::read(&path).unwrap(), before);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
    }
}

/// docs/wire I3: a link is a file of that name, wherever it leads.
#[cfg(unix)]
#[test]
fn links_and_directories_in_the_place_of_keys_stay_as_they_are() {
    use std::os::unix::fs::symlink;

    let dir = tempfile::tempdir().unwrap();
    let elsewhere = dir.path().join("elsewhere");
    fs::write(&elsewhere, "precious").unwrap();
    let identity = authority().issue(&LeafOptions::new("node")).unwrap();
    for target in [elsewhere.as_path(), Path::new("nowhere")] {
        for name in ["node.key", "node.crt"] {
            let certs = tempfile::tempdir().unwrap();
            symlink(target, certs.path().join(name)).unwrap();
            let error = identity.save(certs.path(), "node", false).unwrap_err();
            assert!(matches!(error, SaveError::Exists { .. }), "{error}");
            assert_eq!(fs::read_dir(certs.path()).unwrap().count(), 1);
        }
        let private = tempfile::tempdir().unwrap();
        symlink(target, private.path().join("ca.crt")).unwrap();
        let error = authority().save(private.path(), false).unwrap_err();
        assert!(matches!(error, SaveError::Exists { .. }), "{error}");
        assert_eq!(fs::read_dir(private.path()).unwrap().count(), 1);
        let psk = private.path().join("psk");
        symlink(target, &psk).unwrap();
        assert!(matches!(
            PreSharedKey::create(&psk),
            Err(SaveError::Exists { .. })
        ));
    }
    // Replaced is the link, not what it leads to.
    let certs = tempfile::tempdir().unwrap();
    symlink(&elsewhere, certs.path().join("node.key")).unwrap();
    identity.save(certs.path(), "node", true).unwrap();
    assert_eq!(fs::read(&elsewhere).unwrap(), b"precious");
    Identity::load(certs.path(), "node").unwrap();

    let certs = tempfile::tempdir().unwrap();
    fs::create_dir(certs.path().join("node.key")).unwrap();
    for overwrite in [false, true] {
        identity.save(certs.path(), "node", overwrite).unwrap_err();
        assert!(certs.path().join("node.key").is_dir());
    }
    identity.save(certs.path(), "other", false).unwrap();
    fs::remove_file(certs.path().join("other.key")).unwrap();
    fs::create_dir(certs.path().join("other.key")).unwrap();
    Identity::load(certs.path(), "other").unwrap_err();
}

/// docs/wire I38
#[test]
fn a_clock_before_2020_makes_and_loads_nothing() {
    let day = Duration::from_secs(24 * 3600);
    let first = SystemTime::UNIX_EPOCH + Duration::from_secs(1_577_836_800);
    let before = first - Duration::from_secs(1);
    let options = AuthorityOptions::new();
    for moment in [before, SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH - day] {
        let made = Authority::generate(&options.clone().at(moment));
        assert!(matches!(made, Err(IssueError::Clock { .. })), "{made:?}");
    }
    let authority = Authority::generate(&options.at(first)).unwrap();
    let made = authority.issue(&LeafOptions::new("node").at(before));
    assert!(matches!(made, Err(IssueError::Clock { .. })), "{made:?}");
    let dir = tempfile::tempdir().unwrap();
    let node = authority
        .issue(&LeafOptions::new("node").at(first))
        .unwrap();
    node.save(dir.path(), "node", false).unwrap();
    let error = Identity::load_at(dir.path(), "node", before).unwrap_err();
    assert!(matches!(error, LoadError::Clock { .. }), "{error}");
    assert!(error.to_string().contains("2019"), "{error}");
    Identity::load_at(dir.path(), "node", first).unwrap();
}

/// docs/wire I34: who can change `ca.crt` says whom to trust.
#[cfg(unix)]
#[test]
fn a_file_of_authorities_that_others_may_change_is_refused() {
    use std::os::unix::fs::PermissionsExt;

    let dir = tempfile::tempdir().unwrap();
    let authority = authority();
    authority.save(dir.path().join("private"), false).unwrap();
    let identity = authority.issue(&LeafOptions::new("node")).unwrap();
    identity.save(dir.path(), "node", false).unwrap();
    let set =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let path = dir.path().join("ca.crt");
    for (mode, fine) in [(0o644, true), (0o602, false), (0o660, false), (0o400, true)] {
        set(&path, mode);
        let loaded = Identity::load(dir.path(), "node");
        assert_eq!(loaded.is_ok(), fine, "{mode:o}");
        if let Err(error) = loaded {
            let command = format!("chmod go-w {}", path.display());
            assert!(error.to_string().contains(&command), "{error}");
        }
    }
    let path = dir.path().join("private/ca.crt");
    set(&path, 0o666);
    let error = Authority::load(dir.path().join("private")).unwrap_err();
    assert!(matches!(error, LoadError::Writable { .. }), "{error}");
    verify_certificate(dir.path().join("node.crt"), &path).unwrap_err();
}

/// A key that comes through a pipe, as from a shell's `<(...)`, is read once.
#[cfg(unix)]
#[test]
fn a_key_in_a_pipe_is_inspected() {
    let dir = tempfile::tempdir().unwrap();
    let identity = authority().issue(&LeafOptions::new("node")).unwrap();
    identity.save(dir.path(), "node", false).unwrap();
    let pipe = dir.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let key = fs::read(dir.path().join("node.key")).unwrap();
    let writer = {
        let pipe = pipe.clone();
        std::thread::spawn(move || fs::write(pipe, key).unwrap())
    };
    let found = inspect(&pipe).unwrap();
    writer.join().unwrap();
    let public_key = identity.public_key();
    assert_eq!(found, [Inspected::PrivateKey { public_key }]);
}

/// docs/wire I30
#[test]
fn a_passphrase_is_set_changed_and_taken_off() {
    let dir = tempfile::tempdir().unwrap();
    let identity = authority().issue(&LeafOptions::new("node")).unwrap();
    identity.save(dir.path(), "node", false).unwrap();
    let path = dir.path().join("node.key");
    let plain = fs::read(&path).unwrap();

    let key = KeyFile::open(&path, &mut NoPassphrase).unwrap();
    assert!(!key.is_protected());
    key.rewrite(Some(&cheap("one"))).unwrap();
    KeyFile::open(&path, &mut NoPassphrase).unwrap_err();
    let before = fs::read(&path).unwrap();
    KeyFile::open(&path, &mut Passphrase::new("two")).unwrap_err();
    assert_eq!(fs::read(&path).unwrap(), before);

    let key = KeyFile::open(&path, &mut Passphrase::new("one")).unwrap();
    assert!(key.is_protected());
    assert_eq!(key.public_key(), identity.public_key());
    key.rewrite(Some(&cheap("two"))).unwrap();
    KeyFile::open(&path, &mut Passphrase::new("one")).unwrap_err();
    let key = KeyFile::open(&path, &mut Passphrase::new("two")).unwrap();
    key.rewrite(Some(&cheap(""))).unwrap_err();
    key.rewrite(None).unwrap();
    assert_eq!(fs::read(&path).unwrap(), plain);
    // No copy that the passphrase of before would open.
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
}

/// docs/wire I32: a name is no path.
#[test]
fn a_pre_shared_key_has_a_name_and_no_path() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("inner");
    for name in [
        "../p1", "/p1", "a/b", "a b", "", "..", ".p", "ca.key", "CA.CRT",
    ] {
        let error = PreSharedKey::create_in(&inner, name).unwrap_err();
        assert!(matches!(error, SaveError::Name { .. }), "{name}: {error}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    let path = PreSharedKey::create_in(&inner, "psk.binary").unwrap();
    assert_eq!(path, inner.join("psk.binary"));
    PreSharedKey::load(path).unwrap();
}
