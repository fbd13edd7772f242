//! How much happens at once.

use towline_rpc::client::InFlight;

use super::*;

/// A server whose calls hang until they are let go.
fn holding(go: &Arc<Notify>) -> ServerBuilder {
    let hold = |go: &Arc<Notify>| {
        let go = Arc::clone(go);
        move |_: Context, _: Message| {
            let go = Arc::clone(&go);
            async move {
                go.notified().await;
                Ok::<_, Infallible>(Message::from_body("held"))
            }
        }
    };
    echo_server()
        .call("hold", hold(go))
        .call("Shop.buy", hold(go))
        .call("Shop.sell", hold(go))
}

/// Begins calls, and lets them reach the server.
async fn begin(
    client: &Client,
    services: &[&'static str],
) -> Vec<JoinHandle<Result<Message, CallError>>> {
    let calls = services.iter().map(|&service| {
        let client = client.clone();
        tokio::spawn(async move { client.call(Message::request(service, "")).await })
    });
    let calls = calls.collect();
    tokio::time::sleep(Duration::from_millis(1)).await;
    calls
}

async fn overloaded(client: &Client, service: &'static str) -> String {
    match client.call(Message::request(service, "")).await {
        Err(CallError::Overloaded(text)) => text.to_string(),
        other => panic!("{other:?}"),
    }
}

/// docs/wire E14, E15
#[tokio::test(start_paused = true)]
async fn a_server_refuses_what_is_beyond_its_limits_and_takes_it_when_there_is_room() {
    let go = Arc::new(Notify::new());
    let server = holding(&go)
        .max_running(3)
        .max_running_of("Shop", 2)
        .build();
    // The limits are those of all connections together.
    let (a, b) = (server.connect_here(), server.connect_here());
    let mut calls = begin(&a, &["Shop.buy"]).await;
    calls.extend(begin(&b, &["Shop.sell"]).await);
    assert_eq!(
        overloaded(&a, "Shop.buy").await,
        "too many calls of this service"
    );
    calls.extend(begin(&b, &["hold"]).await);
    assert_eq!(
        overloaded(&a, "hold").await,
        "too many calls on this server"
    );
    assert_eq!(
        overloaded(&b, "echo").await,
        "too many calls on this server"
    );
    assert_eq!(server.activity().refused, 3);
    // A caller that waits no more gives its place back, and so does an answer.
    calls.remove(0).abort();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(a.call(Message::request("echo", "x")).await.is_ok());
    calls.extend(begin(&a, &["Shop.buy"]).await);
    go.notify_waiters();
    for call in calls {
        assert_eq!(call.await.expect("no panic").expect("a reply").body, "held");
    }
    for _ in 0..10 {
        assert!(b.call(Message::request("echo", "x")).await.is_ok());
    }
}

/// docs/wire E14
#[tokio::test(start_paused = true)]
async fn a_function_that_ran_cannot_say_that_it_was_not_begun() {
    let server = Server::builder().call("back", |_: Context, request: Message| async move {
        let mut reply = Message::from_body("it ran");
        reply.hdr.args = request.hdr.args;
        Ok::<_, Infallible>(reply)
    });
    let client = server.build().connect_here();
    let request = Message::request("back", "")
        .with_arg("towline.not-begun", "1")
        .with_arg("other", "stays");
    let reply = client.call(request).await.expect("a reply");
    assert_eq!(
        (&reply.body[..], reply.arg("other")),
        (&b"it ran"[..], Some("stays"))
    );
}

/// docs/wire E14: of a net/rpc call the refusal stands in the body.
#[tokio::test(start_paused = true)]
async fn a_net_rpc_call_and_a_stream_are_refused_too() {
    let arith = towline_rpc::server::NetRpcService::new("Arith")
        .method("Neg", |_: Context, (a,): (i64,)| async move {
            Ok::<_, Infallible>((-a,))
        });
    let server = echo_server()
        .net_rpc(arith)
        .expect("one of its name")
        .max_running(0)
        .build();
    let client = server.connect_here();
    let refused = client.net_rpc::<_, (i64,)>("Arith.Neg", &(1_i64,)).await;
    assert!(
        matches!(
            &refused,
            Err(towline_rpc::NetRpcError::Call(CallError::Overloaded(text)))
                if *text == "too many calls on this server"
        ),
        "{refused:?}"
    );
    let upload = client
        .upload(Message::request("sum", "x"))
        .await
        .expect("begun");
    let refused = upload.finish(Message::new()).await.unwrap_err();
    assert!(
        matches!(&refused, StreamError::Refused(text) if *text == "too many calls on this server"),
        "{refused}"
    );
    // A message that nobody answers is dropped, and the connection goes on.
    client
        .send_one_way(Message::request("hello", ""))
        .await
        .expect("sent");
    assert_eq!(
        overloaded(&client, "echo").await,
        "too many calls on this server"
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_has_so_many_calls_in_flight_and_so_many_wait() {
    let go = Arc::new(Notify::new());
    let builder = Client::builder().in_flight(InFlight::at_most(2).waiting(1));
    let Served { client, task, .. } = serve(holding(&go), &builder);
    let calls = begin(&client, &["hold", "hold", "hold"]).await;
    assert_eq!(client.in_flight(), 2);
    let refused = client.call(Message::request("echo", "")).await.unwrap_err();
    assert!(
        matches!(
            refused,
            CallError::TooManyInFlight {
                in_flight: 2,
                waiting: 1
            }
        ),
        "{refused}"
    );
    go.notify_waiters();
    tokio::time::sleep(Duration::from_millis(1)).await;
    // The one that waited is the only one in flight; there is room for another.
    assert!(client.call(Message::request("echo", "")).await.is_ok());
    go.notify_waiters();
    for call in calls {
        assert!(call.await.expect("no panic").is_ok());
    }
    // Waiting counts in the time of a call, and ends with the connection.
    let calls = begin(&client, &["hold", "hold"]).await;
    let limit = Some(Duration::from_secs(3));
    let start = tokio::time::Instant::now();
    let waited = client
        .call_with_timeout(Message::request("echo", ""), limit)
        .await;
    assert!(matches!(waited, Err(CallError::TimedOut(_))));
    assert_eq!(start.elapsed().as_secs(), 3);
    let waiting = begin(&client, &["echo"]).await;
    task.abort();
    for call in calls.into_iter().chain(waiting) {
        let ended = call.await.expect("no panic");
        assert!(matches!(ended, Err(CallError::Closed(_))), "{ended:?}");
    }
}
