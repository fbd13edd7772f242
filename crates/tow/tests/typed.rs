//! `tow call` with typed services.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../towline/examples/typed_service.rs"]
#[expect(dead_code, reason = "its main and its client are for others")]
mod typed_service;

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

use towline::rpc::server::ListenConfig;

/// Runs `tow` with what it reads from standard input.
async fn tow(arguments: &[&str], input: &str) -> Output {
    let (arguments, input): (Vec<String>, String) = (
        arguments.iter().map(ToString::to_string).collect(),
        input.to_owned(),
    );
    tokio::task::spawn_blocking(move || {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tow"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap()
    })
    .await
    .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_are_listed_and_called_in_json() {
    let listening = typed_service::server()
        .unwrap()
        .listen("tcp://127.0.0.1:0", ListenConfig::new())
        .await
        .unwrap();
    let url = listening.endpoint().to_string();
    let called = |arguments: Vec<&'static str>, input: &'static str| {
        let url = url.clone();
        async move {
            let all: Vec<&str> = [vec!["call", &url], arguments].concat();
            tow(&all, input).await
        }
    };

    let listed = called(vec!["--list"], "").await;
    let listing = text(&listed.stdout);
    assert!(
        listing.starts_with("# A room where people talk.\n"),
        "{listing}"
    );
    assert!(
        listing.contains(
            "Room.say(line: Line) -> Result<u64, Refusal>\n    Says one line; returns how many there are.\n"
        ),
        "{listing}"
    );
    let listed = called(vec!["--list", "--json"], "").await;
    let kinds: Vec<String> = text(&listed.stdout)
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["kind"].to_string())
        .collect();
    assert_eq!(
        kinds,
        [
            r#""unary""#,
            r#""download""#,
            r#""upload""#,
            r#""bistream""#
        ]
    );

    let said = called(vec!["Room.say", r#"{"who": "ada", "text": "hi"}"#], "").await;
    assert_eq!(text(&said.stdout), "1\n", "{}", text(&said.stderr));
    let lines = "{\"who\":\"bob\",\"text\":\"a\"}\n{\"who\":\"bob\",\"text\":\"b\"}\n";
    let said = called(vec!["Room.say_all"], lines).await;
    assert_eq!(text(&said.stdout), "3\n", "{}", text(&said.stderr));
    let said = called(vec!["Room.said", r#"{"limit": 2}"#], "").await;
    assert_eq!(
        text(&said.stdout),
        "{\"Text\":\"hi\",\"Who\":\"ada\"}\n{\"Text\":\"a\",\"Who\":\"bob\"}\n"
    );
    let echoed = called(vec!["Room.echo"], lines).await;
    assert_eq!(text(&echoed.stdout).lines().count(), 2);

    let refused = called(vec!["Room.say", r#"{"who": "ada"}"#], "").await;
    assert_eq!(refused.status.code(), Some(1));
    let why = text(&refused.stderr);
    assert!(why.contains("say something"), "{why}");
    // What is no method is called by its name alone, as ever.
    let unknown = called(vec!["Room.leave", "{}"], "").await;
    assert_eq!(unknown.status.code(), Some(1));
}
