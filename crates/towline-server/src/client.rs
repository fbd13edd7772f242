//! The other end: a socket of the same kind, dialled.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use towline_transport::{ConnectError, ConnectOptions, Endpoint, Established, connect};

use crate::clock::now;
use crate::registry::{Registry, Settings};
use crate::socket::SocketStream;
use crate::time_limits::TimeLimits;

/// Dials one endpoint, once or again and again, and gives [`SocketStream`]s: the same queue, counters,
/// hooks and layers as at a server.
///
/// TCP has no delay and is kept alive; of several addresses of a name the first that answers wins.
///
/// ```
/// use tokio::io::AsyncReadExt;
/// use towline_server::{Client, Server, TaskPerConnection};
/// use towline_transport::{ListenOptions, Listener};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let listener = Listener::bind(&"tcp://127.0.0.1:0".parse()?, &ListenOptions::new()).await?;
/// let endpoint = listener.local_endpoint().clone();
/// let server = Server::builder().start([listener], TaskPerConnection::new(|stream| async move {
///     stream.send("hello").ok();
/// }))?;
/// let mut stream = Client::new(endpoint).connect().await?;
/// let mut text = String::new();
/// stream.read_to_string(&mut text).await?;
/// assert_eq!((text.as_str(), stream.total_read()), ("hello", 5));
/// # server.shutdown(std::time::Duration::from_secs(1)).await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    endpoint: Endpoint,
    options: ConnectOptions,
    first_pause: Duration,
    longest_pause: Duration,
    registry: Arc<Registry>,
    stop: CancellationToken,
}

impl Client {
    /// A client of `endpoint`. Connecting and handshakes may take 10 seconds together.
    pub fn new(endpoint: Endpoint) -> Self {
        let stop = CancellationToken::new();
        Self {
            endpoint,
            options: ConnectOptions::new(),
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(30),
            registry: Registry::new(
                Settings {
                    max_queued: 1024 * 1024,
                    marks: (32 * 1024, 64 * 1024),
                    linger: Duration::from_secs(5),
                    // Nobody drains it.
                    drain_deadline: Duration::ZERO,
                    limits: TimeLimits::none(),
                },
                stop.clone(),
                Arc::default(),
            ),
            stop,
        }
    }

    /// Identity, trust and time limits of the transport.
    pub fn transport(mut self, options: ConnectOptions) -> Self {
        self.options = options;
        self
    }

    /// How long [`keep_connected`](Self::keep_connected) pauses after a failure, and at most: 100 ms and
    /// 30 s unless told otherwise. Pauses double, and are shortened at random by up to a half, so that
    /// the clients of a server that went away do not come back together.
    pub fn pauses(mut self, first: Duration, longest: Duration) -> Self {
        self.first_pause = first;
        self.longest_pause = longest;
        self
    }

    /// Dials, and shakes hands.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]: refused, unresolved, too late, or not whom we trust, each by its own name.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub async fn connect(&self) -> Result<SocketStream, ConnectError> {
        let stream = self.dial().await?;
        let socket = Arc::clone(&stream.socket().0);
        // Ends with the socket, which ends when its stream is dropped.
        drop(tokio::spawn(poll_fn(move |cx| {
            socket.driven_by(cx.waker());
            let _progress = socket.poll_output();
            match socket.close_reason() {
                Some(_) => Poll::Ready(()),
                None => Poll::Pending,
            }
        })));
        Ok(stream)
    }

    /// Dials, serves the connection by `handler`, and dials again when that has returned, after a pause
    /// that grows with each failure; until [`stop`](Self::stop). A connection that has lasted longer than
    /// the longest pause makes the pauses short again.
    ///
    /// As at a server, what waits is written when the handler returns, and a handler that panics ends its
    /// connection and nothing else.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the connection.
    pub async fn keep_connected<H, F>(&self, handler: H)
    where
        H: Fn(SocketStream) -> F,
        F: Future<Output = ()>,
    {
        let mut pause = self.first_pause;
        while !self.stop.is_cancelled() {
            let since = now();
            match self.stop.run_until_cancelled(self.dial()).await {
                None => return,
                Some(Ok(stream)) => self.serve(stream, &handler).await,
                Some(Err(error)) => {
                    tracing::debug!(%error, ?pause, "not connected; trying again");
                }
            }
            if now().duration_since(since) > self.longest_pause {
                pause = self.first_pause;
            }
            let pausing = sleep(shortened(pause, random()));
            if self.stop.run_until_cancelled(pausing).await.is_none() {
                return;
            }
            pause = (pause * 2).min(self.longest_pause);
        }
    }

    async fn serve<H, F>(&self, stream: SocketStream, handler: &H)
    where
        H: Fn(SocketStream) -> F,
        F: Future<Output = ()>,
    {
        let mut task = pin!(stream.run(handler));
        if self.stop.run_until_cancelled(task.as_mut()).await.is_none() {
            task.as_mut().end_handler();
            task.await;
        }
    }

    /// A connection that nobody drives yet.
    async fn dial(&self) -> Result<SocketStream, ConnectError> {
        let connection = connect(&self.endpoint, &self.options).await?;
        let established = Established::from(connection);
        Ok(SocketStream::new(
            Arc::clone(&self.registry),
            established,
            None,
        ))
    }

    /// Ends [`keep_connected`](Self::keep_connected) of this client and its clones: its handler is dropped, what
    /// waits is written, for 5 seconds at most, and the connection ends.
    pub fn stop(&self) {
        self.stop.cancel();
        // Silent peers are not waited for.
        self.registry.begin_stop();
    }

    /// Bytes read and written over all connections of this client and its clones.
    pub fn totals(&self) -> (u64, u64) {
        self.registry.totals()
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// From half of the pause to all of it.
fn shortened(pause: Duration, random: u16) -> Duration {
    pause - pause / 2 * u32::from(random) / u32::from(u16::MAX)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a driver: this is where its randomness comes from"
)]
fn random() -> u16 {
    let mut bytes = [0; 2];
    // Without randomness clients come back together, and that is all.
    if let Err(error) = getrandom::fill(&mut bytes) {
        tracing::debug!(%error, "no randomness for the pause");
    }
    u16::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_shortened_by_up_to_a_half() {
        let second = Duration::from_secs(1);
        assert_eq!(shortened(second, 0), second);
        assert_eq!(shortened(second, u16::MAX), second / 2);
    }
}
