//! Serving calls and streams.

mod activity;
mod builder;
mod connection;
mod connections;
mod echo;
mod handlers;
#[cfg(feature = "tower")]
mod layered;
mod limits;
mod listening;
mod net_rpc;
mod pace;
mod push;
mod services;
mod session;
mod streams;

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{Arc, OnceLock},
};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use towline_codec::{Text, greenpack::Timestamp};
use towline_identity::{Peer, Verdict};
use towline_transport::{AcceptError, PskLayer, Records};

pub use self::{
    activity::Activity,
    builder::ServerBuilder,
    connection::{Connection, ConnectionId},
    connections::{ConnectionEvent, ConnectionEvents, Connections, Pushed},
    echo::echo_bistream,
    listening::{ListenConfig, ListenError, Listening},
    net_rpc::{NetRpcService, RegisterError},
    push::Push,
    streams::{DownloadSink, UploadParts},
};
use self::{connection::ConnectionInfo, handlers::Handlers, services::Services};
use crate::{
    client::Client,
    close::CloseReason,
    driver::{self, Driver, Shared, delegate_core},
    proto::{
        self, Compression, Concurrency, EncodedFrame, Hdr, Limits, Message, Now, Received,
        ServerEvent, TooLarge, Violation,
    },
    trace::TraceIds,
};

/// Bytes on their way between the two ends of one process.
const CONNECT_HERE: usize = 256 << 10;

type Core = proto::Server;

delegate_core!(Core, ServerEvent, Waits);

/// What a handler waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Waits {
    /// The next part of this stream.
    Part(proto::CallKey),
    /// Credit to send on this stream.
    Credit(proto::CallKey),
}

/// A set of services and how they are served: cheap to clone, good for any number of connections of
/// any kind.
///
/// Requests are handled side by side; replies leave in the order in which handlers finish. A handler
/// that waits for something runs in a task of its own. One whose caller no longer waits, or whose
/// connection is lost, is dropped at its next `.await` (docs/wire C13, C18). One that panics fails its
/// own call and nothing else (docs/wire E6).
///
/// ```
/// use towline_rpc::{Context, Message, Server};
///
/// async fn shout(_: Context, request: Message) -> Result<Message, std::str::Utf8Error> {
///     let text = std::str::from_utf8(&request.body)?;
///     Ok(Message::from_body(text.to_uppercase()))
/// }
///
/// let server = Server::builder().call("shout", shout).build();
/// ```
#[derive(Debug, Clone)]
pub struct Server {
    shared: Arc<Settings>,
}

#[derive(Debug)]
struct Settings {
    services: Services,
    limits: Limits,
    concurrency: Concurrency,
    compression: Compression,
    mirror: bool,
    authorise: Option<Authorise>,
    handler_limits: limits::HandlerLimits,
    connections: Connections,
    activity: Arc<activity::Counters>,
    traces: TraceIds,
}

impl Settings {
    /// Whether this caller may have this request handled (docs/wire E12).
    fn authorises(&self, caller: &Context, request: &Message) -> bool {
        let Some(Authorise(hook)) = &self.authorise else {
            return true;
        };
        let service = &request.hdr.service_name;
        let name = service.to_string_lossy();
        // It runs in the connection's task, which its other calls need.
        let verdict = catch_unwind(AssertUnwindSafe(|| hook(caller.peer(), &name)));
        match verdict {
            Ok(Verdict::Allow) => true,
            Ok(Verdict::Refuse(why)) => {
                tracing::warn!(peer = %caller.peer(), ?service, why = ?why, "refused a request");
                false
            }
            Err(_) => {
                tracing::error!(
                    peer = %caller.peer(),
                    ?service,
                    "refused a request: the hook that authorises panicked"
                );
                false
            }
        }
    }
}

/// The hook of [`ServerBuilder::authorise`].
#[derive(Clone)]
struct Authorise(Arc<AuthoriseHook>);

type AuthoriseHook = dyn Fn(&Peer, &str) -> Verdict + Send + Sync;

impl std::fmt::Debug for Authorise {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authorise")
    }
}

/// Who is calling, over which connection. Given to every handler.
#[derive(Debug, Clone)]
pub struct Context {
    connection: Connection,
    header: Option<Arc<Hdr>>,
}

impl Context {
    /// Who is calling: on `tls://` the verified key and the e-mails of its certificate.
    pub fn peer(&self) -> &Peer {
        self.connection.peer()
    }

    /// This end's address as a URL (docs/wire M5).
    pub fn local_addr(&self) -> &Text {
        self.connection.local_addr()
    }

    /// The caller's address as a URL.
    pub fn remote_addr(&self) -> &Text {
        self.connection.remote_addr()
    }

    /// The connection that the request came over: to push to its client, now or later.
    pub const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The header of the request, for methods of net/rpc and typed services. Other handlers have it in their
    /// message, and `None` here.
    pub fn header(&self) -> Option<&Hdr> {
        self.header.as_deref()
    }

    pub(crate) fn with_header(mut self, header: Box<Hdr>) -> Self {
        self.header = Some(Arc::from(header));
        self
    }

    /// What the caller of a typed method said beside its arguments, by
    /// [`Caller::with_metadata`](crate::service::Caller::with_metadata).
    pub fn metadata(&self, name: &str) -> Option<&Text> {
        self.header()?.args.get(name.as_bytes())
    }

    /// When the caller of a typed method stops waiting, in wall time. The method is dropped then.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.header()?.deadline
    }

    /// All connections of the server: to push to other clients.
    pub fn connections(&self) -> Connections {
        self.connection.connections()
    }
}

impl Server {
    /// Services and settings of a server.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// Who is connected, by [`listen`](Self::listen) or [`serve_io`](Self::serve_io): to push to them,
    /// and to hear of those who come and go.
    pub fn connections(&self) -> Connections {
        self.shared.connections.clone()
    }

    /// What it has been asked for so far.
    pub fn activity(&self) -> Activity {
        self.shared.activity.view()
    }

    /// A client of this server in the same process, without a transport: for tests, and for programs that are
    /// their own client. The connection lives in a task of its own until the client is closed or dropped. Must be
    /// called within a tokio runtime.
    pub fn connect_here(&self) -> Client {
        let (here, there) = tokio::io::duplex(CONNECT_HERE);
        let server = self.clone();
        let name = "mem://here";
        // It ends with the client: the client's end of the pipe is closed.
        drop(tokio::spawn(async move {
            let peer = Peer::unauthenticated(name);
            let token = CancellationToken::new();
            server.serve_io(there, peer, name, name, token).await;
        }));
        let peer = Peer::unauthenticated(name);
        Client::builder().from_io(here, peer, name, name)
    }

    /// As [`serve_io`](Self::serve_io), for a [`Connection`](towline_transport::Connection) or what becomes one, as a
    /// stream of a multiplexed session: peer and addresses are its own.
    ///
    /// # Cancel safety
    ///
    /// As [`serve_io`](Self::serve_io).
    pub async fn serve(
        &self,
        connection: impl Into<towline_transport::Connection>,
        shutdown: CancellationToken,
    ) -> CloseReason {
        let towline_transport::Connection {
            io,
            peer,
            local,
            remote,
            ..
        } = connection.into();
        self.serve_io(io, peer, &local, &remote, shutdown).await
    }

    /// As [`serve`](Self::serve), with the pre-shared-key layer on top, which `layer` describes but for its records: they
    /// hold messages.
    ///
    /// # Errors
    ///
    /// [`AcceptError`] if the layer's handshake fails: no handler has seen anything of the connection.
    ///
    /// # Cancel safety
    ///
    /// As [`serve_io`](Self::serve_io).
    pub async fn serve_psk(
        &self,
        connection: impl Into<towline_transport::Connection>,
        layer: &PskLayer,
        shutdown: CancellationToken,
    ) -> Result<CloseReason, AcceptError> {
        let layer = layer.clone().records(Records::Messages);
        let sealed = layer.accept(connection).await?;
        Ok(self.serve(sealed, shutdown).await)
    }

    /// Serves one connection that is there already, until it ends, in the caller's task: any byte
    /// stream will do. `local` and `remote` are what the two ends are called in headers.
    ///
    /// When `shutdown` is cancelled no new call is started; the connection ends when the running
    /// ones have been answered.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the connection and the handlers that run for it.
    pub async fn serve_io<IO>(
        &self,
        io: IO,
        peer: Peer,
        local: &str,
        remote: &str,
        shutdown: CancellationToken,
    ) -> CloseReason
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let settings = &self.shared;
        let (local, remote) = (Text::from(local), Text::from(remote));
        let core = Core::new(
            settings.limits.clone(),
            settings.concurrency,
            settings.compression,
            settings.mirror,
            local.clone(),
            remote.clone(),
            driver::now(),
        );
        let shared = Shared::new(core);
        let registry = settings.connections.registry();
        let connection = Connection {
            info: Arc::new(ConnectionInfo {
                id: registry.next_id(),
                peer,
                local,
                remote,
                shared: Arc::downgrade(&shared),
                registry: Arc::downgrade(registry),
                reason: OnceLock::new(),
                gone: CancellationToken::new(),
            }),
        };
        let entered = registry.enter(connection.clone());
        let handlers = Handlers::new(
            Arc::clone(settings),
            Context {
                connection,
                header: None,
            },
        );
        let mut driver = Driver::new(
            Arc::clone(&shared),
            io,
            handlers,
            settings.limits.max_message,
        );
        let reason = {
            let mut shutdown = pin!(shutdown.cancelled());
            let mut draining = false;
            poll_fn(|cx| {
                if !draining && shutdown.as_mut().poll(cx).is_ready() {
                    draining = true;
                    shared.lock().core.drain(driver::now());
                    shared.start_closing(None);
                }
                std::pin::Pin::new(&mut driver).poll(cx)
            })
            .await
        };
        entered.ended(reason.clone());
        drop(entered);
        driver.owner_mut().stop().await;
        reason
    }
}
