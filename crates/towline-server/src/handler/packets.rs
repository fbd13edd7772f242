//! Packets out of what is read.

use std::sync::atomic::Ordering;

use bytes::{Buf, BytesMut};
use towline_codec::framing::{
    Cut, Framing, FramingError, FramingProtocol, Oversize, PacketCodec, Step,
};

use super::{Ended, PacketHandler, ReadHandler};
use crate::registry::Reading;
use crate::socket::{CloseReason, Socket};

/// Cuts what is read into packets and hands them to a [`PacketHandler`].
///
/// A connection holds bytes of its own only while a packet is unfinished, and never more than one packet
/// and one read. A packet larger than allowed, or a stream that cannot be cut, ends the connection with
/// [`CloseReason::PacketTooBig`] or [`CloseReason::Malformed`], or is passed over, as
/// [`oversize`](Self::oversize) says.
///
/// ```
/// use towline_codec::framing::Framing;
/// use towline_server::{Packets, TaskPerConnection, packet_fn};
///
/// let lines = Framing::separator("\n")?;
/// let echo = packet_fn({
///     let lines = lines.clone();
///     move |socket, packet| {
///         let sent = socket.send_packet(&lines, &packet);
///         async move {
///             if let Err(error) = sent {
///                 eprintln!("{error}");
///             }
///         }
///     }
/// });
/// let strategy = TaskPerConnection::reading(Packets::new(lines, 64 * 1024, echo));
/// # drop(strategy);
/// # Ok::<(), towline_codec::framing::EmptySeparatorError>(())
/// ```
#[derive(Debug)]
pub struct Packets<H, P = Framing> {
    codec: PacketCodec<P>,
    handler: H,
}

impl<H: PacketHandler, P: FramingProtocol + Clone + 'static> Packets<H, P> {
    /// Packets with at most `max` bytes of payload each.
    pub fn new(protocol: P, max: usize, handler: H) -> Self {
        Self {
            codec: PacketCodec::new(protocol, max),
            handler,
        }
    }

    /// What is done about larger ones; by default what suits the protocol (docs/wire L22, L23).
    pub fn oversize(mut self, policy: Oversize) -> Self {
        self.codec = self.codec.oversize(policy);
        self
    }
}

/// What is kept for a connection.
#[derive(Debug)]
pub struct PacketState<S, P> {
    codec: PacketCodec<P>,
    /// The bytes of an unfinished packet, and no memory without one.
    partial: BytesMut,
    packet: u32,
    inner: S,
}

/// Whether the stream goes on.
enum Flow {
    On,
    Over,
}

impl<H: PacketHandler, P: FramingProtocol + Clone + 'static> Packets<H, P> {
    /// Handles all packets of `input`; how many bytes are done with.
    async fn cut(
        &self,
        codec: &mut PacketCodec<P>,
        inner: &mut H::State,
        socket: &Socket,
        input: &[u8],
    ) -> Result<(usize, Flow), FramingError> {
        let mut done = 0;
        loop {
            let Step { cut, consumed } = codec.step(&input[done..])?;
            match cut {
                Cut::Packet(range) => {
                    let packet = &input[done..][range];
                    Reading::add(&socket.0.registry.reading.packets, 1);
                    self.handler.on_packet(inner, socket, packet).await;
                }
                Cut::Oversized { announced } => {
                    Reading::add(&socket.0.registry.reading.oversized, 1);
                    self.handler.on_oversized(inner, socket, announced).await;
                }
                Cut::Incomplete { .. } => return Ok((done + consumed, Flow::On)),
            }
            done += consumed;
            // Packets behind the one whose handler hung up are not for anybody.
            if socket.is_closed() {
                return Ok((done, Flow::Over));
            }
        }
    }
}

impl<H: PacketHandler, P: FramingProtocol + Clone + 'static> ReadHandler for Packets<H, P> {
    type State = PacketState<H::State, P>;

    async fn on_accept(&self, socket: &Socket) -> Self::State {
        PacketState {
            codec: self.codec.clone(),
            partial: BytesMut::new(),
            packet: 0,
            inner: self.handler.on_accept(socket).await,
        }
    }

    async fn on_read(&self, state: &mut Self::State, socket: &Socket, bytes: &[u8]) {
        let PacketState {
            codec,
            partial,
            packet,
            inner,
        } = state;
        let fresh = partial.is_empty();
        let cut = if fresh {
            self.cut(codec, inner, socket, bytes).await
        } else {
            partial.extend_from_slice(bytes);
            self.cut(codec, inner, socket, partial).await
        };
        match cut {
            Ok((_, Flow::Over)) => *partial = BytesMut::new(),
            Ok((done, Flow::On)) => {
                let begun = done > 0 || fresh;
                if fresh {
                    partial.extend_from_slice(&bytes[done..]);
                } else {
                    partial.advance(done);
                }
                // The watch tells packets apart by their number.
                if partial.is_empty() {
                    *partial = BytesMut::new();
                    socket.0.packet.store(0, Ordering::Relaxed);
                } else if begun {
                    *packet = packet.wrapping_add(1).max(1);
                    socket.0.packet.store(*packet, Ordering::Relaxed);
                }
            }
            Err(error) => {
                tracing::debug!(%error, remote = %socket.remote(), "a stream cannot be cut into packets");
                Reading::add(
                    &socket.0.registry.reading.oversized,
                    u64::from(is_big(error)),
                );
                socket.close(if is_big(error) {
                    CloseReason::PacketTooBig
                } else {
                    CloseReason::Malformed
                });
            }
        }
    }

    async fn on_end(&self, mut state: Self::State, socket: &Socket, ended: Ended) {
        let unfinished = state.codec.finish(&mut state.partial);
        Reading::add(
            &socket.0.registry.reading.unfinished,
            u64::from(unfinished > 0),
        );
        self.handler
            .on_end(state.inner, socket, ended, unfinished)
            .await;
    }
}

const fn is_big(error: FramingError) -> bool {
    matches!(error, FramingError::PacketTooBig { .. })
}
