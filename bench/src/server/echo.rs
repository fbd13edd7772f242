//! 64 bytes there and back.

use std::io::{Read as _, Write as _};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use towline::server::{SocketStream, TaskPerConnection, WorkerPool};

use super::{Peer, epoll::Poll};
use crate::role::say_ready;

pub(super) const CONNECTIONS: usize = 1000;
pub(super) const SIZE: usize = 64;

pub(super) async fn serve(peer: Peer) -> anyhow::Result<()> {
    match peer {
        Peer::Raw => tokio::task::spawn_blocking(epoll).await?,
        Peer::Tokio => tokio_tasks().await,
        Peer::Tasks => {
            let strategy = TaskPerConnection::new(|mut stream: SocketStream| async move {
                let mut bytes = [0; 1024];
                while let Ok(count @ 1..) = stream.read(&mut bytes).await {
                    if stream.write_all(&bytes[..count]).await.is_err() {
                        break;
                    }
                }
            });
            super::idle::run(strategy).await
        }
        pool => {
            let threads = usize::from(pool == Peer::Pool1) + 2 * usize::from(pool == Peer::Pool2);
            let strategy = WorkerPool::new(Echo).threads(threads).build()?;
            super::idle::run(strategy).await
        }
    }
}

/// Sends back what is read, without a copy of it.
struct Echo;

impl towline::server::ReadHandler for Echo {
    type State = ();

    async fn on_accept(&self, _: &towline::server::Socket) {}

    async fn on_read(&self, (): &mut (), socket: &towline::server::Socket, bytes: &[u8]) {
        // One that does not read its echoes loses them.
        socket.send_slice(bytes).ok();
    }
}

async fn tokio_tasks() -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    say_ready(listener.local_addr()?);
    loop {
        let (mut stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let mut bytes = [0; 1024];
            while let Ok(count @ 1..) = stream.read(&mut bytes).await {
                if stream.write_all(&bytes[..count]).await.is_err() {
                    break;
                }
            }
        });
    }
}

/// One thread that reads and writes whatever is ready.
fn epoll() -> anyhow::Result<()> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    rustix::net::listen(&listener, 4096)?;
    listener.set_nonblocking(true)?;
    say_ready(listener.local_addr()?);
    let mut poll = Poll::new()?;
    poll.add(&listener, 0)?;
    let mut streams = vec![None];
    let mut bytes = [0; 1024];
    loop {
        for number in poll.wait()? {
            if number == 0 {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    stream.set_nonblocking(true)?;
                    poll.add(&stream, streams.len())?;
                    streams.push(Some(stream));
                }
                continue;
            }
            let Some(stream) = &mut streams[number] else {
                continue;
            };
            let moved = match stream.read(&mut bytes) {
                Ok(count @ 1..) => stream.write_all(&bytes[..count]).is_ok(),
                _ => false,
            };
            if !moved {
                streams[number] = None;
            }
        }
    }
}
