//! Handshakes, so many at a time.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::Semaphore;
use towline_transport::{AcceptError, Connection, Established, Io, Remote};

use crate::accept::Handshake;

/// A connection that shakes hands when it has begun to and it is its turn.
pub(crate) struct InTurn<I> {
    incoming: I,
    turns: Option<Arc<Semaphore>>,
}

impl<I: Handshake> InTurn<I> {
    pub(crate) fn new(incoming: I, turns: Option<Arc<Semaphore>>) -> Self {
        Self { incoming, turns }
    }
}

impl<I: Handshake> Handshake for InTurn<I> {
    fn remote(&self) -> String {
        self.incoming.remote()
    }

    fn address(&self) -> Option<IpAddr> {
        self.incoming.address()
    }

    fn raw(&mut self) -> Option<&mut dyn Io> {
        self.incoming.raw()
    }

    fn set_remote(&mut self, remote: Remote) {
        self.incoming.set_remote(remote);
    }

    fn is_immediate(&self) -> bool {
        self.incoming.is_immediate()
    }

    async fn handshake(mut self) -> Result<Connection, AcceptError> {
        let Some(turns) = self.turns else {
            return self.incoming.handshake().await;
        };
        self.incoming.begun().await?;
        // Never closed, so there will be one: those who have theirs have a time limit.
        let _turn = turns.acquire().await.ok();
        self.incoming.handshake().await
    }

    async fn establish(mut self) -> Result<Established, AcceptError> {
        let Some(turns) = self.turns else {
            return self.incoming.establish().await;
        };
        self.incoming.begun().await?;
        let _turn = turns.acquire().await.ok();
        self.incoming.establish().await
    }
}
