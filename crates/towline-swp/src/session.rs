//! Sessions: messages, and bytes.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{mpsc, oneshot},
};

use crate::{
    driver::{self, Shared, Source, now, seed},
    error::{ConnectError, PushError, ReadError},
    network::Network,
    proto::{CloseReason, Config, Engine, Payload, ReadState, SendError, Stats},
};

/// What a packet of the original's format takes beside its data, inboxes of 64 bytes included.
const OVERHEAD: usize = 640;

/// One end of a session: ordered, lossless, flow-controlled, over a network that is none of it.
///
/// It carries messages ([`send`](Self::send), [`push`](Self::push), [`recv`](Self::recv)) or bytes
/// (`AsyncRead` and `AsyncWrite`); mixing both on one session mixes them on the wire. Methods take
/// `&self`, so that an `Arc<Session>` serves several tasks.
///
/// A session whose handle is dropped is abandoned (docs/wire W46): [`close`](Self::close) it first, if
/// what was written matters.
///
/// ```no_run
/// use std::sync::Arc;
/// use towline_swp::{Session, network::udp::UdpNetwork, proto::Config};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let network = UdpNetwork::bind("127.0.0.1:0".parse()?).await?;
/// let config = Config::new(network.inbox(), "127.0.0.1:9000");
/// let session = Session::connect(Arc::new(network), config).await?;
/// session.push("hello").await?; // acknowledged
/// while let Some(message) = session.recv().await? {
///     println!("{} bytes", message.len());
/// }
/// session.close().await?;
/// # Ok(())
/// # }
/// ```
pub struct Session {
    shared: Arc<Shared>,
    piece: usize,
}

impl Session {
    /// Opens a session to the configured remote inbox (docs/wire W14).
    ///
    /// # Errors
    ///
    /// What the settings or the network do not allow, and [`CloseReason::ConnectTimeout`] if nobody
    /// answers in time.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future abandons the session.
    pub async fn connect(network: Arc<dyn Network>, config: Config) -> Result<Self, ConnectError> {
        let (connected, session) = Self::hear(&network, config).await?;
        session.shared.call(|engine, now| engine.open(now))?;
        session.wait_connected(connected).await?;
        Ok(session)
    }

    /// Waits on the configured inbox for one opener: the configured remote, or whoever comes first.
    /// For many, see [`Listener`](crate::Listener).
    ///
    /// # Errors
    ///
    /// What the settings or the network do not allow, and [`CloseReason::HandshakeTimeout`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future abandons the session.
    pub async fn accept(network: Arc<dyn Network>, config: Config) -> Result<Self, ConnectError> {
        let (connected, session) = Self::hear(&network, config).await?;
        session.wait_connected(connected).await?;
        Ok(session)
    }

    async fn hear(
        network: &Arc<dyn Network>,
        config: Config,
    ) -> Result<(oneshot::Receiver<()>, Self), ConnectError> {
        let (engine, max_packet) = engine(network, config)?;
        // docs/wire W1: heard before anything is sent that is answered.
        let inbox = network.listen(engine.config().local()).await?;
        let (told, connected) = oneshot::channel();
        let mut told = Some(told);
        let piece = engine.config().piece();
        let shared = Self::spawn(
            engine,
            max_packet,
            Arc::clone(network),
            Source::Inbox(inbox),
            move |_| {
                if let Some(told) = told.take() {
                    // Nobody waits any more if connecting was given up.
                    told.send(()).ok();
                }
            },
        );
        Ok((connected, Self { shared, piece }))
    }

    /// Starts the task of a session; `connected` gets the task's share when both ends know each
    /// other.
    fn spawn(
        engine: Engine,
        max_packet: usize,
        network: Arc<dyn Network>,
        source: Source,
        mut connected: impl FnMut(&Arc<Shared>) + Send + 'static,
    ) -> Arc<Shared> {
        let shared = Shared::new(engine, max_packet);
        let share = Arc::clone(&shared);
        // Its end is awaited by whoever waits for the session to be closed.
        tokio::spawn(driver::run(
            Arc::clone(&shared),
            network,
            source,
            move || connected(&share),
        ));
        shared
    }

    /// Starts a session for a listener, which hands it out when both ends know each other.
    pub(crate) fn begin_accepted(
        engine: Engine,
        max_packet: usize,
        network: Arc<dyn Network>,
        source: Source,
        accepting: mpsc::Sender<Self>,
    ) {
        let piece = engine.config().piece();
        Self::spawn(engine, max_packet, network, source, move |shared| {
            let session = Self {
                shared: Arc::clone(shared),
                piece,
            };
            // One that nobody accepts is abandoned with its handle.
            accepting.try_send(session).ok();
        });
    }

    async fn wait_connected(&self, connected: oneshot::Receiver<()>) -> Result<(), CloseReason> {
        match connected.await {
            Ok(()) => Ok(()),
            // The task has ended without having connected.
            Err(_) => Err(self.close_reason().unwrap_or(CloseReason::Aborted)),
        }
    }

    // ---- messages ----

    /// Sends one message; completes when it is accepted, which may wait for room. Its number counts
    /// from 0.
    ///
    /// # Errors
    ///
    /// [`SendError::TooLarge`], or that the session takes no more.
    ///
    /// # Cancel safety
    ///
    /// The message is accepted whole or not at all.
    pub async fn send(&self, message: impl Into<Bytes>) -> Result<u64, SendError> {
        let data: Bytes = message.into();
        let wants_checksum = self.shared.lock().engine.wants_checksums();
        let mut payload = Payload::from(data);
        if wants_checksum {
            // Calculated here, where no lock is held.
            payload = payload.with_checksum();
        }
        self.shared
            .wait(|engine, now| match engine.send(now, payload.clone()) {
                Err(SendError::Full) => Poll::Pending,
                result => Poll::Ready(result),
            })
            .await
    }

    /// Sends one message and waits until the peer has acknowledged it: that it arrived, or, if the
    /// peer acknowledges on consumption, that its application has taken it (docs/wire W37).
    ///
    /// # Errors
    ///
    /// [`PushError::Unacknowledged`] if the session ended first.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the message may have been accepted.
    pub async fn push(&self, message: impl Into<Bytes>) -> Result<(), PushError> {
        let seq = self.send(message).await?;
        self.acknowledged(seq).await
    }

    /// Waits until the peer has acknowledged the message with this number.
    ///
    /// # Errors
    ///
    /// [`PushError::Unacknowledged`] if the session ended first.
    ///
    /// # Cancel safety
    ///
    /// Can be called again.
    pub async fn acknowledged(&self, seq: u64) -> Result<(), PushError> {
        self.shared
            .wait(|engine, _| {
                if engine.acknowledged() > seq {
                    Poll::Ready(Ok(()))
                } else if let Some(reason) = engine.close_reason() {
                    Poll::Ready(Err(PushError::Unacknowledged(reason)))
                } else {
                    Poll::Pending
                }
            })
            .await
    }

    /// The next message of the peer; `None` at the end.
    ///
    /// # Errors
    ///
    /// That what the peer sent does not come whole.
    ///
    /// # Cancel safety
    ///
    /// No message is lost if the future is dropped.
    pub async fn recv(&self) -> Result<Option<Bytes>, ReadError> {
        self.shared
            .wait(|engine, now| match engine.recv(now) {
                Some(data) => Poll::Ready(Ok(Some(data))),
                None => nothing_to_read(engine.read_state()).map_ok(|()| None),
            })
            .await
    }

    /// From now on, data packets wait for [`recv_asap`](Self::recv_asap) as they arrive, beside the
    /// ordered messages: at most `limit`, the oldest is dropped for a new one (docs/wire W52).
    pub fn register_asap(&self, limit: usize) {
        self.shared.call(|engine, _| engine.register_asap(limit));
    }

    /// The oldest packet that waits, with its number, in the order of arrival; `None` when the
    /// session is over.
    ///
    /// # Cancel safety
    ///
    /// No packet is lost if the future is dropped.
    pub async fn recv_asap(&self) -> Option<(u64, Bytes)> {
        self.shared
            .wait(|engine, _| match engine.recv_asap() {
                Some(packet) => Poll::Ready(Some(packet)),
                None if engine.close_reason().is_some() => Poll::Ready(None),
                None => Poll::Pending,
            })
            .await
    }

    /// How many packets nobody took in time.
    pub fn asap_dropped(&self) -> u64 {
        self.shared.lock().engine.asap_dropped()
    }

    // ---- the end ----

    /// Closes both directions: what was sent is delivered, what still comes is thrown away. Takes at
    /// most the configured linger time.
    ///
    /// # Errors
    ///
    /// Why what was sent may not have arrived.
    ///
    /// # Cancel safety
    ///
    /// Closing goes on if the future is dropped; dropping the session abandons it.
    pub async fn close(&self) -> Result<(), CloseReason> {
        self.shared.call(|engine, now| engine.close(now));
        match self.closed().await {
            CloseReason::Finished => Ok(()),
            reason => Err(reason),
        }
    }

    /// Abandons the session at once (docs/wire W46).
    pub fn abort(&self) {
        self.shared.call(|engine, now| engine.abort(now));
    }

    /// Waits for the end of the session, and says why it ended.
    ///
    /// # Cancel safety
    ///
    /// Can be called again.
    pub async fn closed(&self) -> CloseReason {
        self.shared
            .wait(|engine, _| engine.close_reason().map_or(Poll::Pending, Poll::Ready))
            .await
    }

    /// Waits until the task of the session has ended: a while after the end, since repeated FINs are
    /// answered (docs/wire W45).
    ///
    /// # Cancel safety
    ///
    /// Can be called again.
    pub async fn task_ended(&self) {
        self.shared.task_ended().await;
    }

    /// Why the session is over; `None` while it is not.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.shared.lock().engine.close_reason()
    }

    /// The peer's inbox.
    pub fn remote(&self) -> towline_codec::Text {
        self.shared.lock().engine.remote().clone()
    }

    /// True if both ends use the extension (docs/wire W47).
    pub fn is_extended(&self) -> bool {
        self.shared.lock().engine.is_extended()
    }

    /// Figures of this moment.
    pub fn stats(&self) -> Stats {
        self.shared.lock().engine.stats()
    }

    /// Packets that could not be read, and packets that the network refused to send.
    pub fn network_failures(&self) -> (u64, u64) {
        let state = self.shared.lock();
        (state.undecodable, state.unsent)
    }
}

impl AsyncRead for Session {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buf.remaining();
        if room == 0 {
            return Poll::Ready(Ok(()));
        }
        let data = ready!(self.shared.poll(cx, |engine, now| {
            match engine.read(now, room) {
                Some(data) => Poll::Ready(Ok(data)),
                None => nothing_to_read(engine.read_state()).map_ok(|()| Bytes::new()),
            }
        }))?;
        buf.put_slice(&data);
        Poll::Ready(Ok(()))
    }
}

/// Flushing completes at once: nothing waits for it. Shutting down says that no more is written, and
/// completes when the peer has acknowledged everything.
impl AsyncWrite for Session {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        // docs/wire W24
        let piece = &buf[..buf.len().min(self.piece)];
        if piece.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.shared.poll(cx, |engine, now| {
            if engine.close_reason().is_none() && !engine.has_room_for(piece.len()) {
                return Poll::Pending;
            }
            match engine.send(now, Bytes::copy_from_slice(piece)) {
                Ok(_) => Poll::Ready(Ok(piece.len())),
                Err(SendError::Full) => Poll::Pending,
                Err(error) => Poll::Ready(Err(error.into())),
            }
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.call(|engine, now| engine.finish(now));
        self.shared.poll(cx, |engine, _| {
            if engine.is_finished() {
                return Poll::Ready(Ok(()));
            }
            match engine.close_reason() {
                None => Poll::Pending,
                Some(CloseReason::Finished) => Poll::Ready(Ok(())),
                Some(reason) => Poll::Ready(Err(reason.into())),
            }
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Its task tells the peer, and ends.
        self.abort();
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        f.debug_struct("Session")
            .field("local", state.engine.config().local())
            .field("remote", state.engine.remote())
            .field("state", &state.engine.state())
            .finish_non_exhaustive()
    }
}

/// The engine of a session on this network, and the largest packet that it takes in.
pub(crate) fn engine(
    network: &Arc<dyn Network>,
    config: Config,
) -> Result<(Engine, usize), ConnectError> {
    let max_packet = network.max_packet();
    let config = config.limit_data(max_packet.saturating_sub(OVERHEAD).max(1));
    Ok((Engine::new(config, seed()?, now())?, max_packet))
}

fn nothing_to_read(state: ReadState) -> Poll<Result<(), ReadError>> {
    match state {
        ReadState::Open => Poll::Pending,
        ReadState::End => Poll::Ready(Ok(())),
        ReadState::Failed(reason) => Poll::Ready(Err(ReadError(reason))),
    }
}
