//! Every situation recorded from the original: who is let in, and what the file says afterwards.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{KnownKey, KnownKeys, KnownKeysError, Lookup};
use crate::public_key::PublicKey;

/// Where towline decides otherwise, with the rule whose exception says why.
const DIFFERENT: [(&str, &str); 6] = [
    // What is refused in place of being let in.
    (
        "DEFECT chain: unknown leaf + known extra cert, read-only",
        "I14",
    ),
    // What is written.
    (
        "DEFECT chain: leaf + CA, first use records the CA key too",
        "I41: the leaf alone",
    ),
    (
        "comments and blank lines dropped on rewrite, extra words dropped",
        "I41: kept",
    ),
    (
        "key text in file is not validated",
        "I41: no header is added",
    ),
    ("email after second colon dropped on rewrite", "I41: kept"),
    ("mode 0020 counts as writable", "I41: the mode is kept"),
];

struct Case {
    name: String,
    decoded: Value,
}

impl Case {
    fn text(&self, key: &str) -> Option<&str> {
        self.decoded[key].as_str()
    }

    fn mode(&self, key: &str) -> Option<u32> {
        self.text(key)
            .map(|mode| u32::from_str_radix(mode, 8).unwrap())
    }

    /// The leaf: nobody looks at the others (docs/wire I14).
    fn leaf(&self) -> KnownKey {
        let text = self.decoded["peer_certs_pubkey_hex"][0].as_str().unwrap();
        let (hex, emails) = text.split_once(" emails=").unwrap();
        let bytes: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect();
        let key = PublicKey::from(<[u8; 32]>::try_from(bytes).unwrap());
        KnownKey::new(key, self.text("remote_addr").unwrap(), emails)
    }

    fn is_different(&self) -> bool {
        DIFFERENT.iter().any(|(name, _)| *name == self.name)
    }
}

fn cases() -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/known_keys.json");
    let entries: Vec<Value> = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    entries
        .into_iter()
        .map(|entry| Case {
            name: entry["name"].as_str().unwrap().to_owned(),
            decoded: entry["decoded"].clone(),
        })
        .collect()
}

fn place(case: &Case, dir: &Path) -> PathBuf {
    let path = dir.join("known_client_keys");
    if let Some(text) = case.text("file_before") {
        fs::write(&path, text).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = case.mode("mode_before").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
    }
    path
}

/// One connection: whether the peer is let in, and whether its key is new.
fn connect(path: &Path, leaf: KnownKey) -> Result<(bool, bool), KnownKeysError> {
    let known = KnownKeys::if_there(path)?;
    let key = leaf.public_key().unwrap();
    Ok(match known.snapshot()?.look_up(&key) {
        Lookup::Unlisted | Lookup::Known(_) => (true, false),
        Lookup::Refused => (false, false),
        Lookup::New => {
            known.record(leaf)?;
            (true, true)
        }
    })
}

/// docs/wire I40 to I43
#[test]
fn every_recorded_situation_ends_as_the_originals_or_as_we_say() {
    let cases = cases();
    assert_eq!(cases.len(), 22);
    for case in &cases {
        let dir = tempfile::tempdir().unwrap();
        let path = place(case, dir.path());
        let (admitted, new) = connect(&path, case.leaf()).unwrap_or((false, false));
        let name = &case.name;
        let theirs = case.decoded["server_accepts"].as_bool().unwrap();
        if name.contains("unknown leaf + known extra") {
            assert!(theirs && !admitted, "{name}");
        } else {
            assert_eq!(admitted, theirs, "{name}");
            assert_eq!(new, case.decoded["was_new"].as_bool().unwrap(), "{name}");
        }
        let after = fs::read_to_string(&path).ok();
        let before = case.text("file_before");
        if !case.is_different() {
            assert_eq!(after.as_deref(), case.text("file_after"), "{name}");
        } else if new {
            // What was there, and one line more, which the original writes too.
            let (after, theirs) = (after.unwrap(), case.text("file_after").unwrap());
            let before = before.unwrap();
            let added = after.strip_prefix(before).unwrap();
            assert!(
                added.ends_with('\n') && theirs.contains(added),
                "{name}: {added}"
            );
            assert!(added.lines().count() <= 2, "{name}: {added}");
        } else {
            assert_eq!(after.as_deref(), before, "{name}");
        }
        let old = dir.path().join("known_client_keys.old");
        let expected = if new { before } else { None };
        assert_eq!(fs::read_to_string(old).ok().as_deref(), expected, "{name}");
        #[cfg(unix)]
        if let Some(mode) = case.mode("mode_before") {
            use std::os::unix::fs::PermissionsExt;
            let found = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(found, mode, "{name}");
        }
    }
}

/// docs/wire I43: a locked and empty file is an error at start, of its own.
#[test]
fn the_recorded_locked_empty_file_is_an_error_at_start() {
    let cases = cases();
    let case = cases
        .iter()
        .find(|case| case.name == "read-only empty")
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let error = KnownKeys::open(place(case, dir.path())).unwrap_err();
    assert!(
        matches!(error, KnownKeysError::LockedEmpty { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("tow keys known add"), "{error}");
}
