//! What is played; `interop/rpc25519/original/client.go` plays the same.

use std::time::{Duration, SystemTime};

use towline::codec::greenpack::Timestamp;
use towline::rpc::proto::WhenFull;
use towline::rpc::{CallError, Client, Compression, Message, NetRpcError};

use crate::{Failure, KEEP_ALIVE, PART_SIZE, PARTS, PATIENCE, noise, sum, text};

pub(crate) async fn play(
    client: &Client,
    part: &str,
    compression: Compression,
) -> Result<(), Failure> {
    let named = |name: &'static str| move |error: Failure| format!("{name}: {error}");
    if let Some(pause) = part.strip_prefix("idle=") {
        let pause = Duration::from_secs(pause.trim_end_matches('s').parse()?);
        return idle(client, pause).await;
    }
    if part == "gone" {
        return gone(client).await;
    }
    if part == "large" {
        return large(client, compression == Compression::None)
            .await
            .map_err(|error| named("large")(error).into());
    }
    calls(client).await.map_err(named("calls"))?;
    net_rpc(client).await.map_err(named("net/rpc"))?;
    push(client).await.map_err(named("push"))?;
    cancel(client).await.map_err(named("cancel"))?;
    deadline(client).await.map_err(named("deadline"))?;
    upload(client).await.map_err(named("upload"))?;
    download(client).await.map_err(named("download"))?;
    bistream(client).await.map_err(named("bistream"))?;
    Ok(())
}

fn expect(what: &str, is: bool) -> Result<(), Failure> {
    if is { Ok(()) } else { Err(what.into()) }
}

async fn call(
    client: &Client,
    service: &str,
    body: impl Into<bytes::Bytes>,
) -> Result<Message, CallError> {
    client.call(Message::request(service, body)).await
}

async fn calls(client: &Client) -> Result<(), Failure> {
    for size in [0, 1, 1000, 300_000] {
        for body in [text(size), noise(size)] {
            let reply = call(client, "echo", body.clone()).await?;
            expect("another body came back", reply.body == body)?;
        }
    }
    let reply = call(client, "fail", "with a body").await?;
    expect("its error", reply.error == "this is what it says")?;
    expect("the body beside an error", reply.body == "with a body")
}

async fn net_rpc(client: &Client) -> Result<(), Failure> {
    let (product,): (i64,) = client.net_rpc("Arith.Mul", &(7_i64, 8_i64)).await?;
    expect("7 times 8", product == 56)?;
    for (method, expected) in [
        ("Arith.Div", "divide by zero"),
        ("Arith.Nothing", "rpc: can't find method Arith.Nothing"),
    ] {
        let failed = client.net_rpc::<_, (i64,)>(method, &(7_i64, 0_i64)).await;
        match failed {
            Err(NetRpcError::Remote(error)) => {
                expect("the method's error", *error.text() == expected)?;
            }
            other => return Err(format!("{method}: {other:?}").into()),
        }
    }
    Ok(())
}

async fn push(client: &Client) -> Result<(), Failure> {
    let mut message = Message::request("push", "");
    message.hdr.call_id = "a call id of the tests 28 ch".into();
    let mut listener = client.listen_for(message.hdr.call_id.clone(), WhenFull::Wait);
    client.send_one_way(message).await?;
    for number in 0..3 {
        let pushed = tokio::time::timeout(PATIENCE, listener.next()).await?;
        let pushed = pushed.ok_or("the connection ended")??;
        expect("what was pushed", pushed.body == format!("push {number}"))?;
    }
    Ok(())
}

/// Calls end at the other side when this one leaves them.
async fn ends_one_more(
    client: &Client,
    leave: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let before = call(client, "ended", "").await?.body;
    leave.await?;
    let seen = async {
        while call(client, "ended", "").await?.body == before {}
        Ok::<_, Failure>(())
    };
    tokio::time::timeout(PATIENCE, seen).await?
}

async fn cancel(client: &Client) -> Result<(), Failure> {
    ends_one_more(client, async {
        let waiting = client.call(Message::request("wait", ""));
        let left = tokio::time::timeout(KEEP_ALIVE / 2, waiting).await;
        expect("a call that waits was answered", left.is_err())
    })
    .await
}

async fn deadline(client: &Client) -> Result<(), Failure> {
    ends_one_more(client, async {
        #[expect(clippy::disallowed_methods, reason = "a deadline is a time of day")]
        let at = SystemTime::now() + KEEP_ALIVE;
        let message = Message::request("wait", "").with_deadline(Timestamp::from(at));
        match client.call(message).await {
            Err(CallError::TimedOut(_)) => Ok(()),
            // The server was faster.
            Ok(reply) => expect("its error", reply.error == "context deadline exceeded"),
            Err(error) => Err(error.into()),
        }
    })
    .await
}

async fn upload(client: &Client) -> Result<(), Failure> {
    for fails in [false, true] {
        let mut all = text(PART_SIZE);
        let mut upload = client
            .upload(Message::request("upload", all.clone()))
            .await?;
        for number in 1..PARTS - 1 {
            let part = noise(PART_SIZE + number);
            all.extend_from_slice(&part);
            upload.send(Message::from_body(part)).await?;
        }
        if fails {
            upload.send(Message::from_body("fail")).await?;
        }
        let part = noise(PART_SIZE + PARTS);
        all.extend_from_slice(&part);
        let reply = upload.finish(Message::from_body(part)).await?;
        if fails {
            expect("the upload's error", reply.error == "this upload fails")?;
        } else {
            expect("the sum of the upload", reply.body == sum(&all))?;
        }
    }
    Ok(())
}

async fn download(client: &Client) -> Result<(), Failure> {
    let mut download = client.download(Message::request("download", "")).await?;
    let mut number = 0;
    while let Some(part) = download.next().await {
        expect(
            "a part of the download",
            part.body == text(PART_SIZE + number),
        )?;
        number += 1;
    }
    expect("all parts of the download", number == PARTS)?;
    expect("its reply", download.finish().await?.body == "done")
}

async fn bistream(client: &Client) -> Result<(), Failure> {
    let first = Message::request("bistream", noise(1));
    let (mut sender, mut receiver) = client.bistream(first).await?;
    let send = async {
        for number in 1..PARTS - 1 {
            let part = noise(PART_SIZE + number);
            sender.send(Message::from_body(part)).await?;
        }
        let last = noise(PART_SIZE + PARTS - 1);
        sender.finish(Message::from_body(last)).await?;
        Ok::<_, Failure>(())
    };
    let receive = async {
        let mut number = 0;
        while let Some(part) = receiver.next().await {
            let size = if number == 0 { 1 } else { PART_SIZE + number };
            expect("a part of the bistream", part.body == noise(size))?;
            number += 1;
        }
        expect("all parts of the bistream", number == PARTS)?;
        expect("its reply", receiver.finish().await?.body == "done")
    };
    let (sent, received) = tokio::join!(send, receive);
    sent.and(received)
}

/// The largest bodies there and back; one byte more is an error of that call alone.
async fn large(client: &Client, noisy: bool) -> Result<(), Failure> {
    let make = |size| if noisy { noise(size) } else { text(size) };
    for size in [67_106_000, 67_107_760] {
        let body = make(size);
        let expected = sum(&body);
        let reply = call(client, "sum", body).await?;
        expect("the sum of what was sent", reply.body == expected)?;
        let kind = if noisy { "noise" } else { "text" };
        let reply = call(client, "make", format!("{kind} {size}")).await?;
        expect("the sum of what came", sum(&reply.body) == expected)?;
    }
    match call(client, "sum", make(67_107_761)).await {
        Err(CallError::TooLarge(_)) => {}
        other => return Err(format!("one byte more: {other:?}").into()),
    }
    let reply = call(client, "echo", "still here").await?;
    expect("the call behind it", reply.body == "still here")
}

/// Says that it is connected, and waits until the other end is gone without a word.
#[expect(
    clippy::print_stdout,
    reason = "whoever takes the other end away waits for it"
)]
async fn gone(client: &Client) -> Result<(), Failure> {
    let reply = call(client, "echo", "here").await?;
    expect("the echo", reply.body == "here")?;
    println!("connected");
    let waiting = client.call_with_timeout(Message::request("wait", ""), None);
    match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(Err(CallError::Closed(_))) => Ok(()),
        Ok(other) => Err(format!("instead of the end came {other:?}").into()),
        Err(_) => Err("nobody has noticed that the other end is gone".into()),
    }
}

/// Says nothing for a while, and is still connected.
async fn idle(client: &Client, pause: Duration) -> Result<(), Failure> {
    for pause in [pause, Duration::ZERO] {
        let reply = call(client, "echo", "here").await?;
        expect("the echo", reply.body == "here")?;
        tokio::time::sleep(pause).await;
    }
    Ok(())
}
