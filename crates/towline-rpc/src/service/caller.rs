//! Calling typed methods.

use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use futures_core::Stream;
use futures_util::{StreamExt as _, future::BoxFuture};
use towline_codec::{Text, greenpack::Greenpack};

use super::{
    Arguments, Encoding, Items, LISTING, Opened, ServiceError, ServiceInfo, Watched,
    streams::Receiver,
};
#[cfg(feature = "tower")]
use crate::layers::{CallSender, LayerOf, OutgoingCall, OutgoingStream, StreamSender};
use crate::{
    client::{CallOptions, Client},
    driver,
    error::{CallError, SendError},
    pool::Pool,
    proto::{Args, Message, ServiceKind},
};

/// What generated clients call through: a connection, and what is said with every call. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Caller {
    target: Target,
    #[cfg(feature = "tower")]
    calls: Option<CallSender>,
    #[cfg(feature = "tower")]
    streams: Option<StreamSender>,
    encoding: Encoding,
    options: CallOptions,
    metadata: Args,
}

/// What carries the calls.
#[derive(Debug, Clone)]
enum Target {
    Client(Client),
    Pool(Pool),
}

impl Target {
    async fn client(&self) -> Result<Client, CallError> {
        match self {
            Self::Client(client) => Ok(client.clone()),
            Self::Pool(pool) => pool.connection().await,
        }
    }

    async fn call(&self, message: Message, options: CallOptions) -> Result<Message, CallError> {
        match self {
            Self::Client(client) => client.call_with(message, options).await,
            Self::Pool(pool) => pool.call_with(message, options).await,
        }
    }
}

impl From<Client> for Caller {
    fn from(client: Client) -> Self {
        Self::of(Target::Client(client))
    }
}

impl From<Pool> for Caller {
    fn from(pool: Pool) -> Self {
        Self::of(Target::Pool(pool))
    }
}

impl Caller {
    fn of(target: Target) -> Self {
        Self {
            target,
            #[cfg(feature = "tower")]
            calls: None,
            #[cfg(feature = "tower")]
            streams: None,
            encoding: Encoding::default(),
            options: CallOptions::new(),
            metadata: Args::new(),
        }
    }

    /// How values become bodies. Default: greenpack.
    #[must_use]
    pub const fn with_encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// How long a call may take; its deadline travels to the server. Default: the client's
    /// [`call_timeout`](crate::client::ClientBuilder::call_timeout) for calls, none for streams. `None` waits
    /// for ever.
    #[must_use]
    pub const fn with_timeout(mut self, limit: Option<Duration>) -> Self {
        self.options = self.options.timeout(limit);
        self
    }

    /// How often a call is made at most, the first time included, over a [`Pool`]. Default: 3.
    #[must_use]
    pub const fn with_attempts(mut self, attempts: u32) -> Self {
        self.options = self.options.attempts(attempts);
        self
    }

    /// Says something beside the arguments with every call: the server's
    /// [`Context::metadata`](crate::Context::metadata) has it. The names `encoding` and `towline` are taken.
    #[must_use]
    pub fn with_metadata(mut self, name: impl Into<Text>, value: impl Into<Text>) -> Self {
        self.metadata.insert(name.into(), value.into());
        self
    }

    /// The connection; of a pool the one with the least to do, for which it waits.
    ///
    /// # Errors
    ///
    /// As [`Pool::connection`]; none for a client.
    ///
    /// # Cancel safety
    ///
    /// Safe: dropping it changes nothing.
    pub async fn client(&self) -> Result<Client, CallError> {
        self.target.client().await
    }

    /// Puts a layer of `tower` around the calls without streams that are made through this. Of several the last is the
    /// outermost. See [`layers`](crate::layers).
    ///
    /// ```
    /// # async fn run(client: towline_rpc::Client) {
    /// use std::time::Duration;
    /// use tower::timeout::TimeoutLayer;
    /// use towline_rpc::service::Caller;
    ///
    /// let caller = Caller::from(client).layer(&TimeoutLayer::new(Duration::from_secs(2)));
    /// # drop(caller);
    /// # }
    /// ```
    #[cfg(feature = "tower")]
    #[must_use]
    pub fn layer(mut self, layer: &impl LayerOf<CallSender, OutgoingCall>) -> Self {
        let calls = self.calls.unwrap_or_else(|| match &self.target {
            Target::Client(client) => CallSender::client(client.clone()),
            Target::Pool(pool) => CallSender::pool(pool.clone()),
        });
        self.calls = Some(calls.layered(layer));
        self
    }

    /// As [`layer`](Self::layer), around the uploads, downloads and bistreams that are begun through this. What the layer
    /// sees is the first message, and what it waits for is the final reply: a time limit is one for the whole stream, a
    /// limit in number counts streams that are open. When it answers before that, the stream is cancelled. The parts go past
    /// it. Streams of [`client`](Self::client) go past it altogether.
    ///
    /// ```
    /// # async fn run(client: towline_rpc::Client) {
    /// use tower::limit::ConcurrencyLimitLayer;
    /// use towline_rpc::service::Caller;
    ///
    /// // No more than ten streams at once; the eleventh waits.
    /// let caller = Caller::from(client).stream_layer(&ConcurrencyLimitLayer::new(10));
    /// # drop(caller);
    /// # }
    /// ```
    #[cfg(feature = "tower")]
    #[must_use]
    pub fn stream_layer(mut self, layer: &impl LayerOf<StreamSender, OutgoingStream>) -> Self {
        let streams = self.streams.unwrap_or_else(|| match &self.target {
            Target::Client(client) => StreamSender::client(client.clone()),
            Target::Pool(pool) => StreamSender::pool(pool.clone()),
        });
        self.streams = Some(streams.layered(layer));
        self
    }

    async fn call(&self, message: Message, options: CallOptions) -> Result<Message, CallError> {
        #[cfg(feature = "tower")]
        if let Some(calls) = &self.calls {
            return calls.send(OutgoingCall { message, options }).await;
        }
        self.target.call(message, options).await
    }

    async fn open<E>(
        &self,
        kind: ServiceKind,
        first: Message,
    ) -> Result<(Opened, Watched), ServiceError<E>> {
        #[cfg(feature = "tower")]
        if let Some(streams) = &self.streams {
            return Ok(streams.open(kind, first).await?);
        }
        let client = self.client().await?;
        let opened = Opened::of(&client, kind, first).await?;
        Ok((opened, Watched::default()))
    }

    /// The typed services that the server has (docs/wire V8).
    ///
    /// # Errors
    ///
    /// [`ServiceError`]; the original's servers have no listing. A server of towline without typed services answers by
    /// none.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the call.
    pub async fn services(&self) -> Result<Vec<ServiceInfo>, ServiceError<Text>> {
        self.unary(LISTING, &()).await
    }

    /// Calls a method without streams.
    ///
    /// # Errors
    ///
    /// [`ServiceError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the call at the server.
    pub async fn unary<A: Arguments, R: Greenpack, E: Greenpack>(
        &self,
        method: &str,
        arguments: &A,
    ) -> Result<R, ServiceError<E>> {
        self.unary_with(method, arguments, self.options).await
    }

    /// As [`unary`](Self::unary), of a method that may be carried out more than once without harm: a [`Pool`] makes
    /// the call again when its connection is lost. It is what `#[idempotent]` on a method makes of it.
    ///
    /// # Errors
    ///
    /// [`ServiceError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the call at the server.
    pub async fn unary_idempotent<A: Arguments, R: Greenpack, E: Greenpack>(
        &self,
        method: &str,
        arguments: &A,
    ) -> Result<R, ServiceError<E>> {
        let options = self.options.idempotent();
        self.unary_with(method, arguments, options).await
    }

    async fn unary_with<A: Arguments, R: Greenpack, E: Greenpack>(
        &self,
        method: &str,
        arguments: &A,
        options: CallOptions,
    ) -> Result<R, ServiceError<E>> {
        let request = self.request(method, arguments);
        let reply = self.call(request, options).await?;
        self.value(reply)
    }

    /// Calls a method that takes a stream.
    ///
    /// # Errors
    ///
    /// [`ServiceError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the call at the server.
    pub async fn upload<A: Arguments, T: Greenpack, R: Greenpack, E: Greenpack>(
        &self,
        method: &str,
        arguments: &A,
        items: impl Stream<Item = T> + Send,
    ) -> Result<R, ServiceError<E>> {
        let first = self.stream(method, arguments);
        let (opened, watched) = self.open(ServiceKind::Upload, first).await?;
        let mut upload = match opened.into_upload() {
            Ok(upload) => upload,
            Err(answered) => return self.value(answered),
        };
        let sending = async {
            let mut items = pin!(items);
            // An upload may be over while its next item takes its time.
            while let Some(item) = poll_fn(|cx| match items.poll_next_unpin(cx) {
                Poll::Ready(item) => Poll::Ready(item),
                Poll::Pending => upload.poll_ended(cx).map(|()| None),
            })
            .await
            {
                match upload.send(self.item(&item)).await {
                    Ok(()) => {}
                    // The answer says why no more is wanted.
                    Err(SendError::Ended) => break,
                    Err(error) => return Err(error.into()),
                }
            }
            upload.finish(Message::new()).await
        };
        self.value(watched.around(sending).await?)
    }

    /// Calls a method that returns a stream.
    ///
    /// # Errors
    ///
    /// [`ServiceError`]; what the server says comes with the stream.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, nothing was sent.
    pub async fn download<A: Arguments, T: Greenpack, E: Greenpack>(
        &self,
        method: &str,
        arguments: &A,
    ) -> Result<Items<T, E>, ServiceError<E>> {
        let first = self.stream(method, arguments);
        let (opened, watched) = self.open(ServiceKind::Download, first).await?;
        let (receiver, _) = Receiver::of(opened);
        Ok(Items::new(receiver, watched, None, self.encoding))
    }

    /// Calls a method that takes a stream and returns one. The items are sent while those that are returned
    /// are taken.
    ///
    /// # Errors
    ///
    /// As [`download`](Self::download).
    ///
    /// # Cancel safety
    ///
    /// As [`download`](Self::download).
    pub async fn bistream<A, T, U, E>(
        &self,
        method: &str,
        arguments: &A,
        items: impl Stream<Item = T> + Send + 'static,
    ) -> Result<Items<U, E>, ServiceError<E>>
    where
        A: Arguments,
        T: Greenpack + Send + 'static,
        U: Greenpack,
        E: Greenpack,
    {
        let first = self.stream(method, arguments);
        let (opened, watched) = self.open(ServiceKind::Bistream, first).await?;
        let (receiver, sender) = Receiver::of(opened);
        let encoding = self.encoding;
        let sending = sender.map(|mut sender| -> BoxFuture<'static, Result<(), SendError>> {
            Box::pin(async move {
                let mut items = pin!(items);
                while let Some(item) = items.next().await {
                    sender
                        .send(Message::from_body(encoding.value(&item)))
                        .await?;
                }
                sender.finish(Message::new()).await
            })
        });
        Ok(Items::new(receiver, watched, sending, self.encoding))
    }

    fn request<A: Arguments>(&self, method: &str, arguments: &A) -> Message {
        let body = self.encoding.body(|form, out| arguments.encode(form, out));
        let mut request = Message::request(method, body);
        request.hdr.args.clone_from(&self.metadata);
        self.encoding.put(request)
    }

    /// The first message of a stream: its deadline is that of all of it.
    fn stream<A: Arguments>(&self, method: &str, arguments: &A) -> Message {
        let request = self.request(method, arguments);
        match self.options.timeout.flatten() {
            None => request,
            Some(limit) => request.with_deadline(driver::now().wall.saturating_add(limit)),
        }
    }

    fn item<T: Greenpack>(&self, item: &T) -> Message {
        Message::from_body(self.encoding.value(item))
    }

    fn value<R: Greenpack, E: Greenpack>(&self, reply: Message) -> Result<R, ServiceError<E>> {
        let reply = ServiceError::of_reply(reply, self.encoding)?;
        self.encoding
            .read(&reply.body, R::decode)
            .map_err(ServiceError::Decode)
    }
}
