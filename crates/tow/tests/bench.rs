//! `tow bench` against a server in this process. Nothing is said of how fast it is.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};

use serde_json::Value;
use towline::{
    rpc::{
        Context, Message, Server,
        server::{ListenConfig, Listening, ServerBuilder},
    },
    sync::serve_echo,
};

async fn listen(server: ServerBuilder) -> Listening {
    let config = ListenConfig::new();
    server
        .build()
        .listen("tcp://127.0.0.1:0", config)
        .await
        .unwrap()
}

async fn bench(listening: &Listening, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tow"));
    command
        .args(["bench", &listening.endpoint().to_string(), "--time", "10ms"])
        .args(arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_compression_is_measured_told_and_drawn() {
    let listening = listen(serve_echo(Server::builder())).await;
    let dir = tempfile::tempdir().unwrap();
    let svg = dir.path().join("bench.svg");
    let output = bench(&listening, &["--json", "--svg", svg.to_str().unwrap()]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let events: Vec<Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let rows: Vec<_> = events
        .iter()
        .filter(|event| event["event"] == "bench")
        .collect();
    let names: Vec<_> = rows
        .iter()
        .map(|row| row["compression"].as_str().unwrap())
        .collect();
    let all = [
        "none", "s2", "lz4", "zstd:01", "zstd:03", "zstd:07", "zstd:11",
    ];
    assert_eq!(names, all);
    for row in rows {
        let calls = row["calls"].as_array().unwrap();
        let cells: Vec<_> = calls
            .iter()
            .map(|cell| {
                (
                    cell["bytes"].as_u64().unwrap(),
                    cell["in_flight"].as_u64().unwrap(),
                )
            })
            .collect();
        assert_eq!(
            cells,
            [
                (64, 1),
                (64, 64),
                (64, 512),
                (581, 1),
                (581, 64),
                (581, 512)
            ]
        );
        assert!(
            calls
                .iter()
                .all(|cell| cell["count"].as_u64() >= cell["in_flight"].as_u64())
        );
        assert!(
            calls
                .iter()
                .chain([&row["connect"]])
                .all(|cell| cell["p50_us"].as_u64() <= cell["p99_us"].as_u64())
        );
        assert!(row["connect"]["count"].as_u64().unwrap() >= 1);
        assert!(row["bulk_bytes_per_second"].as_f64().unwrap() > 0.0);
        assert!(
            row["stream_bytes_per_second"].as_f64().unwrap() > 0.0,
            "{row}"
        );
    }
    let drawn = std::fs::read_to_string(svg).unwrap();
    assert!(drawn.starts_with("<svg") && drawn.trim_end().ends_with("</svg>"));
    for name in all {
        assert!(drawn.contains(name), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_lacks_is_said() {
    let echo = |_: Context, request: Message| async move {
        Ok::<_, std::convert::Infallible>(Message::from_body(request.body))
    };
    let listening = listen(Server::builder().call("customEcho", echo)).await;
    let output = bench(&listening, &["--compressors", "s2,lz4"]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    assert!(
        table.contains("the server has no service echoBistreamFunc"),
        "{table}"
    );
    assert!(table.contains("lz4") && !table.contains("zstd"), "{table}");

    // Without an echo nothing can be measured, and one that lies is found out.
    let listening = listen(Server::builder()).await;
    let output = bench(&listening, &[]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("the server has no service `customEcho`"));
    let liar = |_: Context, _: Message| async move {
        Ok::<_, std::convert::Infallible>(Message::from_body("something else"))
    };
    let listening = listen(Server::builder().call("customEcho", liar)).await;
    let output = bench(&listening, &[]).await;
    assert_eq!(output.status.code(), Some(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drawing_that_cannot_be_written_is_told_before_anything_is_measured() {
    let listening = listen(serve_echo(Server::builder())).await;
    let output = bench(&listening, &["--svg", "/nowhere/at/all.svg"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "");
    let why = text(&output.stderr);
    assert!(why.contains("--svg /nowhere/at/all.svg: "), "{why}");
}
