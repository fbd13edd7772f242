//! What is left behind when a process is interrupted or killed, and what becomes of it.

#![cfg(target_os = "linux")]

#[expect(dead_code, reason = "shared with other tests, which use the rest")]
mod support;

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use support::{Place, exit_code, names, noise, stderr};

/// Large for the transfer, small on the disk of whoever runs the test.
fn sparse(place: &Place, name: &str) {
    let file = fs::File::create(place.path(name)).expect("made");
    file.set_len(1 << 30).expect("made");
}

fn parts(dir: &Path) -> Vec<String> {
    let mut names = if dir.exists() { names(dir) } else { Vec::new() };
    names.retain(|name| name.ends_with(".tow-part"));
    names
}

/// Waits for a part file, which must come while the process runs.
fn wait_for_part(dir: &Path, child: &mut Child) {
    while parts(dir).is_empty() {
        let ended = child.try_wait().expect("known");
        assert!(ended.is_none(), "it ended too early");
        std::thread::yield_now();
    }
}

#[test]
fn what_a_killed_server_left_goes_when_the_next_one_starts() {
    let place = Place::with_keys();
    fs::create_dir(place.path("srv/deep")).expect("made");
    sparse(&place, "big.bin");
    let mut server = place.serve(&["--allow-write", "--no-fsync"]);
    let url = format!("{}#deep", server.url);
    let mut client = place
        .tow(&["push", "--whole", "big.bin", &url, "--compress", "none"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    let deep = place.path("srv/deep");
    wait_for_part(&deep, &mut client);
    server.kill();
    let pushed = client.wait_with_output().expect("ends");
    let text = stderr(&pushed);
    assert_eq!(exit_code(&pushed), 1, "{text}");
    // In words for people, with what to do.
    assert!(text.contains("big.bin: the other end went away"), "{text}");
    assert!(
        text.contains("bytes had been sent, nothing was stored"),
        "{text}"
    );
    assert!(text.contains("hint: "), "{text}");
    assert!(
        !text.contains("close_notify") && !text.contains("os error"),
        "{text}"
    );
    assert_eq!(parts(&deep).len(), 1, "a killed process removes nothing");

    // What only looks like it stays.
    fs::write(deep.join(".mine.tow-part"), "x").expect("written");
    let _reader = place.serve(&[]);
    let called = place.serve(&["--allow-write"]);
    while parts(&deep).len() > 1 {
        std::thread::yield_now();
    }
    drop(called);
    assert_eq!(names(&deep), [".mine.tow-part"]);
}

#[test]
fn what_a_killed_pull_left_goes_with_the_next_one() {
    let place = Place::with_keys();
    sparse(&place, "srv/big.bin");
    fs::write(place.path("srv/small.bin"), noise(10)).expect("written");
    let server = place.serve(&[]);
    let pull = |name: &str| {
        let url = format!("{}#{name}", server.url);
        place.tow(&["pull", "--whole", &url, "-o", "out", "--compress", "none"])
    };
    let out = place.path("out");
    let mut killed = pull("big.bin").stderr(Stdio::null()).spawn().expect("runs");
    wait_for_part(&out, &mut killed);
    killed.kill().expect("killed");
    killed.wait().expect("ends");
    assert_eq!(parts(&out).len(), 1, "a killed process removes nothing");

    // The next one removes it, and is itself left alone by another while it runs.
    let abandoned = parts(&out);
    let mut running = pull("big.bin").stderr(Stdio::null()).spawn().expect("runs");
    while parts(&out) == abandoned || parts(&out).is_empty() {
        std::thread::yield_now();
    }
    while parts(&out).len() > 1 {
        std::thread::yield_now();
    }
    let held = parts(&out);
    assert_ne!(held, abandoned);
    let pulled = pull("small.bin").output().expect("runs");
    assert_eq!(exit_code(&pulled), 0, "{}", stderr(&pulled));
    let ended = running.try_wait().expect("known");
    assert!(ended.is_none(), "it ended too early");
    assert_eq!(parts(&out), held);
    running.kill().expect("killed");
    running.wait().expect("ends");
    let pulled = pull("small.bin").output().expect("runs");
    assert_eq!(exit_code(&pulled), 0, "{}", stderr(&pulled));
    assert_eq!(names(&out), ["small.bin"]);
}

/// The processes that this one started.
fn children(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).expect("readable") {
        let path = task.expect("readable").path().join("children");
        let text = fs::read_to_string(path).unwrap_or_default();
        found.extend(
            text.split_whitespace()
                .map(|pid| pid.parse::<u32>().expect("a number")),
        );
    }
    found
}

/// A process that has ended has no command line any more, also while nobody has asked for its end.
fn runs(pid: u32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

#[test]
fn an_interrupted_demo_leaves_no_files_and_no_server() {
    for signal in ["-INT", "-TERM"] {
        let place = Place::new();
        fs::create_dir(place.path("tmp")).expect("made");
        sparse(&place, "big.bin");
        let mut demo = place
            .tow(&["demo", "big.bin"])
            .env("TMPDIR", place.path("tmp"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("runs");
        let served = |demo: &mut Child| {
            assert!(
                demo.try_wait().expect("known").is_none(),
                "it ended too early"
            );
            let dirs = names(&place.path("tmp"));
            dirs.first()
                .map(|dir| place.path("tmp").join(dir).join("served"))
        };
        // In the middle of the push.
        while served(&mut demo).is_none_or(|dir| parts(&dir).is_empty()) {
            std::thread::yield_now();
        }
        let servers = children(demo.id());
        assert_eq!(servers.len(), 1);
        assert!(runs(servers[0]));
        let sent = Command::new("kill")
            .args([signal, &demo.id().to_string()])
            .status()
            .expect("runs");
        assert!(sent.success());
        let ended = demo.wait_with_output().expect("ends");
        assert_eq!(exit_code(&ended), 1, "{}", stderr(&ended));
        assert!(stderr(&ended).contains("interrupted"), "{}", stderr(&ended));
        assert!(!runs(servers[0]), "{signal}: the server is gone");
        assert!(
            names(&place.path("tmp")).is_empty(),
            "{signal}: nothing is left"
        );
    }
}
