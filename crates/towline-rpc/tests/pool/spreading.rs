//! Several connections and addresses.

use super::*;

/// A server whose calls hang until they are let go, and which counts those at once.
fn holding(held: &Arc<AtomicUsize>, go: &Arc<Notify>) -> ServerBuilder {
    let (held, go) = (Arc::clone(held), Arc::clone(go));
    Server::builder().call("hold", move |_: Context, _: Message| {
        let (held, go) = (Arc::clone(&held), Arc::clone(&go));
        async move {
            held.fetch_add(1, SeqCst);
            go.notified().await;
            Ok::<_, Infallible>(Message::new())
        }
    })
}

#[tokio::test(start_paused = true)]
async fn calls_go_where_the_least_is_in_flight_and_pass_over_who_is_gone() {
    let network = network(1);
    let go = Arc::new(Notify::new());
    let held: [Arc<AtomicUsize>; 3] = std::array::from_fn(|_| Arc::default());
    let mut servers = Vec::new();
    for (name, held) in ["a", "b", "c"].into_iter().zip(&held) {
        servers.push(At::serve(&network, name, holding(held, &go)));
    }
    let pool = pool(&network)
        .address("a")
        .address("b")
        .address("c")
        .connections(6)
        .build()
        .expect("valid");
    pool.ready().await.expect("connected");
    after(Duration::from_secs(1)).await;
    let addresses: Vec<_> = pool
        .connections()
        .iter()
        .map(|one| one.address.to_string())
        .collect();
    assert_eq!(addresses, ["a", "b", "c", "a", "b", "c"]);
    let hold = || {
        let pool = pool.clone();
        tokio::spawn(async move {
            pool.call_with_timeout(Message::request("hold", ""), None)
                .await
        })
    };
    let mut calls: Vec<_> = (0..12).map(|_| hold()).collect();
    after(Duration::from_secs(1)).await;
    assert_eq!(held.each_ref().map(|held| held.load(SeqCst)), [4, 4, 4]);
    assert!(pool.connections().iter().all(|one| one.in_flight == 2));

    // One server is gone: its connections go to the others, and so do the calls.
    servers.remove(1).stop().await;
    after(Duration::from_secs(5)).await;
    let connected = pool.connections();
    assert!(
        connected
            .iter()
            .all(|one| one.is_connected && &*one.address != "b"),
        "{connected:?}"
    );
    calls.extend((0..10).map(|_| hold()));
    after(Duration::from_secs(1)).await;
    assert_eq!(held[0].load(SeqCst) + held[2].load(SeqCst), 18);
    // Those that were equal to begin with are equal again.
    assert!(
        pool.connections()
            .iter()
            .all(|one| (2..=4).contains(&one.in_flight)),
        "{connected:?}"
    );
    go.notify_waiters();
    let mut ended = [0, 0];
    for call in calls {
        ended[usize::from(call.await.expect("no panic").is_ok())] += 1;
    }
    assert_eq!(
        ended,
        [4, 18],
        "those of the lost server failed, and no other"
    );
}

#[tokio::test(start_paused = true)]
async fn streams_go_over_the_pool_too() {
    let network = network(2);
    let server = Server::builder()
        .upload("sum", |_: Context, first: Message, mut parts| async move {
            let mut total = first.body.len();
            while let Some(part) = parts.next().await? {
                total += part.body.len();
            }
            Ok::<_, towline_rpc::StreamError>(Message::from_body(total.to_string()))
        })
        .download("three", |_: Context, _: Message, mut sink| async move {
            for _ in 0..3 {
                sink.send(Message::from_body("x")).await?;
            }
            Ok::<_, towline_rpc::SendError>(Message::new())
        });
    let _at = At::serve(&network, "a", server);
    let pool = pool(&network)
        .address("a")
        .connections(2)
        .build()
        .expect("valid");
    let mut upload = pool
        .upload(Message::request("sum", "ab"))
        .await
        .expect("begun");
    upload.send(Message::from_body("cd")).await.expect("sent");
    let reply = upload
        .finish(Message::from_body("e"))
        .await
        .expect("a reply");
    assert_eq!(reply.body, "5");
    let mut download = pool
        .download(Message::request("three", ""))
        .await
        .expect("begun");
    let mut parts = 0;
    while let Some(part) = download.next().await {
        assert_eq!(part.body, "x");
        parts += 1;
    }
    assert_eq!(parts, 3);
}
