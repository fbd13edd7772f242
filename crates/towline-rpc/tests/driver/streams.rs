//! Uploads and downloads.

use towline_codec::greenpack::Timestamp;

use super::*;

#[tokio::test]
async fn uploads_and_downloads_arrive_whole() {
    let Served { client, .. } = serve(echo_server(), &Client::builder());
    for parts in [1, 2, 3, 500] {
        let mut upload = client
            .upload(Message::request("sum", "x".repeat(1000)))
            .await
            .expect("sent");
        for _ in 1..parts {
            upload
                .send(Message::from_body("y".repeat(1000)))
                .await
                .expect("sent");
        }
        let reply = upload.finish(Message::new()).await.expect("a reply");
        assert_eq!(reply.body, (parts * 1000).to_string());

        let request = Message::request("count", "").with_arg("parts", parts.to_string());
        let mut download = client.download(request).await.expect("sent");
        let mut types = Vec::new();
        while let Some(part) = download.next().await {
            assert_eq!(part.body, format!("part {}", types.len()));
            types.push(part.hdr.typ);
        }
        assert_eq!(types.len(), parts);
        assert_eq!(types[0], CallType::DOWNLOAD_BEGIN);
        assert!(
            types[1..]
                .iter()
                .rev()
                .skip(1)
                .all(|&typ| typ == CallType::DOWNLOAD_MORE)
        );
        assert!(parts == 1 || types.last() == Some(&CallType::DOWNLOAD_END));
        assert_eq!(
            download.finish().await.expect("a reply").hdr.subject,
            "the end"
        );
    }
    assert_eq!(client.in_flight(), 0);
}

#[tokio::test]
async fn a_server_that_fails_in_the_middle_ends_the_upload() {
    let server =
        Server::builder().upload("strict", |_: Context, _: Message, mut parts| async move {
            parts.next().await.map_err(|error| error.to_string())?;
            Err::<Message, _>("bad part".to_owned())
        });
    let Served { client, .. } = serve(server, &Client::builder());
    let mut upload = client
        .upload(Message::request("strict", "a"))
        .await
        .expect("sent");
    let mut ended = false;
    for _ in 0..100_000 {
        match upload.send(Message::from_body("b")).await {
            Ok(()) => tokio::task::yield_now().await,
            Err(SendError::Ended) => {
                ended = true;
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(ended, "the upload learns that it is over");
    let reply = upload.finish(Message::new()).await.expect("a reply");
    assert_eq!(reply.error, "bad part");
}

#[tokio::test]
async fn a_slow_taker_holds_the_sender_and_loses_nothing() {
    let sent = Arc::new(AtomicUsize::new(0));
    let server = {
        let sent = Arc::clone(&sent);
        Server::builder().download("flood", move |_: Context, _: Message, mut sink| {
            let sent = Arc::clone(&sent);
            async move {
                for _ in 0..200 {
                    sink.send(Message::from_body(vec![7; 100_000])).await?;
                    sent.fetch_add(1, Ordering::Relaxed);
                }
                Ok::<_, SendError>(Message::new())
            }
        })
    };
    let limits = Limits::default().queue_bytes(1 << 20);
    let Served { client, .. } = serve(
        server.limits(Limits::default().outbox_bytes(1 << 20)),
        &Client::builder()
            .limits(limits)
            .compression(Compression::None),
    );
    let mut download = client
        .download(Message::request("flood", ""))
        .await
        .expect("sent");
    let first = download.next().await.expect("a part");
    assert_eq!(first.body.len(), 100_000);
    // Let everything come to rest: the server must be held long before its 20 MB are out.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert!(
        sent.load(Ordering::Relaxed) < 60,
        "{} parts were sent",
        sent.load(Ordering::Relaxed)
    );
    let mut count = 1;
    while download.next().await.is_some() {
        count += 1;
    }
    assert_eq!(count, 200);
    assert!(download.finish().await.expect("a reply").error.is_empty());
}

fn shouting_server() -> ServerBuilder {
    Server::builder().bistream(
        "shout",
        |_: Context, first: Message, mut parts: UploadParts, mut sink: DownloadSink| async move {
            let mut part = first;
            loop {
                let loud = part.body.to_ascii_uppercase();
                sink.send(Message::from_body(loud)).await?;
                match parts.next().await? {
                    Some(next) => part = next,
                    None => break,
                }
            }
            Ok::<_, StreamError>(Message::new().with_subject("enough"))
        },
    )
}

/// docs/wire S19
#[tokio::test]
async fn both_halves_of_a_bistream_go_on_side_by_side() {
    let Served { client, .. } = serve(shouting_server(), &Client::builder());
    let (mut sender, mut receiver) = client
        .bistream(Message::request("shout", "part 0"))
        .await
        .expect("sent");
    for number in 0..300 {
        let echo = receiver.next().await.expect("an echo of every part");
        assert_eq!(echo.body, format!("PART {number}"));
        let next = Message::from_body(format!("part {}", number + 1));
        sender.send(next).await.expect("sent");
    }
    sender
        .finish(Message::from_body("the last"))
        .await
        .expect("sent");
    let rest: Vec<Message> = receiver.by_ref().collect().await;
    let bodies: Vec<_> = rest.into_iter().map(|part| part.body).collect();
    assert_eq!(bodies, ["PART 300", "THE LAST"]);
    let reply = receiver.finish().await.expect("a reply");
    assert_eq!(reply.hdr.subject, "enough");
    assert_eq!(client.in_flight(), 0);
}

/// docs/wire T30: bodies and Args come back, the last part as the last, and a cancel ends it.
#[tokio::test]
async fn parts_of_a_bistream_come_back_from_the_handler_that_echoes() {
    let server = Server::builder().bistream("echo", towline_rpc::server::echo_bistream);
    let Served { client, task, .. } = serve(server, &Client::builder());
    let first = Message::request("echo", "0").with_arg("name", "value");
    let (mut sender, receiver) = client.bistream(first).await.expect("sent");
    sender.send(Message::from_body("1")).await.expect("sent");
    sender.finish(Message::from_body("2")).await.expect("sent");
    let mut receiver = receiver;
    let echoes: Vec<Message> = receiver.by_ref().collect().await;
    let told: Vec<_> = echoes
        .iter()
        .map(|part| (part.hdr.typ, &part.body[..], part.arg("name")))
        .collect();
    assert_eq!(
        told,
        [
            (CallType::DOWNLOAD_BEGIN, &b"0"[..], Some("value")),
            (CallType::DOWNLOAD_MORE, b"1", None),
            (CallType::DOWNLOAD_END, b"2", None),
        ]
    );
    receiver.finish().await.expect("a reply");

    let both = client.bistream(Message::request("echo", "0")).await;
    let (sender, mut receiver) = both.expect("sent");
    assert_eq!(receiver.next().await.expect("an echo").body, "0");
    drop(sender);
    assert!(matches!(
        receiver.finish().await,
        Err(StreamError::Cancelled)
    ));
    client.close().await;
    task.await.expect("no panic");
}

/// docs/wire S16, S19
#[tokio::test]
async fn dropping_either_half_of_a_bistream_cancels_it() {
    let Served { client, .. } = serve(shouting_server(), &Client::builder());
    for drop_sender in [true, false] {
        let (mut sender, mut receiver) = client
            .bistream(Message::request("shout", "a"))
            .await
            .expect("sent");
        assert_eq!(receiver.next().await.expect("an echo").body, "A");
        if drop_sender {
            let waiting = tokio::spawn(receiver.finish());
            tokio::task::yield_now().await;
            drop(sender);
            let ended = waiting.await.expect("no panic");
            assert!(matches!(ended, Err(StreamError::Cancelled)), "{ended:?}");
        } else {
            drop(receiver);
            let sent = sender.send(Message::from_body("b")).await;
            assert!(matches!(sent, Err(SendError::Ended)), "{sent:?}");
        }
        assert_eq!(client.in_flight(), 0);
    }
}

/// docs/wire S2, M12: an echo of more than any message may hold.
#[tokio::test]
async fn more_than_a_message_may_hold_comes_back_part_by_part() {
    const PART: usize = 1 << 20;
    const PARTS: usize = 66;
    let part = |number: usize| {
        let mut bytes = vec![0; PART];
        for (at, word) in bytes.chunks_exact_mut(8).enumerate() {
            word.copy_from_slice(&(number * PART + at).to_le_bytes());
        }
        Message::from_body(bytes)
    };
    let server = Server::builder()
        .compression(Compression::None)
        .bistream("echo", towline_rpc::server::echo_bistream);
    let client = Client::builder().compression(Compression::None);
    let Served { client, .. } = serve(server, &client);
    let mut first = part(0);
    first.hdr.service_name = "echo".into();
    let (mut sender, mut receiver) = client.bistream(first).await.expect("sent");
    let sending = tokio::spawn(async move {
        for number in 1..PARTS - 1 {
            sender.send(part(number)).await.expect("sent");
        }
        sender.finish(part(PARTS - 1)).await.expect("sent");
    });
    for number in 0..PARTS {
        let echo = receiver.next().await.expect("an echo");
        assert!(echo.body == part(number).body, "part {number}");
    }
    assert!(receiver.next().await.is_none());
    sending.await.expect("no panic");
    receiver.finish().await.expect("a reply");
}

/// docs/wire E2, E3, S19
#[tokio::test]
async fn an_unknown_bistream_is_refused() {
    let Served { client, .. } = serve(shouting_server(), &Client::builder());
    let (sender, receiver) = client
        .bistream(Message::request("whisper", "a"))
        .await
        .expect("sent");
    match receiver.finish().await {
        Err(StreamError::NoSuchService(missing)) => {
            let text = missing.text.to_string();
            assert!(text.contains("CallRequestBistreaming"), "{text}");
        }
        other => panic!("{other:?}"),
    }
    drop(sender);
}

/// docs/wire S20: a consumer that takes nothing holds up its own stream, in either direction, and nothing
/// else on the connection.
#[tokio::test]
async fn between_two_towlines_a_slow_consumer_holds_up_only_itself() {
    let go_on = Arc::new(Notify::new());
    let server = {
        let go_on = Arc::clone(&go_on);
        echo_server()
            .upload(
                "slow",
                move |_: Context, _: Message, mut parts: UploadParts| {
                    let go_on = Arc::clone(&go_on);
                    async move {
                        go_on.notified().await;
                        let mut total = 0;
                        while let Some(part) = parts.next().await? {
                            total += part.body.len();
                        }
                        Ok::<_, StreamError>(Message::from_body(total.to_string()))
                    }
                },
            )
            .download(
                "flood",
                |_: Context, _: Message, mut sink: DownloadSink| async move {
                    loop {
                        sink.send(Message::from_body(vec![7; 10_000])).await?;
                    }
                    #[expect(unreachable_code, reason = "it ends by its caller's leaving")]
                    Ok::<_, SendError>(Message::new())
                },
            )
    };
    let Served { client, .. } = serve(server, &Client::builder());
    // Small enough to be full several times over, were it one queue for all.
    let mut slow = client
        .upload(Message::request("slow", ""))
        .await
        .expect("sent");
    let mut flood = client
        .download(Message::request("flood", ""))
        .await
        .expect("sent");
    flood.next().await.expect("a part");
    let part = || Message::from_body(vec![7; 10_000]);
    let mut sent = 0;
    while let Ok(result) = tokio::time::timeout(Duration::from_millis(100), slow.send(part())).await
    {
        result.expect("sent");
        sent += 1;
        assert!(sent < 1000, "nobody holds the sender");
    }
    // Calls and other streams go on, with more than all queues together could hold.
    for _ in 0..100 {
        let echo = client
            .call(Message::request("echo", vec![1; 100_000]))
            .await;
        assert_eq!(echo.expect("a reply").body.len(), 100_000);
    }
    let mut quick = client
        .upload(Message::request("sum", ""))
        .await
        .expect("sent");
    for _ in 0..2000 {
        quick.send(part()).await.expect("sent");
    }
    let reply = quick.finish(Message::new()).await.expect("a reply");
    assert_eq!(reply.body, "20000000");
    // Leaving gets through at once; the slow one goes on where it was.
    drop(flood);
    go_on.notify_one();
    let reply = slow.finish(part()).await.expect("a reply");
    assert_eq!(reply.body, ((sent + 1) * 10_000).to_string());
}

/// docs/wire C11, C12: a stream whose deadline passes ends at both ends.
#[tokio::test(start_paused = true)]
async fn a_stream_ends_at_its_deadline() {
    let ended = Arc::new(Notify::new());
    let server = {
        let ended = Arc::clone(&ended);
        Server::builder().bistream(
            "wait",
            move |_: Context, _: Message, mut parts: UploadParts, _: DownloadSink| {
                let guard = NotifyOnDrop(Arc::clone(&ended));
                async move {
                    let _guard = guard;
                    while parts.next().await?.is_some() {}
                    Ok::<_, StreamError>(Message::new())
                }
            },
        )
    };
    let Served { client, .. } = serve(server, &Client::builder());
    let deadline = Timestamp::from(std::time::SystemTime::now() + Duration::from_secs(5));
    let request = Message::request("wait", "").with_deadline(deadline);
    let (mut sender, receiver) = client.bistream(request).await.expect("sent");
    // The server holds the same deadline, and may be first to say so.
    match receiver.finish().await {
        Err(StreamError::TimedOut) => {}
        Ok(reply) => assert_eq!(reply.error, "context deadline exceeded"),
        Err(error) => panic!("{error}"),
    }
    ended.notified().await;
    let sent = sender.send(Message::new()).await;
    assert!(matches!(sent, Err(SendError::Ended)), "{sent:?}");
    assert_eq!(client.in_flight(), 0);
}

struct NotifyOnDrop(Arc<Notify>);

impl Drop for NotifyOnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// docs/wire C13, S5: whoever keeps what came until the end must not take a cancel for the end.
#[tokio::test(start_paused = true)]
async fn a_cancelled_upload_has_no_end_for_who_reads_it() {
    // Whether it is asked for a part when the cancel comes, or asks afterwards.
    for asks_at_once in [false, true] {
        let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let go_on = Arc::new(Notify::new());
        let waits = Arc::clone(&go_on);
        let upload = move |_: Context, _: Message, mut parts: UploadParts| {
            let (told, waits) = (told.clone(), Arc::clone(&waits));
            // A task of its own outlives the handler.
            let reading = tokio::spawn(async move {
                loop {
                    let part = parts.next().await;
                    let over = !matches!(part, Ok(Some(_)));
                    told.send(part).ok();
                    if over {
                        break;
                    }
                    if !asks_at_once {
                        waits.notified().await;
                    }
                }
            });
            async move {
                reading.await.ok();
                Ok::<_, Infallible>(Message::new())
            }
        };
        let server = echo_server().upload("keep", upload);
        let Served { client, .. } = serve(server, &Client::builder());
        let mut upload = client
            .upload(Message::request("keep", "first"))
            .await
            .expect("sent");
        upload.send(Message::from_body("more")).await.expect("sent");
        assert!(matches!(heard.recv().await, Some(Ok(Some(_)))));
        drop(upload);
        // Behind the cancel.
        client
            .call(Message::request("echo", ""))
            .await
            .expect("a reply");
        go_on.notify_one();
        let end = heard.recv().await;
        assert!(matches!(end, Some(Err(StreamError::Ended))), "{end:?}");
    }
}

/// docs/wire E11, F24, S2, S20
#[tokio::test(start_paused = true)]
async fn a_part_that_is_too_large_leaves_its_stream_as_it_was() {
    for compression in [Compression::None, Compression::S2] {
        let server = Server::builder().download(
            "count",
            |_: Context, _: Message, mut sink: DownloadSink| async move {
                for number in 0..3 {
                    let too_large = Message::from_body(vec![0; proto::MAX_BODY + 1]);
                    let refused = sink.send(too_large).await;
                    assert!(matches!(refused, Err(SendError::TooLarge(_))));
                    sink.send(Message::from_body(number.to_string())).await?;
                }
                Ok::<_, SendError>(Message::from_body("end"))
            },
        );
        let Served { client, .. } = serve(server, &Client::builder().compression(compression));
        let mut download = client
            .download(Message::request("count", ""))
            .await
            .expect("sent");
        for number in 0..3 {
            let part = download.next().await.expect("a part");
            assert_eq!(part.body, number.to_string());
        }
        assert!(download.next().await.is_none());
        assert_eq!(download.finish().await.expect("a reply").body, "end");
    }
}
