//! One message for everybody, some of whom read nothing.

use std::{
    io::ErrorKind,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp::OwnedWriteHalf},
    task::JoinSet,
    time::timeout,
};
use towline::server::{Broadcaster, Pushed, SlowConsumer, Socket, SocketStream, TaskPerConnection};

use super::Peer;
use crate::role::say_ready;

pub(super) const TARGETS: usize = 10_000;
pub(super) const STALLED: usize = 100;
pub(super) const SIZE: usize = 1024;
pub(super) const ROUNDS: u8 = 16;
/// What a connection says first: who commands, who reads, who does not.
pub(super) const CONTROL: u8 = b'C';
pub(super) const TARGET: u8 = b'T';
pub(super) const TARGET_STALLED: u8 = b'S';
/// Commands: fill those who do not read until the system takes no more; send the next message.
pub(super) const FILL: u8 = b'F';
pub(super) const SEND: u8 = b'B';
/// What a stalled one may have waiting, in bytes.
const MOST_WAITING: usize = 1 << 20;

pub(super) async fn serve(peer: Peer) -> anyhow::Result<()> {
    match peer {
        Peer::Raw => join_set().await,
        _ => towline().await,
    }
}

async fn towline() -> anyhow::Result<()> {
    type Enrolled = Arc<Mutex<(Vec<Socket>, Vec<Socket>)>>;
    let enrolled = Enrolled::default();
    let news = Broadcaster::new()
        .slow_consumer(SlowConsumer::DropNewest)
        .max_queued(MOST_WAITING);
    let strategy = TaskPerConnection::new(move |mut stream: SocketStream| {
        let (enrolled, news) = (Arc::clone(&enrolled), news.clone());
        async move {
            let Ok(role) = stream.read_u8().await else {
                return;
            };
            {
                let mut enrolled = enrolled.lock().unwrap_or_else(PoisonError::into_inner);
                let (all, stalled) = &mut *enrolled;
                match role {
                    TARGET => all.push(stream.socket().clone()),
                    TARGET_STALLED => {
                        all.push(stream.socket().clone());
                        stalled.push(stream.socket().clone());
                    }
                    _ => {}
                }
            }
            stream.send(vec![role]).ok();
            let mut round = 0;
            while let Ok(command) = stream.read_u8().await {
                let (all, stalled) = enrolled
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone();
                if command == FILL {
                    for socket in stalled {
                        while let Ok(Pushed::Written) = socket.send(vec![0; 16 << 10]) {}
                    }
                    stream.send(vec![command]).ok();
                } else {
                    round += 1;
                    news.broadcast(vec![round; SIZE], all).await;
                }
            }
        }
    });
    super::idle::run(strategy).await
}

type Half = Arc<tokio::sync::Mutex<OwnedWriteHalf>>;
/// All of them, and those that do not read.
type Enrolled = Arc<Mutex<(Vec<Half>, Vec<Half>)>>;

async fn join_set() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    rustix::net::listen(&listener, 4096)?;
    say_ready(listener.local_addr()?);
    let enrolled = Enrolled::default();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let served = enrolled_half(stream, Arc::clone(&enrolled));
        tokio::spawn(async move {
            if let Err(error) = served.await {
                eprintln!("{error}");
            }
        });
    }
}

async fn enrolled_half(stream: TcpStream, enrolled: Enrolled) -> std::io::Result<()> {
    let (mut reader, mut writer) = stream.into_split();
    let role = reader.read_u8().await?;
    writer.write_u8(role).await?;
    let writer: Half = Arc::new(tokio::sync::Mutex::new(writer));
    {
        let mut enrolled = enrolled.lock().unwrap_or_else(PoisonError::into_inner);
        if role != CONTROL {
            enrolled.0.push(Arc::clone(&writer));
        }
        if role == TARGET_STALLED {
            enrolled.1.push(Arc::clone(&writer));
        }
    }
    let mut round = 0;
    let mut slow = JoinSet::new();
    while let Ok(command) = reader.read_u8().await {
        let (all, stalled) = enrolled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if command == FILL {
            for half in stalled {
                let half = half.lock().await;
                fill(&half);
            }
            writer.lock().await.write_u8(command).await?;
            continue;
        }
        round += 1;
        let message = Bytes::from(vec![round; SIZE]);
        for half in all {
            let message = message.clone();
            slow.spawn(async move {
                let written = timeout(Duration::from_secs(10), async {
                    half.lock().await.write_all(&message).await
                });
                written.await.is_ok()
            });
        }
        // Those that are done; the others go on.
        while slow.try_join_next().is_some() {}
    }
    Ok(())
}

fn fill(half: &OwnedWriteHalf) {
    loop {
        match half.try_write(&[0; 16 << 10]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        }
    }
}
