//! The crate `muxado`.

use std::sync::Arc;

use muxado::{Accept as _, MuxadoAccept, MuxadoOpen, OpenClose as _, Session as _, SessionBuilder};
use tokio::{net::TcpStream, sync::Mutex};

use super::{MOST, Role};
use crate::mux::stream::{Io, Mux};

#[derive(Clone)]
pub(crate) struct Muxado {
    open: MuxadoOpen,
    accept: Arc<Mutex<MuxadoAccept>>,
}

pub(crate) fn start(io: TcpStream, role: Role) -> Muxado {
    let builder = SessionBuilder::new(io)
        .stream_limit(MOST)
        .accept_queue_size(1024);
    let builder = match role {
        Role::Client => builder.client(),
        Role::Server => builder.server(),
    };
    let (open, accept) = builder.start().split();
    Muxado {
        open,
        accept: Arc::new(Mutex::new(accept)),
    }
}

impl Mux for Muxado {
    type Stream = Io<muxado::Stream>;

    async fn open(&self) -> anyhow::Result<Self::Stream> {
        let mut open = self.open.clone();
        Ok(Io::new(open.open().await?))
    }

    async fn accept(&self) -> anyhow::Result<Option<Self::Stream>> {
        Ok(self.accept.lock().await.accept().await.map(Io::new))
    }
}
