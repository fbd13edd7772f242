//! Keeping one connection of a pool.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use towline_transport::Connection;

use super::{events::Cause, table::Table};
use crate::{
    client::{Client, ClientBuilder},
    driver,
    error::ConnectError,
    proto::Backoff,
};

/// How an address becomes a connection.
pub(super) type Dial = dyn Fn(Arc<str>) -> Dialling + Send + Sync;

pub(super) type Dialling = Pin<Box<dyn Future<Output = Result<Connection, ConnectError>> + Send>>;

/// Keeps one connection of a pool.
pub(super) struct Connecting {
    pub(super) table: Arc<Table>,
    /// Which.
    pub(super) connection: usize,
    /// The one to try first is in front.
    pub(super) addresses: Vec<Arc<str>>,
    pub(super) dial: Arc<Dial>,
    pub(super) client: ClientBuilder,
    pub(super) backoff: Backoff,
    /// How often in a row the other end of a pre-shared-key layer has hung up without a word.
    pub(super) hung_up: u32,
}

/// An original with another pre-shared key hangs up without a word; so does one that is stopping, or has no room. After so
/// many times in a row it is taken to be the key. Another towline proves which it is (docs/wire R21).
const HUNG_UP: u32 = 3;

impl Connecting {
    /// Connects, and connects again whenever the connection is lost, until there is no use in it.
    pub(super) async fn run(mut self) {
        while let Some(address) = self.addresses.first().cloned() {
            let (cause, is_permanent, wait) = match (self.dial)(Arc::clone(&address)).await {
                Ok(connection) => {
                    let client = self
                        .client
                        .clone()
                        .seed(self.backoff.seed())
                        .over(connection);
                    self.backoff.connected(driver::now().instant);
                    if !self.table.connected(self.connection, &address, &client) {
                        return client.close().await;
                    }
                    self.watch(client).await
                }
                Err(error) => {
                    let has_hung_up = matches!(
                        error,
                        ConnectError::Transport(towline_transport::ConnectError::Sealing { .. })
                    );
                    let is_permanent = self.is_another_key(has_hung_up) || error.is_permanent();
                    let wait = self.backoff.failed();
                    (Cause::Connect(Arc::new(error)), is_permanent, wait)
                }
            };
            // The next attempt is for another address, if there is one.
            self.addresses.rotate_left(1);
            if is_permanent {
                tracing::warn!(%address, %cause, "will not connect there again");
                self.addresses.retain(|other| *other != address);
            }
            let wait = wait.filter(|_| !self.addresses.is_empty());
            self.table.gone(self.connection, &address, cause, wait);
            let Some(wait) = wait else { return };
            tokio::time::sleep(wait).await;
        }
    }

    /// Counts what another pre-shared key looks like.
    fn is_another_key(&mut self, has_hung_up: bool) -> bool {
        self.hung_up = if has_hung_up { self.hung_up + 1 } else { 0 };
        self.hung_up >= HUNG_UP
    }

    /// Waits for the end of a connection. The pool's own handle must not keep it.
    async fn watch(&mut self, client: Client) -> (Cause, bool, Option<Duration>) {
        let reason = tokio::select! {
            biased;
            reason = client.closed() => reason,
            () = client.server_leaves() => {
                // docs/wire X9: what runs keeps the connection, what comes later gets another.
                let wait = self.backoff.lost(driver::now().instant);
                return (Cause::ServerLeaves, false, wait);
            }
        };
        let now = driver::now().instant;
        // What spoke our language for a while is no other protocol.
        let is_new = !self.backoff.is_healthy(now);
        let is_permanent = (is_new && reason.is_permanent())
            || self.is_another_key(is_new && reason.is_unanswered());
        (Cause::Ended(reason), is_permanent, self.backoff.lost(now))
    }
}
