//! The program as a user runs it: real processes, real files, real TLS.

#[expect(dead_code, reason = "shared with other tests, which use the rest")]
mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Stdio,
    time::Instant,
};

use support::{Place, exit_code, noise, stderr, stdout};
use towline::{
    codec::{Text, greenpack::Timestamp},
    rpc::proto::{Client, Compression, Limits, Message, Now},
};

#[test]
fn keys_are_made_once_and_shown_without_secrets() {
    let place = Place::new();
    let made = place.tow(&["keys", "new", "node"]).output().expect("runs");
    assert_eq!(exit_code(&made), 0, "{}", stderr(&made));
    assert!(
        place.path("my-keep-private-dir/ca.key").exists(),
        "the authority is made on the way"
    );

    let again = place.tow(&["keys", "new", "node"]).output().expect("runs");
    assert_eq!(exit_code(&again), 1);
    assert!(
        stderr(&again).contains("exists already"),
        "{}",
        stderr(&again)
    );
    let again = place.tow(&["keys", "ca"]).output().expect("runs");
    assert_eq!(exit_code(&again), 1);

    let shown = place
        .tow(&["keys", "show", "certs/node.crt", "certs/node.key", "--json"])
        .output()
        .expect("runs");
    let lines: Vec<serde_json::Value> = stdout(&shown)
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["public_key"], lines[1]["public_key"]);
    let seed = fs::read_to_string(place.path("certs/node.key")).expect("readable");
    let seed = seed.lines().nth(1).expect("a line of base64");
    assert!(!stdout(&shown).contains(seed));
}

#[test]
fn files_of_all_sizes_go_there_and_come_back() {
    let place = Place::with_keys();
    fs::create_dir(place.path("in")).expect("made");
    fs::create_dir_all(place.path("srv/deep/er")).expect("made");
    let server = place.serve(&["--allow-write", "--no-fsync"]);
    for (number, size) in [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3_145_733]
        .into_iter()
        .enumerate()
    {
        let (name, bytes) = (format!("file {number}.bin"), noise(size));
        fs::write(place.path("in").join(&name), &bytes).expect("written");
        let compress = if number % 2 == 0 { "s2" } else { "none" };
        let file = format!("in/{name}");
        let pushed = place
            .tow(&[
                "push",
                &file,
                &format!("{}#deep/er", server.url),
                "--compress",
                compress,
                "--json",
            ])
            .output()
            .expect("runs");
        assert_eq!(exit_code(&pushed), 0, "{size}: {}", stdout(&pushed));
        let event: serde_json::Value = serde_json::from_str(stdout(&pushed).trim()).expect("JSON");
        assert_eq!(event["bytes"], size);
        assert_eq!(event["stored"], format!("deep/er/{name}"));
        assert_eq!(
            fs::read(place.path("srv/deep/er").join(&name)).expect("stored"),
            bytes
        );

        let url = format!("{}#deep/er/{}", server.url, name.replace(' ', "%20"));
        let pulled = place
            .tow(&[
                "pull",
                &url,
                "-o",
                "out",
                "--no-fsync",
                "--compress",
                compress,
            ])
            .output()
            .expect("runs");
        assert_eq!(exit_code(&pulled), 0, "{size}: {}", stderr(&pulled));
        assert_eq!(
            fs::read(place.path("out").join(&name)).expect("stored"),
            bytes
        );
        fs::remove_dir_all(place.path("out")).expect("removed");
    }
}

#[test]
fn the_originals_names_are_used_on_request() {
    let place = Place::with_keys();
    let server = place.serve(&["--allow-write", "--suffix", "servergot"]);
    fs::write(place.path("a.txt"), "hello").expect("written");
    let pushed = place
        .tow(&["push", "a.txt", &server.url])
        .output()
        .expect("runs");
    assert_eq!(exit_code(&pushed), 0, "{}", stderr(&pushed));
    assert_eq!(
        fs::read(place.path("srv/a.txt.servergot")).expect("stored"),
        b"hello"
    );
}

#[test]
fn a_call_prints_the_reply_and_reads_standard_input() {
    let place = Place::with_keys();
    let server = place.serve(&[]);
    let called = place
        .tow(&["call", &server.url, "customEcho", "hello"])
        .output()
        .expect("runs");
    assert_eq!(exit_code(&called), 0, "{}", stderr(&called));
    assert!(
        stdout(&called).starts_with("hello\n with time customEcho sees this: '"),
        "{}",
        stdout(&called)
    );

    let mut child = place
        .tow(&["call", &server.url, "customEcho", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("runs");
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(b"from stdin")
        .expect("written");
    let called = child.wait_with_output().expect("ends");
    assert!(stdout(&called).starts_with("from stdin\n"));
}

/// A call of the echo service, as it stands on the wire under S2.
fn compressed_request() -> Vec<u8> {
    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    let now = Now {
        instant: Instant::now(),
        wall: Timestamp::new(1_800_000_000, 0),
    };
    let name = || Text::from_static("tcp://test");
    let limits = Limits::default();
    let mut client = Client::new(limits, Compression::S2, name(), name(), [1; 32], now);
    let request = Message::request("customEcho", "hello");
    client.call(now, request, None, ()).expect("fits");
    std::iter::from_fn(|| client.poll_transmit())
        .flatten()
        .collect()
}

/// docs/wire F11, F13: the compression byte of a reply to a request that was compressed.
#[test]
fn a_server_can_be_told_not_to_mirror() {
    for (args, byte) in [
        (&["--compress", "none"][..], 1),
        (&["--compress", "none", "--no-mirror"], 0),
    ] {
        let place = Place::with_keys();
        let server = place.serve_at("tcp://127.0.0.1:0", &[args, &["--insecure"]].concat());
        let mut stream =
            TcpStream::connect(server.url.trim_start_matches("tcp://")).expect("connects");
        stream.write_all(&compressed_request()).expect("written");
        let mut head = [0; 8];
        stream.read_exact(&mut head).expect("answered");
        assert_eq!(head[7], byte, "{args:?}");
    }
}

#[test]
fn a_foreign_certificate_is_refused_by_either_side() {
    let (place, stranger) = (Place::with_keys(), Place::with_keys());
    let server = place.serve(&[]);
    // It does not accept our server.
    let called = stranger
        .tow(&["call", &server.url, "customEcho", "x"])
        .output()
        .expect("runs");
    assert_eq!(exit_code(&called), 6, "{}", stderr(&called));
    // It would, but the server does not accept it.
    let roots = stranger.path("certs/ca.crt");
    let mut text = fs::read(&roots).expect("readable");
    text.extend(fs::read(place.path("certs/ca.crt")).expect("readable"));
    fs::write(&roots, text).expect("written");
    for command in [
        &["call", &server.url, "customEcho", "x"][..],
        &["pull", &format!("{}#a", server.url)][..],
    ] {
        let output = stranger.tow(command).output().expect("runs");
        assert_eq!(exit_code(&output), 6, "{}", stderr(&output));
        assert!(
            stderr(&output).contains("does not know the authority"),
            "{}",
            stderr(&output)
        );
    }
    let called = place
        .tow(&["call", &server.url, "customEcho", "x"])
        .output()
        .expect("runs");
    assert_eq!(exit_code(&called), 0, "{}", stderr(&called));
}

#[test]
fn garbage_on_the_port_does_not_disturb_others() {
    let place = Place::with_keys();
    let server = place.serve(&[]);
    let address = server.url.trim_start_matches("tls://").to_owned();
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0xb3, 0x5d, 0x18, 0x39, 0xac, 0x8e, 0x1d, 0],
        &[0; 2000],
    ] {
        let mut stream = TcpStream::connect(&address).expect("connects");
        stream.write_all(garbage).expect("written");
        // The server hangs up; what it says before that does not matter.
        let mut answer = Vec::new();
        if let Err(error) = stream.read_to_end(&mut answer) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
    }
    let called = place
        .tow(&["call", &server.url, "customEcho", "x"])
        .output()
        .expect("runs");
    assert_eq!(exit_code(&called), 0, "{}", stderr(&called));
}

#[test]
fn a_client_killed_in_the_middle_leaves_nothing_behind() {
    let place = Place::with_keys();
    fs::write(place.path("srv/big.bin"), "old").expect("written");
    let mut server = place.serve(&["--allow-write", "--no-fsync"]);
    // Sparse: large for the transfer, small on the disk of whoever runs the test.
    let big = fs::File::create(place.path("big.bin")).expect("made");
    big.set_len(8 << 30).expect("made");
    let mut client = place
        .tow(&[
            "push",
            "--whole",
            "big.bin",
            &server.url,
            "--compress",
            "none",
        ])
        .stderr(Stdio::null())
        .spawn()
        .expect("runs");
    let arriving = || {
        fs::read_dir(place.path("srv"))
            .expect("readable")
            .filter_map(Result::ok)
            .any(|entry| {
                entry.file_name() != "big.bin" && entry.metadata().is_ok_and(|meta| meta.len() > 0)
            })
    };
    while !arriving() {
        assert!(
            client.try_wait().expect("known").is_none(),
            "the push ended too early"
        );
        std::thread::yield_now();
    }
    client.kill().expect("killed");
    client.wait().expect("ends");
    server.wait_for_log("an upload was cut short");
    // The thread that writes removes the file as soon as it learns of it.
    while arriving() {
        std::thread::yield_now();
    }
    assert_eq!(
        fs::read(place.path("srv/big.bin")).expect("readable"),
        b"old"
    );
    let called = place
        .tow(&["call", &server.url, "customEcho", "x"])
        .output()
        .expect("runs");
    assert_eq!(exit_code(&called), 0, "{}", stderr(&called));
}

#[test]
fn a_server_killed_in_the_middle_is_a_failure_that_says_so() {
    let place = Place::with_keys();
    fs::write(place.path("big.bin"), "old").expect("written");
    let big = fs::File::create(place.path("srv/big.bin")).expect("made");
    big.set_len(8 << 30).expect("made");
    let mut server = place.serve(&[]);
    let mut client = place
        .tow(&[
            "pull",
            "--whole",
            &format!("{}#big.bin", server.url),
            "--compress",
            "none",
        ])
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    let arriving = || {
        fs::read_dir(place.root())
            .expect("readable")
            .filter_map(Result::ok)
            .any(|entry| entry.file_name().to_string_lossy().contains("tow-part"))
    };
    while !arriving() {
        assert!(
            client.try_wait().expect("known").is_none(),
            "the pull ended too early"
        );
        std::thread::yield_now();
    }
    server.kill();
    let output = client.wait_with_output().expect("ends");
    let text = stderr(&output);
    assert_eq!(exit_code(&output), 1, "{text}");
    for part in [
        "#big.bin: the other end went away",
        "of 8589934592 bytes arrived, nothing was stored",
        "hint: ",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert!(
        !text.contains("close_notify") && !text.contains("os error"),
        "{text}"
    );
    assert!(!arriving(), "the temporary file is gone");
    assert_eq!(fs::read(place.path("big.bin")).expect("readable"), b"old");
}

#[cfg(unix)]
#[test]
fn unix_sockets_carry_files_and_calls() {
    let place = Place::with_keys();
    let url = format!("unix://{}", place.path("s.sock").display());
    let server = place.serve_at(&url, &["--allow-write"]);
    fs::write(place.path("a.txt"), "hello").expect("written");
    let pushed = place
        .tow(&["push", "a.txt", &server.url])
        .output()
        .expect("runs");
    assert_eq!(exit_code(&pushed), 0, "{}", stderr(&pushed));
    assert_eq!(fs::read(place.path("srv/a.txt")).expect("stored"), b"hello");
}

#[test]
fn ciphers_can_be_chosen_and_must_agree() {
    let place = Place::with_keys();
    let server = place.serve_at("tls://127.0.0.1:0?cipher=aes-128-gcm", &[]);
    assert!(server.url.contains("cipher=aes-128-gcm"), "{}", server.url);
    let called = place
        .tow(&["call", &server.url, "customEcho", "x"])
        .output()
        .expect("runs");
    assert_eq!(exit_code(&called), 0, "{}", stderr(&called));
    let plain = server
        .url
        .split('?')
        .next()
        .expect("a part before ?")
        .to_owned();
    let called = place
        .tow(&["call", &plain, "customEcho", "x"])
        .output()
        .expect("runs");
    assert_ne!(exit_code(&called), 0);
    assert!(stderr(&called).contains("cipher"), "{}", stderr(&called));
}

#[test]
fn the_demo_tells_programs_numbers() {
    let place = Place::new();
    fs::write(place.path("small.bin"), noise(3_000_000)).expect("written");
    let demo = place
        .tow(&["demo", "small.bin", "--json", "--calls", "200"])
        .output()
        .expect("runs");
    assert_eq!(exit_code(&demo), 0, "{}", stderr(&demo));
    let last = stdout(&demo).lines().last().expect("a line").to_owned();
    let event: serde_json::Value = serde_json::from_str(&last).expect("JSON");
    let event = event.as_object().expect("an object");
    assert_eq!(event["event"], "demo");
    assert_eq!(event["bytes"], 3_000_000);
    assert_eq!(event["parts"], 4);
    assert_eq!(event["calls"], 200);
    assert_eq!(event["calls_in_flight"], 64);
    for name in [
        "push_seconds",
        "push_bytes_per_second",
        "pull_seconds",
        "pull_bytes_per_second",
        "calls_seconds",
        "calls_per_second",
        "call_p50_us",
        "call_p99_us",
        "call_p99_9_us",
        "call_max_us",
        "lossy_seconds",
        "lossy_bytes_per_second",
    ] {
        assert!(
            event[name].as_f64().is_some_and(|number| number > 0.0),
            "{name}: {last}"
        );
    }
    for name in ["server", "client", "endpoint", "blake3", "stranger_refusal"] {
        assert!(event[name].is_string(), "{name}: {last}");
    }
    let snake_case = |name: &str| {
        name.bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    assert!(event.keys().all(|name| snake_case(name)), "{last}");
}

#[test]
fn completions_and_manual_come_from_the_same_definitions() {
    let place = Place::new();
    for (args, part) in [
        (&["completions", "bash"][..], "_tow"),
        (&["man"][..], ".TH tow"),
    ] {
        let output = place.tow(args).output().expect("runs");
        assert_eq!(exit_code(&output), 0);
        assert!(stdout(&output).contains(part));
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_pull_leaves_nothing_behind() {
    let place = Place::with_keys();
    let big = fs::File::create(place.path("srv/big.bin")).expect("made");
    big.set_len(8 << 30).expect("made");
    let server = place.serve(&[]);
    let mut client = place
        .tow(&[
            "pull",
            "--whole",
            &format!("{}#big.bin", server.url),
            "-o",
            "out",
            "--compress",
            "none",
        ])
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    let arriving =
        || fs::read_dir(place.path("out")).is_ok_and(|mut entries| entries.next().is_some());
    while !arriving() {
        assert!(
            client.try_wait().expect("known").is_none(),
            "the pull ended too early"
        );
        std::thread::yield_now();
    }
    let pid = client.id().to_string();
    let sent = std::process::Command::new("kill")
        .args(["-INT", &pid])
        .status()
        .expect("runs");
    assert!(sent.success());
    let output = client.wait_with_output().expect("ends");
    assert_eq!(exit_code(&output), 1, "{}", stderr(&output));
    assert!(
        stderr(&output).contains("interrupted"),
        "{}",
        stderr(&output)
    );
    assert!(!arriving(), "the temporary file is gone");
}

#[test]
fn what_others_name_cannot_command_the_terminal() {
    let place = Place::with_keys();
    let server = place.serve(&[]);
    let url = format!("{}#x%0Aforged%1B[31m", server.url);
    let pulled = place.tow(&["pull", &url]).output().expect("runs");
    let text = stderr(&pulled);
    assert!(text.contains("x\\nforged"), "{text}");
    assert!(!text.contains("\u{1b}[31m"), "{text:?}");
}
