//! What is answered; `interop/rpc25519/original/server.go` answers the same.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use towline::rpc::server::{
    DownloadSink, NetRpcService, Push, RegisterError, ServerBuilder, UploadParts,
};
use towline::rpc::{Context, Message, Server};

use crate::{KEEP_ALIVE, PART_SIZE, PARTS, noise, sum, text};

type Args = (i64, i64);
type Reply = (i64,);

/// Counts when it is dropped: a handler whose call has ended.
struct Ending(Arc<AtomicU64>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

pub(crate) fn services() -> Result<ServerBuilder, RegisterError> {
    let ended = Arc::new(AtomicU64::new(0));
    let ending = Arc::clone(&ended);
    Server::builder()
        .call("echo", |_: Context, request: Message| async move {
            Ok::<_, Infallible>(Message::from_body(request.body))
        })
        .call("fail", |_: Context, request: Message| async move {
            let mut reply = Message::from_body(request.body);
            reply.error = "this is what it says".into();
            Ok::<_, Infallible>(reply)
        })
        .call("sum", |_: Context, request: Message| async move {
            Ok::<_, Infallible>(Message::from_body(sum(&request.body)))
        })
        // `text 1000` or `noise 1000`
        .call("make", |_: Context, request: Message| async move {
            let wanted = String::from_utf8_lossy(&request.body).into_owned();
            let (kind, size) = wanted.split_once(' ').ok_or("what, and how much of it?")?;
            let size = size.parse().map_err(|_| "how much?")?;
            let made = if kind == "noise" {
                noise(size)
            } else {
                text(size)
            };
            Ok::<_, &str>(Message::from_body(made))
        })
        .call("wait", move |_: Context, _: Message| {
            let ending = Ending(Arc::clone(&ending));
            async move {
                let reply = pending::<Result<Message, Infallible>>().await;
                drop(ending);
                reply
            }
        })
        .call("ended", move |_: Context, _: Message| {
            let count = ended.load(Ordering::SeqCst).to_string();
            async move { Ok::<_, Infallible>(Message::from_body(count)) }
        })
        // Says three things to whoever has sent it, later, while no call is open.
        .one_way("push", |context: Context, request: Message| async move {
            tokio::time::sleep(KEEP_ALIVE * 2).await;
            for number in 0..3 {
                let push = Push::new("pushed", format!("push {number}"))
                    .call_id(request.hdr.call_id.clone())
                    .seqno(number);
                // The client is gone if it cannot be pushed to, and will say so itself.
                drop(context.connection().push(push).await);
            }
        })
        .upload("upload", upload)
        .download("download", download)
        .bistream("bistream", bistream)
        .net_rpc(arith())
}

fn arith() -> NetRpcService {
    NetRpcService::new("Arith")
        .method("Mul", |_: Context, (a, b): Args| async move {
            Ok::<Reply, Infallible>((a.wrapping_mul(b),))
        })
        .method("Div", |_: Context, (a, b): Args| async move {
            a.checked_div(b).map(|c| (c,)).ok_or("divide by zero")
        })
}

async fn upload(_: Context, first: Message, mut parts: UploadParts) -> Result<Message, String> {
    let mut all = first.body.to_vec();
    while let Some(part) = parts.next().await.map_err(|error| error.to_string())? {
        if part.body == "fail" {
            return Err("this upload fails".to_owned());
        }
        all.extend_from_slice(&part.body);
    }
    Ok(Message::from_body(sum(&all)))
}

/// Parts of text, each a little longer than the last.
async fn download(_: Context, _: Message, mut sink: DownloadSink) -> Result<Message, String> {
    for number in 0..PARTS {
        let part = Message::from_body(text(PART_SIZE + number));
        let sent = if number == PARTS - 1 {
            sink.send_last(part).await
        } else {
            sink.send(part).await
        };
        sent.map_err(|error| error.to_string())?;
    }
    Ok(Message::from_body("done"))
}

/// Sends each part back as it comes.
async fn bistream(
    _: Context,
    first: Message,
    mut parts: UploadParts,
    mut sink: DownloadSink,
) -> Result<Message, String> {
    let mut part = Some(first);
    while let Some(come) = part {
        let back = Message::from_body(come.body);
        sink.send(back).await.map_err(|error| error.to_string())?;
        part = parts.next().await.map_err(|error| error.to_string())?;
    }
    Ok(Message::from_body("done"))
}
