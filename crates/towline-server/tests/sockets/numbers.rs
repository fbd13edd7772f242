//! What is counted.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use towline_server::{CloseReason, Server, ServerHandle, ServerMetrics};

use crate::support::{collect, dial, echo, echoes, join, next, start, start_in_memory, until};

const SECOND: Duration = Duration::from_secs(1);

/// docs/wire L43: exact, live, and with what has left in between; the original's are a second late and lose bytes.
#[tokio::test]
async fn totals_are_exact_and_count_those_that_left() {
    let server = start(Server::builder(), echo()).await;
    for turn in 1..=10 {
        let mut client = dial(&server).await;
        assert!(echoes(&mut client, &"x".repeat(1000)).await);
        let metrics = server.metrics();
        assert_eq!(
            (metrics.total_read, metrics.total_written),
            (turn * 1000, turn * 1000)
        );
        drop(client);
    }
    until(|| server.metrics().connections == 0).await;
    let metrics = server.metrics();
    assert_eq!(
        (metrics.total_read, metrics.total_written),
        (10_000, 10_000)
    );
    assert_eq!(metrics.closed.total(), 10);
    // A peak that no interval saw.
    assert!((1..=10).contains(&metrics.max_connections));
    assert_eq!(metrics.goroutines, 0);
}

/// docs/wire L43.
#[tokio::test(start_paused = true)]
async fn rates_are_those_of_the_last_interval() {
    let (server, endpoint) = start_in_memory(Server::builder(), echo()).await;
    let mut published = server.handle().metrics_watch();
    published.mark_unchanged();
    let mut client = join(&endpoint).await;
    client.write_all(&[7; 500]).await.unwrap();
    let mut back = [0; 500];
    client.read_exact(&mut back).await.unwrap();
    assert_eq!(server.metrics().reads_per_second, 0);
    published.changed().await.unwrap();
    let socket = server.sockets().remove(0);
    assert_eq!(server.metrics().reads_per_second, 500);
    assert_eq!(server.metrics().writes_per_second, 500);
    assert_eq!(
        (socket.read_per_interval(), socket.written_per_interval()),
        (500, 500)
    );
    published.changed().await.unwrap();
    assert_eq!(server.metrics().reads_per_second, 0);
    assert_eq!((socket.read_per_interval(), socket.total_read()), (0, 500));
}

/// docs/wire L36, L43: the original deadlocks when its hook asks for the sockets while a client connects.
#[tokio::test(start_paused = true)]
async fn a_metrics_hook_may_call_everything() {
    let handle: Arc<Mutex<Option<ServerHandle>>> = Arc::default();
    let seen: Arc<Mutex<Vec<ServerMetrics>>> = Arc::default();
    let builder = {
        let (handle, seen) = (Arc::clone(&handle), Arc::clone(&seen));
        Server::builder().on_metrics(move |metrics| {
            let handle = handle.lock().unwrap().clone().unwrap();
            let connections = metrics.connections;
            seen.lock().unwrap().push(metrics);
            assert_eq!(handle.metrics().connections, connections);
            for socket in handle.sockets() {
                socket.close(CloseReason::Server);
            }
            assert!(
                connections == 0,
                "the second time it panics, which ends nothing"
            );
        })
    };
    let (server, endpoint) = start_in_memory(builder, echo()).await;
    *handle.lock().unwrap() = Some(server.handle());
    let mut published = server.handle().metrics_watch();
    published.mark_unchanged();
    published.changed().await.unwrap();
    let mut client = join(&endpoint).await;
    let mut byte = [0];
    assert_eq!(client.read(&mut byte).await.unwrap(), 0);
    tokio::time::sleep(2 * SECOND).await;
    let seen = seen.lock().unwrap();
    assert_eq!(seen[1].connections, 1);
    assert_eq!(seen[2].connections, 0);
    assert_eq!(server.counters().handler_panics, 1);
}

/// docs/wire L43.
#[tokio::test]
async fn a_sockets_counters_are_live() {
    let (strategy, mut sockets) = collect();
    let server = start(Server::builder(), strategy).await;
    let mut client = dial(&server).await;
    let socket = next(&mut sockets).await;
    socket.send("12345").unwrap();
    assert_eq!(socket.total_written(), 5);
    client.write_all(b"123").await.unwrap();
    until(|| socket.total_read() == 3).await;
    socket.close(CloseReason::Server);
    assert_eq!((socket.total_read(), socket.total_written()), (3, 5));
}

#[cfg(feature = "metrics")]
#[tokio::test]
async fn numbers_reach_the_recorder_of_the_facade() {
    use metrics::{
        Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, SharedString, Unit,
    };

    #[derive(Default)]
    struct Recorder(Arc<Mutex<Vec<(String, f64)>>>);
    struct One(String, Arc<Mutex<Vec<(String, f64)>>>);
    impl CounterFn for One {
        fn increment(&self, _: u64) {}
        fn absolute(&self, value: u64) {
            self.1.lock().unwrap().push((self.0.clone(), value as f64));
        }
    }
    impl GaugeFn for One {
        fn increment(&self, _: f64) {}
        fn decrement(&self, _: f64) {}
        fn set(&self, value: f64) {
            self.1.lock().unwrap().push((self.0.clone(), value));
        }
    }
    impl metrics::Recorder for Recorder {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            let labels: Vec<_> = key.labels().map(|label| label.value().to_owned()).collect();
            let name = format!("{} {}", key.name(), labels.join(" "));
            Counter::from_arc(Arc::new(One(name, Arc::clone(&self.0))))
        }
        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(Arc::new(One(key.name().to_owned(), Arc::clone(&self.0))))
        }
        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    let server = start(Server::builder(), echo()).await;
    let mut client = dial(&server).await;
    assert!(echoes(&mut client, "hello").await);
    drop(client);
    until(|| server.metrics().closed.total() == 1).await;
    let recorder = Recorder::default();
    metrics::with_local_recorder(&recorder, || server.metrics().record());
    let recorded = recorder.0.lock().unwrap();
    let value = |name: &str| {
        let found = recorded.iter().find(|(key, _)| key.trim() == name);
        found
            .unwrap_or_else(|| panic!("{name} is not in {recorded:?}"))
            .1
    };
    assert_eq!(value("towline_server_read_bytes_total") as u64, 5);
    assert_eq!(value("towline_server_connections") as u64, 0);
    assert_eq!(value("towline_server_closed_total client") as u64, 1);
    assert_eq!(value("towline_server_refused_total limit") as u64, 0);
}
