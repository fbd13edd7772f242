//! Layers of `tower` around the streams of a caller.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use futures_util::{
    FutureExt as _, Stream, StreamExt as _,
    future::{BoxFuture, Either, Ready, ready},
    stream,
};
use tokio_util::sync::CancellationToken;
use tower::{Layer, Service, layer::layer_fn, limit::ConcurrencyLimitLayer, timeout::TimeoutLayer};
use towline_identity::Peer;
use towline_rpc::{
    Context, Message, Pool, Server, StreamError,
    layers::{OutgoingStream, StreamSender},
    proto::ServiceKind,
    service::{Caller, Incoming, ServiceError},
};
use towline_transport::Connection;

#[towline_rpc::service]
trait Cave {
    async fn bring(&self, cx: &Context, stones: Incoming<u64>) -> Result<u64, String>;
    fn take(&self, cx: &Context, stones: u64) -> impl Stream<Item = Result<u64, String>>;
    fn exchange(
        &self,
        cx: &Context,
        stones: Incoming<u64>,
    ) -> impl Stream<Item = Result<u64, String>>;
}

/// Whoever shows the token is let in.
struct Guarded;

fn shows_the_token(context: &Context) -> bool {
    context
        .metadata("token")
        .is_some_and(|token| *token == "open sesame")
}

impl Cave for Guarded {
    async fn bring(&self, cx: &Context, stones: Incoming<u64>) -> Result<u64, String> {
        if !shows_the_token(cx) {
            return Err("no token, no answer".to_owned());
        }
        Ok(stones
            .filter_map(|stone| ready(stone.ok()))
            .fold(0, |sum, stone| ready(sum + stone))
            .await)
    }

    fn take(&self, cx: &Context, stones: u64) -> impl Stream<Item = Result<u64, String>> {
        let allowed = shows_the_token(cx);
        // Of none there is no end.
        let stones = if stones == 0 { u64::MAX } else { stones };
        stream::iter(0..stones).map(move |stone| {
            if allowed {
                Ok(stone)
            } else {
                Err("no token, no answer".to_owned())
            }
        })
    }

    fn exchange(
        &self,
        _: &Context,
        stones: Incoming<u64>,
    ) -> impl Stream<Item = Result<u64, String>> {
        stones.map(|stone| {
            stone
                .map(|stone| 2 * stone)
                .map_err(|error| error.to_string())
        })
    }
}

fn caller() -> Caller {
    let cave = Server::builder().service(CaveServer::new(Guarded));
    Caller::from(cave.expect("one of its name").build().connect_here())
}

/// Counts the streams that were begun and those that are open.
#[derive(Clone, Default)]
struct Counts {
    begun: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

#[derive(Clone)]
struct Counted<S>(Counts, S);

impl<S> Layer<S> for Counts {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted(self.clone(), inner)
    }
}

/// One that is open, until it is dropped.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl<S> Service<OutgoingStream> for Counted<S>
where
    S: Service<OutgoingStream>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), S::Error>> {
        self.1.poll_ready(cx)
    }

    fn call(&mut self, stream: OutgoingStream) -> Self::Future {
        self.0.begun.fetch_add(1, SeqCst);
        self.0.open.fetch_add(1, SeqCst);
        let open = Open(Arc::clone(&self.0.open));
        let ended = self.1.call(stream);
        Box::pin(async move {
            let _open = open;
            ended.await
        })
    }
}

impl Counts {
    fn now(&self) -> (usize, usize) {
        (self.begun.load(SeqCst), self.open.load(SeqCst))
    }
}

/// Shows the token for who begins a stream.
#[derive(Clone)]
struct Shows<S>(S);

impl<S: Service<OutgoingStream>> Service<OutgoingStream> for Shows<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut stream: OutgoingStream) -> S::Future {
        stream.message = stream.message.with_arg("token", "open sesame");
        self.0.call(stream)
    }
}

/// Lets nothing but downloads through.
#[derive(Clone)]
struct Refuses<S>(S);

impl<S> Service<OutgoingStream> for Refuses<S>
where
    S: Service<OutgoingStream, Error = StreamError>,
    S::Future: Unpin,
{
    type Response = S::Response;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Either<
        futures_util::future::MapErr<S::Future, fn(StreamError) -> Self::Error>,
        Ready<Result<S::Response, Self::Error>>,
    >;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, stream: OutgoingStream) -> Self::Future {
        if stream.kind == ServiceKind::Download {
            let into: fn(StreamError) -> Self::Error = Into::into;
            return Either::Left(futures_util::TryFutureExt::map_err(
                self.0.call(stream),
                into,
            ));
        }
        Either::Right(ready(Err("downloads only".into())))
    }
}

#[tokio::test]
async fn a_layer_counts_streams_for_as_long_as_they_are_open() {
    let counts = Counts::default();
    let cave = CaveClient::new(
        caller()
            .stream_layer(&layer_fn(Shows))
            .stream_layer(&counts),
    );
    assert_eq!(cave.bring(stream::iter([1, 2, 3])).await.expect("a sum"), 6);
    assert_eq!(counts.now(), (1, 0));

    let mut taken = cave.take(2).await.expect("begun");
    assert_eq!(counts.now(), (2, 1));
    assert_eq!(taken.next().await.expect("one").expect("a stone"), 0);
    assert_eq!(taken.next().await.expect("two").expect("a stone"), 1);
    assert!(taken.next().await.is_none());
    assert_eq!(counts.now(), (2, 0));

    let exchanged = cave.exchange(stream::iter([1, 2])).await.expect("begun");
    let exchanged: Vec<_> = exchanged
        .map(|stone| stone.expect("a stone"))
        .collect()
        .await;
    assert_eq!((exchanged, counts.now()), (vec![2, 4], (3, 0)));

    // One that is left is open no more.
    let mut endless = cave.take(0).await.expect("begun");
    endless.next().await.expect("one").expect("a stone");
    assert_eq!(counts.now(), (4, 1));
    drop(endless);
    assert_eq!(counts.now(), (4, 0));
}

#[tokio::test]
async fn layers_stand_around_the_streams_of_a_pool_too() {
    let server = Server::builder().service(CaveServer::new(Guarded));
    let server = server.expect("one of its name").build();
    let pool = Pool::builder().address("here").connect_by(move |address| {
        let (here, there) = tokio::io::duplex(64 << 10);
        let (peer, server) = (Peer::unauthenticated(&*address), server.clone());
        let (known, name) = (peer.clone(), Arc::clone(&address));
        tokio::spawn(async move {
            let never = CancellationToken::new();
            server.serve_io(there, known, &name, &name, never).await
        });
        std::future::ready(Ok(Connection::new(
            Box::new(here),
            peer,
            &*address,
            &*address,
        )))
    });
    let pool = pool.build().expect("valid");
    let counts = Counts::default();
    let caller = Caller::from(pool.clone()).stream_layer(&layer_fn(Shows));
    let cave = CaveClient::new(caller.stream_layer(&counts));
    assert_eq!(cave.bring(stream::iter([1, 2])).await.expect("a sum"), 3);
    assert_eq!(cave.take(4).await.expect("begun").count().await, 4);
    assert_eq!(counts.now(), (2, 0));
    pool.close().await;
    let closed = cave.bring(stream::iter([1])).await;
    assert!(
        matches!(closed, Err(ServiceError::Stream(StreamError::Closed(_)))),
        "{closed:?}"
    );
}

#[tokio::test]
async fn a_layer_adds_metadata_to_the_first_message() {
    let cave = CaveClient::new(caller());
    let refused = cave.bring(stream::iter([1])).await;
    assert!(matches!(refused, Err(ServiceError::Failed(text)) if text == "no token, no answer"));
    let cave = CaveClient::new(caller().stream_layer(&layer_fn(Shows)));
    assert_eq!(cave.bring(stream::iter([1])).await.expect("a sum"), 1);
    let mut taken = cave.take(1).await.expect("begun");
    assert_eq!(taken.next().await.expect("one").expect("a stone"), 0);
}

#[tokio::test]
async fn what_a_layer_refuses_never_reaches_the_server() {
    let server = Server::builder().service(CaveServer::new(Guarded));
    let server = server.expect("one of its name").build();
    let caller = Caller::from(server.connect_here());
    let cave = CaveClient::new(
        caller
            .with_metadata("token", "open sesame")
            .stream_layer(&layer_fn(Refuses)),
    );
    let refusals = [
        cave.bring(stream::iter([1])).await.err(),
        cave.exchange(stream::iter([1])).await.err(),
    ];
    for refused in refusals {
        assert!(
            matches!(&refused, Some(ServiceError::Stream(StreamError::Layer(error))) if error.to_string() == "downloads only"),
            "{refused:?}"
        );
    }
    assert_eq!(server.activity().streams, 0);
    let taken = cave.take(3).await.expect("begun");
    assert_eq!(taken.count().await, 3);
}

/// A time limit is one for the whole stream, and cancels it.
#[expect(clippy::disallowed_methods, reason = "it measures virtual time")]
#[tokio::test(start_paused = true)]
async fn layers_of_tower_time_and_limit_streams() {
    let caller = caller().with_metadata("token", "open sesame");
    let limit = TimeoutLayer::new(Duration::from_secs(3));
    let cave = CaveClient::new(caller.clone().stream_layer(&limit));
    let start = tokio::time::Instant::now();
    let never = stream::iter([1]).chain(stream::pending());
    let timed_out = cave.bring(never).await;
    assert!(
        matches!(&timed_out, Err(ServiceError::Stream(StreamError::Layer(error))) if error.to_string() == "request timed out"),
        "{timed_out:?}"
    );
    assert_eq!(start.elapsed(), Duration::from_secs(3));
    let mut exchanged = cave
        .exchange(stream::iter([1]).chain(stream::pending()))
        .await
        .expect("begun");
    assert_eq!(exchanged.next().await.expect("one").expect("a stone"), 2);
    let cut = exchanged.next().await.expect("an error");
    assert!(matches!(
        cut,
        Err(ServiceError::Stream(StreamError::Layer(_)))
    ));
    assert!(exchanged.next().await.is_none());
    assert_eq!(start.elapsed(), Duration::from_secs(6));
    let client = cave.caller().client().await.expect("a client");
    assert_eq!(client.in_flight(), 0, "both were cancelled");

    let two = ConcurrencyLimitLayer::new(2);
    let cave = CaveClient::new(caller.stream_layer(&two));
    let (first, second) = (cave.take(0).await, cave.take(0).await);
    let third = cave.take(1);
    let mut third = std::pin::pin!(third);
    assert!(third.as_mut().now_or_never().is_none(), "two are open");
    drop(first.expect("begun"));
    assert_eq!(third.await.expect("begun").count().await, 1);
    drop(second);
}

/// Answers without the server.
#[derive(Clone)]
struct Answers;

impl Service<OutgoingStream> for Answers {
    type Response = Message;
    type Error = StreamError;
    type Future = Ready<Result<Message, StreamError>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), StreamError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: OutgoingStream) -> Self::Future {
        ready(Ok(Message {
            error: "not today".into(),
            ..Message::new()
        }))
    }
}

/// Asks twice, as who tries again does.
#[derive(Clone)]
struct Twice<S>(S);

impl<S> Service<OutgoingStream> for Twice<S>
where
    S: Service<OutgoingStream> + Clone + Send + 'static,
    S::Future: Send,
    S::Response: Send,
    S::Error: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, stream: OutgoingStream) -> Self::Future {
        let mut inner = self.0.clone();
        Box::pin(async move {
            let _first = inner.call(stream.clone()).await;
            inner.call(stream).await
        })
    }
}

#[tokio::test]
async fn a_layer_may_answer_by_itself_and_opens_one_stream_at_most() {
    let answers = layer_fn(|_: StreamSender| Answers);
    let cave = CaveClient::new(caller().stream_layer(&answers));
    let answered = cave.bring(stream::iter([1])).await;
    assert!(matches!(answered, Err(ServiceError::Remote(text)) if text == "not today"));
    let mut taken = cave.take(1).await.expect("begun");
    let answered = taken.next().await.expect("an error");
    assert!(matches!(answered, Err(ServiceError::Remote(text)) if text == "not today"));
    assert!(taken.next().await.is_none());

    let caller = caller().with_metadata("token", "open sesame");
    let cave = CaveClient::new(caller.stream_layer(&layer_fn(Twice)));
    let used = cave.bring(stream::iter([1])).await;
    assert!(
        matches!(&used, Err(ServiceError::Stream(StreamError::Layer(error))) if error.to_string().contains("twice")),
        "{used:?}"
    );
}
