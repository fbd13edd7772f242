//! `tow chunks`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

fn chunks(args: &[&str]) -> (bool, String, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_tow"))
        .arg("chunks")
        .args(args)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (done.status.success(), text(done.stdout), text(done.stderr))
}

/// docs/wire D4: a tail that is not above the smallest size is a chunk as any other; the original's
/// `binarydiff` dies of it.
#[test]
fn every_chunk_is_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f");
    std::fs::write(&file, vec![0; 65_536 + 5]).unwrap();
    let (ok, out, _) = chunks(&[file.to_str().unwrap()]);
    assert!(ok);
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines.len(), 26, "{out}");
    assert!(lines.iter().all(|line| line.starts_with("blake3.32B-")));
    let (ok, out, _) = chunks(&["--chunker", "fast", "--manifest", file.to_str().unwrap()]);
    assert!(ok);
    let manifest: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(manifest["NumChunks"], 2);
    assert_eq!(manifest["FileSize"], 65_541);
}

#[test]
fn sizes_that_make_no_sense_are_wrong_usage() {
    let (ok, _, errors) = chunks(&["--sizes", "300,200,400", "f"]);
    assert!(!ok && errors.contains("smallest size 300"), "{errors}");
    let (ok, _, errors) = chunks(&["no-such-file"]);
    assert!(!ok && errors.contains("no-such-file"), "{errors}");
}
