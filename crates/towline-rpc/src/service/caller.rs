//! Calling typed methods.

use std::{pin::pin, time::Duration};

use futures_core::Stream;
use futures_util::{StreamExt as _, future::BoxFuture};
use towline_codec::{Text, greenpack::Greenpack};

use super::{Arguments, Encoding, Items, LISTING, ServiceError, ServiceInfo, streams::Receiver};
#[cfg(feature = "tower")]
use crate::layers::{CallSender, OutgoingCall};
use crate::{
    client::{CallOptions, Client},
    driver,
    error::{CallError, SendError},
    pool::Pool,
    proto::{Args, Message},
};

/// What generated clients call through: a connection, and what is said with every call. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Caller {
    target: Target,
    encoding: Encoding,
    options: CallOptions,
    metadata: Args,
}

/// What carries the calls.
#[derive(Debug, Clone)]
enum Target {
    Client(Client),
    Pool(Pool),
    /// Layers are around calls; streams go by them.
    #[cfg(feature = "tower")]
    Layered(Box<Self>, CallSender),
}

impl Target {
    async fn client(&self) -> Result<Client, CallError> {
        match self {
            Self::Client(client) => Ok(client.clone()),
            Self::Pool(pool) => pool.connection().await,
            #[cfg(feature = "tower")]
            Self::Layered(target, _) => Box::pin(target.client()).await,
        }
    }

    async fn call(&self, message: Message, options: CallOptions) -> Result<Message, CallError> {
        match self {
            Self::Client(client) => client.call_with(message, options).await,
            Self::Pool(pool) => pool.call_with(message, options).await,
            #[cfg(feature = "tower")]
            Self::Layered(_, calls) => calls.send(OutgoingCall { message, options }).await,
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
    pub fn layer<L>(mut self, layer: &L) -> Self
    where
        L: tower_layer::Layer<CallSender>,
        L::Service: tower_service::Service<OutgoingCall, Response = Message>
            + Clone
            + Send
            + Sync
            + 'static,
        <L::Service as tower_service::Service<OutgoingCall>>::Error:
            Into<Box<dyn std::error::Error + Send + Sync>>,
        <L::Service as tower_service::Service<OutgoingCall>>::Future: Send,
    {
        let (target, calls) = match self.target {
            Target::Layered(target, calls) => (target, calls),
            Target::Client(client) => (
                Box::new(Target::Client(client.clone())),
                CallSender::client(client),
            ),
            Target::Pool(pool) => (Box::new(Target::Pool(pool.clone())), CallSender::pool(pool)),
        };
        self.target = Target::Layered(target, calls.layered(layer));
        self
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
        let reply = self.target.call(request, options).await?;
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
        let client = self.client().await?;
        let mut upload = client.upload(self.stream(method, arguments)).await?;
        let mut items = pin!(items);
        while let Some(item) = items.next().await {
            match upload.send(self.item(&item)).await {
                Ok(()) => {}
                // The answer says why no more is wanted.
                Err(SendError::Ended) => break,
                Err(error) => return Err(error.into()),
            }
        }
        self.value(upload.finish(Message::new()).await?)
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
        let client = self.client().await?;
        let download = client.download(self.stream(method, arguments)).await?;
        Ok(Items::new(
            Receiver::Download(download),
            None,
            self.encoding,
        ))
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
        let client = self.client().await?;
        let (mut sender, receiver) = client.bistream(self.stream(method, arguments)).await?;
        let encoding = self.encoding;
        let sending: BoxFuture<'static, Result<(), SendError>> = Box::pin(async move {
            let mut items = pin!(items);
            while let Some(item) = items.next().await {
                sender
                    .send(Message::from_body(encoding.value(&item)))
                    .await?;
            }
            sender.finish(Message::new()).await
        });
        Ok(Items::new(
            Receiver::Bistream(receiver),
            Some(sending),
            self.encoding,
        ))
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
