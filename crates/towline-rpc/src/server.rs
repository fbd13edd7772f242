//! Serving calls and streams.

mod builder;
mod handlers;
mod listening;
mod pace;
mod services;
mod streams;

use std::{future::poll_fn, pin::pin, sync::Arc};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use towline_codec::Text;
use towline_identity::{Peer, Verdict};

pub use self::{
    builder::ServerBuilder,
    listening::{ListenConfig, ListenError, Listening},
    streams::{DownloadSink, UploadParts},
};
use self::{handlers::Handlers, services::Services};
use crate::{
    close::CloseReason,
    driver::{self, Driver, Shared, delegate_core},
    proto::{
        self, Compression, Concurrency, EncodedFrame, Limits, Message, Now, Received, ServerEvent,
        TooLarge, Violation,
    },
};

type Core = proto::Server;

delegate_core!(Core, ServerEvent, proto::CallKey);

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
}

impl Settings {
    /// Whether this caller may have this request handled (docs/wire E12).
    fn authorises(&self, caller: &Context, request: &Message) -> bool {
        let Some(Authorise(hook)) = &self.authorise else {
            return true;
        };
        let service = &request.hdr.service_name;
        match hook(caller.peer(), &service.to_string_lossy()) {
            Verdict::Allow => true,
            Verdict::Refuse(why) => {
                tracing::warn!(peer = %caller.peer(), ?service, why = ?why, "refused a request");
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
    connection: Arc<ConnectionInfo>,
}

#[derive(Debug)]
struct ConnectionInfo {
    peer: Peer,
    local: Text,
    remote: Text,
}

impl Context {
    /// Who is calling: on `tls://` the verified key and the e-mails of its certificate.
    pub fn peer(&self) -> &Peer {
        &self.connection.peer
    }

    /// This end's address as a URL (docs/wire M5).
    pub fn local_addr(&self) -> &Text {
        &self.connection.local
    }

    /// The caller's address as a URL.
    pub fn remote_addr(&self) -> &Text {
        &self.connection.remote
    }
}

impl Server {
    /// Services and settings of a server.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
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
        let connection = Arc::new(ConnectionInfo {
            peer,
            local,
            remote,
        });
        let handlers = Handlers::new(Arc::clone(settings), Context { connection });
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
                    shared.lock().core.drain();
                    shared.start_closing();
                }
                std::pin::Pin::new(&mut driver).poll(cx)
            })
            .await
        };
        driver.owner_mut().stop().await;
        reason
    }
}
