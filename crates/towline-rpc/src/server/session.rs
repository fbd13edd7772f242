//! Serving every stream of a multiplexed session.

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use towline_mux::{Session, SessionEnd};

use super::Server;

impl Server {
    /// Serves every stream that the other end opens on a session, each as a connection of its own, until the session ends
    /// or `shutdown` is cancelled. Peer and addresses are those of the connection beneath the session
    /// ([`Connection`](towline_transport::Connection)'s `From<Stream>`).
    ///
    /// How many streams there may be is the session's own limit. When `shutdown` is cancelled no stream is accepted and no
    /// call started any more; the future ends when the running calls have been answered. The session stays open: close
    /// it when this returns.
    ///
    /// # Errors
    ///
    /// How the session ended, if not well. The handlers that ran are gone then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the streams and the handlers that run for them.
    pub async fn serve_session(
        &self,
        session: &Session,
        shutdown: CancellationToken,
    ) -> Result<(), SessionEnd> {
        let mut streams = JoinSet::new();
        let end = loop {
            let stream = tokio::select! {
                biased;
                () = shutdown.cancelled() => break Ok(()),
                Some(_) = streams.join_next() => continue,
                stream = session.accept() => stream,
            };
            match stream {
                Ok(Some(stream)) => {
                    let (server, shutdown) = (self.clone(), shutdown.clone());
                    streams.spawn(async move { server.serve(stream, shutdown).await });
                }
                Ok(None) => break Ok(()),
                Err(end) => break Err(end),
            }
        };
        while streams.join_next().await.is_some() {}
        end
    }
}
