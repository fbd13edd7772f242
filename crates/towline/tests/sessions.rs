//! Calls over sliding-window sessions.

#![cfg(feature = "tokio")]

use std::{convert::Infallible, time::Duration};

use towline::rpc::{Client, Context, Message, Server, server::ListenConfig};

async fn calls_are_answered_at(url: &str) {
    let server = Server::builder()
        .call("shout", async |_: Context, request: Message| {
            let shout = request.body.to_ascii_uppercase();
            Ok::<_, Infallible>(Message::from_body(shout))
        })
        .build();
    let listening = server.listen(url, ListenConfig::new()).await;
    let listening = listening.expect("listening");
    let endpoint = listening.endpoint().to_string();
    let client = Client::builder()
        .connect(&endpoint)
        .await
        .expect("connected");
    let mut calls = Vec::new();
    for number in 0..50 {
        let client = client.clone();
        calls.push(tokio::spawn(async move {
            let text = format!("call {number} {}", "x".repeat(number * 500));
            let reply = client.call(Message::request("shout", text.clone())).await;
            let reply = reply.expect("answered");
            assert_eq!(reply.body, text.to_ascii_uppercase());
        }));
    }
    for call in calls {
        call.await.expect("no panic");
    }
    client.close().await;
    listening.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn calls_go_over_a_session_on_udp() {
    calls_are_answered_at("udp://127.0.0.1:0").await;
}

#[cfg(all(feature = "nats", feature = "broker"))]
#[tokio::test]
async fn calls_go_over_a_session_through_a_broker() {
    use towline::swp::network::broker::Broker;
    if Broker::program().is_none() && std::env::var_os("TOWLINE_REQUIRE_NATS").is_none() {
        return;
    }
    let broker = Broker::start().expect("a nats-server");
    calls_are_answered_at(&format!("{}/calls", broker.url())).await;
}
