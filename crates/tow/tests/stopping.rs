//! What a server says when it is stopped.

#![cfg(unix)]

#[expect(dead_code, reason = "shared with other tests, which use the rest")]
mod support;

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
};

use support::{Place, exit_code, stderr};

/// Serves these calls, interrupts the server, and returns its last words.
fn interrupted_after(calls: usize) -> serde_json::Value {
    let place = Place::with_keys();
    let mut child = place
        .tow(&["serve", "srv", "--listen", "tls://127.0.0.1:0", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("runs");
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    out.read_line(&mut line).expect("readable");
    let listening: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    let url = listening["url"].as_str().expect("where it listens");
    for _ in 0..calls {
        let called = place.tow(&["call", url, "customEcho", "x"]).output();
        let called = called.expect("runs");
        assert_eq!(exit_code(&called), 0, "{}", stderr(&called));
    }
    let sent = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(sent.expect("runs").success());
    let mut rest = String::new();
    out.read_to_string(&mut rest).expect("readable");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    let last = rest.lines().last().expect("its last words");
    serde_json::from_str(last).expect("JSON")
}

/// docs/wire T34
#[test]
fn an_interrupted_server_tells_how_many_calls_a_second_it_has_seen() {
    let stopped = interrupted_after(3);
    assert_eq!(stopped["event"], "stopped");
    assert_eq!(
        (&stopped["calls"], &stopped["accepted"]),
        (&3.into(), &3.into())
    );
    assert!(
        stopped["calls_per_second"].as_f64() > Some(0.0),
        "{stopped}"
    );
    // However soon, it is a number.
    let stopped = interrupted_after(0);
    assert_eq!(stopped["calls"], 0);
    assert_eq!(stopped["calls_per_second"].as_f64(), Some(0.0));
}
