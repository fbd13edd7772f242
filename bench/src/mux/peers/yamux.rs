//! The crate `yamux`: somebody has to poll its connection, here a task.

use std::{collections::VecDeque, future::poll_fn, sync::Arc, task::Poll};

use tokio::{
    net::TcpStream,
    sync::{Mutex, mpsc, oneshot},
};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt as _, TokioAsyncReadCompatExt as _};
use yamux::{Config, Connection, ConnectionError, Mode};

use super::{MOST, Role};
use crate::mux::stream::{Io, Mux};

type Opened = Result<yamux::Stream, ConnectionError>;

#[derive(Clone)]
pub(crate) struct Yamux {
    opening: mpsc::Sender<oneshot::Sender<Opened>>,
    inbound: Arc<Mutex<mpsc::Receiver<yamux::Stream>>>,
}

pub(crate) fn start(io: TcpStream, role: Role) -> Yamux {
    let mut config = Config::default();
    // Each stream may take its first window from this.
    config.set_max_connection_receive_window(Some(100_000 * (256 << 10)));
    config.set_max_num_streams(100_000);
    let mode = match role {
        Role::Client => Mode::Client,
        Role::Server => Mode::Server,
    };
    let (opening, orders) = mpsc::channel(1024);
    let (found, inbound) = mpsc::channel(MOST);
    tokio::spawn(drive(
        Connection::new(io.compat(), config, mode),
        orders,
        found,
    ));
    Yamux {
        opening,
        inbound: Arc::new(Mutex::new(inbound)),
    }
}

async fn drive(
    mut connection: Connection<Compat<TcpStream>>,
    mut orders: mpsc::Receiver<oneshot::Sender<Opened>>,
    found: mpsc::Sender<yamux::Stream>,
) {
    let mut waiting: VecDeque<oneshot::Sender<Opened>> = VecDeque::new();
    poll_fn(|cx| {
        loop {
            while let Poll::Ready(order) = orders.poll_recv(cx) {
                match order {
                    Some(reply) => waiting.push_back(reply),
                    None => break,
                }
            }
            if !waiting.is_empty()
                && let Poll::Ready(opened) = connection.poll_new_outbound(cx)
            {
                if let Some(reply) = waiting.pop_front() {
                    drop(reply.send(opened));
                }
                continue;
            }
            match connection.poll_next_inbound(cx) {
                Poll::Ready(Some(Ok(stream))) => drop(found.try_send(stream)),
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
}

impl Mux for Yamux {
    type Stream = Io<Compat<yamux::Stream>>;

    async fn open(&self) -> anyhow::Result<Self::Stream> {
        let (reply, opened) = oneshot::channel();
        self.opening.send(reply).await?;
        Ok(Io::new(opened.await??.compat()))
    }

    async fn accept(&self) -> anyhow::Result<Option<Self::Stream>> {
        let stream = self.inbound.lock().await.recv().await;
        Ok(stream.map(|stream| Io::new(stream.compat())))
    }
}
