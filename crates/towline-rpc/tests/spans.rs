//! Spans of `tracing` at both ends of a call (docs/wire C24).
//!
//! In a process of its own: whether a span is recorded is remembered for all threads, and threads of other tests
//! have nobody who records.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use towline_rpc::{Context, Message, Server, TraceContext};
use tracing::{
    Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

/// Keeps the fields of every span.
#[derive(Clone, Default)]
struct Kept {
    spans: Arc<Mutex<BTreeMap<u64, BTreeMap<String, String>>>>,
    last: Arc<AtomicU64>,
}

struct Fields<'a>(&'a mut BTreeMap<String, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(
            field.name().to_owned(),
            format!("{value:?}").replace('"', ""),
        );
    }
}

impl Subscriber for Kept {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.target().starts_with("towline_rpc")
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let id = self.last.fetch_add(1, SeqCst) + 1;
        let mut fields = BTreeMap::new();
        fields.insert("name".to_owned(), attributes.metadata().name().to_owned());
        attributes.record(&mut Fields(&mut fields));
        self.spans.lock().expect("no panic").insert(id, fields);
        Id::from_u64(id)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        let mut spans = self.spans.lock().expect("no panic");
        let fields = spans.get_mut(&id.into_u64()).expect("it was made");
        values.record(&mut Fields(fields));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &tracing::Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn spans_at_both_ends_are_parts_of_one_trace() {
    let kept = Kept::default();
    let _recording = tracing::subscriber::set_default(kept.clone());
    let server = Server::builder().call("trace", |_: Context, request: Message| async move {
        let sent = request.arg("traceparent").unwrap_or_default().to_owned();
        let within = TraceContext::current().map(|trace| trace.to_string());
        let within = within.unwrap_or_default();
        Ok::<_, Infallible>(Message::from_body(format!("{sent} {within}")))
    });
    let client = server.build().connect_here();
    let reply = client.call(Message::request("trace", "")).await;
    let text = String::from_utf8(reply.expect("a reply").body.to_vec()).expect("text");
    let (sent, within) = text.split_once(' ').expect("two");
    assert_ne!(sent, "", "a span that is recorded begins a trace");
    let spans = kept.spans.lock().expect("no panic");
    let named = |name: &str| {
        let mut found = spans.values().filter(|span| span["name"] == name);
        let span = found.next().expect("a span").clone();
        assert!(found.next().is_none(), "one of {name}");
        span
    };
    let (call, handle) = (named("call"), named("handle"));
    assert_eq!((&*call["service"], &*handle["service"]), ("trace", "trace"));
    assert_eq!(
        (&*call["otel.kind"], &*handle["otel.kind"]),
        ("client", "server")
    );
    assert_eq!(call["trace_id"], handle["trace_id"]);
    assert_eq!(call["span_id"], handle["parent_id"]);
    assert!(!call.contains_key("parent_id"));
    assert!(sent.contains(&call["span_id"]) && within.contains(&handle["span_id"]));
}
