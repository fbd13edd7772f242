//! What ends when its time is up.

use super::*;

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

/// A connection to a server, spoken by hand.
struct ByHand {
    io: tokio::io::DuplexStream,
    reader: FrameReader,
    input: bytes::BytesMut,
}

impl ByHand {
    fn to(server: ServerBuilder) -> Self {
        let (io, there) = tokio::io::duplex(64 << 10);
        tokio::spawn(async move {
            let peer = Peer::unauthenticated("mem://client");
            server
                .build()
                .serve_io(
                    there,
                    peer,
                    "mem://server",
                    "mem://client",
                    CancellationToken::new(),
                )
                .await
        });
        Self {
            io,
            reader: FrameReader::new(),
            input: bytes::BytesMut::new(),
        }
    }

    async fn call(&mut self, mut request: Message) -> Message {
        request.hdr.typ = CallType::CALL;
        let frame = EncodedFrame::new(&request, Compression::None).expect("small");
        self.io.write_all(frame.bytes()).await.expect("written");
        loop {
            if let Some(received) = self.reader.handle_input(&mut self.input).expect("a frame") {
                return received.message;
            }
            self.io.read_buf(&mut self.input).await.expect("read");
        }
    }
}

/// docs/wire C10
#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_handler_and_is_echoed() {
    let server = echo_server().call("hang", |_: Context, _: Message| {
        std::future::pending::<Result<Message, Infallible>>()
    });
    let mut client = ByHand::to(server);
    let wall = std::time::SystemTime::now();
    let start = tokio::time::Instant::now();
    let request = Message::request("hang", "").with_deadline(wall + Duration::from_secs(3));
    let reply = client.call(request.clone()).await;
    assert_eq!(reply.error, "context deadline exceeded");
    assert_eq!(reply.hdr.deadline, request.hdr.deadline);
    assert!(
        (2..=3).contains(&start.elapsed().as_secs()),
        "{:?}",
        start.elapsed()
    );
    // A deadline that has passed still starts the function: one that needs no time answers.
    let request = Message::request("echo", "x").with_deadline(wall - Duration::from_secs(3));
    assert_eq!(client.call(request).await.body, "x");
}

/// docs/wire C11: a limit that was given is told to the server, the default is not; the deadline of the
/// message ends the call, too.
#[tokio::test(start_paused = true)]
async fn a_time_limit_is_a_deadline_and_a_deadline_a_time_limit() {
    let server = echo_server().call("deadline", |_: Context, request: Message| async move {
        Ok::<_, Infallible>(Message::from_body(format!(
            "{}",
            request.hdr.deadline.is_some()
        )))
    });
    let Served { client, .. } = serve(server, &Client::builder());
    let request = || Message::request("deadline", "");
    assert_eq!(client.call(request()).await.expect("a reply").body, "false");
    for (limit, told) in [(None, "false"), (Some(Duration::from_secs(5)), "true")] {
        let reply = client.call_with_timeout(request(), limit).await;
        assert_eq!(reply.expect("a reply").body, told);
    }

    // A server that is silent.
    let (here, _there) = tokio::io::duplex(64 << 10);
    let peer = Peer::unauthenticated("mem://server");
    let client = Client::builder().from_io(here, peer, "mem://client", "mem://server");
    let start = tokio::time::Instant::now();
    let deadline = std::time::SystemTime::now() + Duration::from_secs(3);
    let error = client
        .call(request().with_deadline(deadline))
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::TimedOut(_)), "{error}");
    assert!(
        (2..=3).contains(&start.elapsed().as_secs()),
        "{:?}",
        start.elapsed()
    );
}

async fn idle_timeout(task: JoinHandle<CloseReason>) {
    let reason = task.await.expect("no panic");
    assert!(
        matches!(reason, CloseReason::Violation(Violation::IdleTimeout)),
        "{reason}"
    );
}

/// docs/wire K5, C21: two towlines stay connected while idle, and each notices when the other is gone.
#[tokio::test(start_paused = true)]
async fn a_dead_peer_is_noticed_by_agreement() {
    let watchful =
        Client::builder().limits(Limits::default().dead_peer(Some(Duration::from_secs(6))));
    let server = || {
        echo_server().call("args", |_: Context, request: Message| async move {
            Ok::<_, Infallible>(Message::from_body(request.hdr.args.len().to_string()))
        })
    };
    let Served { client, .. } = serve(server(), &watchful);
    for _ in 0..3 {
        // The agreement is between the two ends: neither function nor caller sees it.
        let reply = client
            .call(Message::request("args", ""))
            .await
            .expect("a reply");
        assert_eq!((&reply.body[..], reply.hdr.args.len()), (&b"0"[..], 0));
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }

    // A client that is gone without a word.
    let (mut io, there) = tokio::io::duplex(64 << 10);
    let task = tokio::spawn(async move {
        let peer = Peer::unauthenticated("mem://client");
        server()
            .build()
            .serve_io(
                there,
                peer,
                "mem://server",
                "mem://client",
                CancellationToken::new(),
            )
            .await
    });
    let mut offer = Message::request("echo", "x").with_arg("towline", "alive?6000");
    offer.hdr.typ = CallType::CALL;
    let frame = EncodedFrame::new(&offer, Compression::None).expect("small");
    let start = tokio::time::Instant::now();
    io.write_all(frame.bytes()).await.expect("written");
    idle_timeout(task).await;
    assert_eq!(start.elapsed().as_secs(), 6);
}

/// docs/wire K5, C21: a server that answers so, and is gone then; one that does not know the offer, or
/// sends it back as it came, may be silent for ever.
#[tokio::test(start_paused = true)]
async fn only_a_server_that_accepts_must_give_signs_of_life() {
    for (answer, ends) in [
        (Some("alive=6000"), true),
        (Some("alive?6000"), false),
        (None, false),
    ] {
        let (here, mut io) = tokio::io::duplex(64 << 10);
        let peer = Peer::unauthenticated("mem://server");
        let client = Client::builder()
            .compression(Compression::None)
            .limits(Limits::default().dead_peer(Some(Duration::from_secs(6))))
            .from_io(here, peer, "mem://client", "mem://server");
        let call = tokio::spawn({
            let client = client.clone();
            async move { client.call(Message::request("work", "")).await }
        });
        let (mut reader, mut input) = (FrameReader::new(), bytes::BytesMut::new());
        let request = loop {
            if let Some(received) = reader.handle_input(&mut input).expect("a frame") {
                break received.message;
            }
            io.read_buf(&mut input).await.expect("read");
        };
        assert_eq!(request.arg("towline"), Some("alive?6000"));
        let mut reply = Message::new();
        reply.hdr.typ = CallType::REPLY;
        reply.hdr.seqno = request.hdr.seqno;
        reply.hdr.call_id = request.hdr.call_id;
        if let Some(answer) = answer {
            reply = reply.with_arg("towline", answer);
        }
        let frame = EncodedFrame::new(&reply, Compression::None).expect("small");
        io.write_all(frame.bytes()).await.expect("written");
        call.await.expect("no panic").expect("a reply");
        let closed = tokio::time::timeout(Duration::from_secs(60), client.closed()).await;
        assert_eq!(closed.is_ok(), ends, "{answer:?}");
        if let Ok(reason) = closed {
            assert!(
                matches!(reason, CloseReason::Violation(Violation::IdleTimeout)),
                "{reason}"
            );
        }
    }
}
