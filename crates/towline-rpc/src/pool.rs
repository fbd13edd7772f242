//! A client that stays connected: calls over several connections, to one address or several, which are made again when they
//! are lost.

mod builder;
mod calls;
mod connecting;
mod events;
mod table;

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::join_all;
use tokio::task::JoinSet;

use self::table::Table;
pub use self::{
    builder::{PoolBuilder, PoolError},
    events::{Cause, PoolEvent, PoolEvents},
    table::{NoConnection, PooledConnection},
};
use crate::error::CallError;

/// Calls over connections that are made again when they are lost: a handle that is cheap to clone. It has the calls of a
/// [`Client`](crate::Client), and typed clients are made of it as of one.
///
/// * **Connecting** goes on in the background from the start, by a [`ReconnectPolicy`](crate::proto::ReconnectPolicy). What
///   time cannot mend is not tried again: a refused or unacceptable certificate, settings that can never work, another
///   protocol or version. So is another pre-shared key; of an original, which cannot prove it, that is believed when it has
///   hung up three times in a row without a word. A pool all of whose connections have ended that way fails every call at once.
/// * **A call** goes over the connection with the least in flight. While there is none it waits, as long as it has time;
///   at most [`max_waiting`](PoolBuilder::max_waiting) calls do.
/// * **A call that a lost connection leaves without an answer** fails with [`CallError::Closed`], as nobody knows how far it
///   got; it is made again only if it is [marked](crate::client::CallOptions::idempotent). One that was not sent at all, or that the
///   server refused without beginning it ([`CallError::Overloaded`]), is made again in any case. All within the time and
///   the [attempts](crate::client::CallOptions::attempts) of the call.
/// * Streams, one-way messages and listeners belong to the connection on which they began, and end with it.
///
/// Dropping the last handle closes the connections once what was queued is written; calls that run hold one.
///
/// ```
/// use towline_rpc::{Context, Message, Pool, Server, server::ListenConfig};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::builder()
///     .call("echo", |_: Context, request: Message| async move {
///         Ok::<_, std::convert::Infallible>(Message::from_body(request.body))
///     })
///     .build();
/// let listening = server.listen("tcp://127.0.0.1:0", ListenConfig::new()).await?;
///
/// let pool = Pool::builder()
///     .address(listening.endpoint().to_string())
///     .connections(4)
///     .build()?;
/// assert_eq!(pool.call(Message::request("echo", "hi")).await?.body, "hi");
/// pool.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Pool {
    inner: Arc<Inner>,
}

/// What dies with the last handle.
#[derive(Debug)]
struct Inner {
    table: Arc<Table>,
    settings: calls::Settings,
    /// They connect again; dropped, they stop.
    connecting: Mutex<JoinSet<()>>,
}

impl Pool {
    /// Settings of a pool.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::default()
    }

    /// The connections as they are now.
    pub fn connections(&self) -> Vec<PooledConnection> {
        self.inner.table.list()
    }

    /// What becomes of the connections, from now on. At most 1,024 events wait; then the oldest are dropped and counted.
    pub fn events(&self) -> PoolEvents {
        self.inner.table.events()
    }

    /// Calls that wait for a connection.
    pub fn waiting(&self) -> usize {
        self.inner.table.waiting()
    }

    /// Waits until there is a connection. Nothing depends on it: a call waits by itself.
    ///
    /// # Errors
    ///
    /// [`CallError::NoConnection`] if all connections were given up, [`CallError::Closed`] if the pool was closed.
    ///
    /// # Cancel safety
    ///
    /// Safe: dropping it changes nothing.
    pub async fn ready(&self) -> Result<(), CallError> {
        self.inner.table.ready().await
    }

    /// Ends all connections as [`Client::close`](crate::Client::close) does, each within its grace time, and connects no
    /// more. For all handles; calls that wait or come later fail with [`CallError::Closed`].
    ///
    /// # Cancel safety
    ///
    /// Dropped, the closing goes on.
    pub async fn close(&self) {
        let clients = self.inner.table.close();
        // A lock that only closing takes.
        let connecting = std::mem::take(
            &mut *self
                .inner
                .connecting
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        drop(connecting);
        join_all(clients.iter().map(|client| client.close())).await;
    }
}
