//! How calls and connections end.

use super::*;

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
        match client.call(Message::request("echo", "x")).await {
            Ok(reply) => assert_eq!(reply.body, "x"),
            Err(error) => break error,
        }
    };
    // docs/wire C19, E14
    assert_eq!(
        refused.to_string(),
        "the server did not begin the call: the server is shutting down"
    );
    assert!(matches!(refused, CallError::Overloaded(_)));
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

/// docs/wire C19
#[tokio::test(start_paused = true)]
async fn a_listening_server_answers_until_its_deadline_and_cuts_off_the_rest() {
    let server = echo_server()
        .call("nap", |_: Context, _: Message| async move {
            tokio::time::sleep(Duration::from_secs(3)).await;
            Ok::<_, Infallible>(Message::from_body("rested"))
        })
        .call("hang", |_: Context, _: Message| {
            std::future::pending::<Result<Message, Infallible>>()
        })
        .build();
    let config = towline_rpc::server::ListenConfig::new();
    let listening = server
        .listen("mem://deadline", config)
        .await
        .expect("listens");
    let mut calls = Vec::new();
    for service in ["nap", "hang"] {
        let client = Client::builder()
            .connect("mem://deadline")
            .await
            .expect("connected");
        calls.push(tokio::spawn(async move {
            client.call(Message::request(service, "")).await
        }));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let start = tokio::time::Instant::now();
    let drained = listening.shutdown(Duration::from_secs(5)).await;
    assert_eq!((drained.finished, drained.cut_off), (1, 1));
    assert_eq!(start.elapsed().as_secs(), 5);
    let [nap, hang] = [calls.remove(0).await, calls.remove(0).await];
    assert_eq!(nap.expect("no panic").expect("answered").body, "rested");
    let hang = hang.expect("no panic");
    assert!(matches!(hang, Err(CallError::Closed(_))), "{hang:?}");
}
