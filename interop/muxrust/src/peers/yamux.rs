//! The crate `yamux`: somebody has to poll its connection, here a task.

use std::{collections::VecDeque, future::poll_fn, task::Poll};

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use tokio::{
    net::TcpStream,
    sync::{Mutex, mpsc, oneshot},
};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt as _, TokioAsyncReadCompatExt as _};
use yamux::{Config, Connection, ConnectionError, Mode};

use super::Wrapped;
use crate::session::{Role, Session, Stream};

enum Command {
    Open(oneshot::Sender<Result<yamux::Stream, ConnectionError>>),
    Close(oneshot::Sender<()>),
}

struct Yamux {
    commands: mpsc::Sender<Command>,
    inbound: Mutex<mpsc::Receiver<Result<yamux::Stream, ConnectionError>>>,
}

pub(crate) fn start(io: TcpStream, role: Role) -> impl Session {
    let mode = match role {
        Role::Client => Mode::Client,
        Role::Server => Mode::Server,
    };
    let connection = Connection::new(io.compat(), Config::default(), mode);
    let (commands, orders) = mpsc::channel(64);
    let (found, inbound) = mpsc::channel(256);
    tokio::spawn(drive(connection, orders, found));
    Yamux {
        commands,
        inbound: Mutex::new(inbound),
    }
}

async fn drive(
    mut connection: Connection<Compat<TcpStream>>,
    mut orders: mpsc::Receiver<Command>,
    found: mpsc::Sender<Result<yamux::Stream, ConnectionError>>,
) {
    let mut opening = VecDeque::new();
    let mut closing: Option<oneshot::Sender<()>> = None;
    let mut given_up = false;
    poll_fn(|cx| {
        while !given_up && let Poll::Ready(order) = orders.poll_recv(cx) {
            match order {
                Some(Command::Open(reply)) => opening.push_back(reply),
                Some(Command::Close(reply)) => closing = Some(reply),
                None => given_up = true,
            }
        }
        if given_up || closing.is_some() {
            return connection.poll_close(cx).map(drop);
        }
        loop {
            if !opening.is_empty()
                && let Poll::Ready(opened) = connection.poll_new_outbound(cx)
            {
                if let Some(reply) = opening.pop_front() {
                    // Whoever asked may have gone.
                    reply.send(opened).ok();
                }
                continue;
            }
            match connection.poll_next_inbound(cx) {
                Poll::Ready(Some(stream)) => {
                    // More than wait here are refused by being dropped.
                    found.try_send(stream).ok();
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
    if let Some(reply) = closing {
        reply.send(()).ok();
    }
}

#[async_trait]
impl Session for Yamux {
    async fn open(&self) -> Result<Box<dyn Stream>> {
        let (reply, opened) = oneshot::channel();
        self.commands.send(Command::Open(reply)).await?;
        Ok(Box::new(Wrapped(Box::new(opened.await??.compat()))))
    }

    async fn accept(&self) -> Result<Box<dyn Stream>> {
        let stream = self.inbound.lock().await.recv().await;
        Ok(Box::new(Wrapped(Box::new(
            stream.context("closed")??.compat(),
        ))))
    }

    async fn close(&self) -> Result<()> {
        let (reply, closed) = oneshot::channel();
        // It may have ended before.
        if self.commands.send(Command::Close(reply)).await.is_ok() {
            closed.await.ok();
        }
        Ok(())
    }
}

#[async_trait]
impl Stream for Wrapped<Box<Compat<yamux::Stream>>> {
    /// A stream that is dropped open is reset.
    async fn reset(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
