//! Connections that have sent a line, and wait.

use anyhow::Context as _;
use bytes::BytesMut;
use towline::codec::framing::Framing;
use towline::server::{
    PacketHandler, Packets, Server, Socket, Strategy, TaskPerConnection, WorkerPool,
};
use towline::transport::{ListenOptions, Listener};

use super::Peer;
use crate::role::say_ready;

pub(super) const CONNECTIONS: usize = 10_000;
pub(super) const LINE: &[u8] = b"hello, are you there?\n";
/// What a line may have.
const MAX: usize = 4096;

pub(super) async fn serve(peer: Peer) -> anyhow::Result<()> {
    let lines = Framing::separator("\n")?;
    let packets = || Packets::new(lines.clone(), MAX, Echo(lines.clone()));
    match peer {
        Peer::Tokio => tokio_tasks().await,
        Peer::Tasks => run(TaskPerConnection::reading(packets())).await,
        pool => {
            let threads = usize::from(pool == Peer::Pool1);
            run(WorkerPool::new(packets()).threads(threads).build()?).await
        }
    }
}

/// A server of towline's, for as long as the process lives.
pub(super) async fn run(strategy: impl Strategy) -> anyhow::Result<()> {
    let listener = Listener::bind(&"tcp://127.0.0.1:0".parse()?, &ListenOptions::new()).await?;
    let server = Server::builder()
        .max_connections(20_000)
        .start([listener], strategy)?;
    say_ready(server.handle().local_addr().context("no address")?);
    server.wait().await?;
    Ok(())
}

struct Echo(Framing);

impl PacketHandler for Echo {
    type State = ();

    async fn on_accept(&self, _: &Socket) {}

    async fn on_packet(&self, (): &mut (), socket: &Socket, packet: &[u8]) {
        socket.send_packet(&self.0, packet).ok();
    }
}

/// As frugal as a task can be by hand: no buffer while it waits.
async fn tokio_tasks() -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    say_ready(listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let mut partial = BytesMut::new();
            loop {
                if stream.readable().await.is_err() || !read(&stream, &mut partial) {
                    return;
                }
                while let Some(end) = partial.iter().position(|byte| *byte == b'\n') {
                    let line = partial.split_to(end + 1);
                    if stream.try_write(&line).is_err() {
                        return;
                    }
                }
                if partial.len() > MAX {
                    return;
                }
                if partial.is_empty() {
                    partial = BytesMut::new();
                }
            }
        });
    }
}

/// With a buffer that is gone before the next `.await`.
fn read(stream: &tokio::net::TcpStream, partial: &mut BytesMut) -> bool {
    let mut bytes = [0; 4096];
    match stream.try_read(&mut bytes) {
        Ok(0) => false,
        Ok(count) => {
            partial.extend_from_slice(&bytes[..count]);
            true
        }
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    }
}
