//! The commands over `quic://`, by real processes (docs/wire F36).

#[expect(dead_code, reason = "shared with other tests, which use the rest")]
mod support;

use std::fs;

use support::{Place, exit_code, noise, stderr, stdout};

const HERE: &str = "quic://127.0.0.1:0";

/// Runs the program, which must succeed, and returns what it prints.
fn succeeds(place: &Place, args: &[&str]) -> String {
    let output = place.tow(args).output().expect("runs");
    assert_eq!(exit_code(&output), 0, "{args:?}: {}", stderr(&output));
    stdout(&output)
}

#[test]
fn calls_and_files_go_over_quic() {
    let place = Place::with_keys();
    let server = place.serve_at(HERE, &["--allow-write", "--no-fsync"]);
    let url = server.url.as_str();
    assert!(url.starts_with("quic://127.0.0.1:") && !url.ends_with(":0"));
    let said = succeeds(&place, &["call", url, "customEcho", "hello"]);
    assert!(said.starts_with("hello"), "{said}");

    // In one part, in several, and large enough for a sync of the file.
    for (name, size) in [("empty", 0), ("small", 2_500_000), ("large", 5_000_000)] {
        let bytes = noise(size);
        fs::write(place.path(name), &bytes).expect("written");
        for whole in [&["--whole"][..], &[]] {
            let to = format!("{url}#{}", whole.len());
            succeeds(&place, &[&["push", name, &to], whole].concat());
            let stored = format!("{}/{name}", whole.len());
            assert!(fs::read(place.path(&format!("srv/{stored}"))).expect("there") == bytes);
            let into = format!("back {stored}").replace('/', " ");
            let from = format!("{url}#{stored}");
            succeeds(&place, &[&["pull", &from, "-o", &into], whole].concat());
            let back = place.path(&into).join(name);
            assert!(fs::read(back).expect("there") == bytes, "{stored}");
        }
    }
}

#[test]
fn a_server_on_quic_is_measured() {
    let place = Place::with_keys();
    let server = place.serve_at(HERE, &[]);
    let figures = succeeds(
        &place,
        &[
            "bench",
            &server.url,
            "--time",
            "10ms",
            "--compressors",
            "none,s2",
            "--json",
        ],
    );
    let rows: Vec<serde_json::Value> = figures
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .filter(|event: &serde_json::Value| event["event"] == "bench")
        .collect();
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert!(row["connect"]["count"].as_u64() >= Some(1), "{row}");
        assert!(row["bulk_bytes_per_second"].as_f64() > Some(0.0), "{row}");
        assert!(row["stream_bytes_per_second"].as_f64() > Some(0.0), "{row}");
    }
}

#[test]
fn who_may_not_come_in_over_quic_hears_so() {
    let place = Place::with_keys();
    let server = place.serve_at(HERE, &[]);
    // A stranger: another authority of the same name.
    let elsewhere = Place::with_keys();
    let called = elsewhere.tow(&["call", &server.url, "customEcho"]).output();
    let called = called.expect("runs");
    assert_eq!(exit_code(&called), 6, "{}", stderr(&called));
    // Files need no --insecure, as over TLS; a write needs leave.
    fs::write(place.path("a"), "a").expect("written");
    let pushed = place.tow(&["push", "a", &server.url]).output();
    let pushed = pushed.expect("runs");
    assert_eq!(exit_code(&pushed), 6, "{}", stderr(&pushed));
    // The key of somebody else alone is let in.
    let own = succeeds(&place, &["keys", "show", "certs/node.crt", "--json"]);
    let own: serde_json::Value = serde_json::from_str(own.trim()).expect("JSON");
    let node = own["public_key"].as_str().expect("a key");
    let guarded = place.serve_at(HERE, &["--allow", node]);
    let called = place.tow(&["call", &guarded.url, "customEcho"]).output();
    assert_eq!(exit_code(&called.expect("runs")), 6);
    // All that has not stopped the first.
    succeeds(&place, &["call", &server.url, "customEcho", "x"]);

    // And a port where nobody is.
    let port = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let nobody = format!("quic://{}", port.local_addr().expect("it has one"));
    let args = ["call", &nobody, "customEcho", "--timeout", "300ms"];
    let called = place.tow(&args).output().expect("runs");
    assert_eq!(exit_code(&called), 3, "{}", stderr(&called));
}
