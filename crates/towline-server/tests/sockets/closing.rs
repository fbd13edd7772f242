//! Ends of sockets: reasons, hooks, queues.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use towline_server::{CloseReason, SendError, Server, SocketStream, TaskPerConnection};
use towline_transport::connect;

use crate::support::{
    LONG, collect, dial, dial_narrow, hangs_up, join, next, start, start_in_memory, tls_listener,
    until,
};

const SECOND: Duration = Duration::from_secs(1);

/// docs/wire L39.
#[tokio::test]
async fn hooks_run_last_first_once_and_at_once_when_it_is_too_late() {
    let (strategy, mut sockets) = collect();
    let server = start(Server::builder(), strategy).await;
    let mut client = dial(&server).await;
    let socket = next(&mut sockets).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    for number in 1..=3 {
        let seen = Arc::clone(&seen);
        socket.on_close(move |socket, reason| {
            assert!(socket.is_closed(), "it has ended before hooks run");
            // What deadlocks in the original: ending, sending and adding hooks from within a hook.
            socket.close(CloseReason::Error);
            assert_eq!(socket.send("late"), Err(SendError::Closed));
            let inner = Arc::clone(&seen);
            socket.on_close(move |_, _| inner.lock().unwrap().push((number + 10, reason)));
            seen.lock().unwrap().push((number, reason));
        });
    }
    socket.close(CloseReason::Server);
    socket.close(CloseReason::IdleTimeout);
    assert_eq!(socket.closed().await, CloseReason::Server);
    let order: Vec<_> = seen
        .lock()
        .unwrap()
        .iter()
        .map(|(number, _)| *number)
        .collect();
    assert_eq!(order, [13, 3, 12, 2, 11, 1]);
    let late = Arc::clone(&seen);
    socket.on_close(move |_, reason| late.lock().unwrap().push((99, reason)));
    assert_eq!(
        seen.lock().unwrap().last(),
        Some(&(99, CloseReason::Server))
    );
    assert!(hangs_up(&mut client).await);
}

/// docs/wire L36, L39.
#[tokio::test]
async fn a_hook_that_panics_ends_nothing_else() {
    let (strategy, mut sockets) = collect();
    let server = start(Server::builder(), strategy).await;
    let _client = dial(&server).await;
    let socket = next(&mut sockets).await;
    let (sender, mut told) = mpsc::unbounded_channel();
    socket.on_close(move |_, reason| sender.send(reason).unwrap());
    socket.on_close(|_, _| panic!("a hook"));
    socket.close(CloseReason::Server);
    assert_eq!(told.recv().await, Some(CloseReason::Server));
    assert_eq!(server.counters().handler_panics, 1);
}

/// docs/wire L39.
#[tokio::test]
async fn a_peer_that_leaves_is_the_reason_and_later_sends_fail() {
    let (strategy, mut sockets) = collect();
    let server = start(Server::builder(), strategy).await;
    let client = dial(&server).await;
    let socket = next(&mut sockets).await;
    drop(client);
    assert_eq!(socket.closed().await, CloseReason::Client);
    assert_eq!(socket.send("x"), Err(SendError::Closed));
    assert!(socket.flushed().await.is_err());
}

/// docs/wire L39: the original leaves a socket open whose peer is gone, and logs every write.
#[tokio::test]
async fn a_write_that_fails_ends_the_socket() {
    let (sender, mut sockets) = mpsc::unbounded_channel();
    let strategy = TaskPerConnection::new(move |stream: SocketStream| {
        sender.send(stream.socket().clone()).unwrap();
        // Never reads, so that only a write can notice.
        async move {
            stream.socket().closed().await;
        }
    });
    let server = start(Server::builder(), strategy).await;
    let client = dial(&server).await;
    let socket = next(&mut sockets).await;
    socket2::SockRef::from(&client)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(client);
    until(|| socket.send("x").is_err()).await;
    assert_eq!(socket.closed().await, CloseReason::Client);
}

/// docs/wire L46.
#[tokio::test]
async fn what_a_handler_has_sent_arrives_although_it_returns() {
    let text: String = "all of it ".repeat(100_000);
    let sent = text.clone();
    let strategy = TaskPerConnection::new(move |stream: SocketStream| {
        let sent = sent.clone();
        async move {
            stream.send(sent).unwrap();
        }
    });
    let server = start(Server::builder(), strategy).await;
    let mut client = dial_narrow(&server).await;
    let mut came = String::new();
    client.read_to_string(&mut came).await.unwrap();
    assert!(came == text, "{} bytes of {}", came.len(), text.len());
}

/// docs/wire L39: a connection that is closed over unread bytes would be reset, and its peer lose the answer.
#[tokio::test]
async fn an_answer_arrives_although_its_client_had_more_to_say() {
    let strategy = TaskPerConnection::new(|mut stream: SocketStream| async move {
        let mut byte = [0];
        stream.read_exact(&mut byte).await.unwrap();
        stream.send("no, thank you").unwrap();
    });
    let server = start(Server::builder(), strategy).await;
    let mut client = dial(&server).await;
    client.write_all(&[7; 100_000]).await.unwrap();
    until(|| server.metrics().total_written == 13).await;
    client.write_all(&[7; 100_000]).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "no, thank you");
    drop(client);
    until(|| server.metrics().connections == 0).await;
    assert_eq!(server.metrics().closed.by(CloseReason::Server), 1);
}

/// docs/wire L46.
#[tokio::test]
async fn the_queue_is_bounded_and_in_order() {
    let (strategy, mut sockets) = collect();
    let server = start(Server::builder().max_queued(64 * 1024), strategy).await;
    let mut client = dial_narrow(&server).await;
    let socket = next(&mut sockets).await;
    let mut sent = 0u32;
    let full = loop {
        match socket.send(sent.to_be_bytes().repeat(1024)) {
            Ok(_) => sent += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, SendError::Full { queued, max: 65_536 } if queued <= 65_536));
    assert!(socket.queued() <= 64 * 1024);
    // Waiting for room does not change the order either.
    let waiting = tokio::spawn({
        let socket = socket.clone();
        async move {
            for number in sent..sent + 50 {
                let message = number.to_be_bytes().repeat(1024);
                socket.send_when_ready(message).await.unwrap();
            }
            socket.flushed().await.unwrap();
        }
    });
    for number in 0..sent + 50 {
        let mut message = [0; 4096];
        client.read_exact(&mut message).await.unwrap();
        assert_eq!(message, *number.to_be_bytes().repeat(1024));
    }
    waiting.await.unwrap();
    assert_eq!(
        (socket.queued(), socket.total_written()),
        (0, u64::from(sent + 50) * 4096)
    );
}

/// docs/wire L46: bytes of the stream's own writes and of others' messages never mix.
#[tokio::test]
async fn writes_of_the_handler_and_of_others_keep_their_bytes_together() {
    let (sender, mut sockets) = mpsc::unbounded_channel();
    let strategy = TaskPerConnection::new(move |mut stream: SocketStream| {
        sender.send(stream.socket().clone()).unwrap();
        async move {
            for _ in 0..200 {
                stream.send_when_ready(vec![b'a'; 10_000]).await.unwrap();
            }
            stream.flush().await.unwrap();
            let mut byte = [0];
            assert_eq!(stream.read(&mut byte).await.unwrap(), 0);
        }
    });
    let server = start(Server::builder(), strategy).await;
    let mut client = dial_narrow(&server).await;
    let socket = next(&mut sockets).await;
    let other = tokio::spawn(async move {
        for _ in 0..200 {
            socket.send_when_ready(vec![b'b'; 10_000]).await.unwrap();
        }
    });
    for _ in 0..400 {
        let mut message = vec![0; 10_000];
        client.read_exact(&mut message).await.unwrap();
        assert!(message.iter().all(|byte| *byte == message[0]));
    }
    other.await.unwrap();
    client.shutdown().await.unwrap();
}

/// docs/wire L40.
#[tokio::test]
async fn numbers_are_unique_and_addresses_plain() {
    let (strategy, mut sockets) = collect();
    let server = start(Server::builder(), strategy).await;
    let mut clients = Vec::new();
    for expected in 1..=20 {
        let client = dial(&server).await;
        let socket = next(&mut sockets).await;
        assert_eq!(socket.id(), expected);
        assert_eq!(socket.remote_address(), "127.0.0.1");
        assert_eq!(
            socket.remote().socket_addr(),
            Some(client.local_addr().unwrap())
        );
        clients.push(client);
    }
    let ids: Vec<_> = server.sockets().iter().map(|socket| socket.id()).collect();
    assert_eq!(ids, (1..=20).collect::<Vec<_>>());
    let weak = server.sockets()[0].downgrade();
    drop(clients);
    until(|| server.sockets().is_empty() && weak.upgrade().is_none_or(|socket| socket.is_closed()))
        .await;
}

/// docs/wire L39: the same for what is on its way when the answer leaves: a peer is waited for until it ends its side.
#[tokio::test]
async fn an_answer_arrives_although_its_client_says_more_while_it_is_on_its_way() {
    let strategy = TaskPerConnection::new(|mut stream: SocketStream| async move {
        let mut byte = [0];
        stream.read_exact(&mut byte).await.unwrap();
        stream.send("no, thank you").unwrap();
    });
    let server = start(Server::builder(), strategy).await;
    let mut client = dial(&server).await;
    client.write_all(b"x").await.unwrap();
    until(|| server.metrics().total_written == 13).await;
    // A reset would make the second one fail, and on other systems than Linux take the answer away.
    for _ in 0..10 {
        client.write_all(&[7; 10_000]).await.unwrap();
    }
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "no, thank you");
    drop(client);
    until(|| server.metrics().connections == 0).await;
    assert_eq!(server.metrics().closed.by(CloseReason::Server), 1);
}

/// docs/wire L39: and no longer than it may linger; not at all if it was told nothing, or the server stops.
#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_end_is_waited_for_as_long_as_it_may_linger() {
    let tells = |text: &'static str| {
        TaskPerConnection::new(move |stream: SocketStream| async move {
            stream.send(text).unwrap();
        })
    };
    for (text, stops) in [("bye", false), ("", false), ("bye", true)] {
        let builder = Server::builder().linger(7 * SECOND);
        let (server, endpoint) = start_in_memory(builder, tells(text)).await;
        let mut client = join(&endpoint).await;
        let start = sleep(Duration::ZERO).deadline();
        let mut said = String::new();
        client.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, text);
        if stops {
            assert_eq!(server.metrics().connections, 1);
            assert_eq!(server.shutdown(LONG).await.cut_off, 0);
        } else {
            until(|| server.metrics().closed.by(CloseReason::Server) == 1).await;
        }
        let took = sleep(Duration::ZERO).deadline() - start;
        let expected = if stops || text.is_empty() { 0 } else { 7 };
        assert_eq!(took.as_secs(), expected);
    }
}

/// docs/wire L39: over whatever a connection is carried, and though the handler keeps its stream.
#[tokio::test]
async fn a_peer_hears_of_a_close_at_once() {
    let (listener, options) = tls_listener(LONG).await;
    let secret = listener.local_endpoint().clone();
    let keep = || {
        TaskPerConnection::new(|stream: SocketStream| async move {
            stream.socket().closed().await;
            std::future::pending::<()>().await;
            drop(stream);
        })
    };
    let tls = Server::builder().start([listener], keep()).unwrap();
    let (memory, name) = start_in_memory(Server::builder(), keep()).await;
    let tcp = start(Server::builder(), keep()).await;
    let open = tcp.handle().local()[0].parse().unwrap();
    for (server, endpoint) in [(tls, secret), (memory, name), (tcp, open)] {
        let mut client = connect(&endpoint, &options).await.unwrap();
        until(|| server.sockets().len() == 1).await;
        server.sockets()[0].close(CloseReason::Server);
        let read = timeout(LONG, client.read(&mut [0])).await;
        // With the goodbye of TLS, or it would be an error.
        assert_eq!(read.unwrap().unwrap(), 0, "{endpoint}");
    }
}
