//! Sessions: opening, closing, figures.

mod asap;
mod bytes;
mod files;
mod messages;

use std::{fmt, sync::Arc, task::Poll};

use tokio::sync::{mpsc, oneshot};
use towline_codec::Text;

pub use self::{asap::AsapReceiver, bytes::ByteStream, files::FileInfo, messages::Messages};
use crate::{
    driver::{self, Shared, Source, now, seed},
    error::{ConnectError, ReadError},
    listener::Opened,
    network::{InboxLimits, InboxReport, Network, queue::Reporter},
    proto::{CloseReason, Config, Engine, ReadState, Stats},
};

/// What a packet of the original's format takes beside its data and the names of the inboxes.
const OVERHEAD: usize = 512;
/// Room for the name of a peer that is not known yet.
const UNKNOWN_REMOTE: usize = 256;
/// Packets on their way beside a window's: acknowledgements and signs of life.
const CONTROL_PACKETS: usize = 64;

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
    inbox: Reporter,
    /// Held by who writes something that must stay in one piece.
    writing: tokio::sync::Mutex<()>,
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
        let max_data = max_data(network, &config);
        let engine = engine(network, config)?;
        // docs/wire W1: heard before anything is sent that is answered.
        let limits = inbox_limits(engine.config(), network.max_packet());
        let inbox = network.listen(engine.config().local(), limits).await?;
        let reporter = inbox.reporter();
        let (told, connected) = oneshot::channel();
        let mut told = Some(told);
        let piece = engine.config().piece();
        let shared = Self::spawn(
            engine,
            max_data,
            Arc::clone(network),
            Source::Inbox(inbox),
            move |_| {
                if let Some(told) = told.take() {
                    // Nobody waits any more if connecting was given up.
                    told.send(()).ok();
                }
            },
        );
        Ok((connected, Self::new(shared, piece, reporter)))
    }

    fn new(shared: Arc<Shared>, piece: usize, inbox: Reporter) -> Self {
        Self {
            shared,
            piece,
            inbox,
            writing: tokio::sync::Mutex::new(()),
        }
    }

    /// Starts the task of a session; `connected` gets the task's share when both ends know each
    /// other.
    fn spawn(
        engine: Engine,
        max_data: usize,
        network: Arc<dyn Network>,
        source: Source,
        mut connected: impl FnMut(&Arc<Shared>) + Send + 'static,
    ) -> Arc<Shared> {
        let shared = Shared::new(engine, max_data);
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
        max_data: usize,
        network: Arc<dyn Network>,
        packets: driver::Routed,
        accepting: mpsc::Sender<Self>,
        opened: Opened,
    ) {
        let piece = engine.config().piece();
        let reporter = packets.packets.reporter();
        let source = Source::Routed(packets);
        Self::spawn(engine, max_data, network, source, move |shared| {
            opened.open();
            let session = Self::new(Arc::clone(shared), piece, reporter.clone());
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

    /// Lets go of the session as one lets go of a socket: what was sent is still delivered, within the
    /// configured linger time, by the session's own task. [`close`](Self::close) tells whether it was.
    pub fn close_in_background(self) {
        self.let_go();
    }

    fn let_go(&self) {
        self.shared.call(|engine, now| engine.close(now));
        // What is dropped with this handle abandons nothing any more.
        self.shared.lock().is_let_go = true;
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

    /// This end's inbox.
    pub fn local(&self) -> Text {
        self.shared.lock().engine.config().local().clone()
    }

    /// The peer's inbox.
    pub fn remote(&self) -> Text {
        self.shared.lock().engine.remote().clone()
    }

    /// This session's nonce (docs/wire W10).
    pub fn nonce(&self) -> Text {
        self.shared.lock().engine.nonce().clone()
    }

    /// The nonce of the peer's session.
    pub fn remote_nonce(&self) -> Option<Text> {
        self.shared.lock().engine.remote_nonce().cloned()
    }

    /// The settings, as far as the network allows them.
    pub fn config(&self) -> Config {
        self.shared.lock().engine.config().clone()
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

    /// What the inbox of this session has seen: what was dropped there was lost like any packet.
    pub fn inbox_report(&self) -> InboxReport {
        self.inbox.report()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.shared.lock().is_let_go {
            return;
        }
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

/// The most data of a packet that is taken in. What is sent is limited further, by what packets of this
/// network have room for; a peer with shorter names has more of it.
pub(crate) fn max_data(network: &Arc<dyn Network>, config: &Config) -> usize {
    config.max_data.min(network.max_packet())
}

/// The engine of a session on this network.
pub(crate) fn engine(network: &Arc<dyn Network>, config: Config) -> Result<Engine, ConnectError> {
    let max_packet = network.max_packet();
    let remote = match config.remote().len() {
        0 => UNKNOWN_REMOTE,
        len => len,
    };
    let overhead = OVERHEAD + config.local().len() + remote;
    let config = limited(network, config).limit_data(max_packet.saturating_sub(overhead).max(1));
    Ok(Engine::new(config, seed()?, now())?)
}

/// The settings with a window that the network can hold, twice over: what is sent again comes on top.
pub(crate) fn limited(network: &Arc<dyn Network>, config: Config) -> Config {
    match network.capacity() {
        Some(capacity) => {
            let window = capacity.saturating_sub(CONTROL_PACKETS) / 2;
            config.limit_window(u32::try_from(window).unwrap_or(u32::MAX))
        }
        None => config,
    }
}

/// What an inbox must hold for sessions with these settings.
pub(crate) fn inbox_limits(config: &Config, max_packet: usize) -> InboxLimits {
    match config.inbox {
        Some((packets, bytes)) => InboxLimits::new(packets, bytes),
        None => InboxLimits::for_window(config.window_messages, config.window_bytes, max_packet),
    }
}

fn nothing_to_read(state: ReadState) -> Poll<Result<(), ReadError>> {
    match state {
        ReadState::Open => Poll::Pending,
        ReadState::End => Poll::Ready(Ok(())),
        ReadState::Failed(reason) => Poll::Ready(Err(ReadError(reason))),
    }
}
