//! What several connections to one server have, and have not, to do with each other.

#![cfg(feature = "tokio")]

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{Notify, mpsc},
    task::JoinHandle,
};
use towline::rpc::{
    Client, Compression, Context, Message, Server, StreamError,
    proto::{CallType, EncodedFrame},
    server::{DownloadSink, ListenConfig, Listening, ServerBuilder, UploadParts},
};

/// What the handlers of `wait` tell.
#[derive(Default)]
struct Told {
    started: Notify,
    dropped: AtomicUsize,
    dropped_one: Notify,
    /// Lets them answer.
    go: Notify,
}

/// Counts the end of a handler that was dropped before it answered.
struct Waiting(Option<Arc<Told>>);

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(told) = &self.0 {
            told.dropped.fetch_add(1, Ordering::SeqCst);
            told.dropped_one.notify_one();
        }
    }
}

/// A server with a service `wait`.
fn waiting(told: &Arc<Told>) -> ServerBuilder {
    let told = Arc::clone(told);
    Server::builder().call("wait", move |_: Context, _: Message| {
        let told = Arc::clone(&told);
        async move {
            let mut waiting = Waiting(Some(Arc::clone(&told)));
            told.started.notify_one();
            told.go.notified().await;
            waiting.0 = None;
            Ok::<_, Infallible>(Message::from_body("waited"))
        }
    })
}

async fn listen(server: ServerBuilder) -> Listening {
    let server = server.build();
    server
        .listen("tcp://127.0.0.1:0", ListenConfig::new())
        .await
        .expect("listens")
}

async fn connect(listening: &Listening) -> Client {
    let endpoint = listening.endpoint().to_string();
    Client::builder()
        .connect(&endpoint)
        .await
        .expect("connects")
}

/// A call of `wait` under a CallID, once its handler runs.
async fn wait(client: &Client, told: &Told, call_id: &'static str) -> JoinHandle<String> {
    let mut request = Message::request("wait", "");
    request.hdr.call_id = call_id.into();
    let client = client.clone();
    let call = tokio::spawn(async move {
        match client.call_with_timeout(request, None).await {
            Ok(reply) => String::from_utf8_lossy(&reply.body).into_owned(),
            Err(error) => error.to_string(),
        }
    });
    told.started.notified().await;
    call
}

/// docs/wire C14: a CallID means the calls of its own connection.
#[tokio::test]
async fn a_cancel_does_not_reach_the_same_call_id_on_another_connection() {
    let told = Arc::new(Told::default());
    let listening = listen(waiting(&told)).await;
    let (ours, other) = (connect(&listening).await, connect(&listening).await);
    let kept = wait(&ours, &told, "shared").await;
    let cancelled = wait(&other, &told, "shared").await;

    cancelled.abort();
    told.dropped_one.notified().await;
    // Whatever else the cancel has done, it has done before these answers.
    assert!(other.call(Message::request("nobody", "")).await.is_err());
    assert!(ours.call(Message::request("nobody", "")).await.is_err());
    assert_eq!(told.dropped.load(Ordering::SeqCst), 1);
    told.go.notify_one();
    assert_eq!(kept.await.expect("no panic"), "waited");
    assert_eq!(told.dropped.load(Ordering::SeqCst), 1);
}

/// docs/wire C18: the end of a connection ends its handlers and no others.
#[tokio::test]
async fn a_lost_connection_takes_only_its_own_handlers_along() {
    let told = Arc::new(Told::default());
    let listening = listen(waiting(&told)).await;
    let (ours, other) = (connect(&listening).await, connect(&listening).await);
    let kept = wait(&ours, &told, "a").await;
    let lost = [
        wait(&other, &told, "b").await,
        wait(&other, &told, "c").await,
    ];

    other.close().await;
    for call in lost {
        let error = call.await.expect("no panic");
        assert!(error.contains("closed"), "{error}");
    }
    while told.dropped.load(Ordering::SeqCst) < 2 {
        told.dropped_one.notified().await;
    }
    told.go.notify_one();
    assert_eq!(kept.await.expect("no panic"), "waited");
    assert_eq!(told.dropped.load(Ordering::SeqCst), 2);
}

/// docs/wire C15: sending does not wait for the function.
#[tokio::test]
async fn a_one_way_message_is_sent_before_its_function_ends() {
    let go = Arc::new(Notify::new());
    let (tell, mut told) = mpsc::unbounded_channel();
    let server = {
        let go = Arc::clone(&go);
        Server::builder().one_way("note", move |_: Context, note: Message| {
            let (go, tell) = (Arc::clone(&go), tell.clone());
            async move {
                go.notified().await;
                tell.send(note.body).ok();
            }
        })
    };
    let listening = listen(server).await;
    let client = connect(&listening).await;
    let sent = client.send_one_way(Message::request("note", "hello")).await;
    assert!(sent.is_ok());
    go.notify_one();
    assert_eq!(told.recv().await.expect("it came"), "hello");
}

/// docs/wire S8, E1: what was sent arrives before the error that ends a download.
#[tokio::test]
async fn a_download_that_fails_delivers_its_parts_and_then_the_error() {
    let server = Server::builder().download(
        "half",
        |_: Context, _: Message, mut sink: DownloadSink| async move {
            for number in 0..3 {
                let part = Message::from_body(format!("part {number}"));
                sink.send(part).await.map_err(|error| error.to_string())?;
            }
            Err::<Message, _>("the rest is gone".to_owned())
        },
    );
    let listening = listen(server).await;
    let client = connect(&listening).await;
    let request = Message::request("half", "");
    let mut download = client.download(request).await.expect("sent");
    for number in 0..3 {
        let part = download.next().await.expect("a part");
        assert_eq!(part.body, format!("part {number}"));
    }
    assert!(download.next().await.is_none());
    let reply = download.finish().await.expect("a reply");
    let error = reply.into_result().expect_err("it failed");
    assert_eq!(error.to_string(), "the rest is gone");
}

/// The body of the next frame that is not compressed.
async fn read_message(stream: &mut TcpStream) -> Message {
    let mut header = [0; 16];
    stream.read_exact(&mut header).await.expect("a frame");
    let (start, length) = header.split_at(8);
    assert_eq!(start[7], 0, "not compressed");
    let length = u64::from_be_bytes(length.try_into().expect("8 bytes"));
    let mut body = vec![0; usize::try_from(length).expect("small")];
    stream.read_exact(&mut body).await.expect("a body");
    Message::decode(&body.into()).expect("a message")
}

/// docs/wire S5, E8: the caller that cancels is told, once, and in the original's words.
#[tokio::test]
async fn what_was_cancelled_is_answered_in_the_originals_words() {
    let told = Arc::new(Told::default());
    let server = waiting(&told).upload(
        "store",
        |_: Context, _: Message, mut parts: UploadParts| async move {
            while parts.next().await?.is_some() {}
            Ok::<_, StreamError>(Message::new())
        },
    );
    let listening = listen(server).await;
    let port = listening.endpoint().port().expect("a port");
    let mut stream = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("connects");
    for (begin, name, text) in [
        (CallType::CALL, "wait", "context canceled"),
        (CallType::UPLOAD_BEGIN, "store", "context cancelled"),
    ] {
        let mut message = Message::request(name, "");
        message.hdr.seqno = 7;
        message.hdr.call_id = name.into();
        for typ in [begin, CallType::CANCEL, CallType::CANCEL] {
            message.hdr.typ = typ;
            let frame = EncodedFrame::new(&message, Compression::None).expect("small");
            stream.write_all(frame.bytes()).await.expect("written");
        }
        let reply = read_message(&mut stream).await;
        assert_eq!(reply.hdr.typ, CallType::REPLY);
        assert_eq!(reply.hdr.call_id, name);
        assert_eq!(reply.error, text);
    }
}

/// docs/wire I28: neither end has a key or a certificate, nor a file of them to miss.
#[tokio::test]
async fn plain_tcp_needs_no_keys_at_either_end() {
    let server = Server::builder()
        .call("who", |context: Context, _: Message| async move {
            let known = context.peer().public_key().is_some();
            Ok::<_, Infallible>(Message::from_body(known.to_string()))
        })
        .build();
    let here = "tcp://127.0.0.1:0";
    let listening = server.listen(here, ListenConfig::new()).await;
    let listening = listening.expect("a free port");
    let client = Client::builder()
        .connect(&listening.endpoint().to_string())
        .await
        .expect("a server that asks for nothing");
    assert!(!client.peer().is_authenticated());
    let reply = client.call(Message::request("who", "")).await;
    assert_eq!(reply.expect("a reply").body, "false");
}
