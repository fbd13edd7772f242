//! The example `net_rpc`, called by a client of towline, and by Go where it is installed.

#![cfg(feature = "macros")]
#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

#[path = "../examples/net_rpc.rs"]
#[expect(dead_code, reason = "its main is for users")]
mod net_rpc;

use std::{collections::BTreeMap, path::Path, process::Command, time::Duration};

use bytes::BytesMut;
use towline::codec::greenpack::{Greenpack as _, Reader};
use towline::rpc::{
    CallError, Client, Message, NetRpcError,
    server::{ListenConfig, Listening},
};

async fn listen() -> Listening {
    let server = net_rpc::services().unwrap();
    server
        .listen("tcp://127.0.0.1:0", ListenConfig::new())
        .await
        .unwrap()
}

/// What the original's benchmark sends and gets back: every text is one phrase, every number 100,000.
#[tokio::test]
async fn the_message_of_the_benchmark_has_the_recorded_bytes() {
    let recorded: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("vectors/benchmark_message.json")).unwrap();
    let [request, reply] = &recorded[..] else {
        panic!("{} messages", recorded.len());
    };
    let bytes = |entry: &serde_json::Value| {
        let hex = entry["hex"].as_str().unwrap();
        let bytes = (0..hex.len()).step_by(2);
        let bytes = bytes.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
        bytes.collect::<Vec<u8>>()
    };
    let (request, reply) = (bytes(request), bytes(reply));
    assert_eq!((request.len(), reply.len()), (567, 510));
    let written = |message: &net_rpc::BenchmarkMessage| {
        let mut out = BytesMut::new();
        message.encode(&mut out);
        out.to_vec()
    };
    let said = net_rpc::BenchmarkMessage::decode(&mut Reader::new(&request)).unwrap();
    assert_eq!((said.field2, &said.field1), (100_000, &said.field129));
    assert_eq!(written(&said), request);

    let client = net_rpc::services().unwrap().connect_here();
    let heard: net_rpc::BenchmarkMessage = client.net_rpc("Hello.Say", &said).await.unwrap();
    assert_eq!(written(&heard), reply);
}

#[tokio::test]
async fn the_services_of_the_example_answer() {
    let listening = listen().await;
    let endpoint = listening.endpoint().to_string();
    let client = Client::builder().connect(&endpoint).await.unwrap();
    let args = (7_i64, 8_i64);
    for (method, result) in [
        ("Arith.Add", 15),
        ("net.rpc.Arith.Mul", 56),
        ("Arith.Div", 0),
        ("Arith.SleepMilli", 0),
    ] {
        assert_eq!(
            client.net_rpc::<_, (i64,)>(method, &args).await.unwrap(),
            (result,)
        );
    }
    let text: String = client.net_rpc("Arith.String", &args).await.unwrap();
    assert_eq!(text, "7+8=15");
    let scanned: (i64,) = client
        .net_rpc("Arith.Scan", &"41".to_owned())
        .await
        .unwrap();
    assert_eq!(scanned, (41,));
    let map: BTreeMap<i64, i64> = client.net_rpc("BuiltinTypes.Map", &args).await.unwrap();
    assert_eq!(map, BTreeMap::from([args]));
    let slice: Vec<i64> = client.net_rpc("BuiltinTypes.Slice", &args).await.unwrap();
    assert_eq!(slice, [7, 8]);
    for method in ["BuiltinTypes.Array", "BuiltinTypes.WantsContext"] {
        assert_eq!(
            client.net_rpc::<_, [i64; 2]>(method, &args).await.unwrap(),
            [7, 8]
        );
    }
    let exported = client.net_rpc::<_, (i64,)>("Embed.Exported", &args).await;
    assert_eq!(exported.unwrap(), (15,));
    let said = net_rpc::BenchmarkMessage {
        field1: "hello".to_owned(),
        field5: vec![1, u64::MAX],
        field22: i64::MIN,
        field131: -1,
        ..Default::default()
    };
    let heard: net_rpc::BenchmarkMessage = client.net_rpc("Hello.Say", &said).await.unwrap();
    let expected = net_rpc::BenchmarkMessage {
        field1: "OK".to_owned(),
        field2: 100,
        ..said
    };
    assert_eq!(heard, expected);
    for (method, text) in [("Arith.Error", "ERROR"), ("Arith.Div", "divide by zero")] {
        let failed = client.net_rpc::<_, (i64,)>(method, &(1_i64, 0_i64)).await;
        assert_eq!(failed.unwrap_err().to_string(), text);
    }

    // Only a cancel or a deadline ends these; who says so first, client or server, is open.
    let soon = Some(Duration::from_millis(20));
    let hangs = Message::request("MustBeCancelled.WillHangUntilCancel", &b"\x92\x01\x02"[..]);
    match client.net_rpc_message(hangs, soon).await {
        Err(NetRpcError::Call(CallError::TimedOut(_))) => {}
        Err(NetRpcError::Remote(error)) => assert_eq!(error.text(), "context deadline exceeded"),
        other => panic!("{other:?}"),
    }
    match client
        .call_with_timeout(Message::request("hang_until_cancel", ""), soon)
        .await
    {
        Err(CallError::TimedOut(_)) => {}
        Ok(reply) => assert_eq!(reply.error, "context deadline exceeded"),
        other => panic!("{other:?}"),
    }
    assert_eq!(
        client
            .net_rpc::<_, (i64,)>("Arith.Add", &args)
            .await
            .unwrap(),
        (15,)
    );
    client.close().await;
    let drained = listening.shutdown(Duration::from_secs(5)).await;
    assert_eq!(drained.cut_off, 0);
}

/// A peer in Go, written from docs/wire alone. Where it cannot be built nothing is shown.
#[tokio::test]
async fn a_go_client_calls_the_example() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("gopeer");
    let mut build = Command::new("go");
    build
        .arg("build")
        .arg("-o")
        .arg(&program)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop/gopeer"));
    match tokio::task::spawn_blocking(move || build.output())
        .await
        .unwrap()
    {
        Ok(output) if output.status.success() => {}
        other => return println!("skipped: gopeer cannot be built: {other:?}"),
    }

    let listening = listen().await;
    let endpoint = listening.endpoint().to_string();
    let mut call = Command::new(program);
    call.args([
        "netrpc",
        "-tcp",
        "-s",
        endpoint.strip_prefix("tcp://").unwrap(),
        "examples",
    ]);
    let output = tokio::task::spawn_blocking(move || call.output())
        .await
        .unwrap()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{out}{err}");
    assert!(out.contains("cancelled: context canceled"), "{out}");
}
