//! The crate `muxado` with typed streams and heartbeats, its stand-in for a ping.

use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use muxado::{
    Error,
    heartbeat::{Heartbeat, HeartbeatConfig, HeartbeatCtl},
    typed::{StreamType, Typed, TypedAccept, TypedOpenClose, TypedSession as _, TypedStream},
};
use tokio::{net::TcpStream, sync::Mutex};

use super::{Wrapped, muxado::session};
use crate::session::{Role, Session, Stream};

struct Beating<O, A> {
    open: Mutex<O>,
    accept: Mutex<A>,
    control: HeartbeatCtl,
}

pub(crate) async fn start(io: TcpStream, role: Role) -> Result<impl Session> {
    let config = HeartbeatConfig {
        interval: Duration::from_millis(20),
        ..HeartbeatConfig::default()
    };
    let (heartbeat, control) = Heartbeat::start(Typed::new(session(io, role)), config).await?;
    let (open, accept) = heartbeat.split_typed();
    Ok(Beating {
        open: Mutex::new(open),
        accept: Mutex::new(accept),
        control,
    })
}

#[async_trait]
impl<O: TypedOpenClose + Send, A: TypedAccept + Send> Session for Beating<O, A> {
    async fn open(&self) -> Result<Box<dyn Stream>> {
        let opened = self
            .open
            .lock()
            .await
            .open_typed(StreamType::clamp(1))
            .await?;
        Ok(Box::new(Wrapped(opened)))
    }

    async fn accept(&self) -> Result<Box<dyn Stream>> {
        let accepted = self.accept.lock().await.accept_typed().await?;
        Ok(Box::new(Wrapped(accepted)))
    }

    async fn ping(&self) -> Result<()> {
        self.control.beat().await?;
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        let mut open = self.open.lock().await;
        // It may have ended before.
        open.close(Error::None, "no error".to_owned()).await.ok();
        Ok(())
    }
}

#[async_trait]
impl Stream for Wrapped<TypedStream> {}
