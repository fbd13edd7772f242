//! `tow serve --admin` and `--limits`.

#![cfg(unix)]

#[expect(dead_code, reason = "each test program uses a part of what they share")]
mod support;

use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, ChildStdout, Stdio};

use support::{Place, exit_code, noise, stderr};

/// A server with an admin page.
struct Shown {
    child: Child,
    url: String,
    page: String,
    _out: Lines<BufReader<ChildStdout>>,
    log: Lines<BufReader<ChildStderr>>,
}

impl Shown {
    fn start(place: &Place, more: &[&str]) -> Self {
        let mut child = place
            .tow(&["-v", "serve", "srv", "--listen", "tls://127.0.0.1:0"])
            .args(["--until-stdin-ends", "--admin", "127.0.0.1:0"])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("runs");
        let mut out = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut said = |prefix: &str| {
            let line = out.next().expect("a line").expect("readable");
            let rest = line.strip_prefix(prefix).map(str::to_owned);
            rest.unwrap_or_else(|| panic!("the server said {line:?}"))
        };
        let (url, page) = (said("listening on "), said("admin page at "));
        let log = BufReader::new(child.stderr.take().expect("piped")).lines();
        Self {
            child,
            url,
            page,
            _out: out,
            log,
        }
    }

    fn address(&self) -> &str {
        let rest = self.page.strip_prefix("http://").expect("an URL");
        rest.trim_end_matches('/')
    }

    /// The whole answer to a request for this path.
    fn ask_by(&self, method: &str, path: &str, host: &str) -> String {
        let mut stream = TcpStream::connect(self.address()).expect("listens");
        // At once: a server may close at the first byte that is wrong.
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("taken");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        answer
    }

    fn ask(&self, path: &str) -> String {
        let answer = self.ask_by("GET", path, self.address());
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        body.to_owned()
    }

    fn json(&self, path: &str) -> serde_json::Value {
        serde_json::from_str(&self.ask(path)).expect("JSON")
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn what_a_server_does_is_shown() {
    let place = Place::with_keys();
    let server = Shown::start(&place, &["--allow-write"]);
    std::fs::write(place.path("file"), noise(3 << 20)).expect("written");
    let pushed = place
        .tow(&["push", "file", &server.url])
        .output()
        .expect("runs");
    assert_eq!(exit_code(&pushed), 0, "{}", stderr(&pushed));
    for _ in 0..2 {
        let called = place
            .tow(&["call", &server.url, "customEcho", "hello"])
            .output()
            .expect("runs");
        assert_eq!(exit_code(&called), 0, "{}", stderr(&called));
    }
    let nothing = place.tow(&["call", &server.url, "nothing"]).output();
    assert_ne!(exit_code(&nothing.expect("runs")), 0);

    assert_eq!(server.ask("/healthz"), "ok\n");
    let numbers = server.json("/numbers");
    assert_eq!(numbers["calls"], 2);
    assert!(numbers["streams"].as_u64() >= Some(1), "{numbers}");
    assert_eq!(numbers["requests_refused"], 1);
    assert_eq!(numbers["accepted"], 4);
    assert!(numbers["read_bytes"].as_u64() >= Some(3 << 20), "{numbers}");
    let metrics = server.ask("/metrics");
    for line in [
        "towline_rpc_calls_total 2",
        "towline_server_accepted_total 4",
        "towline_rpc_requests_refused_total 1",
    ] {
        assert!(metrics.lines().any(|one| one == line), "{line}: {metrics}");
    }
    // All in one page: it asks nobody else for anything.
    let page = server.ask("/");
    assert!(page.contains("Refusals a second"));
    assert!(!page.contains("src=") && !page.contains("href=") && !page.contains("//cdn"));
    let sessions = server.json("/sessions");
    assert_eq!(
        sessions["total"].as_u64(),
        Some(sessions["sessions"].as_array().expect("a list").len() as u64)
    );
}

#[test]
fn only_what_there_is_is_answered_and_only_to_whom_asks_by_address() {
    let place = Place::with_keys();
    let server = Shown::start(&place, &[]);
    let status = |method, path, host| {
        let answer = server.ask_by(method, path, host);
        answer[..12].to_owned()
    };
    assert_eq!(status("GET", "/secrets", "127.0.0.1"), "HTTP/1.1 404");
    assert_eq!(status("POST", "/metrics", "127.0.0.1"), "HTTP/1.1 405");
    // A name of somebody else's that points here.
    assert_eq!(
        status("GET", "/sessions", "rebound.example"),
        "HTTP/1.1 421"
    );
    assert_eq!(status("HEAD", "/healthz", "localhost:1"), "HTTP/1.1 200");
    let garbage = server.ask_by("\0", "/", "x");
    assert!(
        garbage.is_empty() || garbage.starts_with("HTTP/1.1 400"),
        "{garbage}"
    );
    assert_eq!(server.ask("/healthz"), "ok\n");
}

#[test]
fn an_address_that_others_reach_must_be_asked_for() {
    let place = Place::with_keys();
    let serve = |more: &[&str]| {
        let args = [&["serve", "srv", "--listen", "tls://127.0.0.1:0"], more].concat();
        place.tow(&args).output().expect("runs")
    };
    let refused = serve(&["--admin", "0.0.0.0:0"]);
    assert_eq!(exit_code(&refused), 6, "{}", stderr(&refused));
    assert!(stderr(&refused).contains("--insecure"));
}

/// docs/wire L53.
#[test]
fn limits_are_read_again_on_a_signal_and_connections_stay() {
    let place = Place::with_keys();
    let limits = place.path("limits.json");
    std::fs::write(&limits, r#"{ "max_per_address": 50 }"#).expect("written");
    let file = limits.to_str().expect("UTF-8");
    let mut server = Shown::start(&place, &["--limits", file]);
    let call = || {
        let args = ["call", &server.url, "customEcho", "hello"];
        exit_code(&place.tow(&args).output().expect("runs"))
    };
    assert_eq!(call(), 0);
    // Half of a handshake holds a place.
    let address = server.url.strip_prefix("tls://").expect("tls").to_owned();
    let mut waiting = TcpStream::connect(&address).expect("listens");
    let hang_up = |pid: u32| {
        let pid = rustix::process::Pid::from_raw(pid.cast_signed()).expect("a process");
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("signalled");
    };
    std::fs::write(&limits, r#"{ "deny": ["127.0.0.0/8"] }"#).expect("written");
    hang_up(server.child.id());
    let told = |log: &mut Lines<BufReader<ChildStderr>>, part: &str| {
        log.map(|line| line.expect("readable"))
            .any(|line| line.contains(part))
    };
    assert!(told(&mut server.log, "limits were read again"));
    assert_ne!(
        exit_code(
            &place
                .tow(&["call", &server.url, "customEcho", "x"])
                .output()
                .expect("runs")
        ),
        0
    );
    assert_eq!(server.json("/numbers")["refused"]["network"], 1);
    waiting.set_nonblocking(true).expect("set");
    let left = waiting.read(&mut [0]).expect_err("still connected");
    assert_eq!(left.kind(), std::io::ErrorKind::WouldBlock);
    // What cannot be used changes nothing.
    std::fs::write(&limits, r#"{ "max_per_adress": 1 }"#).expect("written");
    hang_up(server.child.id());
    assert!(told(&mut server.log, "max_per_adress"));
    assert_ne!(
        exit_code(
            &place
                .tow(&["call", &server.url, "customEcho", "x"])
                .output()
                .expect("runs")
        ),
        0
    );
    std::fs::write(&limits, r#"{ "address": "tcp://[::]:1" }"#).expect("written");
    let wrong = place
        .tow(&[
            "serve",
            "srv",
            "--listen",
            "tls://127.0.0.1:0",
            "--limits",
            file,
        ])
        .output()
        .expect("runs");
    assert_eq!(exit_code(&wrong), 2, "{}", stderr(&wrong));
}
