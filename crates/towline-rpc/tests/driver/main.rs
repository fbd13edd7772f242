//! Client and server over a byte stream, with tokio.

#![expect(
    clippy::disallowed_methods,
    reason = "these tests measure virtual time"
)]

mod calls;
mod ending;
mod limits;
mod net_rpc;
mod pushes;
mod senders;
mod streams;
mod time;
mod unread;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::Notify,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use towline_identity::Peer;
use towline_rpc::{
    CallError, Client, CloseReason, Compression, Context, Message, SendError, Server, StreamError,
    client::ClientBuilder,
    proto::{self, CallType, Concurrency, EncodedFrame, FrameReader, Limits, Violation},
    server::{DownloadSink, ServerBuilder, UploadParts},
};

struct Served {
    client: Client,
    task: JoinHandle<CloseReason>,
    shutdown: CancellationToken,
}

fn serve(server: ServerBuilder, client: &ClientBuilder) -> Served {
    let (here, there) = tokio::io::duplex(256 << 10);
    let shutdown = CancellationToken::new();
    let server = server.build();
    let task = tokio::spawn({
        let shutdown = shutdown.clone();
        async move {
            let peer = Peer::unauthenticated("mem://client");
            server
                .serve_io(there, peer, "mem://server", "mem://client", shutdown)
                .await
        }
    });
    let peer = Peer::unauthenticated("mem://server");
    let client = client.from_io(here, peer, "mem://client", "mem://server");
    Served {
        client,
        task,
        shutdown,
    }
}

fn echo_server() -> ServerBuilder {
    Server::builder()
        .call("echo", |_: Context, request: Message| async move {
            Ok::<_, Infallible>(Message::from_body(request.body))
        })
        .call("fail", |_: Context, _: Message| async move {
            Err::<Message, _>("it failed")
        })
        .call("panic", |_: Context, _: Message| async move {
            assert!(std::hint::black_box(false), "a handler panics on purpose");
            Ok::<_, Infallible>(Message::new())
        })
        .upload("sum", |_: Context, first: Message, mut parts| async move {
            let mut total = first.body.len();
            while let Some(part) = parts.next().await? {
                total += part.body.len();
            }
            Ok::<_, StreamError>(Message::from_body(total.to_string()))
        })
        .download(
            "count",
            |_: Context, request: Message, mut sink| async move {
                let parts: usize = request
                    .arg("parts")
                    .and_then(|text| text.parse().ok())
                    .unwrap_or(0);
                for number in 0..parts {
                    let part = Message::from_body(format!("part {number}"));
                    if number + 1 == parts {
                        sink.send_last(part).await?
                    } else {
                        sink.send(part).await?
                    }
                }
                Ok::<_, SendError>(Message::new().with_subject("the end"))
            },
        )
}
