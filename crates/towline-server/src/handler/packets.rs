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
    clock: PacketClock,
    inner: S,
}

/// A packet that has begun, or is being passed over.
#[derive(Debug)]
struct Unfinished<P> {
    codec: PacketCodec<P>,
    bytes: BytesMut,
}

/// Tells the watch of a connection which packet is under way.
#[derive(Debug)]
struct PacketClock(
    /// The number of the packet that was under way last: the watch tells packets apart by it.
    NonZeroU32,
);

impl PacketClock {
    /// None is under way: between two, or in the hands of a handler, whose time is not the peer's.
    fn stop(socket: &Socket) {
        socket.0.packet.store(0, Ordering::Relaxed);
    }

    /// One is, `another` than was the last time.
    fn go_on(&mut self, socket: &Socket, another: bool) {
        if another {
            self.0 = self.0.checked_add(1).unwrap_or(NonZeroU32::MIN);
        }
        socket.0.packet.store(self.0.get(), Ordering::Relaxed);
    }
}

/// How far a read was cut.
struct Progress {
    /// Bytes that are done with.
    done: usize,
    /// At least one packet ended there, or one that was passed over.
    ended: bool,
    flow: Flow,
}

/// Whether the stream goes on.
#[derive(PartialEq)]
enum Flow {
    On,
    Over,
}

impl<H: PacketHandler, P: FramingProtocol + Clone + 'static> Packets<H, P> {
    /// Handles all packets of `input`.
    async fn cut<Q: FramingProtocol>(
        &self,
        codec: &mut PacketCodec<Q>,
        inner: &mut H::State,
        socket: &Socket,
        input: &[u8],
    ) -> Result<Progress, FramingError> {
        let (mut done, mut ended) = (0, false);
        let mut flow = Flow::On;
        while flow == Flow::On {
            let passing_over = !codec.is_between_packets();
            let Step { cut, consumed } = codec.step(&input[done..])?;
            // It may be in the middle of the next one that is too big by now.
            ended |= passing_over
                && (codec.is_between_packets() || !matches!(cut, Cut::Incomplete { .. }));
            match cut {
                Cut::Packet(range) => {
                    let packet = &input[done..][range];
                    ended = true;
                    PacketClock::stop(socket);
                    Reading::add(&socket.0.registry.reading.packets, 1);
                    self.handler.on_packet(inner, socket, packet).await;
                    // Very many small packets of one connection make others wait no longer than few large ones:
                    // one read may hold thousands.
                    consume_budget().await;
                }
                Cut::Oversized { announced } => {
                    PacketClock::stop(socket);
                    Reading::add(&socket.0.registry.reading.oversized, 1);
                    self.handler.on_oversized(inner, socket, announced).await;
                }
                Cut::Incomplete { .. } => {
                    done += consumed;
                    break;
                }
            }
            done += consumed;
            // Packets behind the one whose handler hung up are not for anybody.
            if socket.is_closed() {
                flow = Flow::Over;
            }
        }
        Ok(Progress { done, ended, flow })
    }
}

impl<H: PacketHandler, P: FramingProtocol + Clone + 'static> ReadHandler for Packets<H, P> {
    type State = PacketState<H::State, P>;

    async fn on_accept(&self, socket: &Socket) -> Self::State {
        PacketState {
            unfinished: None,
            clock: PacketClock(NonZeroU32::MIN),
            inner: self.handler.on_accept(socket).await,
        }
    }

    async fn on_read(&self, state: &mut Self::State, socket: &Socket, bytes: &[u8]) {
        let PacketState {
            unfinished,
            clock,
            inner,
        } = state;
        let begins = unfinished.is_none();
        let cut = match unfinished {
            None => {
                let mut codec = self.codec.another();
                let cut = self.cut(&mut codec, inner, socket, bytes).await;
                if let Ok(Progress { done, flow, .. }) = &cut
                    && *flow == Flow::On
                    && (*done < bytes.len() || !codec.is_between_packets())
                {
                    let protocol = (**codec.protocol()).clone();
                    *unfinished = Some(Box::new(Unfinished {
                        codec: codec.with_protocol(protocol),
                        bytes: BytesMut::from(&bytes[*done..]),
                    }));
                }
                cut
            }
            Some(before) => {
                let Unfinished { codec, bytes: kept } = &mut **before;
                // Nothing is kept of one that is being passed over.
                let cut = if kept.is_empty() {
                    let cut = self.cut(codec, inner, socket, bytes).await;
                    if let Ok(Progress { done, .. }) = cut {
                        kept.extend_from_slice(&bytes[done..]);
                    }
                    cut
                } else {
                    kept.extend_from_slice(bytes);
                    let cut = self.cut(codec, inner, socket, kept).await;
                    if let Ok(Progress { done, .. }) = cut {
                        kept.advance(done);
                    }
                    cut
                };
                if let Ok(Progress { flow, .. }) = &cut
                    && (*flow == Flow::Over || (kept.is_empty() && codec.is_between_packets()))
                {
                    *unfinished = None;
                }
                cut
            }
        };
        match cut {
            Ok(Progress { ended, .. }) if unfinished.is_some() => {
                clock.go_on(socket, begins || ended);
            }
            Ok(_) => PacketClock::stop(socket),
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
