//! Known-keys files on a disk: changed by several at once, by hand, and by mistake.

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::thread;

use tempfile::TempDir;
use towline_identity::{
    KNOWN_CLIENT_KEYS, KnownKey, KnownKeys, KnownKeysError, KnownKeysPolicy, PublicKey,
};

const HEADER: &str = "# known_pub_keys file: address pubkey-identity-string\n";

fn room() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(KNOWN_CLIENT_KEYS);
    fs::write(&path, "").unwrap();
    (dir, path)
}

fn key(number: u32) -> PublicKey {
    let mut bytes = [9; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    bytes.into()
}

fn entry(number: u32) -> KnownKey {
    KnownKey::new(key(number), "tcp://10.0.0.1:4000", "a@b.example")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn numbers(path: &Path) -> BTreeSet<PublicKey> {
    let list = KnownKeys::open(path).unwrap().list().unwrap();
    let keys: Vec<_> = list
        .keys()
        .iter()
        .map(|known| known.public_key().unwrap())
        .collect();
    let different: BTreeSet<_> = keys.iter().copied().collect();
    assert_eq!(keys.len(), different.len(), "a key is there twice");
    different
}

/// docs/wire I41
#[test]
fn two_hundred_at_once_are_all_recorded_once() {
    let (_dir, path) = room();
    let known = KnownKeys::open(&path).unwrap();
    let start = Barrier::new(200);
    thread::scope(|scope| {
        for number in 0..200 {
            let (known, start) = (&known, &start);
            scope.spawn(move || {
                start.wait();
                // Each key comes twice.
                known.record(entry(number / 2)).unwrap();
            });
        }
    });
    assert_eq!(numbers(&path), (0..100).map(key).collect());
    assert!(fs::read_to_string(&path).unwrap().starts_with(HEADER));
}

/// Plays the second process of the next test when it is told a file; passes otherwise.
#[test]
fn helper_process_that_learns() {
    let Some(path) = std::env::var_os("KNOWN_KEYS_OF_HELPER") else {
        return;
    };
    let known = KnownKeys::open(PathBuf::from(path)).unwrap();
    for number in 1000..1100 {
        known.record(entry(number)).unwrap();
    }
}

/// docs/wire I41: the lock holds between processes.
#[test]
fn two_processes_that_learn_at_once_lose_nothing() {
    let (_dir, path) = room();
    let known = KnownKeys::open(&path).unwrap();
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "helper_process_that_learns"])
        .env("KNOWN_KEYS_OF_HELPER", &path)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    for number in 0..100 {
        known.record(entry(number)).unwrap();
    }
    assert!(other.wait().unwrap().success());
    assert_eq!(
        numbers(&path),
        (0..100).chain(1000..1100).map(key).collect()
    );
}

/// docs/wire I42
#[test]
fn a_changed_mode_takes_effect_at_once() {
    let (_dir, path) = room();
    let known = KnownKeys::open(&path).unwrap();
    known.record(entry(1)).unwrap();
    for (bits, locked) in [(0o444, true), (0o464, false), (0o440, true), (0o644, false)] {
        chmod(&path, bits);
        assert_eq!(known.is_locked().unwrap(), locked, "{bits:o}");
        let recorded = known.record(entry(bits));
        assert_eq!(
            matches!(recorded, Err(KnownKeysError::Locked { .. })),
            locked,
            "{bits:o}: {recorded:?}"
        );
        assert_eq!(mode(&path), bits);
    }
}

#[test]
fn a_policy_of_ones_own_overrides_the_mode() {
    let (_dir, path) = room();
    let learning = KnownKeys::open_with(&path, KnownKeysPolicy::Learn).unwrap();
    learning.record(entry(1)).unwrap();
    chmod(&path, 0o444);
    learning.record(entry(2)).unwrap();
    chmod(&path, 0o644);
    let locked = KnownKeys::open_with(&path, KnownKeysPolicy::Locked).unwrap();
    assert!(matches!(
        locked.record(entry(3)),
        Err(KnownKeysError::Locked { .. })
    ));
    assert_eq!(numbers(&path), [key(1), key(2)].into());
}

/// docs/wire I41: an editor's, and what only people read.
#[test]
fn what_somebody_wrote_by_hand_is_seen_and_kept() {
    let (_dir, path) = room();
    let known = KnownKeys::open(&path).unwrap();
    known.record(entry(1)).unwrap();
    let mut text = fs::read_to_string(&path).unwrap();
    text.push_str("\n# the build machines\r\nword\n");
    fs::write(&path, &text).unwrap();
    known.record(entry(2)).unwrap();
    let now = fs::read_to_string(&path).unwrap();
    assert!(now.starts_with(&text), "{now}");
    assert_eq!(numbers(&path), [key(1), key(2)].into());
    assert_eq!(
        fs::read_to_string(path.with_extension("old")).unwrap(),
        text
    );
}

/// docs/wire I43
#[test]
fn a_garbage_line_stops_everything_and_loses_nothing() {
    let (_dir, path) = room();
    let known = KnownKeys::open(&path).unwrap();
    known.record(entry(1)).unwrap();
    let mut text = fs::read(&path).unwrap();
    text.extend_from_slice(b"# still fine\n1.2.3.4 \xff\xfegarbage\n");
    fs::write(&path, &text).unwrap();
    for error in [
        known.record(entry(2)).unwrap_err(),
        known.list().unwrap_err(),
        KnownKeys::open(&path).unwrap_err(),
        KnownKeys::add(&path, entry(2)).unwrap_err(),
        KnownKeys::remove(&path, &key(1)).unwrap_err(),
        KnownKeys::lock(&path).unwrap_err(),
        KnownKeys::unlock(&path).unwrap_err(),
    ] {
        let error = error.to_string();
        assert!(
            error.contains("known_client_keys, line 4: the second word"),
            "{error}"
        );
    }
    assert_eq!(fs::read(&path).unwrap(), text);
}

/// docs/wire I43
#[test]
fn a_file_that_is_gone_is_an_error_and_not_an_open_door() {
    let (_dir, path) = room();
    let known = KnownKeys::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    for error in [
        known.list().unwrap_err(),
        known.record(entry(1)).unwrap_err(),
    ] {
        assert!(matches!(error, KnownKeysError::NotFound { .. }), "{error}");
    }
    assert!(!path.exists(), "it was made");
}

/// docs/wire I31
#[test]
fn a_directory_or_a_pipe_is_no_list() {
    let (dir, path) = room();
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let pipe = dir.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    for path in [path.as_path(), &pipe, Path::new("/dev/zero")] {
        let error = KnownKeys::open(path).unwrap_err();
        assert!(matches!(error, KnownKeysError::NotAFile { .. }), "{error}");
        let error = KnownKeys::add(path, entry(1)).unwrap_err();
        assert!(matches!(error, KnownKeysError::NotAFile { .. }), "{error}");
    }
}

/// docs/wire I31
#[test]
fn a_link_is_followed_and_stays_one() {
    let (dir, path) = room();
    let link = dir.path().join("link");
    symlink(KNOWN_CLIENT_KEYS, &link).unwrap();
    let known = KnownKeys::open(&link).unwrap();
    known.record(entry(1)).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(numbers(&path), [key(1)].into());

    let dangling = dir.path().join("dangling");
    symlink("nowhere", &dangling).unwrap();
    assert!(matches!(
        KnownKeys::open(&dangling),
        Err(KnownKeysError::NotFound { .. })
    ));
}

#[test]
fn a_file_too_large_is_not_read() {
    let (_dir, path) = room();
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len((16 << 20) + 1)
        .unwrap();
    assert!(matches!(
        KnownKeys::open(&path),
        Err(KnownKeysError::TooLarge { .. })
    ));
}

#[test]
fn an_administrator_adds_removes_locks_and_unlocks() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mine");
    KnownKeys::unlock(&path).unwrap();
    assert_eq!((mode(&path), fs::read(&path).unwrap().len()), (0o600, 0));
    assert!(matches!(
        KnownKeys::lock(&path),
        Err(KnownKeysError::LockedEmpty { .. })
    ));
    assert!(KnownKeys::add(&path, entry(1)).unwrap());
    assert!(!KnownKeys::add(&path, entry(1)).unwrap());
    KnownKeys::lock(&path).unwrap();
    assert_eq!(mode(&path), 0o400);
    // The lock is for strangers: the administrator's word counts.
    assert!(KnownKeys::add(&path, entry(2)).unwrap());
    assert_eq!(mode(&path), 0o400);
    assert_eq!(KnownKeys::remove(&path, &key(1)).unwrap(), 1);
    assert_eq!(KnownKeys::remove(&path, &key(1)).unwrap(), 0);
    assert_eq!(numbers(&path), [key(2)].into());
    KnownKeys::unlock(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
}

/// docs/wire I43: the limit holds for what is written too.
#[test]
fn a_list_that_is_full_takes_no_more() {
    let (_dir, path) = room();
    let mut text = format!("#{}\n", "x".repeat((16 << 20) - 30)).into_bytes();
    text.extend_from_slice(b"# end\n");
    fs::write(&path, &text).unwrap();
    let known = KnownKeys::open(&path).unwrap();
    let error = known.record(entry(1)).unwrap_err();
    assert!(matches!(error, KnownKeysError::TooLarge { .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), text);
}

/// docs/wire I43: a lock outlives the file, however it was made.
#[test]
fn a_lock_is_not_undone_by_losing_the_file() {
    type Locks = fn(&Path);
    let by_command: Locks = |path| KnownKeys::lock(path).unwrap();
    let by_chmod: Locks = |path| {
        chmod(path, 0o444);
        // Whoever only looks leaves nothing behind.
        let looking = KnownKeys::open_for_inspection(path);
        assert!(looking.is_locked().unwrap());
        assert!(!path.with_extension("locked").exists());
        // A server has seen it.
        assert!(KnownKeys::open(path).unwrap().is_locked().unwrap());
    };
    for lock in [by_command, by_chmod] {
        let (_dir, path) = room();
        KnownKeys::add(&path, entry(1)).unwrap();
        lock(&path);
        let text = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        for error in [
            KnownKeys::if_there(&path).unwrap_err(),
            KnownKeys::open(&path).unwrap_err(),
            KnownKeys::unlock(&path).unwrap_err(),
        ] {
            let said = error.to_string();
            assert!(matches!(error, KnownKeysError::LockedGone { .. }), "{said}");
            assert!(
                said.contains("known add") && said.contains("unlock --anew"),
                "{said}"
            );
        }
        assert!(!path.exists(), "it was made");

        // Restored, it is what it was.
        fs::write(&path, &text).unwrap();
        chmod(&path, 0o444);
        assert!(KnownKeys::if_there(&path).unwrap().is_locked().unwrap());
        // What is named again is a locked list from the first key on.
        fs::remove_file(&path).unwrap();
        KnownKeys::add(&path, entry(2)).unwrap();
        assert_eq!(mode(&path), 0o400);
        let known = KnownKeys::if_there(&path).unwrap();
        assert!(matches!(
            known.record(entry(3)),
            Err(KnownKeysError::Locked { .. })
        ));
        assert_eq!(numbers(&path), [key(2)].into());
        // Who unlocks it, or says so, begins anew.
        fs::remove_file(&path).unwrap();
        KnownKeys::unlock_anew(&path).unwrap();
        assert!(!KnownKeys::if_there(&path).unwrap().is_locked().unwrap());
        fs::remove_file(&path).unwrap();
        KnownKeys::if_there(&path).unwrap();
        KnownKeys::unlock(&path).unwrap();
    }
}

/// docs/wire I41: a process that is stopped with the lock in its hand stops no other for long.
#[test]
fn a_lock_that_is_not_let_go_of_is_waited_for_a_while() {
    let (_dir, path) = room();
    let known = KnownKeys::open(&path).unwrap();
    known.record(entry(1)).unwrap();
    let held = fs::File::open(&path).unwrap();
    held.lock().unwrap();
    // Those that wait together have waited together.
    thread::scope(|scope| {
        for number in 2..20 {
            let known = &known;
            scope.spawn(move || {
                let error = known.record(entry(number)).unwrap_err();
                let said = error.to_string();
                assert!(matches!(error, KnownKeysError::Busy { .. }), "{said}");
                assert!(said.contains("known_client_keys for 3 seconds"), "{said}");
            });
        }
        // Meanwhile what is there is read.
        assert_eq!(known.list().unwrap().keys().len(), 1);
    });
    held.unlock().unwrap();
    known.record(entry(30)).unwrap();
    assert_eq!(numbers(&path), [key(1), key(30)].into());
}
