//! Calling services over one connection.

mod answer;
mod bistream;
mod builder;
mod call;
mod download;
mod in_flight;
mod listener;
mod net_rpc;
mod options;
mod stream;
mod time_left;
mod upload;

use std::{
    sync::{Arc, MutexGuard},
    task::{self, Waker},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Semaphore,
};
use tokio_util::sync::CancellationToken;
use towline_codec::Text;
use towline_identity::Peer;

pub(crate) use self::call::{CallFailure, set_deadline};
use self::{
    answer::{Answer, Filler, answer},
    call::{CancelOnDrop, time_limit},
};
pub use self::{
    bistream::{BistreamReceiver, BistreamSender},
    builder::ClientBuilder,
    download::Download,
    in_flight::InFlight,
    listener::Listener,
    options::CallOptions,
    upload::Upload,
};
use crate::{
    close::CloseReason,
    driver::{self, Driver, Owner, Shared, State, delegate_core},
    error::SendError,
    proto::{
        self, ClientEvent, Compression, EncodedFrame, Failed, ListenerKey, Message, Now, Received,
        TooLarge, Violation, WhenFull,
    },
    trace::TraceIds,
};

type Outcome = Result<Message, Failed>;
type Waiter = Filler<Outcome>;
type Core = proto::Client<Waiter>;

delegate_core!(Core, ClientEvent<Waiter>, Waits);

/// What a task of the application waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Waits {
    /// Something on the stream with this sequence number.
    Stream(u64),
    /// Credit to send on the stream with this sequence number.
    Credit(u64),
    /// A message.
    Listener(ListenerKey),
}

/// A connection to a server: a handle that is cheap to clone and may be used by any number of tasks
/// at once.
///
/// Any number of calls and streams share the connection; answers come in the order in which the
/// server finishes. Dropping the future of a call, or a stream, cancels it at the server. Dropping
/// the last handle closes the connection once what was queued is written, within the grace time of
/// [`close`](Self::close).
///
/// ```no_run
/// use std::sync::Arc;
/// use towline_identity::Identity;
/// use towline_rpc::{Client, Message};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let identity = Arc::new(Identity::load("certs", "client")?);
/// let client = Client::builder().identity(identity).connect("tls://127.0.0.1:8443").await?;
/// let reply = client.call(Message::request("customEcho", "hello")).await?.into_result()?;
/// println!("{}", String::from_utf8_lossy(&reply.body));
/// client.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

/// What dies with the last handle.
#[derive(Debug)]
struct Inner {
    shared: Arc<Shared<Core>>,
    peer: Peer,
    local: Text,
    remote: Text,
    call_timeout: Option<Duration>,
    close_grace: Duration,
    net_rpc_pipelining: bool,
    /// Whoever has the one permit may make a net/rpc call; its answer gives it back (docs/wire X16).
    net_rpc_turn: Arc<Semaphore>,
    places: Option<Arc<in_flight::Places>>,
    server_leaves: CancellationToken,
    traces: TraceIds,
}

impl Inner {
    /// Says that it is there, so that the server may speak first.
    fn greet(&self) {
        let state = self.shared.lock();
        // It fits into any frame; if the connection is over already, nobody need know.
        let _queued = self
            .shared
            .enqueue(state, driver::now(), &Message::keep_alive());
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.start_closing(Some(self.close_grace));
    }
}

impl Client {
    /// Settings for a connection; [`ClientBuilder::connect`] makes it.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    fn start<IO>(builder: &ClientBuilder, io: IO, peer: Peer, local: &str, remote: &str) -> Self
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (local, remote) = (Text::from(local), Text::from(remote));
        let seed = builder.seed.unwrap_or_else(driver::seed);
        let core = Core::new(
            builder.limits.clone(),
            builder.compression,
            local.clone(),
            remote.clone(),
            seed,
            driver::now(),
        );
        let shared = Shared::new(core);
        let net_rpc_turn = Arc::new(Semaphore::new(1));
        let places = builder.in_flight.map(in_flight::Places::new);
        let server_leaves = CancellationToken::new();
        // It ends by itself when the last handle is gone.
        drop(tokio::spawn(Driver::new(
            Arc::clone(&shared),
            io,
            Answers {
                net_rpc_turn: Arc::clone(&net_rpc_turn),
                places: places.clone(),
                server_leaves: server_leaves.clone(),
            },
            builder.limits.max_message,
        )));
        let inner = Inner {
            shared,
            peer,
            local,
            remote,
            call_timeout: builder.call_timeout,
            close_grace: builder.close_grace,
            net_rpc_pipelining: builder.net_rpc_pipelining,
            net_rpc_turn,
            places,
            server_leaves,
            traces: TraceIds::new(seed),
        };
        // docs/wire K2: what has no handshake of its own is not seen before it says something.
        if inner.local.as_bytes().starts_with(b"udp://") {
            inner.greet();
        }
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Sends a message that is not answered. Returns when it is queued, which waits while the
    /// connection's outbox is full, up to the message's deadline if it has one.
    ///
    /// # Errors
    ///
    /// [`SendError`] if it is too large, its deadline passed or the connection is over.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, nothing was sent.
    pub async fn send_one_way(&self, mut message: Message) -> Result<(), SendError> {
        let shared = &*self.inner.shared;
        stream::room_for(shared, &message).await?;
        self.inner.traces.begin_call(&mut message);
        let now = driver::now();
        let mut state = shared.lock();
        if let Some(reason) = &state.closed {
            return Err(SendError::Closed(reason.clone()));
        }
        state.core.stamp_one_way(now, &mut message);
        Ok(shared.enqueue(state, now, &message)?)
    }

    /// Begins an upload: `first` names the service and is part 0 (docs/wire S3).
    ///
    /// # Errors
    ///
    /// [`SendError`] if the part is too large, its deadline passed while there was no room to send, or the connection is over.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, nothing was sent.
    pub async fn upload(&self, mut first: Message) -> Result<Upload, SendError> {
        self.inner.traces.begin_call(&mut first);
        Upload::begin(Arc::clone(&self.inner), first).await
    }

    /// Asks for a download: the service is named by `request`, what to send by its Args
    /// (docs/wire S6, T6).
    ///
    /// # Errors
    ///
    /// [`SendError`] if the request is too large, its deadline passed while there was no room to send, or the connection
    /// is over. A refusal comes with the first part.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, nothing was sent.
    pub async fn download(&self, mut request: Message) -> Result<Download, SendError> {
        self.inner.traces.begin_call(&mut request);
        Download::begin(Arc::clone(&self.inner), request).await
    }

    /// Opens a stream in both directions: `first` names the service and is part 0 of the client's half
    /// (docs/wire S19).
    ///
    /// ```no_run
    /// # async fn run(client: towline_rpc::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use towline_rpc::Message;
    ///
    /// let (mut sender, mut receiver) = client.bistream(Message::request("shout", "a")).await?;
    /// sender.send(Message::from_body("b")).await?;
    /// sender.finish(Message::from_body("c")).await?;
    /// while let Some(part) = receiver.next().await {
    ///     println!("{:?}", part.body);
    /// }
    /// receiver.finish().await?.into_result()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SendError`] if the part is too large, its deadline passed while there was no room to send, or the connection is
    /// over. A refusal comes with the first part.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, nothing was sent.
    pub async fn bistream(
        &self,
        mut first: Message,
    ) -> Result<(BistreamSender, BistreamReceiver), SendError> {
        self.inner.traces.begin_call(&mut first);
        bistream::begin(Arc::clone(&self.inner), first).await
    }

    /// Hears from now on what the server sends without being asked, unless somebody listens to its
    /// CallID; each such listener hears every message (docs/wire C17).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use towline_rpc::{
    ///     Client, Context, Message, Server,
    ///     proto::WhenFull,
    ///     server::{ListenConfig, Push},
    /// };
    ///
    /// let server = Server::builder()
    ///     .one_way("hello", |context: Context, _: Message| async move {
    ///         let _ = context.connection().push(Push::new("greeting", "welcome")).await;
    ///     })
    ///     .build();
    /// let listening = server.listen("tcp://127.0.0.1:0", ListenConfig::new()).await?;
    /// let client = Client::builder().connect(&listening.endpoint().to_string()).await?;
    /// let mut pushes = client.listen(WhenFull::Wait);
    /// client.send_one_way(Message::request("hello", "")).await?;
    /// let push = pushes.next().await.expect("the connection lives")?;
    /// assert_eq!(push.body, "welcome");
    /// assert_eq!(push.hdr.service_name, "srv.SendMessage('greeting')");
    /// # Ok(())
    /// # }
    /// ```
    pub fn listen(&self, when_full: WhenFull) -> Listener {
        Listener::begin(Arc::clone(&self.inner), None, when_full)
    }

    /// Hears from now on every message with this CallID that answers no call. The latest listener of
    /// a CallID hears; the one before it comes to its end.
    pub fn listen_for(&self, call_id: impl Into<Text>, when_full: WhenFull) -> Listener {
        Listener::begin(Arc::clone(&self.inner), Some(call_id.into()), when_full)
    }

    /// A CallID that no call has had (docs/wire M7): to listen to before the message is sent whose header gets it.
    ///
    /// ```
    /// # async fn run(client: towline_rpc::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use towline_rpc::{Message, proto::WhenFull};
    ///
    /// let mut order = Message::request("order", "coffee");
    /// order.hdr.call_id = client.new_call_id();
    /// let mut news = client.listen_for(order.hdr.call_id.clone(), WhenFull::Wait);
    /// client.send_one_way(order).await?;
    /// while let Some(told) = news.next().await {
    ///     println!("{:?}", told?.body);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn new_call_id(&self) -> Text {
        self.inner.shared.lock().core.new_call_id()
    }

    /// Messages that came and that nobody waited for or listened to (docs/wire C9, C17).
    pub fn unclaimed(&self) -> u64 {
        self.inner.shared.lock().core.unclaimed()
    }

    /// Who is at the other end: on `tls://` its verified key.
    pub fn peer(&self) -> &Peer {
        &self.inner.peer
    }

    /// This end's address as a URL (docs/wire M5).
    pub fn local_addr(&self) -> &Text {
        &self.inner.local
    }

    /// The other end's address as a URL.
    pub fn remote_addr(&self) -> &Text {
        &self.inner.remote
    }

    /// Calls and streams that have not ended.
    pub fn in_flight(&self) -> usize {
        self.inner.shared.lock().core.in_flight()
    }

    /// Bytes of all calls and streams that wait to be written: those that the transport has not taken
    /// yet.
    pub fn unsent(&self) -> usize {
        self.inner.shared.lock().core.unsent()
    }

    /// True once the connection is over.
    pub fn is_closed(&self) -> bool {
        self.inner.shared.lock().closed.is_some()
    }

    /// Waits for the end of the connection, and tells why.
    ///
    /// # Cancel safety
    ///
    /// Safe: dropping it changes nothing.
    pub async fn closed(&self) -> CloseReason {
        self.inner.shared.closed().await
    }

    /// Waits until the server has refused a call in the way of the original, which closes the connection at the next message
    /// after 3 s: what is called later should go over another connection (docs/wire X9). A [`Pool`](crate::Pool) sees to
    /// that by itself. It never happens with a server of towline.
    ///
    /// # Cancel safety
    ///
    /// Safe: dropping it changes nothing.
    pub async fn server_leaves(&self) {
        self.inner.server_leaves.cancelled().await;
    }

    /// Closes the connection: writes what is queued, for at most the grace time (default 2 s), ends
    /// every call that still waits with [`CallError::Closed`](crate::CallError::Closed), and returns when the transport is
    /// closed. For all handles; a second call returns at once.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the closing goes on.
    pub async fn close(&self) {
        let grace = self.inner.close_grace;
        self.inner.shared.start_closing(Some(grace));
        self.closed().await;
    }

    fn close_reason(&self) -> CloseReason {
        self.inner
            .shared
            .lock()
            .closed
            .clone()
            .unwrap_or(CloseReason::ClosedHere)
    }
}

fn cancel(shared: &Shared<Core>, seqno: u64) {
    cancel_in(shared, shared.lock(), seqno);
}

fn cancel_in(shared: &Shared<Core>, mut state: MutexGuard<'_, State<Core>>, seqno: u64) {
    // The other half of a bistream may wait.
    let waiting =
        [Waits::Stream(seqno), Waits::Credit(seqno)].map(|waits| state.take_stream_waker(waits));
    state.core.cancel(driver::now(), seqno);
    shared.wake_driver(state);
    waiting.into_iter().flatten().for_each(Waker::wake);
}

/// Passes answers to those who wait for them.
struct Answers {
    net_rpc_turn: Arc<Semaphore>,
    places: Option<Arc<in_flight::Places>>,
    server_leaves: CancellationToken,
}

impl Answers {
    /// Nobody need wait for a turn or a place any more.
    fn close(&self) {
        self.net_rpc_turn.close();
        if let Some(places) = &self.places {
            places.close();
        }
    }
}

impl Drop for Answers {
    /// The driver has ended, by itself or by force.
    fn drop(&mut self) {
        self.close();
    }
}

impl Owner<Core> for Answers {
    /// Each wakes a task: where very many are woken at once, other threads come to take them, which costs more than
    /// system calls do.
    const BATCH_MOST: usize = driver::BATCH_MESSAGES;

    fn handle_event(
        &mut self,
        shared: &Arc<Shared<Core>>,
        event: ClientEvent<Waiter>,
    ) -> Option<Waker> {
        match event {
            // Whoever waited may have gone: its cancel is under way.
            ClientEvent::Ended { waiter, result } => waiter.fill(result),
            ClientEvent::StreamReady { seqno } => {
                shared.lock().take_stream_waker(Waits::Stream(seqno))
            }
            ClientEvent::MaySend { seqno } => shared.lock().take_stream_waker(Waits::Credit(seqno)),
            ClientEvent::NetRpcAnswered => {
                self.net_rpc_turn.add_permits(1);
                None
            }
            ClientEvent::ServerLeaves => {
                self.server_leaves.cancel();
                None
            }
            ClientEvent::MessageReady { listener } => {
                shared.lock().take_stream_waker(Waits::Listener(listener))
            }
        }
    }

    fn begin_events(&mut self) {}

    fn gains_by_waiting(&self, core: &Core) -> bool {
        core.in_flight() > 1
    }

    fn poll(&mut self, _: &Arc<Shared<Core>>, _: &mut task::Context<'_>) {}

    fn is_idle(&self) -> bool {
        true
    }

    fn handle_close(&mut self, shared: &Arc<Shared<Core>>, _: &CloseReason) {
        self.close();
        // Dropping a waiter tells its caller; outside the lock, as it wakes a task.
        let waiters = shared.lock().core.close();
        drop(waiters);
    }
}
