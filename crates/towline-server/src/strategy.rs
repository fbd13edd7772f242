//! Who serves a connection, and where.

mod desks;
mod per_connection;
mod permits;
mod pool;
mod reading;
mod shard;
mod workers;

use crate::metrics::ServerMetrics;
use crate::socket::SocketStream;

pub use per_connection::TaskPerConnection;
pub use pool::{PoolConfigError, WorkerPool};

/// How accepted connections are served. [`TaskPerConnection`] suits most servers, [`WorkerPool`] those
/// with very many connections of which few speak at a time; your own may do anything.
///
/// ```
/// use towline_server::{SocketStream, Strategy};
///
/// /// Tells everybody the same, and hangs up.
/// struct Motd;
///
/// impl Strategy for Motd {
///     fn on_accept(&self, stream: SocketStream) {
///         tokio::spawn(stream.run(|stream| async move {
///             stream.send("come back tomorrow\n").ok();
///         }));
///     }
/// }
/// ```
pub trait Strategy: Send + Sync + 'static {
    /// Called once, before the first connection is accepted.
    fn on_start(&self) {}

    /// Takes over a connection. Its stream is all there is: who drops it ends the connection, who wants
    /// what the built-in strategies do spawns [`SocketStream::run`].
    ///
    /// Runs on a thread where it may block, and a panic ends this connection alone; the server goes on
    /// accepting meanwhile.
    fn on_accept(&self, stream: SocketStream);

    /// Called with every snapshot of the server's metrics, which it may amend.
    fn on_metrics(&self, _metrics: &mut ServerMetrics) {}

    /// Called once, when the last connection has ended.
    fn on_stop(&self) {}

    /// Whether `on_accept` returns at once and never panics, so that it needs no thread of its own.
    fn is_prompt(&self) -> bool {
        false
    }
}
