//! The crate `tokio-yamux`: its session is a stream of streams, which a task reads.

use std::sync::Arc;

use futures_util::StreamExt as _;
use tokio::{
    net::TcpStream,
    sync::{Mutex, mpsc},
};
use tokio_yamux::{Config, Control, Session, StreamHandle};

use super::{MOST, Role};
use crate::mux::stream::{Io, Mux};

#[derive(Clone)]
pub(crate) struct TokioYamux {
    control: Control,
    inbound: Arc<Mutex<mpsc::Receiver<StreamHandle>>>,
}

pub(crate) fn start(io: TcpStream, role: Role) -> TokioYamux {
    let config = Config::default();
    let mut session = match role {
        Role::Client => Session::new_client(io, config),
        Role::Server => Session::new_server(io, config),
    };
    let control = session.control();
    let (found, inbound) = mpsc::channel(MOST);
    tokio::spawn(async move {
        while let Some(Ok(stream)) = session.next().await {
            drop(found.try_send(stream));
        }
    });
    TokioYamux {
        control,
        inbound: Arc::new(Mutex::new(inbound)),
    }
}

impl Mux for TokioYamux {
    type Stream = Io<StreamHandle, true>;

    async fn open(&self) -> anyhow::Result<Self::Stream> {
        let mut control = self.control.clone();
        Ok(Io::new(control.open_stream().await?))
    }

    async fn accept(&self) -> anyhow::Result<Option<Self::Stream>> {
        Ok(self.inbound.lock().await.recv().await.map(Io::new))
    }
}
