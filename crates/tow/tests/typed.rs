//! `tow call` with typed services.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../towline/examples/typed_service.rs"]
#[expect(dead_code, reason = "its main and its client are for others")]
mod typed_service;

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

use towline::rpc::{Context, Message, server::ListenConfig};

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

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_typed_services_has_an_empty_list() {
    let listening = towline::rpc::Server::builder()
        .build()
        .listen("tcp://127.0.0.1:0", ListenConfig::new())
        .await
        .unwrap();
    let listed = tow(&["call", &listening.endpoint().to_string(), "--list"], "").await;
    assert_eq!(listed.status.code(), Some(0), "{}", text(&listed.stderr));
    assert_eq!(text(&listed.stdout), "");
    let why = text(&listed.stderr);
    assert!(why.contains("the server has no typed services"), "{why}");
}

/// Nobody goes on with a call: only files that are half moved have a rest.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_call_does_not_speak_of_a_rest() {
    let (called, mut arrived) = tokio::sync::mpsc::channel(1);
    let listening = towline::rpc::Server::builder()
        .call("wait", move |_: Context, _: Message| {
            let called = called.clone();
            async move {
                called.send(()).await.map_err(|error| error.to_string())?;
                std::future::pending::<Result<Message, String>>().await
            }
        })
        .build()
        .listen("tcp://127.0.0.1:0", ListenConfig::new())
        .await
        .unwrap();
    let call = Command::new(env!("CARGO_BIN_EXE_tow"))
        .args(["call", &listening.endpoint().to_string(), "wait"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    arrived.recv().await.unwrap();
    let sent = Command::new("kill")
        .args(["-INT", &call.id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
    let output = tokio::task::spawn_blocking(move || call.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "error: interrupted\n");
}

#[tokio::test]
async fn only_commands_about_files_ask_leave_to_move_them_in_the_open() {
    for (command, moves_files) in [
        ("call", false),
        ("bench", false),
        ("push", true),
        ("pull", true),
        ("sync", true),
        ("check", true),
    ] {
        let help = text(&tow(&[command, "--help"], "").await.stdout);
        assert_eq!(
            help.contains("--insecure"),
            moves_files,
            "{command}: {help}"
        );
        assert_eq!(
            help.contains("a file of which the server"),
            moves_files,
            "{command}: {help}"
        );
        assert!(
            help.contains("Time limit for connecting"),
            "{command}: {help}"
        );
    }
}

/// The server ends the connection of a message that is too large for it: nobody else can say why.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_beyond_the_servers_limit_is_told_as_the_likely_cause() {
    let listening = towline::rpc::Server::builder()
        .limits(towline::rpc::proto::Limits::default().max_message(8 << 20))
        .build()
        .listen("tcp://127.0.0.1:0", ListenConfig::new())
        .await
        .unwrap();
    let body = "a".repeat((8 << 20) + 1000);
    let url = listening.endpoint().to_string();
    let output = tow(&["call", &url, "echo", "-", "--compress", "none"], &body).await;
    assert_eq!(output.status.code(), Some(1));
    let why = text(&output.stderr);
    assert!(why.contains("--max-message"), "{why}");
}
