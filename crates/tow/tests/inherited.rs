//! `tow serve` and `tow listen` on sockets that a supervisor has bound.

#![cfg(unix)]

#[expect(dead_code, reason = "shared with other tests, which use the rest")]
mod support;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
};

use support::{Place, exit_code, stderr, stdout};

/// `tow` as a supervisor starts it, with one socket.
struct Activated {
    child: Child,
    url: String,
}

impl Activated {
    fn start(place: &Place, socket: &TcpListener, args: &[&str]) -> Self {
        let tow = place.tow(args);
        // The socket comes as standard error: standard input and output are in use.
        let script = "exec 3<&2 2>/dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\"";
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .arg(tow.get_program())
            .args(tow.get_args())
            .current_dir(place.root());
        for (name, value) in tow.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(OwnedFd::from(socket.try_clone().expect("cloned")))
            .spawn()
            .expect("runs");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("readable");
        let url = line.trim().strip_prefix("listening on ");
        let url = url.unwrap_or_else(|| panic!("it said {line:?}")).to_owned();
        Self { child, url }
    }
}

impl Drop for Activated {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Nobody is refused while one server takes the place of another.
#[test]
fn a_server_is_exchanged_under_its_socket() {
    let place = Place::with_keys();
    let socket = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = socket.local_addr().expect("bound").port();
    let args = [
        "serve",
        "srv",
        "--listen",
        "tls://0.0.0.0:1",
        "--inherited",
        "--until-stdin-ends",
    ];
    let first = Activated::start(&place, &socket, &args);
    assert_eq!(first.url, format!("tls://127.0.0.1:{port}"));
    let call = || {
        place.tow(&[
            "call",
            &format!("tls://127.0.0.1:{port}"),
            "customEcho",
            "hi",
        ])
    };
    let output = call().output().expect("runs");
    assert_eq!(exit_code(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).contains("hi"), "{}", stdout(&output));
    drop(first);
    // Waits in the socket's queue until there is somebody who accepts.
    let waiting = call()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    let second = Activated::start(&place, &socket, &args);
    let output = waiting.wait_with_output().expect("ends");
    assert_eq!(exit_code(&output), 0, "{}", stderr(&output));
    drop(second);
}

#[test]
fn an_echo_is_served_on_a_socket_of_somebody_elses() {
    let place = Place::new();
    let socket = TcpListener::bind("127.0.0.1:0").expect("bound");
    let args = ["listen", "tcp://0.0.0.0:1", "--inherited", "--echo"];
    let _served = Activated::start(&place, &socket, &args);
    let mut client = TcpStream::connect(socket.local_addr().expect("bound")).expect("connects");
    client.write_all(b"back, please").expect("written");
    client.shutdown(Shutdown::Write).expect("ended");
    let mut text = String::new();
    client.read_to_string(&mut text).expect("readable");
    assert_eq!(text, "back, please");
}

#[test]
fn without_a_socket_it_says_what_is_missing() {
    let place = Place::new();
    for args in [
        &["listen", "tcp://127.0.0.1:0", "--inherited", "--echo"][..],
        &[
            "serve",
            ".",
            "--listen",
            "tcp://127.0.0.1:0",
            "--insecure",
            "--inherited",
        ],
    ] {
        let output = place.tow(args).output().expect("runs");
        assert_eq!(exit_code(&output), 2, "{}", stderr(&output));
        let said = stderr(&output);
        assert!(
            said.contains("no socket for tcp://127.0.0.1:0 was inherited"),
            "{said}"
        );
    }
}
