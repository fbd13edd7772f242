//! The end of a pool.

use super::*;

#[tokio::test(start_paused = true)]
async fn closing_ends_connections_and_waiting_calls_and_connects_no_more() {
    let network = network(1);
    let at = At::serve(&network, "a", counting(&Arc::default(), 1));
    let pool = pool(&network)
        .address("a")
        .address("nobody")
        .connections(2)
        .build()
        .expect("valid");
    pool.ready().await.expect("connected");
    let call = tokio::spawn({
        let pool = pool.clone();
        async move { pool.call(Message::request("count", "")).await }
    });
    after(Duration::from_millis(100)).await;
    pool.close().await;
    let closed = call.await.expect("no panic");
    assert!(
        matches!(closed, Err(CallError::Closed(CloseReason::ClosedHere))),
        "{closed:?}"
    );
    let late = pool.call(Message::request("echo", "")).await;
    assert!(
        matches!(late, Err(CallError::Closed(CloseReason::ClosedHere))),
        "{late:?}"
    );
    assert!(matches!(pool.ready().await, Err(CallError::Closed(_))));
    after(Duration::from_secs(3600)).await;
    assert!(at.accepted.load(SeqCst) <= 2);
    assert!(pool.connections().iter().all(|one| !one.is_connected));
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_takes_the_connections_with_it() {
    let network = network(2);
    let gone = Arc::new(Mutex::new(Vec::new()));
    let mut listener = network.listen("a").expect("nobody is there");
    let heard = Arc::clone(&gone);
    tokio::spawn(async move {
        let server = counting(&Arc::default(), 0).build();
        while let Ok(stream) = listener.accept().await {
            let reason = server
                .serve(connection(stream), CancellationToken::new())
                .await;
            heard.lock().expect("no panic").push(reason.to_string());
        }
    });
    let pool = pool(&network).address("a").build().expect("valid");
    let mut events = pool.events();
    pool.call(Message::request("echo", "x"))
        .await
        .expect("a reply");
    drop(pool);
    after(Duration::from_secs(60)).await;
    assert_eq!(
        *gone.lock().expect("no panic"),
        ["the other end closed the connection"]
    );
    assert!(matches!(
        events.next().await,
        Some(PoolEvent::Connected { .. })
    ));
    assert!(events.next().await.is_none());
}
