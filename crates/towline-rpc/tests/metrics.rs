//! The numbers of clients, servers and pools, as a recorder hears them.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use towline_rpc::{CallError, Context, Message, Pool, Server};

type Numbers = Arc<Mutex<BTreeMap<String, f64>>>;

/// Adds up what it hears, by name and labels.
#[derive(Default)]
struct Kept(Numbers);

struct Number(String, Numbers);

impl Number {
    fn change(&self, change: impl FnOnce(&mut f64)) {
        change(
            self.1
                .lock()
                .expect("no panic")
                .entry(self.0.clone())
                .or_default(),
        );
    }
}

impl CounterFn for Number {
    fn increment(&self, value: u64) {
        self.change(|sum| *sum += value as f64);
    }

    fn absolute(&self, value: u64) {
        self.change(|sum| *sum = value as f64);
    }
}

impl GaugeFn for Number {
    fn increment(&self, value: f64) {
        self.change(|sum| *sum += value);
    }

    fn decrement(&self, value: f64) {
        self.change(|sum| *sum -= value);
    }

    fn set(&self, value: f64) {
        self.change(|sum| *sum = value);
    }
}

impl HistogramFn for Number {
    fn record(&self, value: f64) {
        self.change(|sum| *sum += value);
    }
}

impl Kept {
    fn number(&self, key: &Key) -> Arc<Number> {
        let labels: Vec<_> = key.labels().map(|label| label.value()).collect();
        let name = format!("{} {}", key.name(), labels.join(" "));
        Arc::new(Number(name.trim_end().to_owned(), Arc::clone(&self.0)))
    }
}

impl Recorder for Kept {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.number(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.number(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.number(key))
    }
}

#[tokio::test(start_paused = true)]
async fn calls_are_counted_and_timed_at_both_ends() {
    let kept = Kept::default();
    let numbers = Arc::clone(&kept.0);
    let _recording = metrics::set_default_local_recorder(&kept);
    let server = Server::builder()
        .call("nap", |_: Context, _: Message| async move {
            tokio::time::sleep(Duration::from_secs(2)).await;
            Ok::<_, Infallible>(Message::new())
        })
        .call("fail", |_: Context, _: Message| async move {
            Err::<Message, _>("it failed")
        })
        .call("panic", |_: Context, _: Message| async move {
            assert!(std::hint::black_box(false), "a handler panics on purpose");
            Ok::<_, Infallible>(Message::new())
        })
        .one_way("note", |_: Context, _: Message| async move {})
        .max_running_of("nap", 2)
        .build();
    let client = server.connect_here();
    let call = |service: &'static str| {
        let client = client.clone();
        tokio::spawn(async move { client.call(Message::request(service, "")).await })
    };
    let naps = [call("nap"), call("nap")];
    tokio::time::sleep(Duration::from_millis(1)).await;
    {
        let numbers = numbers.lock().expect("no panic");
        assert_eq!(numbers["towline_rpc_client_in_flight"], 2.0);
        assert_eq!(numbers["towline_rpc_server_running"], 2.0);
    }
    let refused = call("nap").await.expect("no panic");
    assert!(matches!(refused, Err(CallError::Overloaded(_))));
    for nap in naps {
        nap.await.expect("no panic").expect("a reply");
    }
    let cancelled = call("nap");
    tokio::time::sleep(Duration::from_millis(1)).await;
    cancelled.abort();
    call("fail").await.expect("no panic").expect("a reply");
    call("panic").await.expect("no panic").expect("a reply");
    assert!(call("unknown").await.expect("no panic").is_err());
    client
        .send_one_way(Message::request("note", ""))
        .await
        .expect("sent");
    client.close().await;
    tokio::time::sleep(Duration::from_secs(5)).await;

    let numbers = numbers.lock().expect("no panic");
    let counted: Vec<_> = numbers
        .iter()
        .filter(|(name, _)| name.contains("_total"))
        .map(|(name, count)| format!("{} {count}", name.trim_start_matches("towline_rpc_")))
        .collect();
    assert_eq!(
        counted,
        [
            "client_calls_total fail failed 1",
            "client_calls_total nap cancelled 1",
            "client_calls_total nap not_begun 1",
            "client_calls_total nap ok 2",
            "client_calls_total panic failed 1",
            "client_calls_total unknown refused 1",
            "server_calls_total fail failed 1",
            "server_calls_total nap cancelled 1",
            "server_calls_total nap ok 2",
            "server_calls_total note ok 1",
            "server_calls_total panic panicked 1",
            "server_refused_total busy 1",
            "server_refused_total unknown 1",
        ]
    );
    assert_eq!(numbers["towline_rpc_client_in_flight"], 0.0);
    assert_eq!(numbers["towline_rpc_server_running"], 0.0);
    for end in ["client", "server"] {
        let seconds = numbers[&format!("towline_rpc_{end}_call_seconds nap")];
        assert!((4.0..4.1).contains(&seconds), "{end}: {seconds}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_becomes_of_a_pool_is_counted() {
    let kept = Kept::default();
    let numbers = Arc::clone(&kept.0);
    let _recording = metrics::set_default_local_recorder(&kept);
    let policy = towline_rpc::proto::ReconnectPolicy::default().attempts(Some(3));
    let pool = Pool::builder()
        .address("mem://nobody-is-counted-here")
        .reconnect(policy)
        .build()
        .expect("valid");
    assert!(pool.call(Message::request("echo", "")).await.is_err());
    let numbers = numbers.lock().expect("no panic");
    assert_eq!(numbers["towline_rpc_pool_events_total gone"], 2.0);
    assert_eq!(numbers["towline_rpc_pool_events_total given_up"], 1.0);
}
