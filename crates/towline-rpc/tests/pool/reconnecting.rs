//! Connecting again.

use super::*;

/// What becomes of a server that comes late, goes and comes back, and when.
async fn story(seed: u64) -> Vec<(Duration, String)> {
    let start = Instant::now();
    let network = network(seed);
    let pool = pool(&network).address("a").build().expect("valid");
    let mut events = pool.events();
    let mut told = Vec::new();
    let mut tell = |event: &PoolEvent| {
        let text = match event {
            PoolEvent::Connected { address, .. } => format!("connected to {address}"),
            PoolEvent::Gone {
                cause, retry_in, ..
            } => format!("{cause}; again in {retry_in:?}"),
            other => panic!("{other:?}"),
        };
        told.push((start.elapsed(), text));
    };
    for _ in 0..6 {
        tell(&events.next().await.expect("an event"));
    }
    let begun = Arc::default();
    let at = At::serve(&network, "a", counting(&begun, 0));
    loop {
        let event = events.next().await.expect("an event");
        tell(&event);
        if matches!(event, PoolEvent::Connected { .. }) {
            break;
        }
    }
    // A healthy time begins the waits anew.
    after(Duration::from_secs(11)).await;
    at.stop().await;
    for _ in 0..3 {
        tell(&events.next().await.expect("an event"));
    }
    told
}

#[tokio::test(start_paused = true)]
async fn a_lost_server_is_dialled_after_ever_longer_waits_the_same_for_every_run_of_a_seed() {
    let told = story(1).await;
    let gone_by = |text: &str| {
        told.iter()
            .filter(|(_, told)| told.starts_with(text))
            .count()
    };
    assert!(
        gone_by("cannot connect: nobody listens at a") >= 6,
        "{told:?}"
    );
    assert_eq!(gone_by("connected to a"), 1, "{told:?}");
    assert_eq!(gone_by("the other end"), 1, "{told:?}");
    // The waits before: 100 ms to 3.2 s, each at least half of it.
    assert!(told[5].0 >= Duration::from_millis(50 * 31), "{told:?}");
    assert!(
        told[5].0 <= Duration::from_millis(100 * 31 + 6 * 20),
        "{told:?}"
    );
    // The waits after the healthy time begin with the first.
    let (last, before) = (&told[told.len() - 1], &told[told.len() - 3]);
    assert!(
        last.0 - before.0 <= Duration::from_millis(300 + 60),
        "{told:?}"
    );
    assert_eq!(told, story(1).await);
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_the_connection_and_goes_on_after_a_cut() {
    let network = network(2);
    let policy = ReconnectPolicy::default().healthy_after(Duration::from_secs(1));
    let pool = pool(&network)
        .address("a")
        .reconnect(policy)
        .build()
        .expect("valid");
    let call = tokio::spawn({
        let pool = pool.clone();
        async move { pool.call(Message::request("echo", "early")).await }
    });
    after(Duration::from_secs(1)).await;
    assert_eq!(pool.waiting(), 1);
    let at = At::serve(&network, "a", counting(&Arc::default(), 0));
    assert_eq!(
        call.await.expect("no panic").expect("a reply").body,
        "early"
    );
    assert_eq!(pool.waiting(), 0);
    for _ in 0..5 {
        after(Duration::from_secs(1)).await;
        network.cut();
        after(Duration::from_millis(1)).await;
        let reply = pool.call(Message::request("echo", "again")).await;
        assert_eq!(reply.expect("a reply").body, "again");
    }
    assert_eq!(at.accepted.load(SeqCst), 6);
}

#[tokio::test(start_paused = true)]
async fn waiting_calls_are_bounded_in_number_and_time() {
    let network = network(3);
    let pool = pool(&network)
        .address("a")
        .max_waiting(2)
        .build()
        .expect("valid");
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { pool.call(Message::request("echo", "")).await })
        })
        .collect();
    after(Duration::from_millis(1)).await;
    let error = pool.call(Message::request("echo", "")).await.unwrap_err();
    assert!(
        matches!(
            error,
            CallError::NoConnection(NoConnection::TooManyWaiting(2))
        ),
        "{error}"
    );
    let start = Instant::now();
    for call in waiting {
        let error = call.await.expect("no panic").unwrap_err();
        assert_eq!(
            error.to_string(),
            "no connection within 10 s: cannot connect: nobody listens at a"
        );
    }
    assert_eq!(start.elapsed().as_secs(), 9);
    assert_eq!(pool.waiting(), 0);
    // Who gives up leaves no place taken.
    let call = pool.call(Message::request("echo", ""));
    assert!(
        tokio::time::timeout(Duration::from_millis(5), call)
            .await
            .is_err()
    );
    assert_eq!(pool.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_time_cannot_mend_is_tried_once() {
    let dialled = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&dialled);
    let pool = Pool::builder()
        .address("a")
        .address("b")
        .connect_by(move |_| {
            count.fetch_add(1, SeqCst);
            async { Err(std::io::Error::from(std::io::ErrorKind::PermissionDenied).into()) }
        })
        .build()
        .expect("valid");
    let error = pool.call(Message::request("echo", "")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "every connection was given up; the last because: cannot connect: permission denied"
    );
    after(Duration::from_secs(3600)).await;
    assert_eq!(dialled.load(SeqCst), 2, "each address once");
    assert!(matches!(
        pool.ready().await,
        Err(CallError::NoConnection(NoConnection::GivenUp(
            Cause::Connect(_)
        )))
    ));
}

#[tokio::test(start_paused = true)]
async fn another_protocol_is_tried_once() {
    let network = network(4);
    let mut listener = network.listen("a").expect("nobody is there");
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    tokio::spawn(async move {
        while let Ok(mut stream) = listener.accept().await {
            count.fetch_add(1, SeqCst);
            let hello = b"HTTP/1.1 400 Bad Request\r\n\r\n";
            tokio::io::AsyncWriteExt::write_all(&mut stream, hello)
                .await
                .expect("written");
            after(Duration::from_secs(1)).await;
        }
    });
    let pool = pool(&network).address("a").build().expect("valid");
    let mut events = pool.events();
    assert!(matches!(
        events.next().await,
        Some(PoolEvent::Connected { .. })
    ));
    let Some(PoolEvent::Gone {
        cause, retry_in, ..
    }) = events.next().await
    else {
        panic!("it is gone");
    };
    assert_eq!(retry_in, None);
    assert!(
        cause.to_string().contains("does not speak this protocol"),
        "{cause}"
    );
    after(Duration::from_secs(3600)).await;
    assert_eq!(accepted.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn attempts_have_an_end() {
    let network = network(5);
    let policy = ReconnectPolicy::default().attempts(Some(4));
    let pool = pool(&network)
        .address("a")
        .reconnect(policy)
        .build()
        .expect("valid");
    let mut events = pool.events();
    let mut waits = Vec::new();
    while waits.last() != Some(&None) {
        let Some(PoolEvent::Gone { retry_in, .. }) = events.next().await else {
            panic!("nobody listens");
        };
        waits.push(retry_in);
    }
    assert_eq!(waits.len(), 4);
    let error = pool.call(Message::request("echo", "")).await.unwrap_err();
    assert!(
        matches!(error, CallError::NoConnection(NoConnection::GivenUp(_))),
        "{error}"
    );
}

#[tokio::test]
async fn settings_that_cannot_work_are_no_pool() {
    assert!(matches!(Pool::builder().build(), Err(PoolError::NoAddress)));
    let none = Pool::builder().address("mem://a").connections(0);
    assert!(matches!(none.build(), Err(PoolError::NoConnections)));
    let address = Pool::builder().address("gopher://a");
    assert!(matches!(address.build(), Err(PoolError::Endpoint(_))));
    let policy = ReconnectPolicy::default().first(Duration::ZERO);
    let policy = Pool::builder().address("mem://a").reconnect(policy);
    assert!(matches!(policy.build(), Err(PoolError::Policy(_))));
}
