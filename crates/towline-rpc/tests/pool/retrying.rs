//! Calls that are made again, and those that are not.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use towline_rpc::proto::{CallType, Compression, EncodedFrame, FrameReader};

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
    assert!(matches!(refused, Err(CallError::NoSuchService(_))));
    assert_eq!(asked.load(SeqCst), 1);
}

/// docs/wire X9: an original closes the connection 3 s after a refusal; what comes later goes over another, and what runs
/// ends where it runs.
#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_originals_has_later_calls_go_over_another_connection() {
    let network = network(1);
    let mut listener = network.listen("a").expect("nobody is there");
    // Refuses "nosuch" without a word about the connection, and answers "slow" when it is told to.
    let go = Arc::new(Notify::new());
    let gone = Arc::clone(&go);
    let original = tokio::spawn(async move {
        for number in 1_u32.. {
            let Ok(stream) = listener.accept().await else {
                return;
            };
            tokio::spawn(imitate(stream, number, Arc::clone(&gone)));
        }
    });
    let pool = pool(&network).address("a").build().expect("valid");
    let mut events = pool.events();
    let slow = tokio::spawn({
        let pool = pool.clone();
        async move { pool.call(Message::request("slow", "")).await }
    });
    after(Duration::from_millis(100)).await;
    let refused = pool.call(Message::request("nosuch", "")).await;
    assert!(matches!(refused, Err(CallError::Refused(_))), "{refused:?}");
    let reply = pool.call(Message::request("which", "")).await;
    assert_eq!(reply.expect("answered").body, "2");
    go.notify_one();
    assert_eq!(slow.await.expect("ran").expect("answered").body, "1");
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(events.next().await.expect("an event"));
    }
    assert!(
        matches!(
            &seen[..],
            [
                PoolEvent::Connected { .. },
                PoolEvent::Gone {
                    cause: Cause::ServerLeaves,
                    retry_in: Some(_),
                    ..
                },
                PoolEvent::Connected { .. }
            ]
        ),
        "{seen:?}"
    );
    original.abort();
}

/// One connection of a server of the original, which says by its answers which it is.
async fn imitate(mut stream: SimStream, number: u32, go: Arc<Notify>) {
    let (mut reader, mut input) = (FrameReader::new(), bytes::BytesMut::new());
    let mut slow = None;
    loop {
        let answer = tokio::select! {
            count = stream.read_buf(&mut input) => {
                if !matches!(count, Ok(1..)) {
                    return;
                }
                None
            }
            () = go.notified(), if slow.is_some() => slow.take(),
        };
        let mut answers: Vec<Message> = answer.into_iter().collect();
        while let Ok(Some(received)) = reader.handle_input(&mut input) {
            let mut message = received.message;
            match &*message.hdr.service_name.to_string_lossy() {
                "nosuch" => message.hdr.typ = CallType::ERROR,
                name => {
                    let is_slow = name == "slow";
                    message.hdr.typ = CallType::REPLY;
                    message.body = number.to_string().into();
                    if is_slow {
                        slow = Some(message);
                        continue;
                    }
                }
            }
            answers.push(message);
        }
        for answer in answers {
            let frame = EncodedFrame::new(&answer, Compression::None).expect("small");
            if stream.write_all(frame.bytes()).await.is_err() {
                return;
            }
        }
    }
}
