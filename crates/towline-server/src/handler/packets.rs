//! Packets out of what is read.

use std::num::NonZeroU32;
use std::sync::atomic::Ordering;

use bytes::{Buf, BytesMut};
use tokio::task::coop::consume_budget;
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
    /// `None` between two packets: a connection that waits for the next one holds nothing.
    unfinished: Option<Box<Unfinished<P>>>,
    /// The number of the packet that was under way last: the watch tells packets apart by it.
    packet: NonZeroU32,
    inner: S,
}

/// A packet that has begun, or is being passed over.
#[derive(Debug)]
struct Unfinished<P> {
    codec: PacketCodec<P>,
    bytes: BytesMut,
}

/// Whether the stream goes on.
enum Flow {
    On,
    Over,
}

impl<H: PacketHandler, P: FramingProtocol + Clone + 'static> Packets<H, P> {
    /// Handles all packets of `input`; how many bytes are done with.
    async fn cut<Q: FramingProtocol>(
        &self,
        codec: &mut PacketCodec<Q>,
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
                    // Very many small packets of one connection make others wait no longer than few large ones:
                    // one read may hold thousands.
                    consume_budget().await;
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
            unfinished: None,
            packet: NonZeroU32::MIN,
            inner: self.handler.on_accept(socket).await,
        }
    }

    async fn on_read(&self, state: &mut Self::State, socket: &Socket, bytes: &[u8]) {
        let PacketState {
            unfinished,
            packet,
            inner,
        } = state;
        let cut = match unfinished {
            None => {
                let mut codec = self.codec.another();
                let cut = self.cut(&mut codec, inner, socket, bytes).await;
                if let Ok((done, Flow::On)) = cut
                    && (done < bytes.len() || !codec.is_between_packets())
                {
                    let protocol = (**codec.protocol()).clone();
                    *unfinished = Some(Box::new(Unfinished {
                        codec: codec.with_protocol(protocol),
                        bytes: BytesMut::from(&bytes[done..]),
                    }));
                }
                cut.map(|_| true)
            }
            Some(before) => {
                let Unfinished { codec, bytes: kept } = &mut **before;
                // Nothing is kept of one that is being passed over.
                let fresh = kept.is_empty();
                let cut = if fresh {
                    let cut = self.cut(codec, inner, socket, bytes).await;
                    if let Ok((done, _)) = cut {
                        kept.extend_from_slice(&bytes[done..]);
                    }
                    cut
                } else {
                    kept.extend_from_slice(bytes);
                    let cut = self.cut(codec, inner, socket, kept).await;
                    if let Ok((done, _)) = cut {
                        kept.advance(done);
                    }
                    cut
                };
                if let Ok((_, flow)) = &cut
                    && (matches!(flow, Flow::Over)
                        || (kept.is_empty() && codec.is_between_packets()))
                {
                    *unfinished = None;
                }
                cut.map(|(done, _)| done > 0 || fresh)
            }
        };
        match cut {
            Ok(begun) => match unfinished {
                Some(before) if !before.bytes.is_empty() => {
                    if begun {
                        *packet = packet.checked_add(1).unwrap_or(NonZeroU32::MIN);
                    }
                    socket.0.packet.store(packet.get(), Ordering::Relaxed);
                }
                _ => socket.0.packet.store(0, Ordering::Relaxed),
            },
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

    async fn on_end(&self, state: Self::State, socket: &Socket, ended: Ended) {
        // docs/wire L25
        let unfinished = state.unfinished.map_or(0, |mut before| {
            let Unfinished { codec, bytes } = &mut *before;
            codec.finish(bytes)
        });
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
