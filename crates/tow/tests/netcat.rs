//! `tow listen` and `tow connect` as a user runs them: real processes over real sockets.

#[expect(dead_code, reason = "shared with other tests, which use the rest")]
mod support;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdin, Output, Stdio},
    thread,
};

use support::{Place, exit_code, noise, stderr, stdout};

/// A running `tow listen`, killed when dropped.
struct Listening {
    child: Child,
    url: String,
}

impl Listening {
    /// With a service: it says on stdout where it listens.
    fn service(place: &Place, url: &str, args: &[&str]) -> Self {
        let mut child = place
            .tow(&["listen", url])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("runs");
        let said = first_line(child.stdout.take().expect("piped"));
        Self { child, url: said }
    }

    /// Joined to standard input and output: it says on stderr where it listens.
    fn stdio(place: &Place, url: &str, args: &[&str]) -> (Self, ChildStdin) {
        let mut child = place
            .tow(&["listen", url])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("runs");
        let said = first_line(child.stderr.take().expect("piped"));
        let stdin = child.stdin.take().expect("piped");
        (Self { child, url: said }, stdin)
    }

    fn address(&self) -> &str {
        self.url.split_once("://").expect("a URL").1
    }

    /// What it wrote to stdout, once it has ended.
    fn output(mut self) -> (Vec<u8>, i32) {
        let mut out = Vec::new();
        let mut stdout = self.child.stdout.take().expect("piped");
        stdout.read_to_end(&mut out).expect("readable");
        let status = self.child.wait().expect("ends");
        (out, status.code().expect("not killed"))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn first_line(stream: impl std::io::Read) -> String {
    let mut line = String::new();
    BufReader::new(stream)
        .read_line(&mut line)
        .expect("readable");
    let url = line.trim().strip_prefix("listening on ");
    url.unwrap_or_else(|| panic!("it said {line:?}")).to_owned()
}

/// Runs `tow connect` with this input.
fn connect(place: &Place, args: &[&str], input: &[u8]) -> Output {
    let mut child = place
        .tow(&["connect"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    // A program that ended early does not take its input.
    let feeding = thread::spawn(move || stdin.write_all(&input).ok());
    let output = child.wait_with_output().expect("ends");
    feeding.join().expect("no panic");
    output
}

#[test]
fn an_echo_gives_back_every_byte_over_each_transport() {
    let place = Place::with_keys();
    let bytes = noise(3_000_001);
    let socket = format!("unix://{}", place.path("echo.sock").display());
    let many = format!("yamux+{socket}");
    let made = place
        .tow(&["keys", "psk", "shared.psk", "--dir", "."])
        .output();
    assert_eq!(exit_code(&made.expect("runs")), 0);
    let sealed = format!(
        "quic://127.0.0.1:0?psk={}",
        place.path("shared.psk").display()
    );
    for url in [
        "tcp://127.0.0.1:0",
        "tls://127.0.0.1:0",
        socket.as_str(),
        "yamux+tcp://127.0.0.1:0",
        "yamux+tls://127.0.0.1:0",
        many.as_str(),
        "muxado+tcp://127.0.0.1:0",
        "muxado+tls://127.0.0.1:0",
        "udp://127.0.0.1:0",
        "tls+udp://127.0.0.1:0",
        "yamux+udp://127.0.0.1:0",
        "quic://127.0.0.1:0",
        "yamux+quic://127.0.0.1:0",
        sealed.as_str(),
    ] {
        let server = Listening::service(&place, url, &["--echo"]);
        for streams in ["1", "3"] {
            let output = connect(
                &place,
                &[&server.url, "--streams", streams, "--stats"],
                &bytes,
            );
            assert_eq!(exit_code(&output), 0, "{url}: {}", stderr(&output));
            assert!(output.stdout == bytes, "{url} over {streams}");
            assert!(
                stderr(&output).contains("received 3000001 bytes"),
                "{}",
                stderr(&output)
            );
        }
    }
}

#[test]
fn an_end_of_input_is_passed_on_while_the_answer_still_comes() {
    let place = Place::new();
    let (server, mut answer) = Listening::stdio(&place, "tcp://127.0.0.1:0", &[]);
    let mut client = TcpStream::connect(server.address()).expect("connected");
    client.write_all(b"question").expect("written");
    client
        .shutdown(std::net::Shutdown::Write)
        .expect("half-closed");
    let mut got = [0; 8];
    let mut child = server;
    child
        .child
        .stdout
        .as_mut()
        .expect("piped")
        .read_exact(&mut got)
        .expect("it came");
    assert_eq!(&got, b"question");
    answer.write_all(b"an answer").expect("written");
    drop(answer);
    let mut text = String::new();
    client.read_to_string(&mut text).expect("readable");
    assert_eq!(text, "an answer");
    let (rest, code) = child.output();
    assert_eq!((rest.as_slice(), code), (&b""[..], 0));
}

#[test]
fn two_ends_deal_their_input_to_the_same_streams() {
    let place = Place::with_keys();
    let socket = format!("unix://{}", place.path("pipe.sock").display());
    for multiplexer in ["", "yamux+", "muxado+"] {
        both_ways_over_four_streams(&place, &format!("{multiplexer}{socket}"));
    }
    both_ways_over_four_streams(&place, "quic://127.0.0.1:0");
}

fn both_ways_over_four_streams(place: &Place, url: &str) {
    let (there, here) = (noise(700_000), noise(900_000));
    let (server, mut stdin) = Listening::stdio(place, url, &["--streams", "4"]);
    let sent = here.clone();
    let feeding = thread::spawn(move || stdin.write_all(&sent));
    let output = connect(place, &[&server.url, "--streams", "4"], &there);
    assert_eq!(exit_code(&output), 0, "{}", stderr(&output));
    assert!(output.stdout == here);
    feeding.join().expect("no panic").expect("written");
    let (got, code) = server.output();
    assert!(got == there);
    assert_eq!(code, 0);
    assert!(!place.path("pipe.sock").exists(), "the socket is removed");
}

#[test]
fn streams_are_forwarded_and_what_breaks_off_does_not_look_whole() {
    let place = Place::new();
    let target = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = target.local_addr().expect("bound").to_string();
    let server = Listening::service(&place, "tcp://127.0.0.1:0", &["--forward", &address]);

    let mut client = TcpStream::connect(server.address()).expect("connected");
    client.write_all(b"ping").expect("written");
    let (mut arrived, _) = target.accept().expect("forwarded");
    let mut got = [0; 4];
    arrived.read_exact(&mut got).expect("it came");
    arrived.write_all(b"pong").expect("written");
    client.read_exact(&mut got).expect("it came");
    assert_eq!(&got, b"pong");

    // Unread bytes make the kernel reset the connection: the target must not read a clean end.
    arrived.write_all(&[0; 100]).expect("written");
    client.peek(&mut got).expect("it came");
    drop(client);
    let broke = arrived.read(&mut got);
    assert!(broke.is_err(), "{broke:?}");
}

#[test]
fn failures_have_their_exit_codes() {
    let place = Place::with_keys();
    let free = TcpListener::bind("127.0.0.1:0").expect("bound");
    let nobody = format!("tcp://{}", free.local_addr().expect("bound"));
    drop(free);
    for (args, code, text) in [
        (&["connect", nobody.as_str()][..], 3, "nobody listens"),
        (&["connect", "tcp://h"], 2, "port"),
        (&["connect", "mem://x"], 2, "inside one process"),
        (
            &["connect", "tcp://h:1", "--echo", "--forward", "a:1"],
            2,
            "cannot be used with",
        ),
        (
            &["connect", "tcp://h:1", "--forward", "nowhere"],
            2,
            "HOST:PORT",
        ),
        (
            &["listen", "tcp://127.0.0.1:0", "--streams", "2", "--echo"],
            2,
            "cannot be used with",
        ),
        (&["listen", "tcp://127.0.0.1:0#x"], 2, "means nothing here"),
    ] {
        let output = place.tow(args).output().expect("runs");
        assert_eq!(exit_code(&output), code, "{args:?}: {}", stderr(&output));
        assert!(
            stderr(&output).contains(text),
            "{args:?}: {}",
            stderr(&output)
        );
    }
    let server = Listening::service(&place, "tls://127.0.0.1:0", &["--echo"]);
    let stranger = Place::with_keys();
    let output = connect(&stranger, &[&server.url], b"let me in");
    assert_eq!(exit_code(&output), 6, "{}", stderr(&output));
}

#[test]
fn every_command_has_a_manual_page() {
    let place = Place::new();
    for (args, expected) in [
        (&["man"][..], ".TH tow 1"),
        (&["man", "listen"], ".TH tow-listen 1"),
        (&["man", "keys", "new"], ".TH tow-keys-new 1"),
    ] {
        let output = place.tow(args).output().expect("runs");
        assert_eq!(exit_code(&output), 0, "{}", stderr(&output));
        assert!(stdout(&output).contains(expected), "{}", stdout(&output));
    }
    let output = place.tow(&["man", "nothing"]).output().expect("runs");
    assert_eq!(exit_code(&output), 2);
}

/// docs/wire I37
#[cfg(unix)]
#[test]
fn a_listener_takes_a_renewed_key_without_a_restart() {
    let place = Place::with_keys();
    let mut child = place
        .tow(&["listen", "tls://127.0.0.1:0", "--echo", "--verbose"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    let url = first_line(child.stdout.take().expect("piped"));
    let mut log = BufReader::new(child.stderr.take().expect("piped")).lines();
    let listening = Listening { child, url };
    let connect = || {
        let mut child = place
            .tow(&["connect", &listening.url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("runs");
        let mut stdin = child.stdin.take().expect("piped");
        // One that is refused may be gone already.
        stdin.write_all(b"hello").ok();
        drop(stdin);
        child.wait_with_output().expect("ends")
    };
    assert_eq!(stdout(&connect()), "hello");
    for name in ["node", "client"] {
        let args = ["keys", "new", name, "--ca-dir", "next", "-o", "new"];
        let made = place.tow(&args).output().expect("runs");
        assert_eq!(exit_code(&made), 0, "{}", stderr(&made));
    }
    for name in ["ca.crt", "node.crt", "node.key", "client.crt", "client.key"] {
        let new = place.path("new").join(name);
        std::fs::rename(new, place.path("certs").join(name)).expect("moved");
    }
    assert_eq!(exit_code(&connect()), 6);
    let sent = std::process::Command::new("kill")
        .args(["-HUP", &listening.child.id().to_string()])
        .status();
    assert!(sent.expect("runs").success());
    let loaded =
        |line: std::io::Result<String>| line.expect("readable").contains("were loaded again");
    assert!(log.any(loaded));
    assert_eq!(stdout(&connect()), "hello");
}
