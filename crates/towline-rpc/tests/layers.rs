//! Layers of `tower` at both ends.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use futures_util::future::Either;
use tower::{
    Layer, Service, ServiceBuilder, ServiceExt as _, limit::ConcurrencyLimitLayer,
    timeout::TimeoutLayer,
};
use towline_rpc::{
    CallError, Context, Message, SendError, Server, StreamError,
    layers::{CallRequest, OutgoingCall},
    server::{DownloadSink, ServerBuilder, UploadParts},
    service::{Caller, ServiceError},
};

/// Lets through who shows the token, and notes whom it has seen.
#[derive(Clone)]
struct Guard {
    name: &'static str,
    seen: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone)]
struct Guarded<S>(Guard, S);

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded(self.clone(), inner)
    }
}

impl<S: Service<CallRequest>> Service<CallRequest> for Guarded<S>
where
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: Unpin,
{
    type Response = S::Response;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Either<
        futures_util::future::MapErr<S::Future, fn(S::Error) -> Self::Error>,
        Ready<Result<S::Response, Self::Error>>,
    >;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Self::Error>> {
        self.1.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: CallRequest) -> Self::Future {
        let who = request.context.remote_addr().to_string();
        let mut seen = self.0.seen.lock().expect("no panic");
        seen.push(format!(
            "{} {who} {}",
            self.0.name, request.message.hdr.service_name
        ));
        if request.message.arg("token") == Some("open sesame") {
            let into: fn(S::Error) -> Self::Error = Into::into;
            return Either::Left(futures_util::TryFutureExt::map_err(
                self.1.call(request),
                into,
            ));
        }
        Either::Right(ready(Err("no token, no answer".into())))
    }
}

#[towline_rpc::service]
trait Cave {
    async fn treasure(&self, cx: &Context) -> Result<u64, String>;
}

struct Full;

impl Cave for Full {
    async fn treasure(&self, _: &Context) -> Result<u64, String> {
        Ok(40)
    }
}

fn echo() -> ServerBuilder {
    Server::builder().call("echo", |_: Context, request: Message| async move {
        Ok::<_, Infallible>(Message::from_body(request.body))
    })
}

#[tokio::test]
async fn layers_of_a_server_see_every_call_the_first_of_them_first() {
    let seen = Arc::default();
    let guard = |name| Guard {
        name,
        seen: Arc::clone(&seen),
    };
    let server = echo()
        .service(CaveServer::new(Full))
        .expect("one of its name")
        .layer(guard("outer"))
        .layer(guard("inner"))
        .build();
    let client = server.connect_here();
    let reply = client
        .call(Message::request("echo", "x"))
        .await
        .expect("a reply");
    assert_eq!(reply.error, "no token, no answer");
    let request = Message::request("echo", "x").with_arg("token", "open sesame");
    assert_eq!(client.call(request).await.expect("a reply").body, "x");
    let cave = CaveClient::new(client.clone());
    assert!(matches!(
        cave.treasure().await,
        Err(ServiceError::Remote(text)) if text == "no token, no answer"
    ));
    let cave = cave.with_metadata("token", "open sesame");
    assert_eq!(cave.treasure().await.expect("treasure"), 40);
    assert_eq!(
        *seen.lock().expect("no panic"),
        [
            "outer mem://here echo",
            "outer mem://here echo",
            "inner mem://here echo",
            "outer mem://here Cave.treasure",
            "outer mem://here Cave.treasure",
            "inner mem://here Cave.treasure",
        ]
    );
}

#[tokio::test]
async fn layers_of_streams_see_uploads_downloads_and_bistreams() {
    let seen = Arc::default();
    let guard = |name| Guard {
        name,
        seen: Arc::clone(&seen),
    };
    let server = echo()
        .upload(
            "up",
            |_: Context, _: Message, mut parts: UploadParts| async move {
                let mut bytes = 0;
                while let Some(part) = parts.next().await? {
                    bytes += part.body.len();
                }
                Ok::<_, StreamError>(Message::from_body(bytes.to_string()))
            },
        )
        .download(
            "down",
            |_: Context, request: Message, mut sink: DownloadSink| async move {
                sink.send(Message::from_body(request.body)).await?;
                Ok::<_, SendError>(Message::from_body("done"))
            },
        )
        .bistream(
            "both",
            |_: Context, _: Message, mut parts: UploadParts, mut sink: DownloadSink| async move {
                while let Ok(Some(part)) = parts.next().await {
                    sink.send(Message::from_body(part.body)).await?;
                }
                Ok::<_, SendError>(Message::from_body("done"))
            },
        )
        .stream_layer(guard("outer"))
        .stream_layer(guard("inner"))
        .build();
    let client = server.connect_here();
    let begin = |name: &str, token: &str| Message::request(name, "x").with_arg("token", token);

    // Who shows nothing is answered by the layer, and no handler runs.
    let refused = client.download(begin("down", "?")).await.expect("begun");
    let reply = refused.finish().await.expect("a reply");
    assert_eq!(reply.error, "no token, no answer");
    assert_eq!(*seen.lock().expect("no panic"), ["outer mem://here down"]);

    let token = "open sesame";
    let mut upload = client.upload(begin("up", token)).await.expect("begun");
    upload.send(Message::from_body("four")).await.expect("sent");
    let reply = upload.finish(Message::from_body("five.")).await;
    assert_eq!(reply.expect("a reply").body, "9");

    let mut download = client.download(begin("down", token)).await.expect("begun");
    assert_eq!(download.next().await.expect("a part").body, "x");
    assert_eq!(download.finish().await.expect("a reply").body, "done");

    let both = client.bistream(begin("both", token)).await;
    let (mut to, mut from) = both.expect("begun");
    to.send(Message::from_body("there")).await.expect("sent");
    assert_eq!(from.next().await.expect("a part").body, "there");
    to.finish(Message::from_body("back")).await.expect("sent");
    assert_eq!(from.next().await.expect("a part").body, "back");
    assert_eq!(from.finish().await.expect("a reply").body, "done");

    // Calls have layers of their own.
    let reply = client.call(Message::request("echo", "x")).await;
    assert_eq!(reply.expect("a reply").body, "x");
    let seen = seen.lock().expect("no panic");
    let inner: Vec<&str> = seen
        .iter()
        .filter_map(|line| line.strip_prefix("inner mem://here "))
        .collect();
    assert_eq!(inner, ["up", "down", "both"]);
}

/// Asks twice, as who tries again does.
#[derive(Clone)]
struct Twice<S>(S);

impl<S> Service<CallRequest> for Twice<S>
where
    S: Service<CallRequest> + Clone + Send + 'static,
    S::Future: Send,
    S::Response: Send,
    S::Error: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = futures_util::future::BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: CallRequest) -> Self::Future {
        let mut inner = self.0.clone();
        Box::pin(async move {
            let _first = inner.call(request.clone()).await;
            inner.call(request).await
        })
    }
}

#[tokio::test]
async fn a_stream_has_one_handler_however_often_a_layer_asks() {
    let server = Server::builder()
        .download(
            "down",
            |_: Context, _: Message, mut sink: DownloadSink| async move {
                sink.send(Message::from_body("once")).await?;
                Ok::<_, SendError>(Message::new())
            },
        )
        .stream_layer(tower::layer::layer_fn(Twice))
        .build();
    let client = server.connect_here();
    let download = client.download(Message::request("down", "")).await;
    let mut download = download.expect("begun");
    assert_eq!(download.next().await.expect("a part").body, "once");
    assert!(download.next().await.is_none());
    let reply = download.finish().await.expect("a reply");
    assert_eq!(
        reply.error,
        "a layer called the handler of a stream twice: what has come cannot come again"
    );
}

#[tokio::test(start_paused = true)]
async fn layers_of_tower_time_and_limit_handlers() {
    let most = Arc::new(AtomicUsize::new(0));
    let running = Arc::new(AtomicUsize::new(0));
    let (now, top) = (Arc::clone(&running), Arc::clone(&most));
    let server = Server::builder()
        .call("nap", move |_: Context, request: Message| {
            let (now, top) = (Arc::clone(&now), Arc::clone(&top));
            async move {
                top.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                let seconds = String::from_utf8_lossy(&request.body).parse().unwrap_or(0);
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                now.fetch_sub(1, SeqCst);
                Ok::<_, Infallible>(Message::new())
            }
        })
        .layer(ConcurrencyLimitLayer::new(2))
        .layer(TimeoutLayer::new(Duration::from_secs(3)))
        .build();
    let client = server.connect_here();
    let naps = (0..6).map(|_| client.call(Message::request("nap", "1")));
    for nap in futures_util::future::join_all(naps).await {
        assert_eq!(nap.expect("a reply").error, "");
    }
    assert_eq!(most.load(SeqCst), 2);
    let long = client
        .call(Message::request("nap", "5"))
        .await
        .expect("a reply");
    assert_eq!(long.error, "request timed out");
}

/// Shows the token for who calls.
#[derive(Clone)]
struct Shows<S>(S);

impl<S: Service<OutgoingCall>> Service<OutgoingCall> for Shows<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut call: OutgoingCall) -> S::Future {
        call.message = call.message.with_arg("token", "open sesame");
        self.0.call(call)
    }
}

#[expect(clippy::disallowed_methods, reason = "it measures virtual time")]
#[tokio::test(start_paused = true)]
async fn layers_of_a_caller_change_calls_and_end_them() {
    let guard = Guard {
        name: "guard",
        seen: Arc::default(),
    };
    let cave = CaveServer::new(Full);
    let server = Server::builder().service(cave).expect("one of its name");
    let client = server.layer(guard).build().connect_here();
    let caller = Caller::from(client).layer(&tower::layer::layer_fn(Shows));
    let cave = CaveClient::new(caller);
    assert_eq!(cave.treasure().await.expect("treasure"), 40);

    let mock = CaveMock::new().on_treasure(|_| std::future::pending());
    let server = Server::builder()
        .service(CaveServer::new(mock))
        .expect("one of its name");
    let limit = TimeoutLayer::new(Duration::from_secs(1));
    let caller = Caller::from(server.build().connect_here()).layer(&limit);
    let start = tokio::time::Instant::now();
    match CaveClient::new(caller).treasure().await {
        Err(ServiceError::Call(CallError::Layer(error))) => {
            assert_eq!(error.to_string(), "request timed out");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(start.elapsed(), Duration::from_secs(1));
}

#[tokio::test]
async fn a_client_is_a_service_of_messages() {
    let mut service = ServiceBuilder::new()
        .concurrency_limit(1)
        .timeout(Duration::from_secs(60))
        .service(echo().build().connect_here());
    for _ in 0..3 {
        let service = service.ready().await.expect("ready");
        let reply = service.call(Message::request("echo", "x")).await;
        assert_eq!(reply.expect("a reply").body, "x");
    }
}
