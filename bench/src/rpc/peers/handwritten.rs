//! What a good programmer writes by hand for one service: a table of those who wait, a task that reads, and a task that
//! writes what the callers hand to it. It lets everybody who is ready add to a batch before it writes.
//!
//! Its server is that of raw: it answers all it has read with one system call.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use anyhow::{Context as _, ensure};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot},
};

use super::{Caller, DIFFERS};

/// More than are ever in flight.
const QUEUE: usize = 4096;
/// The number of a call, before its body.
const ID: usize = 8;

#[derive(Clone)]
pub(in crate::rpc) struct Handwritten {
    calls: Arc<Calls>,
    queue: mpsc::Sender<(u64, Bytes)>,
}

#[derive(Default)]
struct Calls {
    last: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Bytes>>>,
}

pub(in crate::rpc) async fn connect(address: String) -> anyhow::Result<Handwritten> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (reading, writing) = stream.into_split();
    let (queue, queued) = mpsc::channel(QUEUE);
    let calls = Arc::new(Calls::default());
    // They end with the connection, and the process with them.
    tokio::spawn(write(writing, queued));
    tokio::spawn(read(reading, Arc::clone(&calls)));
    Ok(Handwritten { calls, queue })
}

impl Caller for Handwritten {
    async fn echo(&self, body: &Bytes) -> anyhow::Result<()> {
        let (answer, answered) = oneshot::channel();
        let id = self.calls.last.fetch_add(1, Relaxed);
        self.calls.waiting().insert(id, answer);
        self.queue.send((id, body.clone())).await?;
        let reply = answered.await.context("the connection has ended")?;
        ensure!(reply == *body, DIFFERS);
        Ok(())
    }
}

impl Calls {
    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<Bytes>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn write(
    mut stream: OwnedWriteHalf,
    mut queued: mpsc::Receiver<(u64, Bytes)>,
) -> std::io::Result<()> {
    let mut batch = BytesMut::new();
    while let Some(first) = queued.recv().await {
        tokio::task::yield_now().await;
        let mut next = Some(first);
        while let Some((id, body)) = next {
            batch.put_u32((ID + body.len()) as u32);
            batch.put_u64(id);
            batch.put_slice(&body);
            next = queued.try_recv().ok();
        }
        stream.write_all(&batch).await?;
        batch.clear();
    }
    Ok(())
}

async fn read(mut stream: OwnedReadHalf, calls: Arc<Calls>) -> std::io::Result<()> {
    let mut input = BytesMut::new();
    loop {
        input.reserve(64 << 10);
        if stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
        while let Some((prefix, rest)) = input.split_first_chunk::<4>() {
            let len = u32::from_be_bytes(*prefix) as usize;
            if rest.len() < len || len < ID {
                break;
            }
            input.advance(4);
            let mut frame = input.split_to(len).freeze();
            let id = frame.get_u64();
            let waiting = calls.waiting().remove(&id);
            if let Some(answer) = waiting {
                drop(answer.send(frame));
            }
        }
    }
}
