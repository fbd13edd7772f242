//! Calls: answers, errors, limits of size and number.

use super::*;

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
    assert_eq!(error.to_string(), "the server has no service `nobody`");
    let CallError::NoSuchService(missing) = error else {
        panic!("{error}")
    };
    assert_eq!(missing.service, "nobody");
    let text = missing.text.to_string();
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
        Err(StreamError::NoSuchService(_))
    ));
    let download = client
        .download(Message::request("nobody", ""))
        .await
        .expect("sent");
    assert!(matches!(
        download.finish().await,
        Err(StreamError::NoSuchService(_))
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
