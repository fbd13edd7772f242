//! The sending ends of streams, and what they leave to the receiving ones.

use super::*;

/// Sends one part, and then ends the stream by an error or hangs.
fn server_of_one_part() -> ServerBuilder {
    let send_one = |hangs: bool| {
        move |_: Context, _: Message, mut parts: UploadParts, mut sink: DownloadSink| async move {
            let _part = parts.next().await;
            let _sent = sink.send(Message::from_body("x")).await;
            if hangs {
                std::future::pending::<()>().await;
            }
            Err::<Message, _>("no more wanted")
        }
    };
    Server::builder()
        .bistream("ends", send_one(false))
        .bistream("hangs", send_one(true))
        .upload("count", |_: Context, _: Message, mut parts| async move {
            let mut count = 1;
            while parts.next().await?.is_some() {
                count += 1;
            }
            Ok::<_, StreamError>(Message::from_body(count.to_string()))
        })
}

/// docs/wire S8, S16, S19: what has ended is not cancelled.
#[tokio::test(start_paused = true)]
async fn a_sender_that_is_dropped_after_the_end_leaves_parts_and_reply() {
    let Served { client, .. } = serve(server_of_one_part(), &Client::builder());
    let (mut sender, mut receiver) = client
        .bistream(Message::request("ends", "a"))
        .await
        .expect("sent");
    let ended = loop {
        match sender.send(Message::from_body("b")).await {
            Ok(()) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    assert!(matches!(ended, SendError::Ended), "{ended}");
    drop(sender);
    assert_eq!(receiver.next().await.expect("it came").body, "x");
    let reply = receiver.finish().await.expect("a reply");
    assert_eq!(reply.error, "no more wanted");
    assert_eq!(client.in_flight(), 0);
}

/// docs/wire C18
#[tokio::test(start_paused = true)]
async fn a_sender_that_is_dropped_after_the_connection_leaves_parts() {
    let Served { client, task, .. } = serve(server_of_one_part(), &Client::builder());
    let (mut sender, mut receiver) = client
        .bistream(Message::request("hangs", "a"))
        .await
        .expect("sent");
    sender.send(Message::from_body("b")).await.expect("sent");
    // The part comes.
    tokio::time::sleep(Duration::from_millis(1)).await;
    task.abort();
    client.closed().await;
    let sent = sender.send(Message::from_body("c")).await;
    assert!(matches!(sent, Err(SendError::Closed(_))), "{sent:?}");
    drop(sender);
    assert_eq!(receiver.next().await.expect("it came").body, "x");
    let ended = receiver.finish().await;
    assert!(matches!(ended, Err(StreamError::Closed(_))), "{ended:?}");
}

/// docs/wire S3, S20: it uses up neither a number nor credit.
#[tokio::test(start_paused = true)]
async fn a_part_that_is_too_large_leaves_its_stream_as_it_was() {
    for compression in [Compression::None, Compression::S2] {
        let builder = Client::builder().compression(compression);
        let Served { client, .. } = serve(server_of_one_part(), &builder);
        let mut upload = client
            .upload(Message::request("count", "1"))
            .await
            .expect("sent");
        upload.send(Message::from_body("2")).await.expect("sent");
        // By now the server has said how much it takes.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let too_large = upload.send(Message::from_body(vec![0; 65 << 20])).await;
        assert!(
            matches!(too_large, Err(SendError::TooLarge(_))),
            "{too_large:?}"
        );
        let rest = async {
            upload.send(Message::from_body("3")).await.expect("sent");
            upload.finish(Message::from_body("4")).await
        };
        let reply = tokio::time::timeout(Duration::from_secs(60), rest)
            .await
            .expect("it goes on")
            .expect("a reply");
        assert_eq!((&reply.body[..], &reply.error), (&b"4"[..], &"".into()));
    }
}
