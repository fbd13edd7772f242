//! Calls that are made again, and those that are not.

use super::*;

/// A call that is cut off while its handler runs, and how often the handler was begun.
async fn cut_off(options: CallOptions) -> (Result<Message, CallError>, usize) {
    let network = network(1);
    let begun = Arc::default();
    let _at = At::serve(&network, "a", counting(&begun, 2));
    let pool = pool(&network).address("a").build().expect("valid");
    let call =
        tokio::spawn(async move { pool.call_with(Message::request("count", ""), options).await });
    for _ in 0..2 {
        after(Duration::from_secs(1)).await;
        network.cut();
    }
    (call.await.expect("no panic"), begun.load(SeqCst))
}

#[tokio::test(start_paused = true)]
async fn a_call_in_flight_fails_with_its_connection_unless_it_is_idempotent() {
    let (result, begun) = cut_off(CallOptions::new()).await;
    let error = result.unwrap_err();
    assert!(
        matches!(error, CallError::Closed(CloseReason::Io(_))),
        "{error}"
    );
    assert_eq!(begun, 1);

    let (result, begun) = cut_off(CallOptions::new().idempotent()).await;
    assert_eq!(result.expect("a reply").body, "3");
    assert_eq!(begun, 3);

    let (result, begun) = cut_off(CallOptions::new().idempotent().attempts(2)).await;
    assert!(matches!(result, Err(CallError::Closed(_))));
    assert_eq!(begun, 2);
}

#[tokio::test(start_paused = true)]
async fn all_attempts_share_one_deadline() {
    let start = Instant::now();
    let limit = Some(Duration::from_millis(1500));
    let (result, begun) = cut_off(CallOptions::new().idempotent().timeout(limit)).await;
    // The second attempt has half a second left.
    assert!(matches!(result, Err(CallError::TimedOut(_))));
    assert_eq!((begun, start.elapsed().as_secs()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_not_begun_is_made_again_elsewhere() {
    // docs/wire E14: a server that is shutting down says so.
    let network = network(2);
    let begun = [Arc::default(), Arc::default()];
    let mut listener = network.listen("closing").expect("nobody is there");
    let server = counting(&begun[0], 0)
        .call("hang", |_: Context, _: Message| {
            std::future::pending::<Result<Message, Infallible>>()
        })
        .build();
    let shutdown = CancellationToken::new();
    tokio::spawn({
        let shutdown = shutdown.clone();
        async move {
            while let Ok(stream) = listener.accept().await {
                server.serve(connection(stream), shutdown.clone()).await;
            }
        }
    });
    let _at = At::serve(&network, "b", counting(&begun[1], 0));
    let pool = pool(&network)
        .address("closing")
        .address("b")
        .connections(2)
        .build()
        .expect("valid");
    after(Duration::from_secs(1)).await;
    // A call holds the first server, so that it drains and does not close.
    let hanging = tokio::spawn({
        let pool = pool.clone();
        async move {
            pool.call_with_timeout(Message::request("hang", ""), None)
                .await
        }
    });
    after(Duration::from_millis(100)).await;
    shutdown.cancel();
    for number in 0..20 {
        let reply = pool
            .call(Message::request("count", ""))
            .await
            .expect("a reply");
        assert_eq!(reply.body, (number + 1).to_string());
    }
    assert_eq!(begun[0].load(SeqCst), 0);
    hanging.abort();
}

#[tokio::test(start_paused = true)]
async fn what_a_server_says_by_itself_is_not_asked_again() {
    let network = network(3);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let server = Server::builder().call("fail", move |_: Context, _: Message| {
        count.fetch_add(1, SeqCst);
        async { Err::<Message, _>("it failed") }
    });
    let _at = At::serve(&network, "a", server);
    let pool = pool(&network).address("a").build().expect("valid");
    let options = CallOptions::new().idempotent();
    let reply = pool.call_with(Message::request("fail", ""), options).await;
    assert_eq!(reply.expect("a reply").error, "it failed");
    let refused = pool
        .call_with(Message::request("unknown", ""), options)
        .await;
    assert!(matches!(refused, Err(CallError::Refused(_))));
    assert_eq!(asked.load(SeqCst), 1);
}
