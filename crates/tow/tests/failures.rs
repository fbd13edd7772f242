//! What a user sees when a disk is full, a file unreadable, a server lies or a client disappears.

#![cfg(target_os = "linux")]

#[expect(dead_code, reason = "shared with other tests, which use the rest")]
mod support;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use tokio::runtime::Runtime;
use towline::{
    rpc::{
        Context, Message, SendError, Server, StreamError,
        server::{DownloadSink, ListenConfig, Listening, UploadParts},
    },
    sync::{HashName, part},
};

use support::{Place, exit_code, names, noise, stderr};

/// `tow serve`, started in a way of its own, killed when it is dropped.
struct Process {
    child: Child,
    url: String,
}

impl Process {
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("runs");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("readable");
        let url = line.trim().strip_prefix("listening on ");
        let url = url
            .unwrap_or_else(|| panic!("the server said {line:?}"))
            .to_owned();
        Self { child, url }
    }

    /// Descriptors that are open on a file with this in its name, removed or not.
    fn open_files(&self, part: &str) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id()))
            .expect("readable")
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
            .filter(|target| target.to_string_lossy().contains(part))
            .count()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be dead already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// docs/wire T22: a file that does not fit is not stored, and the server goes on.
///
/// A limit on the size of files stands for the disk: writing fails after a part or more.
#[test]
fn a_full_disk_at_the_server_is_an_error_reply() {
    let place = Place::with_keys();
    let serve = [
        "serve",
        "srv",
        "--listen",
        "tls://127.0.0.1:0",
        "--until-stdin-ends",
        "--allow-write",
    ];
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "trap '' XFSZ; ulimit -f 4096; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_tow"))
        .args(serve)
        .current_dir(place.root());
    // The same environment as the program has elsewhere.
    for (name, value) in place.tow(&[]).get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let limited = Process::start(&mut shell);
    fs::write(place.path("srv/big.bin"), "old").expect("written");
    fs::write(place.path("big.bin"), noise(9 << 20)).expect("written");
    fs::write(place.path("small.bin"), noise(1 << 20)).expect("written");

    let pushed = place
        .tow(&["push", "big.bin", &limited.url])
        .output()
        .expect("runs");
    let text = stderr(&pushed);
    assert_eq!(exit_code(&pushed), 1, "{text}");
    assert!(text.contains("no space left to store `big.bin`"), "{text}");
    assert_eq!(
        fs::read(place.path("srv/big.bin")).expect("there"),
        b"old",
        "what was there is untouched"
    );
    assert_eq!(names(&place.path("srv")), ["big.bin"]);

    let pushed = place
        .tow(&["push", "small.bin", &limited.url])
        .output()
        .expect("runs");
    assert_eq!(exit_code(&pushed), 0, "{}", stderr(&pushed));
}

/// docs/wire T20: the path exists and is a regular file, but its first byte cannot be read.
#[test]
fn a_file_that_cannot_be_read_is_a_failure_that_says_so() {
    let place = Place::with_keys();
    // Its own memory: address 0 is never mapped.
    let server = Process::start(&mut place.tow(&[
        "serve",
        "/proc/self",
        "--listen",
        "tls://127.0.0.1:0",
        "--until-stdin-ends",
    ]));
    let pulled = place
        .tow(&["pull", &format!("{}#mem", server.url)])
        .output()
        .expect("runs");
    let text = stderr(&pulled);
    assert_eq!(exit_code(&pulled), 1, "{text}");
    assert!(text.contains("`mem`"), "{text}");
    assert!(text.contains("Input/output error"), "{text}");
    assert!(!place.path("mem").exists(), "nothing was stored");
    let called = place
        .tow(&["call", &server.url, "customEcho", "x"])
        .output()
        .expect("runs");
    assert_eq!(exit_code(&called), 0, "{}", stderr(&called));
}

/// docs/wire T22: neither the temporary file nor its descriptor outlives the connection.
#[test]
fn the_descriptor_of_a_lost_upload_is_closed() {
    let place = Place::with_keys();
    let server = Process::start(&mut place.tow(&[
        "serve",
        "srv",
        "--listen",
        "tls://127.0.0.1:0",
        "--until-stdin-ends",
        "--allow-write",
        "--no-fsync",
    ]));
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
    while server.open_files("tow-part") == 0 {
        assert!(
            client.try_wait().expect("known").is_none(),
            "the push ended too early"
        );
        std::thread::yield_now();
    }
    client.kill().expect("killed");
    client.wait().expect("ends");
    // The thread that writes closes the file as soon as it learns of it.
    while server.open_files("tow-part") > 0 {
        std::thread::yield_now();
    }
    assert!(names(&place.path("srv")).is_empty());
}

/// A server that stores and sends well, and says that the whole was something else.
async fn lie() -> Listening {
    let other = || HashName::of(b"something else").to_string();
    Server::builder()
        .upload(
            part::UPLOAD_SERVICE,
            move |_: Context, _: Message, mut parts: UploadParts| async move {
                while parts.next().await?.is_some() {}
                Ok::<_, StreamError>(Message::new().with_arg(part::SERVER_TOTAL, other()))
            },
        )
        .download(
            part::DOWNLOAD_SERVICE,
            move |_: Context, _: Message, mut sink: DownloadSink| async move {
                for (body, last) in [("abc", false), ("", true)] {
                    let hash = HashName::of(body.as_bytes()).to_string();
                    let part = Message::from_body(body).with_arg(part::BLAKE3, hash);
                    if last {
                        sink.send_last(part).await?;
                    } else {
                        sink.send(part).await?;
                    }
                }
                Ok::<_, SendError>(Message::new().with_arg(part::SERVER_TOTAL, other()))
            },
        )
        .build()
        .listen("tcp://127.0.0.1:0", ListenConfig::new())
        .await
        .expect("listens")
}

/// docs/wire T19: a total that differs is exit code 5, in both directions.
#[test]
fn a_total_that_differs_has_an_exit_code_of_its_own() {
    let place = Place::new();
    let runtime = Runtime::new().expect("a runtime");
    let listening = runtime.block_on(lie());
    let url = listening.endpoint().to_string();
    fs::write(place.path("sent"), "abc").expect("written");
    fs::write(place.path("kept"), "old").expect("written");

    let pushed = place
        .tow(&["push", "sent", &url, "--insecure"])
        .output()
        .expect("runs");
    assert_eq!(exit_code(&pushed), 5, "{}", stderr(&pushed));

    let pulled = place
        .tow(&["pull", &format!("{url}#kept"), "--insecure"])
        .output()
        .expect("runs");
    assert_eq!(exit_code(&pulled), 5, "{}", stderr(&pulled));
    assert_eq!(fs::read(place.path("kept")).expect("there"), b"old");
    assert_eq!(names(place.root()), ["kept", "sent"]);
}
