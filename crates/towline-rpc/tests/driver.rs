//! Client and server over a byte stream, with tokio.

#![expect(
    clippy::disallowed_methods,
    reason = "these tests measure virtual time"
)]

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{io::AsyncWriteExt as _, sync::Notify, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use towline_identity::Peer;
use towline_rpc::{
    CallError, Client, CloseReason, Compression, Context, Message, SendError, Server, StreamError,
    client::ClientBuilder,
    proto::{CallType, Concurrency, FrameReader, Limits, Violation},
    server::ServerBuilder,
};

struct Served {
    client: Client,
    task: JoinHandle<CloseReason>,
    shutdown: CancellationToken,
}

fn serve(server: ServerBuilder, client: &ClientBuilder) -> Served {
    let (here, there) = tokio::io::duplex(256 << 10);
    let shutdown = CancellationToken::new();
    let server = server.build();
    let task = tokio::spawn({
        let shutdown = shutdown.clone();
        async move {
            let peer = Peer::unauthenticated("mem://client");
            server
                .serve_io(there, peer, "mem://server", "mem://client", shutdown)
                .await
        }
    });
    let peer = Peer::unauthenticated("mem://server");
    let client = client.from_io(here, peer, "mem://client", "mem://server");
    Served {
        client,
        task,
        shutdown,
    }
}

fn echo_server() -> ServerBuilder {
    Server::builder()
        .call("echo", |_: Context, request: Message| async move {
            Ok::<_, Infallible>(Message::from_body(request.body))
        })
        .call("fail", |_: Context, _: Message| async move {
            Err::<Message, _>("it failed")
        })
        .call("panic", |_: Context, _: Message| async move {
            assert!(std::hint::black_box(false), "a handler panics on purpose");
            Ok::<_, Infallible>(Message::new())
        })
        .upload("sum", |_: Context, first: Message, mut parts| async move {
            let mut total = first.body.len();
            while let Some(part) = parts.next().await? {
                total += part.body.len();
            }
            Ok::<_, StreamError>(Message::from_body(total.to_string()))
        })
        .download(
            "count",
            |_: Context, request: Message, mut sink| async move {
                let parts: usize = request
                    .arg("parts")
                    .and_then(|text| text.parse().ok())
                    .unwrap_or(0);
                for number in 0..parts {
                    let part = Message::from_body(format!("part {number}"));
                    if number + 1 == parts {
                        sink.send_last(part).await?
                    } else {
                        sink.send(part).await?
                    }
                }
                Ok::<_, SendError>(Message::new().with_subject("the end"))
            },
        )
}

#[tokio::test]
async fn a_call_is_answered_with_subject_and_args_of_the_handler() {
    let server = Server::builder().call("greet", |context: Context, request: Message| async move {
        assert_eq!(context.remote_addr().to_string(), "mem://client");
        let reply = Message::from_body([b"hello ", &request.body[..]].concat());
        Ok::<_, Infallible>(reply.with_subject("greeting").with_arg("lang", "en"))
    });
    let Served { client, .. } = serve(server, &Client::builder());
    let request = Message::request("greet", "world").with_arg("mine", "1");
    let reply = client.call(request).await.expect("answered");
    assert_eq!(reply.body, "hello world");
    assert_eq!(reply.hdr.subject, "greeting");
    assert_eq!(reply.arg("lang"), Some("en"));
    assert_eq!(
        reply.arg("mine"),
        None,
        "a reply never carries the request's Args"
    );
    assert_eq!(
        reply.hdr.seqno, 2,
        "the first sequence number of a client is 2"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_concurrent_calls_match_their_replies() {
    for compression in [Compression::None, Compression::S2] {
        let Served { client, .. } =
            serve(echo_server(), &Client::builder().compression(compression));
        let calls: Vec<_> = (0..1000_usize)
            .map(|number| {
                let client = client.clone();
                tokio::spawn(async move {
                    let body = number.to_string().repeat(1 + number % 50);
                    let reply = client
                        .call(Message::request("echo", body.clone()))
                        .await
                        .expect("answered");
                    assert_eq!(reply.body, body);
                })
            })
            .collect();
        for call in calls {
            call.await.expect("no call panicked");
        }
        assert_eq!(client.in_flight(), 0);
    }
}

#[tokio::test]
async fn a_failing_and_a_panicking_handler_fail_their_call_only() {
    let Served { client, .. } = serve(echo_server(), &Client::builder());
    let failed = client
        .call(Message::request("fail", ""))
        .await
        .expect("a reply");
    assert_eq!(failed.into_result().unwrap_err().to_string(), "it failed");
    let panicked = client
        .call(Message::request("panic", ""))
        .await
        .expect("a reply");
    assert_eq!(panicked.error, "handler panicked");
    assert!(client.call(Message::request("echo", "x")).await.is_ok());
}

#[tokio::test]
async fn an_unknown_service_is_refused_at_once_and_the_next_call_works() {
    let Served { client, .. } = serve(echo_server(), &Client::builder());
    let error = client
        .call(Message::request("nobody", ""))
        .await
        .unwrap_err();
    let CallError::Refused(text) = error else {
        panic!("{error}")
    };
    let text = text.to_string();
    assert!(
        text.starts_with("error! CallRPC begin received but no server side upcall registered"),
        "{text}"
    );
    assert!(text.contains("ServiceName='nobody'"), "{text}");
    assert!(client.call(Message::request("echo", "x")).await.is_ok());
    let upload = client
        .upload(Message::request("nobody", ""))
        .await
        .expect("sent");
    assert!(matches!(
        upload.finish(Message::new()).await,
        Err(StreamError::Refused(_))
    ));
    let download = client
        .download(Message::request("nobody", ""))
        .await
        .expect("sent");
    assert!(matches!(
        download.finish().await,
        Err(StreamError::Refused(_))
    ));
}

#[tokio::test]
async fn a_body_at_the_limit_travels_and_one_byte_more_is_refused_locally() {
    let server = Server::builder().call("len", |_: Context, request: Message| async move {
        Ok::<_, Infallible>(Message::from_body(request.body.len().to_string()))
    });
    let Served { client, .. } = serve(server, &Client::builder().compression(Compression::None));
    let limit = 67_107_760;
    let reply = client
        .call(Message::request("len", vec![0; limit]))
        .await
        .expect("fits");
    assert_eq!(reply.body, limit.to_string());
    let error = client
        .call(Message::request("len", vec![0; limit + 1]))
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::TooLarge(_)), "{error}");
    assert!(client.call(Message::request("len", "xy")).await.is_ok());
    assert_eq!(client.in_flight(), 0);
}

#[tokio::test]
async fn a_reply_that_is_too_large_becomes_an_error() {
    let server = Server::builder().call("big", |_: Context, _: Message| async move {
        Ok::<_, Infallible>(Message::from_body(vec![0; 67_107_761]))
    });
    let Served { client, .. } = serve(server, &Client::builder());
    let reply = client
        .call(Message::request("big", ""))
        .await
        .expect("a reply");
    assert!(
        reply.error.to_string().contains("too large"),
        "{}",
        reply.error
    );
}

#[tokio::test]
async fn uploads_and_downloads_arrive_whole() {
    let Served { client, .. } = serve(echo_server(), &Client::builder());
    for parts in [1, 2, 3, 500] {
        let mut upload = client
            .upload(Message::request("sum", "x".repeat(1000)))
            .await
            .expect("sent");
        for _ in 1..parts {
            upload
                .send(Message::from_body("y".repeat(1000)))
                .await
                .expect("sent");
        }
        let reply = upload.finish(Message::new()).await.expect("a reply");
        assert_eq!(reply.body, (parts * 1000).to_string());

        let request = Message::request("count", "").with_arg("parts", parts.to_string());
        let mut download = client.download(request).await.expect("sent");
        let mut types = Vec::new();
        while let Some(part) = download.next().await {
            assert_eq!(part.body, format!("part {}", types.len()));
            types.push(part.hdr.typ);
        }
        assert_eq!(types.len(), parts);
        assert_eq!(types[0], CallType::DOWNLOAD_BEGIN);
        assert!(
            types[1..]
                .iter()
                .rev()
                .skip(1)
                .all(|&typ| typ == CallType::DOWNLOAD_MORE)
        );
        assert!(parts == 1 || types.last() == Some(&CallType::DOWNLOAD_END));
        assert_eq!(
            download.finish().await.expect("a reply").hdr.subject,
            "the end"
        );
    }
    assert_eq!(client.in_flight(), 0);
}

#[tokio::test]
async fn a_server_that_fails_in_the_middle_ends_the_upload() {
    let server =
        Server::builder().upload("strict", |_: Context, _: Message, mut parts| async move {
            parts.next().await.map_err(|error| error.to_string())?;
            Err::<Message, _>("bad part".to_owned())
        });
    let Served { client, .. } = serve(server, &Client::builder());
    let mut upload = client
        .upload(Message::request("strict", "a"))
        .await
        .expect("sent");
    let mut ended = false;
    for _ in 0..100_000 {
        match upload.send(Message::from_body("b")).await {
            Ok(()) => tokio::task::yield_now().await,
            Err(SendError::Ended) => {
                ended = true;
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(ended, "the upload learns that it is over");
    let reply = upload.finish(Message::new()).await.expect("a reply");
    assert_eq!(reply.error, "bad part");
}

#[tokio::test]
async fn dropping_a_call_drops_its_handler() {
    struct Flag(Arc<Notify>);
    impl Drop for Flag {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let (started, dropped) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let server = {
        let (started, dropped) = (Arc::clone(&started), Arc::clone(&dropped));
        Server::builder().call("hang", move |_: Context, _: Message| {
            let (started, flag) = (Arc::clone(&started), Flag(Arc::clone(&dropped)));
            async move {
                let _flag = flag;
                started.notify_one();
                std::future::pending::<Result<Message, Infallible>>().await
            }
        })
    };
    let Served { client, .. } = serve(server, &Client::builder());
    let call = tokio::spawn({
        let client = client.clone();
        async move {
            client
                .call_with_timeout(Message::request("hang", ""), None)
                .await
        }
    });
    started.notified().await;
    call.abort();
    dropped.notified().await;
    assert!(call.await.is_err_and(|error| error.is_cancelled()));
    assert_eq!(client.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_times_out_after_ten_seconds_by_default() {
    let server = Server::builder().call("hang", |_: Context, _: Message| {
        std::future::pending::<Result<Message, Infallible>>()
    });
    let Served { client, .. } = serve(server, &Client::builder());
    let start = tokio::time::Instant::now();
    let error = client.call(Message::request("hang", "")).await.unwrap_err();
    assert!(
        matches!(error, CallError::TimedOut(limit) if limit == Duration::from_secs(10)),
        "{error}"
    );
    assert_eq!(start.elapsed().as_secs(), 10);
    assert_eq!(client.in_flight(), 0);
}

#[tokio::test]
async fn closing_ends_pending_calls_and_the_server() {
    let server = Server::builder().call("hang", |_: Context, _: Message| {
        std::future::pending::<Result<Message, Infallible>>()
    });
    let Served { client, task, .. } = serve(server, &Client::builder());
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.call(Message::request("hang", "")).await }
    });
    while client.in_flight() == 0 {
        tokio::task::yield_now().await;
    }
    client.close().await;
    assert!(matches!(
        call.await.expect("no panic"),
        Err(CallError::Closed(CloseReason::ClosedHere))
    ));
    assert!(matches!(
        task.await.expect("no panic"),
        CloseReason::ClosedByPeer
    ));
    assert!(client.is_closed());
}

#[tokio::test]
async fn dropping_the_last_handle_closes_the_connection() {
    let Served { client, task, .. } = serve(echo_server(), &Client::builder());
    let other = client.clone();
    drop(client);
    assert!(other.call(Message::request("echo", "x")).await.is_ok());
    drop(other);
    assert!(matches!(
        task.await.expect("no panic"),
        CloseReason::ClosedByPeer
    ));
}

#[tokio::test]
async fn shutdown_answers_what_runs_and_refuses_what_is_new() {
    let (started, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let server = {
        let (started, go) = (Arc::clone(&started), Arc::clone(&go));
        echo_server().call("slow", move |_: Context, _: Message| {
            let (started, go) = (Arc::clone(&started), Arc::clone(&go));
            async move {
                started.notify_one();
                go.notified().await;
                Ok::<_, Infallible>(Message::from_body("done"))
            }
        })
    };
    let Served {
        client,
        task,
        shutdown,
    } = serve(server, &Client::builder());
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.call(Message::request("slow", "")).await }
    });
    started.notified().await;
    shutdown.cancel();
    let refused = loop {
        let reply = client
            .call(Message::request("echo", "x"))
            .await
            .expect("a reply");
        if !reply.error.is_empty() {
            break reply;
        }
    };
    assert_eq!(refused.error, "the server is shutting down");
    go.notify_one();
    assert_eq!(
        call.await.expect("no panic").expect("answered").body,
        "done"
    );
    assert!(matches!(
        task.await.expect("no panic"),
        CloseReason::ClosedHere
    ));
    assert!(matches!(client.closed().await, CloseReason::ClosedByPeer));
}

#[tokio::test]
async fn a_slow_taker_holds_the_sender_and_loses_nothing() {
    let sent = Arc::new(AtomicUsize::new(0));
    let server = {
        let sent = Arc::clone(&sent);
        Server::builder().download("flood", move |_: Context, _: Message, mut sink| {
            let sent = Arc::clone(&sent);
            async move {
                for _ in 0..200 {
                    sink.send(Message::from_body(vec![7; 100_000])).await?;
                    sent.fetch_add(1, Ordering::Relaxed);
                }
                Ok::<_, SendError>(Message::new())
            }
        })
    };
    let limits = Limits::default().queue_bytes(1 << 20);
    let Served { client, .. } = serve(
        server.limits(Limits::default().outbox_bytes(1 << 20)),
        &Client::builder()
            .limits(limits)
            .compression(Compression::None),
    );
    let mut download = client
        .download(Message::request("flood", ""))
        .await
        .expect("sent");
    let first = download.next().await.expect("a part");
    assert_eq!(first.body.len(), 100_000);
    // Let everything come to rest: the server must be held long before its 20 MB are out.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert!(
        sent.load(Ordering::Relaxed) < 60,
        "{} parts were sent",
        sent.load(Ordering::Relaxed)
    );
    let mut count = 1;
    while download.next().await.is_some() {
        count += 1;
    }
    assert_eq!(count, 200);
    assert!(download.finish().await.expect("a reply").error.is_empty());
}

#[tokio::test]
async fn garbage_ends_its_connection_with_the_reason() {
    let (mut here, there) = tokio::io::duplex(1024);
    let server = echo_server().build();
    here.write_all(b"GET / HTTP/1.1\r\n\r\n")
        .await
        .expect("written");
    let peer = Peer::unauthenticated("mem://client");
    let reason = server
        .serve_io(
            there,
            peer,
            "mem://server",
            "mem://client",
            CancellationToken::new(),
        )
        .await;
    assert!(
        matches!(reason, CloseReason::Violation(Violation::WrongMagic)),
        "{reason}"
    );
}

#[tokio::test(start_paused = true)]
async fn half_a_frame_ends_its_connection_after_the_frame_limit() {
    let (mut here, there) = tokio::io::duplex(1024);
    let server = echo_server().build();
    here.write_all(&[
        0xb3, 0x5d, 0x18, 0x39, 0xac, 0x8e, 0x1d, 0, 0, 0, 0, 0, 3, 0xff, 0xff, 0xb0,
    ])
    .await
    .expect("written");
    let start = tokio::time::Instant::now();
    let peer = Peer::unauthenticated("mem://client");
    let reason = server
        .serve_io(
            there,
            peer,
            "mem://server",
            "mem://client",
            CancellationToken::new(),
        )
        .await;
    assert!(
        matches!(reason, CloseReason::Violation(Violation::FrameTimeout)),
        "{reason}"
    );
    assert_eq!(start.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn keep_alives_are_sent_while_idle_and_count_as_life() {
    let idle = Limits::default().idle_timeout(Some(Duration::from_secs(5)));
    let chatty = Limits::default().keep_alive(Some(Duration::from_secs(2)));
    let Served { client, .. } = serve(
        echo_server().limits(idle),
        &Client::builder().limits(chatty),
    );
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(client.call(Message::request("echo", "x")).await.is_ok());

    let idle = Limits::default().idle_timeout(Some(Duration::from_secs(5)));
    let Served { client, task, .. } = serve(echo_server().limits(idle), &Client::builder());
    let reason = task.await.expect("no panic");
    assert!(
        matches!(reason, CloseReason::Violation(Violation::IdleTimeout)),
        "{reason}"
    );
    assert!(matches!(client.closed().await, CloseReason::ClosedByPeer));
}

#[tokio::test]
async fn calls_beyond_the_limit_wait_and_then_run() {
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let server = {
        let (running, most) = (Arc::clone(&running), Arc::clone(&most));
        Server::builder()
            .concurrency(Concurrency::default().running(4))
            .call("work", move |_: Context, _: Message| {
                let (running, most) = (Arc::clone(&running), Arc::clone(&most));
                async move {
                    let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                    most.fetch_max(now, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    running.fetch_sub(1, Ordering::SeqCst);
                    Ok::<_, Infallible>(Message::new())
                }
            })
    };
    let Served { client, .. } = serve(server, &Client::builder());
    let calls = (0..100).map(|_| client.call(Message::request("work", "")));
    for result in futures_util::future::join_all(calls).await {
        assert!(result.expect("answered").error.is_empty());
    }
    assert!((1..=4).contains(&most.load(Ordering::SeqCst)));
}

#[tokio::test]
async fn many_messages_leave_in_one_piece() {
    // The frames of calls that begin together reach the transport together.
    let (here, mut there) = tokio::io::duplex(1 << 20);
    let client = Client::builder().compression(Compression::None).from_io(
        here,
        Peer::unauthenticated("x"),
        "mem://a",
        "mem://b",
    );
    let calls: Vec<_> = (0..64)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.call(Message::request("echo", "x")).await })
        })
        .collect();
    let mut wire = bytes::BytesMut::with_capacity(1 << 20);
    tokio::io::AsyncReadExt::read_buf(&mut there, &mut wire)
        .await
        .expect("readable");
    let mut reader = FrameReader::new();
    let mut frames = 0;
    while reader
        .handle_input(&mut wire)
        .expect("well-formed")
        .is_some()
    {
        frames += 1;
    }
    assert_eq!(frames, 64);
    calls.iter().for_each(JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_is_given_up_after_the_write_limit() {
    let limits = Limits::default().write_timeout(Some(Duration::from_secs(7)));
    let (here, _silent) = tokio::io::duplex(64);
    let peer = Peer::unauthenticated("mem://b");
    let client = Client::builder()
        .limits(limits)
        .from_io(here, peer, "mem://a", "mem://b");
    let start = tokio::time::Instant::now();
    let call = client.call_with_timeout(Message::request("echo", vec![1; 100_000]), None);
    let error = call.await.unwrap_err();
    assert!(
        matches!(
            error,
            CallError::Closed(CloseReason::Violation(Violation::WriteTimeout))
        ),
        "{error}"
    );
    assert!(
        (7..=14).contains(&start.elapsed().as_secs()),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_handler_and_is_echoed() {
    let server = echo_server().call("hang", |_: Context, _: Message| {
        std::future::pending::<Result<Message, Infallible>>()
    });
    let Served { client, .. } = serve(server, &Client::builder());
    let wall = std::time::SystemTime::now();
    let start = tokio::time::Instant::now();
    let request = Message::request("hang", "").with_deadline(wall + Duration::from_secs(3));
    let reply = client.call(request.clone()).await.expect("a reply");
    assert_eq!(reply.error, "context deadline exceeded");
    assert_eq!(reply.hdr.deadline, request.hdr.deadline);
    assert!(
        (2..=3).contains(&start.elapsed().as_secs()),
        "{:?}",
        start.elapsed()
    );
    // A deadline that has passed still starts the function: one that needs no time answers.
    let request = Message::request("echo", "x").with_deadline(wall - Duration::from_secs(3));
    assert_eq!(client.call(request).await.expect("a reply").body, "x");
}

#[tokio::test]
async fn a_message_over_the_limit_of_this_end_closes_its_connection() {
    for (compression, body) in [(Compression::None, 2 << 20), (Compression::S2, 2 << 20)] {
        let limits = Limits::default().max_message(1 << 20);
        let Served { client, task, .. } = serve(
            echo_server().limits(limits),
            &Client::builder().compression(compression),
        );
        assert!(
            client
                .call(Message::request("echo", vec![0; 900_000]))
                .await
                .is_ok()
        );
        let error = client
            .call(Message::request("echo", vec![0; body]))
            .await
            .unwrap_err();
        assert!(matches!(error, CallError::Closed(_)), "{error}");
        let reason = task.await.expect("no panic");
        assert!(
            matches!(
                reason,
                CloseReason::Violation(
                    Violation::MessageTooLarge(_) | Violation::DecompressedTooLarge(_)
                )
            ),
            "{reason}"
        );
    }
}
