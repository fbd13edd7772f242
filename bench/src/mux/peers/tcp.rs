//! A TCP connection for each stream.

use std::{net::SocketAddr, sync::Arc};

use tokio::net::{TcpListener, TcpStream};

use crate::mux::stream::{Io, Mux};

#[derive(Clone)]
pub(crate) enum Each {
    Dialling(SocketAddr),
    Listening(Arc<TcpListener>),
}

impl Mux for Each {
    type Stream = Io<TcpStream>;

    async fn open(&self) -> anyhow::Result<Self::Stream> {
        let Self::Dialling(address) = self else {
            anyhow::bail!("a listener opens nothing");
        };
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Io::new(stream))
    }

    async fn accept(&self) -> anyhow::Result<Option<Self::Stream>> {
        let Self::Listening(listener) = self else {
            anyhow::bail!("a dialler accepts nothing");
        };
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok(Some(Io::new(stream)))
    }
}
