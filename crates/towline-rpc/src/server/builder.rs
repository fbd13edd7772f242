//! Services and settings of a server.

use std::{fmt::Display, future::Future, sync::Arc};

use towline_codec::Text;
use towline_identity::{Peer, Verdict};

use super::{
    Authorise, Connections, Context, DownloadSink, NetRpcService, RegisterError, Server, Settings,
    UploadParts,
    limits::HandlerLimits,
    services::{CallService, Entry, OneWayService, Services, StreamService},
};
#[cfg(feature = "tower")]
use crate::layers::{CallHandler, CallRequest, LayerOf, ServerLayer, server_layer};
use crate::{
    driver,
    proto::{Compression, Concurrency, Limits, Message},
    service::{LISTING, MethodInfo, NoError, Registry, ServiceInfo, TypedService},
    trace::TraceIds,
};

/// A layer around the handlers of calls or of streams.
#[cfg(feature = "tower")]
pub(super) struct Layer(pub(super) ServerLayer);

#[cfg(feature = "tower")]
impl std::fmt::Debug for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Layer")
    }
}

/// Services and settings of a server.
///
/// There is one table of services for each kind of request; a name may stand in several, and the
/// last registration of a name wins (docs/wire C3).
#[derive(Debug)]
pub struct ServerBuilder {
    services: Services,
    limits: Limits,
    concurrency: Concurrency,
    compression: Compression,
    mirror: bool,
    authorise: Option<Authorise>,
    handler_limits: HandlerLimits,
    #[cfg(feature = "tower")]
    layers: Vec<Layer>,
    #[cfg(feature = "tower")]
    stream_layers: Vec<Layer>,
    typed: Vec<ServiceInfo>,
}

impl Default for ServerBuilder {
    fn default() -> Self {
        Self {
            services: Services::default(),
            limits: Limits::default(),
            concurrency: Concurrency::default(),
            compression: Compression::default(),
            mirror: true,
            authorise: None,
            handler_limits: HandlerLimits::default(),
            #[cfg(feature = "tower")]
            layers: Vec::new(),
            #[cfg(feature = "tower")]
            stream_layers: Vec::new(),
            typed: Vec::new(),
        }
    }
}

impl ServerBuilder {
    /// A service that answers each request with one reply. An error becomes the reply's error text
    /// (docs/wire E1).
    #[must_use]
    pub fn call<F, Fut, E>(mut self, name: impl Into<Text>, handler: F) -> Self
    where
        F: Fn(Context, Message) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Message, E>> + Send + 'static,
        E: Display + 'static,
    {
        self.services
            .calls
            .insert(name.into(), Entry::new(CallService(Arc::new(handler))));
        self
    }

    /// A service for messages that are not answered.
    #[must_use]
    pub fn one_way<F, Fut>(mut self, name: impl Into<Text>, handler: F) -> Self
    where
        F: Fn(Context, Message) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.services
            .one_ways
            .insert(name.into(), Entry::new(OneWayService(Arc::new(handler))));
        self
    }

    /// A service that takes an upload: the first part as a message, the others from
    /// [`UploadParts`]; it answers once (docs/wire S3).
    #[must_use]
    pub fn upload<F, Fut, E>(mut self, name: impl Into<Text>, handler: F) -> Self
    where
        F: Fn(Context, Message, UploadParts) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Message, E>> + Send + 'static,
        E: Display + 'static,
    {
        self.services
            .uploads
            .insert(name.into(), Entry::new(StreamService::new(handler)));
        self
    }

    /// A service that sends a download through a [`DownloadSink`] and then answers once (docs/wire
    /// S6).
    #[must_use]
    pub fn download<F, Fut, E>(mut self, name: impl Into<Text>, handler: F) -> Self
    where
        F: Fn(Context, Message, DownloadSink) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Message, E>> + Send + 'static,
        E: Display + 'static,
    {
        self.services
            .downloads
            .insert(name.into(), Entry::new(StreamService::new(handler)));
        self
    }

    /// A service that takes parts and sends parts, in any order, and then answers once (docs/wire
    /// S19). The first part comes as a message.
    ///
    /// ```
    /// use towline_rpc::{Context, Message, Server, server::{DownloadSink, UploadParts}};
    ///
    /// let server = Server::builder().bistream(
    ///     "shout",
    ///     |_: Context, first: Message, mut parts: UploadParts, mut sink: DownloadSink| async move {
    ///         let mut part = first;
    ///         loop {
    ///             sink.send(Message::from_body(part.body.to_ascii_uppercase())).await?;
    ///             match parts.next().await {
    ///                 Ok(Some(next)) => part = next,
    ///                 // The last part has been taken, or the reply says what went wrong.
    ///                 _ => return Ok::<_, towline_rpc::SendError>(Message::new()),
    ///             }
    ///         }
    ///     },
    /// );
    /// ```
    #[must_use]
    pub fn bistream<F, Fut, E>(mut self, name: impl Into<Text>, handler: F) -> Self
    where
        F: Fn(Context, Message, UploadParts, DownloadSink) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Message, E>> + Send + 'static,
        E: Display + 'static,
    {
        let handler = move |context, first, (parts, sink): (UploadParts, DownloadSink)| {
            handler(context, first, parts, sink)
        };
        self.services
            .bistreams
            .insert(name.into(), Entry::new(StreamService::new(handler)));
        self
    }

    /// A service in the style of Go's net/rpc (docs/wire C23).
    ///
    /// # Errors
    ///
    /// [`RegisterError`] if there is a service of its name, or nobody could call it.
    pub fn net_rpc(mut self, service: NetRpcService) -> Result<Self, RegisterError> {
        self.services.net_rpc.add(service)?;
        Ok(self)
    }

    /// A typed service, as [`service`](macro@crate::service) makes it of a trait. The server lists it to who
    /// asks (docs/wire V8).
    ///
    /// # Errors
    ///
    /// [`RegisterError::Duplicate`] if there is one of its name.
    pub fn service(self, service: impl TypedService) -> Result<Self, RegisterError> {
        let mut registry = Registry::new(self);
        service.register(&mut registry);
        let (mut builder, info) = registry.finish();
        if builder.typed.iter().any(|other| other.name == info.name) {
            return Err(RegisterError::Duplicate(Text::from(info.name)));
        }
        builder.typed.push(info);
        Ok(builder)
    }

    /// Who may call which service: asked for every request before its handler runs, on the
    /// connection's task, so it must not block. Default: everybody may call everything. Who may
    /// connect at all is [`ListenConfig::authorise`](super::ListenConfig::authorise).
    ///
    /// A request that is refused gets an error reply without the reason, which is logged
    /// (docs/wire E12). So does one at which the hook panics.
    ///
    /// ```
    /// use towline_rpc::Server;
    /// use towline_identity::Verdict;
    ///
    /// let server = Server::builder().authorise(|peer, service| match service {
    ///     "wipe" if !peer.emails().iter().any(|email| email == "ada@example.com") => {
    ///         Verdict::refuse("only ada may wipe")
    ///     }
    ///     _ => Verdict::Allow,
    /// });
    /// ```
    #[must_use]
    pub fn authorise(
        mut self,
        hook: impl Fn(&Peer, &str) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        self.authorise = Some(Authorise(Arc::new(hook)));
        self
    }

    /// How frames are compressed until a client has shown how it does it (docs/wire F11). Default:
    /// S2.
    #[must_use]
    pub const fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Whether to compress as the client does (docs/wire F11). Default: true. With false every frame
    /// is compressed as [`compression`](Self::compression) says.
    #[must_use]
    pub const fn mirror_compression(mut self, mirror: bool) -> Self {
        self.mirror = mirror;
        self
    }

    /// Limits and timers of each connection.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How many handlers run at once for each connection.
    #[must_use]
    pub const fn concurrency(mut self, concurrency: Concurrency) -> Self {
        self.concurrency = concurrency;
        self
    }

    /// How many handlers run at once for all connections together. Default: no limit but those of the connections
    /// ([`concurrency`](Self::concurrency)). A call beyond it does not wait: it is refused, with a word that it was not
    /// begun, which a client tells by [`CallError::Overloaded`](crate::CallError::Overloaded) and a
    /// [`Pool`](crate::Pool) answers by trying elsewhere or later (docs/wire E14, E15). Streams count while they are open.
    #[must_use]
    pub fn max_running(mut self, handlers: usize) -> Self {
        self.handler_limits.limit_server(handlers);
        self
    }

    /// How many handlers of one service run at once, for all connections together; as
    /// [`max_running`](Self::max_running) otherwise. `name` is that of a service as it is called, or of a typed or net/rpc
    /// service, for all methods together that have no limit of their own. A name that no service has limits nothing.
    ///
    /// ```
    /// use towline_rpc::Server;
    ///
    /// let server = Server::builder().max_running(5_000).max_running_of("Inventory.rebuild", 2);
    /// # drop(server);
    /// ```
    #[must_use]
    pub fn max_running_of(mut self, name: impl Into<Text>, handlers: usize) -> Self {
        self.handler_limits.limit_service(name.into(), handlers);
        self
    }

    /// Puts a layer of `tower` around the handlers of all calls without streams, those of typed services included (net/rpc's are
    /// not). Of several the first is the outermost, as with `tower::ServiceBuilder`. What a layer fails with is the error
    /// text of the call. See [`layers`](crate::layers).
    #[cfg(feature = "tower")]
    #[must_use]
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: LayerOf<CallHandler, CallRequest> + Send + Sync + 'static,
    {
        self.layers.push(Layer(server_layer(layer)));
        self
    }

    /// As [`layer`](Self::layer), around the handlers of all uploads, downloads and bistreams, those of typed services
    /// included. The request is the first message, and what the layer waits for is the final reply: a time limit is one for
    /// the whole stream. The parts go past the layer.
    #[cfg(feature = "tower")]
    #[must_use]
    pub fn stream_layer<L>(mut self, layer: L) -> Self
    where
        L: LayerOf<CallHandler, CallRequest> + Send + Sync + 'static,
    {
        self.stream_layers.push(Layer(server_layer(layer)));
        self
    }

    /// The server. It serves nobody yet: see [`Server::serve_io`] and [`Server::listen`].
    pub fn build(mut self) -> Server {
        let mut registry = Registry::new(Self::default());
        listing(&mut registry, std::mem::take(&mut self.typed));
        let (listing, _) = registry.finish();
        self.services.calls.extend(listing.services.calls);
        #[cfg(feature = "tower")]
        self.services.put_layers(&self.layers, &self.stream_layers);
        Server {
            shared: Arc::new(Settings {
                services: self.services,
                limits: self.limits,
                concurrency: self.concurrency,
                compression: self.compression,
                mirror: self.mirror,
                authorise: self.authorise,
                handler_limits: self.handler_limits,
                connections: Connections::new(),
                activity: Arc::default(),
                traces: TraceIds::new(driver::seed()),
            }),
        }
    }
}

/// docs/wire V8
fn listing(registry: &mut Registry, services: Vec<ServiceInfo>) {
    let (service, method) = LISTING.split_once('.').unwrap_or((LISTING, ""));
    registry.service(service, "");
    let method = MethodInfo {
        name: method.to_owned(),
        ..MethodInfo::default()
    };
    let services = Arc::new(services);
    registry.unary(method, move |_: Context, (): ()| {
        let services = Arc::clone(&services);
        async move { Ok::<_, NoError>(Vec::clone(&services)) }
    });
}
