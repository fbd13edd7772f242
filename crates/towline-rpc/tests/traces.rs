//! Traces that go through calls (docs/wire C24).

use std::convert::Infallible;

use towline_rpc::{Client, Context, Message, Server, TraceContext, server::ServerBuilder};

const OUTER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A server whose `trace` tells what was on the wire and what its handler runs within.
fn telling() -> ServerBuilder {
    Server::builder().call("trace", |_: Context, request: Message| async move {
        let sent = request.arg("traceparent").map(str::to_owned);
        // What a handler is within stays so when it goes on later.
        let begun = TraceContext::current();
        tokio::task::yield_now().await;
        assert_eq!(TraceContext::current(), begun);
        let within = begun.map(|trace| trace.to_string());
        let [sent, within] = [sent, within].map(Option::unwrap_or_default);
        Ok::<_, Infallible>(Message::from_body(format!("{sent} {within}")))
    })
}

/// What was sent, and what the handler ran within.
async fn told(client: &Client) -> (String, String) {
    let reply = client
        .call(Message::request("trace", ""))
        .await
        .expect("a reply");
    let text = String::from_utf8(reply.body.to_vec()).expect("text");
    let (sent, within) = text.split_once(' ').expect("two");
    (sent.to_owned(), within.to_owned())
}

#[tokio::test]
async fn a_trace_goes_through_every_call_and_gets_a_part_at_each() {
    let last = telling().build();
    let client_of_last = last.connect_here();
    let middle = Server::builder()
        .call("forward", move |_: Context, _: Message| {
            let client = client_of_last.clone();
            async move {
                let here = TraceContext::current().expect("within a trace");
                let (sent, within) = told(&client).await;
                Ok::<_, Infallible>(Message::from_body(format!("{here} {sent} {within}")))
            }
        })
        .build();
    let client = middle.connect_here();
    let outer: TraceContext = OUTER.parse().expect("well-formed");
    let reply = outer
        .scope(client.call(Message::request("forward", "")))
        .await;
    let text = String::from_utf8(reply.expect("a reply").body.to_vec()).expect("text");
    let parts: Vec<TraceContext> = text
        .split(' ')
        .map(|text| text.parse().expect("well-formed"))
        .collect();
    assert!(
        parts.iter().all(|part| part.trace_id() == outer.trace_id()),
        "{text}"
    );
    let mut spans: Vec<_> = parts.iter().map(TraceContext::span_id).collect();
    spans.push(outer.span_id());
    spans.sort();
    spans.dedup();
    assert_eq!(spans.len(), 4, "every part is its own: {text}");
    assert_eq!(TraceContext::current(), None);
}

#[tokio::test]
async fn without_a_trace_nothing_is_sent_and_nonsense_is_no_trace() {
    let client = telling().build().connect_here();
    assert_eq!(told(&client).await, (String::new(), String::new()));
    let request = Message::request("trace", "").with_arg("traceparent", "nonsense");
    let reply = client.call(request).await.expect("a reply");
    assert_eq!(reply.body, "nonsense ");
    // What the application sends is left alone.
    let request = Message::request("trace", "").with_arg("traceparent", OUTER);
    let reply = client.call(request).await.expect("a reply");
    assert!(reply.body.starts_with(OUTER.as_bytes()));
}
