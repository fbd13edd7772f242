//! A task for each connection.

use std::sync::Arc;

use super::Strategy;
use super::desks::desks;
use super::permits::Limited;
use super::reading::Reading;
use crate::handler::ReadHandler;
use crate::outcome::Outcome;
use crate::socket::SocketStream;

/// A tokio task for each connection, the strategy for most servers.
///
/// The connection ends when its handler returns; what waits is written before. A handler that panics
/// ends its own connection alone.
///
/// ```
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// use towline_server::TaskPerConnection;
///
/// let echo = TaskPerConnection::new(|mut stream: towline_server::SocketStream| async move {
///     let mut bytes = [0; 1024];
///     while let Ok(count @ 1..) = stream.read(&mut bytes).await {
///         if stream.write_all(&bytes[..count]).await.is_err() {
///             break;
///         }
///     }
/// });
/// # drop(echo);
/// ```
pub struct TaskPerConnection {
    serve: Box<dyn Fn(SocketStream) + Send + Sync>,
}

impl TaskPerConnection {
    /// Serves each connection by a future of its own. What it returns is `()`, or an [`Outcome`] that tells
    /// why a connection ended badly.
    pub fn new<H, F>(handler: H) -> Self
    where
        H: Fn(SocketStream) -> F + Send + Sync + 'static,
        F: Future<Output: Into<Outcome>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        Self {
            serve: Box::new(move |stream| {
                let handler = Arc::clone(&handler);
                // Detached: the server counts it, waits for it and ends it.
                let registry = Arc::clone(&stream.socket().0.registry);
                drop(tokio::spawn(stream.run(move |stream| {
                    let ended = handler(stream);
                    async move {
                        if let Outcome::Failed(text) = ended.await.into() {
                            registry.ended_badly(text);
                        }
                    }
                })));
            }),
        }
    }

    /// Serves each connection by a handler of what is read, or of packets
    /// ([`Packets`](crate::Packets)). It holds a buffer of 16 KiB only while it reads.
    pub fn reading<H: ReadHandler>(handler: H) -> Self {
        let (handler, desks) = (
            Arc::new(Limited::new(handler, None)),
            Arc::new(desks(16 * 1024, 64 * 1024, None)),
        );
        Self {
            serve: Box::new(move |stream| {
                let (handler, desks) = (Arc::clone(&handler), Arc::clone(&desks));
                drop(tokio::spawn(
                    stream.run(|stream| Reading::new(stream, handler, desks, None)),
                ));
            }),
        }
    }
}

impl Strategy for TaskPerConnection {
    fn on_accept(&self, stream: SocketStream) {
        (self.serve)(stream);
    }

    fn is_prompt(&self) -> bool {
        true
    }
}
