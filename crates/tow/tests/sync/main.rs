//! `tow sync` and `tow check`, as a user meets them.

#![cfg(target_os = "linux")]

mod refusing;
mod resuming;
#[cfg(feature = "nats")]
mod sessions;
#[expect(dead_code, reason = "shared with other tests, which use the rest")]
#[path = "../support/mod.rs"]
mod support;
mod trees;
mod watching;

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::Path,
};

use support::{exit_code, noise, stderr, stdout};

/// A tree with something of everything.
fn tree(root: &Path) {
    fs::create_dir_all(root.join("deep/deeper")).expect("made");
    fs::create_dir(root.join("empty")).expect("made");
    fs::write(root.join("small.txt"), "a line\n").expect("written");
    fs::write(root.join("nothing"), "").expect("written");
    fs::write(root.join("deep/big.bin"), noise(3_000_000)).expect("written");
    fs::write(root.join("deep/deeper/run.sh"), "#!/bin/sh\n").expect("written");
    let mode = fs::Permissions::from_mode(0o750);
    fs::set_permissions(root.join("deep/deeper/run.sh"), mode).expect("set");
    symlink("deep/big.bin", root.join("link")).expect("made");
    symlink("/nowhere", root.join("dangling")).expect("made");
    fs::hard_link(root.join("deep/big.bin"), root.join("twin")).expect("made");
    let holes = fs::File::create(root.join("holes")).expect("made");
    holes.set_len(64 << 20).expect("made");
}

/// Path, content or target, mode, time, of everything beneath.
fn facts(root: &Path) -> Vec<(String, Vec<u8>, u32, i64, i64)> {
    let mut facts = Vec::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).expect("readable") {
            let path = entry.expect("readable").path();
            let meta = path.symlink_metadata().expect("there");
            let name = path
                .strip_prefix(root)
                .expect("beneath")
                .display()
                .to_string();
            if meta.is_symlink() {
                let target = fs::read_link(&path).expect("readable");
                facts.push((name, target.into_os_string().into_encoded_bytes(), 0, 0, 0));
                continue;
            }
            let content = if meta.is_dir() {
                dirs.push(path);
                Vec::new()
            } else {
                fs::read(&path).expect("readable")
            };
            facts.push((name, content, meta.mode(), meta.mtime(), meta.mtime_nsec()));
        }
    }
    facts.sort();
    facts
}

fn events(output: &std::process::Output) -> Vec<serde_json::Value> {
    let text = stdout(output);
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn summary(output: &std::process::Output) -> serde_json::Value {
    assert_eq!(exit_code(output), 0, "{}", stderr(output));
    let event = events(output)
        .into_iter()
        .find(|event| event["event"] == "synced");
    event.expect("a summary")
}

/// Waits for a line of an output that holds a text.
fn wait_for_line(lines: &mut impl Iterator<Item = std::io::Result<String>>, part: &str) {
    let mut others = Vec::new();
    for line in lines {
        let line = line.expect("readable");
        if line.contains(part) {
            return;
        }
        others.push(line);
    }
    panic!("it never said `{part}`, but {others:?}");
}
