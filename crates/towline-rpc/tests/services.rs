//! Typed services: what their clients, servers and mocks do, and what is on the wire.

#![cfg(feature = "macros")]

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::Notify;
use towline_codec::greenpack::{Greenpack, Reader};
use towline_rpc::{
    CallError, Client, Context, Message, Server, StreamError,
    proto::CallType,
    service::{Caller, Encoding, Incoming, Items, MethodKind, ServiceError},
};

#[derive(Greenpack, Debug, Clone, PartialEq)]
struct Order {
    #[zid(0)]
    sku: String,
    #[zid(1)]
    count: u32,
}

#[derive(Greenpack, Debug, Clone, PartialEq)]
enum Fault {
    #[zid(0)]
    OutOfStock {
        #[zid(0)]
        left: u32,
    },
    #[zid(1)]
    Unknown(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfStock { left } => write!(f, "only {left} left"),
            Self::Unknown(sku) => write!(f, "no {sku} here"),
        }
    }
}

/// What is in the store.
#[towline_rpc::service]
trait Inventory {
    /// Takes something out.
    async fn reserve(&self, cx: &Context, order: Order) -> Result<u64, Fault>;
    async fn whoami(&self, cx: &Context) -> String;
    #[service(name = "Move")]
    async fn relocate(&self, cx: &Context, from: String, to: String) -> Result<(), Fault>;
    async fn wait(&self, cx: &Context) -> u32;
    fn watch(&self, cx: &Context, sku: String) -> impl Stream<Item = Result<Order, Fault>>;
    async fn import(
        &self,
        cx: &Context,
        prefix: String,
        orders: Incoming<Order>,
    ) -> Result<u32, Fault>;
    fn shout(&self, cx: &Context, lines: Incoming<String>) -> impl Stream<Item = String>;
}

#[derive(Default)]
struct Store {
    waiting: Arc<Notify>,
    dropped: Arc<Notify>,
    taken: AtomicUsize,
}

struct OnDrop(Arc<Notify>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Inventory for Store {
    async fn reserve(&self, _: &Context, order: Order) -> Result<u64, Fault> {
        match &*order.sku {
            "bolt" if order.count <= 3 => Ok(u64::from(order.count) * 100),
            "bolt" => Err(Fault::OutOfStock { left: 3 }),
            _ => Err(Fault::Unknown(order.sku)),
        }
    }

    async fn whoami(&self, cx: &Context) -> String {
        let user = cx.metadata("user").map(ToString::to_string);
        format!("{user:?} until {}", cx.deadline().is_some())
    }

    async fn relocate(&self, _: &Context, from: String, to: String) -> Result<(), Fault> {
        if from == to {
            Err(Fault::Unknown(to))
        } else {
            Ok(())
        }
    }

    async fn wait(&self, _: &Context) -> u32 {
        let _guard = OnDrop(Arc::clone(&self.dropped));
        self.waiting.notify_one();
        std::future::pending().await
    }

    fn watch(&self, _: &Context, sku: String) -> impl Stream<Item = Result<Order, Fault>> {
        stream::iter(0..).map(move |count| match &*sku {
            "endless" => Ok(Order {
                sku: sku.clone(),
                count,
            }),
            _ if count < 3 => Ok(Order {
                sku: sku.clone(),
                count,
            }),
            _ => Err(Fault::Unknown(sku.clone())),
        })
    }

    async fn import(
        &self,
        _: &Context,
        prefix: String,
        mut orders: Incoming<Order>,
    ) -> Result<u32, Fault> {
        let mut sum = 0;
        while let Some(order) = orders.next().await {
            let order = order.map_err(|error| Fault::Unknown(error.to_string()))?;
            if !order.sku.starts_with(&prefix) {
                return Err(Fault::Unknown(order.sku));
            }
            self.taken.fetch_add(1, Ordering::Relaxed);
            sum += order.count;
        }
        Ok(sum)
    }

    fn shout(&self, _: &Context, lines: Incoming<String>) -> impl Stream<Item = String> {
        lines.filter_map(|line| async { line.ok().map(|line| line.to_uppercase()) })
    }
}

fn order(sku: &str, count: u32) -> Order {
    Order {
        sku: sku.to_owned(),
        count,
    }
}

fn served() -> (Arc<Store>, Client) {
    let store = Arc::new(Store::default());
    let server = Server::builder()
        .service(InventoryServer::shared(Arc::clone(&store)))
        .expect("the only one")
        .build();
    (store, server.connect_here())
}

fn in_greenpack<T: Greenpack>(value: &T) -> BytesMut {
    let mut out = BytesMut::new();
    value.encode_plain(&mut out);
    out
}

/// docs/wire V1 to V6
#[tokio::test]
async fn methods_are_called_and_fail_by_type_in_every_encoding() {
    let (store, client) = served();
    for encoding in [Encoding::Greenpack, Encoding::MessagePack, Encoding::Json] {
        let client = InventoryClient::new(client.clone()).with_encoding(encoding);
        assert_eq!(
            client.reserve(order("bolt", 2)).await.expect("in stock"),
            200
        );
        let failed = client.reserve(order("bolt", 9)).await;
        assert!(
            matches!(
                failed,
                Err(ServiceError::Failed(Fault::OutOfStock { left: 3 }))
            ),
            "{failed:?}"
        );
        assert_eq!(failed.expect_err("it failed").to_string(), "only 3 left");
        assert_eq!(client.whoami().await.expect("no error"), "None until false");
        let known = client
            .clone()
            .with_metadata("user", "ada")
            .with_timeout(Some(Duration::from_secs(60)));
        let who = known.whoami().await.expect("no error");
        assert_eq!(who, r#"Some("ada") until true"#);
        client
            .relocate("a".into(), "b".into())
            .await
            .expect("moved");
        assert!(client.relocate("a".into(), "a".into()).await.is_err());

        let mut watched = client.watch("nut".into()).await.expect("sent");
        for count in 0..3 {
            let item = watched.next().await.expect("an item").expect("no error");
            assert_eq!(item, order("nut", count));
        }
        match watched.next().await {
            Some(Err(ServiceError::Failed(Fault::Unknown(sku)))) => assert_eq!(sku, "nut"),
            other => panic!("{other:?}"),
        }
        assert!(watched.next().await.is_none());

        let orders = stream::iter((1..=4).map(|count| order("nut", count)));
        assert_eq!(client.import("nu".into(), orders).await.expect("a sum"), 10);
        // The answer comes before the client is through; it learns the error, and stops.
        let endless = stream::repeat_with(|| order("nut", 1));
        let failed = client.import("bolt".into(), endless).await;
        assert!(
            matches!(failed, Err(ServiceError::Failed(Fault::Unknown(_)))),
            "{failed:?}"
        );
        // Both ways, and more than any queue holds.
        let lines = stream::iter((0..5000).map(|number| format!("line {number}")));
        let shouted: Vec<_> = client.shout(lines).await.expect("sent").collect().await;
        assert_eq!(shouted.len(), 5000);
        assert_eq!(shouted[4999].as_deref().expect("no error"), "LINE 4999");
    }
    assert_eq!(store.taken.load(Ordering::Relaxed), 12);
    assert_eq!(client.in_flight(), 0);
}

/// docs/wire V1 to V4: the Message API sees ordinary calls, so Go can make and answer them.
#[tokio::test]
async fn on_the_wire_typed_calls_are_ordinary_calls() {
    let (_, client) = served();
    let body = in_greenpack(&order("bolt", 2)).freeze();
    let reply = client
        .call(Message::request("Inventory.reserve", body))
        .await
        .expect("a reply");
    assert_eq!(
        (&reply.error, &reply.body[..]),
        (&"".into(), &b"\xcc\xc8"[..])
    );
    let body = in_greenpack(&order("bolt", 9)).freeze();
    let reply = client
        .call(Message::request("Inventory.reserve", body))
        .await
        .expect("a reply");
    assert_eq!(reply.error, "only 3 left");
    let fault = Fault::decode(&mut Reader::new(&reply.body));
    assert_eq!(fault, Ok(Fault::OutOfStock { left: 3 }));
    // Two arguments are an array of them.
    let request = Message::request("Inventory.Move", &b"\x92\xa1a\xa1b"[..]);
    assert_eq!(client.call(request).await.expect("a reply").error, "");
    // JSON, by the names of Rust or of Go.
    let request = Message::request("Inventory.reserve", r#"{"sku":"bolt","Count":1}"#)
        .with_arg("encoding", "json");
    assert_eq!(client.call(request).await.expect("a reply").body, "100");

    // What cannot be read is answered.
    for (request, error) in [
        (
            Message::request("Inventory.reserve", &b"\x93"[..]),
            "msgp: attempted to decode type \"array\" with method for \"map\"",
        ),
        (
            Message::request("Inventory.reserve", "{}").with_arg("encoding", "xml"),
            "unknown encoding \"xml\": use json or msgpack",
        ),
    ] {
        assert_eq!(client.call(request).await.expect("a reply").error, error);
    }

    let mut download = client
        .download(Message::request("Inventory.watch", &b"\xa3nut"[..]))
        .await
        .expect("sent");
    let first = download.next().await.expect("an item");
    assert_eq!(first.hdr.typ, CallType::DOWNLOAD_BEGIN);
    assert_eq!(first.body, in_greenpack(&order("nut", 0)));
    let reply = download.finish().await.expect("a reply");
    assert_eq!(reply.error, "no nut here");

    let mut upload = client
        .upload(Message::request("Inventory.import", &b"\xa1n"[..]))
        .await
        .expect("sent");
    let item = |count| Message::from_body(in_greenpack(&order("n", count)).freeze());
    upload.send(item(1)).await.expect("sent");
    // The last part may hold an item.
    let reply = upload.finish(item(2)).await.expect("a reply");
    assert_eq!(reply.body, &b"\x03"[..]);
}

/// docs/wire C12: dropping the future of a call ends the method.
#[tokio::test]
async fn dropping_ends_the_method_at_the_server() {
    let (store, connection) = served();
    let client = InventoryClient::new(connection.clone());
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.wait().await }
    });
    store.waiting.notified().await;
    waiting.abort();
    store.dropped.notified().await;

    let mut endless = client.watch("endless".into()).await.expect("sent");
    for count in 0..100 {
        let item = endless.next().await.expect("an item").expect("no error");
        assert_eq!(item.count, count);
    }
    drop(endless);
    assert_eq!(connection.in_flight(), 0);
    assert_eq!(
        client.reserve(order("bolt", 1)).await.expect("in stock"),
        100
    );
}

#[tokio::test]
async fn what_the_server_has_not_or_does_not_say_in_its_type_is_told_apart() {
    let server = Server::builder()
        .call("Inventory.whoami", |_: Context, _: Message| async move {
            Err::<Message, _>("in Go this is all there is")
        })
        .call("Inventory.reserve", |_: Context, _: Message| async move {
            Ok::<_, String>(Message::from_body(&b"\xa2no"[..]))
        })
        .build();
    let client = InventoryClient::new(server.connect_here());
    match client.whoami().await {
        Err(ServiceError::Remote(text)) => assert_eq!(text, "in Go this is all there is"),
        other => panic!("{other:?}"),
    }
    let wrong = client.reserve(order("a", 1)).await;
    assert!(matches!(wrong, Err(ServiceError::Decode(_))), "{wrong:?}");
    let refused = client.wait().await;
    assert!(
        matches!(
            refused,
            Err(ServiceError::Call(CallError::NoSuchService(_)))
        ),
        "{refused:?}"
    );
    let mut refused: Items<Order, Fault> = client.watch("a".into()).await.expect("sent");
    match refused.next().await {
        Some(Err(ServiceError::Stream(StreamError::NoSuchService(_)))) => {}
        other => panic!("{other:?}"),
    }
    assert!(refused.next().await.is_none());
}

#[tokio::test]
async fn a_mock_answers_as_it_was_told() {
    let mock = InventoryMock::new()
        .on_reserve(|_, order| async move { Ok(order.count.into()) })
        .on_watch(|_, sku| stream::iter([Ok(order(&sku, 7))]))
        .on_import(|_, _, orders| async move {
            let count = orders.count().await;
            Ok(u32::try_from(count).expect("few"))
        });
    let server = Server::builder()
        .service(InventoryServer::new(mock))
        .expect("the only one")
        .build();
    let client = InventoryClient::new(server.connect_here());
    assert_eq!(client.reserve(order("x", 5)).await.expect("told"), 5);
    let watched: Vec<_> = client
        .watch("w".into())
        .await
        .expect("sent")
        .collect()
        .await;
    assert_eq!(watched[0].as_ref().expect("an item"), &order("w", 7));
    let orders = stream::iter([order("a", 1), order("b", 1)]);
    assert_eq!(client.import(String::new(), orders).await.expect("told"), 2);
    // A method that was told nothing fails its own call.
    match client.whoami().await {
        Err(ServiceError::Remote(text)) => assert_eq!(text, "handler panicked"),
        other => panic!("{other:?}"),
    }
}

/// docs/wire V8
#[tokio::test]
async fn a_server_without_typed_services_lists_none() {
    let client = Server::builder().build().connect_here();
    let services = Caller::from(client).services().await;
    assert_eq!(services.expect("a listing"), []);
}

/// docs/wire V8
#[tokio::test]
async fn a_server_lists_its_services() {
    let (_, client) = served();
    let client = InventoryClient::new(client);
    let services = client.caller().services().await.expect("a listing");
    assert_eq!(services.len(), 1);
    let service = &services[0];
    assert_eq!(
        (&*service.name, &*service.docs),
        ("Inventory", "What is in the store.")
    );
    let methods: Vec<_> = service
        .methods
        .iter()
        .map(|method| {
            (
                &*method.name,
                method.kind,
                method.arguments.join(", "),
                &*method.returns,
            )
        })
        .collect();
    assert_eq!(
        methods,
        [
            (
                "reserve",
                MethodKind::Unary,
                "order: Order".to_owned(),
                "Result<u64, Fault>"
            ),
            ("whoami", MethodKind::Unary, String::new(), "String"),
            (
                "Move",
                MethodKind::Unary,
                "from: String, to: String".to_owned(),
                "Result<(), Fault>"
            ),
            ("wait", MethodKind::Unary, String::new(), "u32"),
            (
                "watch",
                MethodKind::Download,
                "sku: String".to_owned(),
                "impl Stream<Item = Result<Order, Fault>>"
            ),
            (
                "import",
                MethodKind::Upload,
                "prefix: String, orders: Incoming<Order>".to_owned(),
                "Result<u32, Fault>"
            ),
            (
                "shout",
                MethodKind::Bistream,
                "lines: Incoming<String>".to_owned(),
                "impl Stream<Item = String>"
            ),
        ]
    );
    assert_eq!(service.methods[0].docs, "Takes something out.");
    // Two services of one name cannot be told apart.
    let twice = Server::builder()
        .service(InventoryServer::new(Store::default()))
        .and_then(|builder| builder.service(InventoryServer::new(Store::default())));
    assert!(twice.is_err());
}

/// An answer that no frame holds behind one that fits.
#[towline_rpc::service]
trait Giant {
    fn grow(&self, cx: &Context) -> impl Stream<Item = Result<String, Fault>>;
}

struct ThreeItems;

impl Giant for ThreeItems {
    fn grow(&self, _: &Context) -> impl Stream<Item = Result<String, Fault>> {
        stream::iter([3, towline_rpc::proto::MAX_BODY, 4]).map(|len| Ok("x".repeat(len)))
    }
}

/// docs/wire V4, E11
#[tokio::test(start_paused = true)]
async fn a_stream_with_an_item_that_does_not_fit_fails() {
    let server = Server::builder().service(GiantServer::new(ThreeItems));
    let server = server.expect("its name is free").build();
    let client = GiantClient::new(server.connect_here());
    let mut items = client.grow().await.expect("sent");
    let first = items.next().await.expect("an item").expect("it fits");
    assert_eq!(first.len(), 3);
    let Some(Err(ServiceError::Remote(text))) = items.next().await else {
        panic!("no error")
    };
    assert!(text.to_string().contains("too large"), "{text}");
    assert!(items.next().await.is_none());
}
