//! What servers send without being asked, and who hears it.

use futures_util::FutureExt as _;
use towline_rpc::{
    ListenerError, PushError,
    proto::WhenFull,
    server::{ConnectionEvent, Push},
};

use super::*;

/// Waits until the server has seen so many connections.
async fn connected(server: &Server, count: usize) -> Vec<towline_rpc::server::Connection> {
    let mut events = server.connections().events();
    loop {
        let list = server.connections().list();
        if list.len() >= count {
            return list;
        }
        events.next().await;
    }
}

fn join(server: &Server, client: &ClientBuilder, name: &str, buffer: usize) -> Served {
    let (here, there) = tokio::io::duplex(buffer);
    let shutdown = CancellationToken::new();
    let name = format!("mem://{name}");
    let task = tokio::spawn({
        let (server, shutdown, name) = (server.clone(), shutdown.clone(), name.clone());
        async move {
            let peer = Peer::unauthenticated(&name);
            server
                .serve_io(there, peer, "mem://server", &name, shutdown)
                .await
        }
    });
    let peer = Peer::unauthenticated("mem://server");
    let client = client.from_io(here, peer, &name, "mem://server");
    Served {
        client,
        task,
        shutdown,
    }
}

/// docs/wire C16, C17: one client, all, a group; no call is open.
#[tokio::test(start_paused = true)]
async fn pushes_reach_one_all_or_a_group_while_no_call_is_open() {
    let server = Server::builder().build();
    let served: Vec<Served> = ["a", "b", "c"]
        .map(|name| join(&server, &Client::builder(), name, 64 << 10))
        .into();
    let list = connected(&server, 3).await;
    let mut heard: Vec<_> = served
        .iter()
        .map(|served| served.client.listen(WhenFull::Wait))
        .collect();
    let everybody = server.connections();

    everybody
        .push_to("mem://b", Push::new("one", "1").call_id("mine"))
        .await
        .expect("b is connected");
    let push = heard[1].next().await.expect("connected").expect("a push");
    assert_eq!(
        (&push.body[..], push.hdr.call_id),
        (&b"1"[..], "mine".into())
    );

    let pushed = everybody
        .push_all(&Push::new("all", "2"), Duration::ZERO)
        .await;
    assert_eq!((pushed.queued, pushed.refused.len()), (3, 0));
    for listener in &mut heard {
        let push = listener.next().await.expect("connected").expect("a push");
        assert_eq!((&push.body[..], push.hdr.call_id.len()), (&b"2"[..], 28));
    }

    list[0].join("room");
    list[2].join("room");
    list[2].join("other");
    list[2].leave("other");
    assert!(everybody.group("other").is_empty());
    let pushed = everybody
        .push_group("room", &Push::new("some", "3"), Duration::ZERO)
        .await;
    assert_eq!(pushed.queued, 2);
    for index in [0, 2] {
        let push = heard[index]
            .next()
            .await
            .expect("connected")
            .expect("a push");
        assert_eq!(push.body, "3");
    }
    assert!(heard[1].next().now_or_never().is_none());

    // What is gone is in no group.
    served[2].client.close().await;
    assert!(matches!(list[2].closed().await, CloseReason::ClosedByPeer));
    assert_eq!(everybody.group("room").len(), 1);
    assert!(heard[2].next().await.is_none());
}

/// docs/wire C16: nothing is sent to nobody, and no requests are pushed.
#[tokio::test]
async fn pushes_that_cannot_be_are_errors() {
    let server = Server::builder().build();
    let served = join(&server, &Client::builder(), "a", 64 << 10);
    let list = connected(&server, 1).await;
    let everybody = server.connections();
    let error = everybody
        .push_to("mem://b", Push::new("s", ""))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, PushError::NotConnected(to) if *to == "mem://b"),
        "{error}"
    );
    let mut request = Message::new();
    request.hdr.typ = CallType::CALL;
    let error = list[0].push(Push::forward(request)).await.unwrap_err();
    assert!(
        matches!(error, PushError::WrongType(CallType::CALL)),
        "{error}"
    );
    let error = list[0]
        .push(Push::new("s", vec![0; 70 << 20]))
        .await
        .unwrap_err();
    assert!(matches!(error, PushError::TooLarge(_)), "{error}");

    served.client.close().await;
    served.task.await.expect("no panic");
    let error = list[0].push(Push::new("s", "")).await.unwrap_err();
    assert!(
        matches!(error, PushError::Closed(CloseReason::ClosedByPeer)),
        "{error}"
    );
}

/// One client that does not read costs the others nothing, and is reported.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_does_not_hold_up_a_push_to_all() {
    let limits = Limits::default().outbox_bytes(1000).queue_parts(1);
    let server = Server::builder()
        .limits(limits.clone())
        .compression(Compression::None)
        .build();
    let quick = join(&server, &Client::builder(), "quick", 64 << 10);
    let slow = join(&server, &Client::builder().limits(limits), "slow", 100);
    connected(&server, 2).await;
    let (mut hears, does_not_take) = (
        quick.client.listen(WhenFull::Wait),
        slow.client.listen(WhenFull::Wait),
    );
    let everybody = server.connections();
    let mut refused = 0;
    for number in 0..20 {
        let push = Push::new("tick", vec![number; 500]);
        let pushed = everybody.push_all(&push, Duration::from_millis(30)).await;
        for (connection, error) in pushed.refused {
            assert_eq!(*connection.remote_addr(), "mem://slow");
            assert!(matches!(error, PushError::NoRoom), "{error}");
            refused += 1;
        }
        let push = hears.next().await.expect("connected").expect("a push");
        assert_eq!(push.body[0], number);
    }
    assert!((10..20).contains(&refused), "{refused} of 20");

    // Not one of those that were queued is lost.
    let mut slow_hears = does_not_take;
    for _ in refused..20 {
        slow_hears.next().await.expect("connected").expect("a push");
    }
    assert!(slow_hears.next().now_or_never().is_none());
}

/// docs/wire C17: a push waits for a listener that has no room, and none is lost.
#[tokio::test(start_paused = true)]
async fn a_waiting_push_arrives_when_its_listener_takes() {
    let limits = Limits::default().outbox_bytes(500).queue_parts(1);
    let server = Server::builder().limits(limits.clone()).build();
    let served = join(&server, &Client::builder().limits(limits), "a", 100);
    let list = connected(&server, 1).await;
    let mut listener = served.client.listen(WhenFull::Wait);
    let pushing = tokio::spawn(async move {
        for number in 0..200 {
            list[0]
                .push(Push::new("n", number.to_string()))
                .await
                .expect("connected");
        }
    });
    for number in 0..200 {
        if number % 10 == 0 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let push = listener.next().await.expect("connected").expect("a push");
        assert_eq!(push.body, number.to_string());
    }
    pushing.await.expect("no panic");
    // Leaving with a full queue lets calls through again.
    drop(listener);
    assert!(
        served
            .client
            .call(Message::request("nosuch", ""))
            .await
            .is_err()
    );
}

/// docs/wire C17: the loss is told, and calls go on.
#[tokio::test(start_paused = true)]
async fn a_listener_that_drops_hears_how_many_and_holds_up_no_call() {
    let server = Server::builder()
        .call("burst", |context: Context, _: Message| async move {
            for number in 0..50 {
                context
                    .connection()
                    .push(Push::new("n", number.to_string()))
                    .await?;
            }
            Ok::<_, PushError>(Message::from_body("done"))
        })
        .build();
    let few = Client::builder().limits(Limits::default().queue_parts(5));
    let served = join(&server, &few, "a", 64 << 10);
    let mut listener = served.client.listen(WhenFull::Drop);
    let reply = served.client.call(Message::request("burst", "")).await;
    assert_eq!(reply.expect("a reply").body, "done");
    let lost = listener.next().await.expect("connected").unwrap_err();
    assert_eq!(lost, ListenerError::Lost(45));
    for number in 0..5 {
        let push = listener.next().await.expect("connected").expect("a push");
        assert_eq!(push.body, number.to_string());
    }
}

/// docs/wire C15, E4
#[tokio::test]
async fn the_refusal_of_a_one_way_message_is_heard() {
    let served = serve(echo_server(), &Client::builder());
    let mut listener = served.client.listen(WhenFull::Wait);
    let mut message = Message::request("nosuch", "");
    message.hdr.call_id = "mine".into();
    served.client.send_one_way(message).await.expect("sent");
    let refused = listener.next().await.expect("connected").unwrap_err();
    assert!(matches!(&refused, ListenerError::Refused { call_id, .. } if *call_id == "mine"));
    assert!(
        refused.to_string().contains("ServiceName='nosuch'"),
        "{refused}"
    );
}

/// Each connection comes once and goes once; who does not take the events is told what was missed.
#[tokio::test]
async fn those_who_come_and_go_are_told() {
    let server = Server::builder().build();
    let mut events = server.connections().events();
    let mut late = server.connections().events();
    let served = join(&server, &Client::builder(), "a", 64 << 10);
    let Some(ConnectionEvent::Connected(came)) = events.next().await else {
        panic!("nobody came");
    };
    assert_eq!(*came.remote_addr(), "mem://a");
    assert!(!came.is_closed());
    served.client.close().await;
    match events.next().await {
        Some(ConnectionEvent::Gone(gone, CloseReason::ClosedByPeer)) => {
            assert_eq!(gone.id(), came.id())
        }
        other => panic!("{other:?}"),
    }
    assert!(came.is_closed() && server.connections().list().is_empty());

    // A server that is cut off has still said who is gone.
    let served = join(&server, &Client::builder(), "b", 64 << 10);
    assert!(matches!(
        events.next().await,
        Some(ConnectionEvent::Connected(_))
    ));
    served.task.abort();
    assert!(matches!(
        events.next().await,
        Some(ConnectionEvent::Gone(_, CloseReason::ClosedHere))
    ));

    for _ in 0..600 {
        let served = join(&server, &Client::builder(), "c", 64);
        served.client.close().await;
        served.task.await.expect("no panic");
    }
    assert!(matches!(
        late.next().await,
        Some(ConnectionEvent::Missed(180))
    ));
    assert!(matches!(
        late.next().await,
        Some(ConnectionEvent::Connected(_))
    ));
}

/// What a server sends under a CallID is heard by who listens to it, whether a call has it or not (docs/wire C17, M7).
#[tokio::test]
async fn what_comes_under_a_new_call_id_is_heard_by_its_listener() {
    let server = Server::builder()
        .one_way("order", |context: Context, order: Message| async move {
            for news in ["ground", "brewed"] {
                let push = Push::new("news", news).call_id(order.hdr.call_id.clone());
                context.connection().push(push).await.expect("connected");
            }
        })
        .build();
    let served = join(&server, &Client::builder(), "a", 64 << 10);
    let mut order = Message::request("order", "coffee");
    order.hdr.call_id = served.client.new_call_id();
    assert_eq!(order.hdr.call_id.len(), 28);
    assert_ne!(order.hdr.call_id, served.client.new_call_id());
    let mut everything_else = served.client.listen(WhenFull::Wait);
    let listen = |to| served.client.listen_for(to, WhenFull::Wait);
    let mut news = listen(order.hdr.call_id.clone());
    served.client.send_one_way(order).await.expect("sent");
    for expected in ["ground", "brewed"] {
        let told = news.next().await.expect("connected").expect("a push");
        assert_eq!(told.body, expected);
    }

    // A refusal is heard there too, as an error.
    let mut order = Message::request("nosuch", "");
    order.hdr.call_id = served.client.new_call_id();
    let mut news = listen(order.hdr.call_id.clone());
    served.client.send_one_way(order).await.expect("sent");
    let refused = news.next().await.expect("connected");
    assert!(
        matches!(refused, Err(ListenerError::Refused { .. })),
        "{refused:?}"
    );
    assert!(everything_else.next().now_or_never().is_none());
}

/// Who is connected, in the order in which they came.
#[tokio::test]
async fn a_server_lists_who_is_connected() {
    let server = Server::builder().build();
    let served: Vec<Served> = ["c", "a", "b"]
        .map(|name| join(&server, &Client::builder(), name, 64 << 10))
        .into();
    let addresses = |list: &[towline_rpc::server::Connection]| -> Vec<String> {
        list.iter()
            .map(|connection| connection.remote_addr().to_string())
            .collect()
    };
    let list = connected(&server, 3).await;
    assert_eq!(addresses(&list), ["mem://c", "mem://a", "mem://b"]);
    served[1].client.close().await;
    list[1].closed().await;
    let list = server.connections().list();
    assert_eq!(addresses(&list), ["mem://c", "mem://b"]);
}
