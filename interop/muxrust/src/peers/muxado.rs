//! The crate `muxado`.

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use muxado::{
    Accept as _, Error, MuxadoAccept, MuxadoOpen, MuxadoSession, OpenClose as _, Session as _,
    SessionBuilder,
};
use tokio::{net::TcpStream, sync::Mutex};

use super::Wrapped;
use crate::session::{Role, Session, Stream};

struct Muxado {
    open: Mutex<MuxadoOpen>,
    accept: Mutex<MuxadoAccept>,
}

pub(super) fn session(io: TcpStream, role: Role) -> MuxadoSession {
    let builder = SessionBuilder::new(io);
    match role {
        Role::Client => builder.client(),
        Role::Server => builder.server(),
    }
    .start()
}

pub(crate) fn start(io: TcpStream, role: Role) -> impl Session {
    let (open, accept) = session(io, role).split();
    Muxado {
        open: Mutex::new(open),
        accept: Mutex::new(accept),
    }
}

#[async_trait]
impl Session for Muxado {
    async fn open(&self) -> Result<Box<dyn Stream>> {
        let mut open = self.open.lock().await.clone();
        Ok(Box::new(Wrapped(Box::new(open.open().await?))))
    }

    async fn accept(&self) -> Result<Box<dyn Stream>> {
        let stream = self.accept.lock().await.accept().await;
        Ok(Box::new(Wrapped(Box::new(stream.context("closed")?))))
    }

    /// What the crate calls closing sends a go-away and leaves the connection open.
    async fn go_away(&self) -> Result<()> {
        let mut open = self.open.lock().await.clone();
        Ok(open.close(Error::None, "going away".to_owned()).await?)
    }

    async fn close(&self) -> Result<()> {
        let mut open = self.open.lock().await.clone();
        // It may have ended before.
        open.close(Error::None, "no error".to_owned()).await.ok();
        Ok(())
    }
}

#[async_trait]
impl Stream for Wrapped<Box<muxado::Stream>> {}
