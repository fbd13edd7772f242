//! Files and streams through a broker, as a user moves them: real processes and a real nats-server.

#![cfg(feature = "nats")]

#[expect(dead_code, reason = "shared with other tests, which use the rest")]
mod support;

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Stdio},
};

use futures_util::StreamExt as _;
use support::{Place, exit_code, noise, stderr, stdout};
use towline::swp::network::{broker::Broker, nats::NatsNetwork};

/// A broker, unless none is on this machine: then the test has nothing to say, except where one is
/// required.
fn broker() -> Option<Broker> {
    if Broker::program().is_none() && std::env::var_os("TOWLINE_REQUIRE_NATS").is_none() {
        return None;
    }
    Some(Broker::start().expect("a nats-server"))
}

fn url(broker: &Broker, stack: &str, subject: &str) -> String {
    format!("{stack}://127.0.0.1:{}/{subject}", broker.port())
}

/// A `tow listen --echo`, killed when dropped.
struct Echo(Child);

impl Echo {
    fn start(place: &Place, url: &str) -> Self {
        let mut child = place
            .tow(&["listen", url, "--echo"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("runs");
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.take().expect("piped"));
        said.read_line(&mut line).expect("readable");
        assert_eq!(line.trim(), format!("listening on {url}"));
        Self(child)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn an_echo_gives_back_every_byte_through_a_broker() {
    let Some(broker) = broker() else { return };
    let place = Place::with_keys();
    let bytes = noise(2_000_001);
    for stack in ["nats", "tls+nats", "yamux+nats", "muxado+tls+nats"] {
        let url = url(&broker, stack, &format!("echo.{}", stack.replace('+', "-")));
        let _echo = Echo::start(&place, &url);
        for streams in ["1", "2"] {
            let mut child = place
                .tow(&["connect", &url, "--streams", streams])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("runs");
            let mut stdin = child.stdin.take().expect("piped");
            let input = bytes.clone();
            let feeding = std::thread::spawn(move || stdin.write_all(&input));
            let output = child.wait_with_output().expect("ends");
            feeding.join().expect("no panic").expect("taken");
            assert_eq!(exit_code(&output), 0, "{url}: {}", stderr(&output));
            assert!(output.stdout == bytes, "{url} over {streams}");
        }
    }
}

#[test]
fn files_go_through_a_broker_and_come_back() {
    let Some(broker) = broker() else { return };
    let place = Place::with_keys();
    let server = place.serve_at(
        &url(&broker, "tls+nats", "files"),
        &["--allow-write", "--no-fsync"],
    );
    for size in [0, 1, 3_145_733] {
        let bytes = noise(size);
        fs::write(place.path("a.bin"), &bytes).expect("written");
        let pushed = place.tow(&["push", "a.bin", &server.url]).output();
        let pushed = pushed.expect("runs");
        assert_eq!(exit_code(&pushed), 0, "{}", stderr(&pushed));
        assert!(fs::read(place.path("srv/a.bin")).expect("stored") == bytes);
        let from = format!("{}#a.bin", server.url);
        let pulled = place
            .tow(&["pull", &from, "-o", "out", "--no-fsync"])
            .output();
        let pulled = pulled.expect("runs");
        assert_eq!(exit_code(&pulled), 0, "{}", stderr(&pulled));
        assert!(fs::read(place.path("out/a.bin")).expect("stored") == bytes);
        fs::remove_dir_all(place.path("out")).expect("removed");
    }
    // Nobody who has no key of the authority, and nothing that is not encrypted.
    let stranger = Place::with_keys();
    fs::write(stranger.path("a.bin"), "x").expect("written");
    let refused = stranger.tow(&["push", "a.bin", &server.url]).output();
    assert_ne!(exit_code(&refused.expect("runs")), 0);
    let plain = url(&broker, "nats", "files");
    let refused = place
        .tow(&["push", "a.bin", &plain])
        .output()
        .expect("runs");
    assert_eq!(exit_code(&refused), 6, "{}", stderr(&refused));
    let nobody = url(&broker, "tls+nats", "nobody");
    let alone = place
        .tow(&["push", "a.bin", &nobody, "--timeout", "1s"])
        .output();
    let alone = alone.expect("runs");
    assert_eq!(exit_code(&alone), 3, "{}{}", stdout(&alone), stderr(&alone));
}

#[test]
fn a_broker_that_is_killed_and_started_again_spoils_no_file() {
    let Some(mut broker) = broker() else { return };
    let place = Place::with_keys();
    let server = place.serve_at(
        &url(&broker, "tls+nats", "again"),
        &["--allow-write", "--no-fsync"],
    );
    let bytes = noise(48 << 20);
    fs::write(place.path("big.bin"), &bytes).expect("written");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let address = broker.url();
    let watching = runtime.block_on(NatsNetwork::connect(&address));
    let watching = watching.expect("connected");
    let mut seen = runtime
        .block_on(async {
            let seen = watching.client().subscribe("again").await;
            watching.client().flush().await.expect("flushed");
            seen
        })
        .expect("subscribed");
    let push = place
        .tow(&["push", "big.bin", &server.url])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    runtime.block_on(async {
        // A third of it has passed: the broker dies in the middle.
        let mut passed = 0;
        while passed < bytes.len() / 3 {
            passed += seen.next().await.expect("a packet").payload.len();
        }
    });
    broker.restart().expect("started again");
    let pushed = push.wait_with_output().expect("ends");
    assert_eq!(exit_code(&pushed), 0, "{}", stderr(&pushed));
    assert!(fs::read(place.path("srv/big.bin")).expect("stored") == bytes);
}
