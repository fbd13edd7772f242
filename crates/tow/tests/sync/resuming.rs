//! What is not sent again, and files that are under way.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use crate::{
    summary,
    support::{self, Place, noise},
    wait_for_line,
};

#[test]
fn only_what_changed_of_a_file_is_sent() {
    let place = Place::with_keys();
    let mut bytes = noise(8 << 20);
    fs::write(place.path("f"), &bytes).expect("written");
    let server = place.serve(&["--allow-write"]);
    let there = format!("{}#stored", server.url);
    let sync = || {
        summary(
            &place
                .tow(&["sync", "--json", "f", &there])
                .output()
                .expect("runs"),
        )
    };
    assert_eq!(sync()["literal"], bytes.len());
    assert!(fs::read(place.path("srv/stored")).expect("there") == bytes);
    bytes.splice(1000..1000, *b"put in");
    bytes[5_000_000..5_004_096].fill(7);
    fs::write(place.path("f"), &bytes).expect("written");
    let literal = sync()["literal"].as_u64().expect("a number");
    assert!(literal < 20_000, "{literal}");
    assert!(fs::read(place.path("srv/stored")).expect("there") == bytes);
}

/// docs/wire D20: killed again and again, a client goes on where it was, and the file comes out whole.
#[test]
fn a_client_that_is_killed_sends_nothing_twice() {
    let place = Place::with_keys();
    let size = 64 << 20;
    fs::write(place.path("big"), noise(size)).expect("written");
    let server = place.serve(&["--allow-write", "--no-fsync"]);
    let journal = place.path("srv/.big.tow-journal");
    let records = || journal.metadata().map_or(0, |meta| meta.len()) / 52;
    let mut before = 0;
    for _ in 0..5 {
        let mut client = place
            .tow(&["sync", "big", &server.url, "--limit", "40MiB"])
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("runs");
        while records() < before + 20 {
            assert!(
                client.try_wait().expect("known").is_none(),
                "it ended too early"
            );
            std::thread::yield_now();
        }
        client.kill().expect("killed");
        client.wait().expect("ends");
        assert!(!place.path("srv/big").exists());
        before = records();
    }
    let args = ["sync", "--json", "big", &server.url];
    let last = summary(&place.tow(&args).output().expect("runs"));
    let literal = last["literal"].as_u64().expect("a number");
    assert!(
        literal <= size as u64 - before * (256 << 10),
        "{literal} after {before} blocks"
    );
    assert!(fs::read(place.path("srv/big")).expect("there") == noise(size));
    assert_eq!(support::names(&place.path("srv")), ["big"]);
}

/// docs/wire D20: what somebody else receives is waited for, and that is said.
#[test]
fn a_file_that_somebody_else_receives_is_waited_for() {
    held("tls://127.0.0.1:0");
}

pub(crate) fn held(url: &str) {
    let place = Place::with_keys();
    fs::write(place.path("big"), noise(1 << 20)).expect("written");
    let server = place.serve_at(url, &["--allow-write", "--no-fsync"]);
    let partial = fs::File::create(place.path("srv/.big.tow-partial")).expect("made");
    partial.lock().expect("locked");
    let mut waiting = place
        .tow(&["sync", "big", &server.url])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("runs");
    let errors = waiting.stderr.take().expect("piped");
    let mut errors = BufReader::new(errors).lines();
    wait_for_line(&mut errors, "by somebody else; waiting until that ends");
    drop(partial);
    assert!(waiting.wait().expect("ends").success());
    assert!(fs::read(place.path("srv/big")).expect("there") == noise(1 << 20));
}
