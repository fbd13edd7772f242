//! Servers that stop in the middle: the program ends in its time and says what happened.

#[expect(dead_code, reason = "shared with other tests, which use the rest")]
mod support;

use std::{fs, future::pending, process::Output};

use tokio::runtime::Runtime;
use towline::{
    rpc::{
        Context, Message, SendError, Server, StreamError,
        server::{DownloadSink, ListenConfig, Listening, ServerBuilder, UploadParts},
    },
    sync::{HashName, part},
};

use support::{Place, exit_code, names, stderr};

/// Short: files are given up on after six to twelve times as long.
const TIMEOUT: [&str; 4] = ["--timeout", "250ms", "--compress", "none"];

struct Stalling {
    place: Place,
    listening: Listening,
    _runtime: Runtime,
}

fn serve(builder: ServerBuilder) -> Stalling {
    let runtime = Runtime::new().expect("a runtime");
    let server = builder.build();
    let listening = runtime
        .block_on(server.listen("tcp://127.0.0.1:0", ListenConfig::new()))
        .expect("listens");
    Stalling {
        place: Place::new(),
        listening,
        _runtime: runtime,
    }
}

impl Stalling {
    fn tow(&self, args: &[&str]) -> Output {
        let mut command = self.place.tow(args);
        command.args(TIMEOUT);
        command.output().expect("runs")
    }

    fn url(&self) -> String {
        self.listening.endpoint().to_string()
    }

    fn push(&self, size: u64) -> Output {
        let file = fs::File::create(self.place.path("f.bin")).expect("made");
        file.set_len(size).expect("made");
        self.tow(&["push", "f.bin", &self.url(), "--insecure"])
    }
}

#[test]
fn a_server_that_stops_reading_ends_the_push() {
    let server = serve(Server::builder().upload(
        part::UPLOAD_SERVICE,
        |_: Context, _: Message, parts: UploadParts| async move {
            // Its queue fills up, then the connection is not read any more.
            pending::<()>().await;
            drop(parts);
            Ok::<_, StreamError>(Message::new())
        },
    ));
    let pushed = server.push(1 << 30);
    let text = stderr(&pushed);
    assert_eq!(exit_code(&pushed), 1, "{text}");
    assert!(text.contains("f.bin: the peer took nothing"), "{text}");
    assert!(text.contains("of 1073741824 bytes had been sent"), "{text}");
    assert!(
        text.contains("hint: ") && text.contains("--timeout"),
        "{text}"
    );
}

#[test]
fn a_server_that_stops_sending_ends_the_pull() {
    let server = serve(Server::builder().download(
        part::DOWNLOAD_SERVICE,
        |_: Context, _: Message, mut sink: DownloadSink| async move {
            let first = Message::from_body("abc")
                .with_arg(part::BLAKE3, HashName::of(b"abc").to_string())
                .with_arg(part::PATH_SIZE, "10");
            sink.send(first).await?;
            pending::<()>().await;
            Ok::<_, SendError>(Message::new())
        },
    ));
    let path = format!("{}#f.bin", server.url());
    let pulled = server.tow(&["pull", &path, "-o", "out", "--insecure"]);
    let text = stderr(&pulled);
    assert_eq!(exit_code(&pulled), 1, "{text}");
    assert!(text.contains("f.bin: nothing came within"), "{text}");
    assert!(
        text.contains("3 of 10 bytes arrived, nothing was stored"),
        "{text}"
    );
    assert!(names(&server.place.path("out")).is_empty());
}

#[test]
fn a_server_that_has_all_and_says_nothing_ends_the_push() {
    let server = serve(Server::builder().upload(
        part::UPLOAD_SERVICE,
        |_: Context, _: Message, mut parts: UploadParts| async move {
            while parts.next().await?.is_some() {}
            pending::<()>().await;
            Ok::<_, StreamError>(Message::new())
        },
    ));
    let pushed = server.push(5);
    let text = stderr(&pushed);
    assert_eq!(exit_code(&pushed), 1, "{text}");
    assert!(
        text.contains("f.bin: the server took all 5 bytes"),
        "{text}"
    );
    assert!(
        text.contains("whether it stored the file is not known"),
        "{text}"
    );
    assert!(text.contains("hint: "), "{text}");
}

#[test]
fn a_server_that_never_answers_ends_the_call() {
    let server = serve(
        Server::builder().call("silent", |_: Context, _: Message| async move {
            pending::<()>().await;
            Ok::<_, StreamError>(Message::new())
        }),
    );
    let called = server.tow(&["call", &server.url(), "silent"]);
    assert_eq!(exit_code(&called), 1, "{}", stderr(&called));
    assert!(stderr(&called).contains("--timeout"), "{}", stderr(&called));
}
