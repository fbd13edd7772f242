//! What the servers do.

use std::future::Future;

use bytes::Bytes;
use futures_util::FutureExt as _;

use super::{
    Load,
    stream::{Mux, Stream},
};

/// Zeros to answer with.
static ANSWER: [u8; 64 << 10] = [0x5a; 64 << 10];

/// Serves every stream of one session, to the client's end, however it ends.
pub(super) async fn run<M: Mux>(mux: M, load: Load, streams: usize) -> anyhow::Result<()> {
    let mut number = 0;
    while let Ok(Some(stream)) = mux.accept().await {
        let at = number;
        number += 1;
        // Each a task of its own type: one for all would be as large as the largest.
        match load {
            Load::Bulk | Load::BulkOneThread | Load::Many => spawn(load, swallow(stream)),
            Load::Interactive if at == 0 => spawn(load, swallow(stream)),
            // The last one is answered.
            Load::Idle if at <= streams => spawn(load, rest(stream)),
            _ => spawn(load, echo(stream)),
        }
    }
    Ok(())
}

fn spawn(load: Load, serving: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
    // Not in a future of our own, which would hold it twice.
    tokio::spawn(serving.map(move |served| {
        // A client that has measured leaves its full stream where it is.
        if let Err(error) = served
            && load != Load::Interactive
        {
            eprintln!("a stream failed: {error:#}");
        }
    }));
}

/// Reads to the end, then answers with one byte.
async fn swallow(mut stream: impl Stream) -> anyhow::Result<()> {
    while stream.receive().await? > 0 {}
    stream.send(Bytes::from_static(&ANSWER[..1])).await?;
    stream.finish().await
}

async fn echo(mut stream: impl Stream) -> anyhow::Result<()> {
    loop {
        match stream.receive().await? {
            0 => return stream.finish().await,
            count => stream.send(Bytes::from_static(&ANSWER[..count])).await?,
        }
    }
}

/// Waits with a buffer of its own, as a server of messages does.
#[expect(
    clippy::manual_async_fn,
    reason = "an async function's future would hold the stream twice"
)]
fn rest(mut stream: impl Stream) -> impl Future<Output = anyhow::Result<()>> + Send + 'static {
    // Not an async function, which would hold the stream twice.
    async move {
        let mut buffer = [0; 64];
        while stream.receive_into(&mut buffer).await? > 0 {}
        stream.finish().await
    }
}
