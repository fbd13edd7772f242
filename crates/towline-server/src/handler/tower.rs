//! A tower service for packets.

use std::fmt;
use std::future::poll_fn;

use bytes::Bytes;
use tower_service::Service;
use towline_codec::framing::{Framing, FramingProtocol};

use super::PacketHandler;
use crate::socket::{CloseReason, Socket};

/// Answers each packet by a tower [`Service`]: its response is sent as a packet, in the order of the
/// requests. Each connection has a clone of the service, and one request at a time.
///
/// When the service fails, the connection ends; `None` is no answer at all.
pub struct TowerService<S, P = Framing> {
    service: S,
    protocol: P,
}

impl<S, P> TowerService<S, P> {
    /// Answers by `service`, in packets marked by `protocol`.
    pub const fn new(protocol: P, service: S) -> Self {
        Self { service, protocol }
    }
}

impl<S, P, R> PacketHandler for TowerService<S, P>
where
    S: Service<Bytes, Response = R> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: fmt::Display + Send,
    R: Into<Option<Bytes>> + Send,
    P: FramingProtocol + 'static,
{
    type State = S;

    async fn on_accept(&self, _socket: &Socket) -> S {
        self.service.clone()
    }

    async fn on_packet(&self, service: &mut S, socket: &Socket, packet: &[u8]) {
        let request = Bytes::copy_from_slice(packet);
        let answer = match poll_fn(|cx| service.poll_ready(cx)).await {
            Ok(()) => service.call(request).await,
            Err(error) => Err(error),
        };
        match answer.map(Into::into) {
            Ok(None) => {}
            Ok(Some(answer)) => {
                let answer: Bytes = answer;
                // Whoever asks faster than it reads waits for room.
                if socket.flushed().await.is_ok()
                    && let Err(error) = socket.send_packet(&self.protocol, &answer)
                {
                    tracing::debug!(%error, "an answer could not be sent");
                    socket.close(CloseReason::Error);
                }
            }
            Err(error) => {
                tracing::debug!(%error, "the service failed");
                socket.close(CloseReason::Error);
            }
        }
    }
}

impl<S, P> fmt::Debug for TowerService<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TowerService")
    }
}
