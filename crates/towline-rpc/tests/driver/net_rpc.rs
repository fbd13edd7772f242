//! net/rpc calls between client and server.

use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use towline_codec::greenpack::{DecodeError, Greenpack};
use towline_rpc::{NetRpcError, server::NetRpcService, server::RegisterError};

use super::*;

/// A struct in map form, as the original's generator writes it by default.
#[derive(Greenpack, Debug, Clone, Default, PartialEq)]
struct Order {
    #[zid(0)]
    item: String,
    #[zid(1)]
    #[greenpack(clue = "int")]
    count: i64,
    /// From a later version of the type.
    #[zid(2)]
    later: Vec<i64>,
}

fn arith(name: &'static str) -> NetRpcService {
    NetRpcService::new(name)
        .method("Add", |_: Context, (a, b): (i64, i64)| async move {
            Ok::<_, Infallible>((a + b,))
        })
        .method("Div", |_: Context, (a, b): (i64, i64)| async move {
            a.checked_div(b).map(|c| (c,)).ok_or("divide by zero")
        })
        .method("Double", |_: Context, mut order: Order| async move {
            order.count *= 2;
            Ok::<_, Infallible>(order)
        })
        .method("Panic", |_: Context, (): ()| async move {
            assert!(std::hint::black_box(false), "a method panics on purpose");
            Ok::<_, Infallible>((0_i64,))
        })
        .method("Hang", |_: Context, (): ()| {
            std::future::pending::<Result<(i64,), Infallible>>()
        })
        .method("Subject", |context: Context, (): ()| async move {
            let header = context.header().expect("net/rpc has one");
            Ok::<_, Infallible>((header.subject.to_string_lossy().into_owned(),))
        })
}

fn server() -> ServerBuilder {
    Server::builder()
        .net_rpc(arith("Arith"))
        .and_then(|server| server.net_rpc(arith("net.rpc.Arith")))
        .expect("two services")
}

async fn fails(client: &Client, method: &'static str, argument: Bytes) -> String {
    let request = Message::request(method, argument);
    match client.net_rpc_message(request, None).await {
        Err(NetRpcError::Remote(error)) => error.to_string(),
        other => panic!("{method}: {other:?}"),
    }
}

/// docs/wire C23, E13, G16
#[tokio::test]
async fn methods_are_called_and_fail_in_the_words_of_the_original() {
    let Served { client, .. } = serve(server(), &Client::builder());
    let sum: (i64,) = client
        .net_rpc("Arith.Add", &(7_i64, 8_i64))
        .await
        .expect("15");
    assert_eq!(sum, (15,));
    let sum: (i64,) = client
        .net_rpc("net.rpc.Arith.Add", &(1_i64, 2_i64))
        .await
        .expect("3");
    assert_eq!(sum, (3,));
    let order = Order {
        later: vec![1],
        item: "nut".into(),
        count: 21,
    };
    let doubled: Order = client
        .net_rpc("Arith.Double", &order)
        .await
        .expect("an order");
    assert_eq!(doubled, Order { count: 42, ..order });

    let two = Bytes::from_static(b"\x92\x07\x00");
    for (method, argument, text) in [
        ("Arith.Div", two.clone(), "divide by zero"),
        (
            "Arith.BadOperation",
            two.clone(),
            "rpc: can't find method Arith.BadOperation",
        ),
        ("Nope.Add", two.clone(), "rpc: can't find service Nope.Add"),
        (
            "nodots",
            two.clone(),
            "rpc: service/method request ill-formed: nodots",
        ),
        (
            "Arith.Panic",
            Bytes::from_static(b"\x90"),
            "handler panicked",
        ),
        ("Arith.Add", Bytes::new(), "EOF"),
        (
            "Arith.Add",
            Bytes::from_static(b"\x93\x01\x02\x03"),
            "msgp: wanted array of size 2; got 3",
        ),
        (
            "Arith.Add",
            Bytes::from_static(b"\x80"),
            "msgp: attempted to decode type \"map\" with method for \"array\"",
        ),
    ] {
        assert_eq!(fails(&client, method, argument).await, text);
    }
    // docs/wire C23: what stands behind the argument is ignored, and the result's type is the caller's.
    let request = Message::request("Arith.Add", Bytes::from_static(b"\x92\x01\x02more"));
    let reply = client.net_rpc_message(request, None).await.expect("3");
    assert_eq!(reply.body, &b"\x91\x03"[..]);
    let wrong = client
        .net_rpc::<_, (i64, i64)>("Arith.Add", &(1_i64, 2_i64))
        .await;
    assert!(
        matches!(
            wrong,
            Err(NetRpcError::Decode(DecodeError::ArraySize { .. }))
        ),
        "{wrong:?}"
    );
    let request = Message::request("Arith.Subject", Bytes::from_static(b"\x90")).with_subject("s");
    let reply = client
        .net_rpc_message(request, None)
        .await
        .expect("the subject");
    assert_eq!(
        (&reply.body[..], reply.hdr.subject),
        (&b"\x91\xa1s"[..], "s".into())
    );
}

#[test]
fn services_that_nobody_could_call_are_not_registered() {
    let error = |service| {
        Server::builder()
            .net_rpc(arith("A"))
            .expect("one")
            .net_rpc(service)
            .unwrap_err()
    };
    assert_eq!(error(arith("A")), RegisterError::Duplicate("A".into()));
    assert_eq!(
        error(NetRpcService::new("B")),
        RegisterError::NoMethod("B".into())
    );
    let dotted = NetRpcService::new("B").method("a.b", |_: Context, (): ()| async {
        Ok::<_, Infallible>(())
    });
    assert_eq!(error(dotted), RegisterError::DotInMethod("a.b".into()));
}

/// A method that sees how many of its kind run.
fn watched(overlapped: &Arc<AtomicBool>) -> ServerBuilder {
    let (running, overlapped) = (Arc::new(AtomicUsize::new(0)), Arc::clone(overlapped));
    let service = NetRpcService::new("S").method("Id", move |_: Context, (id,): (i64,)| {
        let (running, overlapped) = (Arc::clone(&running), Arc::clone(&overlapped));
        async move {
            if running.fetch_add(1, Ordering::SeqCst) > 0 {
                overlapped.store(true, Ordering::SeqCst);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
            running.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, Infallible>((id,))
        }
    });
    Server::builder().net_rpc(service).expect("one service")
}

async fn a_thousand(client: &Client) {
    let mut calls = futures_util::stream::FuturesUnordered::new();
    for id in 0..1000_i64 {
        calls.push(async move { (id, client.net_rpc::<_, (i64,)>("S.Id", &(id,)).await) });
    }
    while let Some((id, result)) = calls.next().await {
        assert_eq!(result.expect("its own answer"), (id,));
    }
}

/// docs/wire X16
#[tokio::test(start_paused = true)]
async fn a_thousand_callers_take_turns_or_overlap_and_get_their_own_answers() {
    for (pipelining, overlaps) in [(false, false), (true, true)] {
        let overlapped = Arc::default();
        let builder = Client::builder().net_rpc_pipelining(pipelining);
        let Served { client, .. } = serve(watched(&overlapped), &builder);
        a_thousand(&client).await;
        assert_eq!(overlapped.load(Ordering::SeqCst), overlaps);
        assert_eq!(client.in_flight(), 0);
    }
}

/// docs/wire X16, C12: dropping a call cancels it; its answer, late as it is, hands on the turn.
#[tokio::test(start_paused = true)]
async fn a_call_that_was_left_gives_the_turn_back_when_it_is_answered() {
    let Served { client, .. } = serve(server(), &Client::builder());
    let left = tokio::time::timeout(
        Duration::from_secs(1),
        client.net_rpc::<_, (i64,)>("Arith.Hang", &()),
    );
    assert!(left.await.is_err());
    let sum: (i64,) = client
        .net_rpc("Arith.Add", &(1_i64, 2_i64))
        .await
        .expect("3");
    assert_eq!(sum, (3,));
    // A call that is too large was not sent and keeps no turn.
    let huge = client
        .net_rpc::<_, (i64,)>("Arith.Add", &Bytes::from(vec![0; 70 << 20]))
        .await;
    assert!(
        matches!(huge, Err(NetRpcError::Call(CallError::TooLarge(_)))),
        "{huge:?}"
    );
    assert!(
        client
            .net_rpc::<_, (i64,)>("Arith.Add", &(1_i64, 2_i64))
            .await
            .is_ok()
    );
}

/// docs/wire X16, C11: a server that never answers holds up the next call until its time limit, and the
/// end of the connection ends every call.
#[tokio::test(start_paused = true)]
async fn waiting_for_the_turn_counts_against_the_time_limit() {
    let (here, there) = tokio::io::duplex(64 << 10);
    let peer = Peer::unauthenticated("mem://server");
    let client = Client::builder().from_io(here, peer, "mem://client", "mem://server");
    let begun = tokio::time::Instant::now();
    for seconds in [10, 20] {
        let silent = client
            .net_rpc::<_, (i64,)>("Arith.Add", &(1_i64, 2_i64))
            .await;
        assert!(
            matches!(silent, Err(NetRpcError::Call(CallError::TimedOut(limit))) if limit.as_secs() == 10),
            "{silent:?}"
        );
        assert_eq!(begun.elapsed().as_secs(), seconds);
    }
    let waiting = tokio::spawn({
        let client = client.clone();
        async move {
            client
                .net_rpc::<_, (i64,)>("Arith.Add", &(1_i64, 2_i64))
                .await
        }
    });
    tokio::task::yield_now().await;
    drop(there);
    let ended = waiting.await.expect("no panic");
    assert!(
        matches!(
            ended,
            Err(NetRpcError::Call(CallError::Closed(
                CloseReason::ClosedByPeer
            )))
        ),
        "{ended:?}"
    );
    assert!(
        client
            .net_rpc::<_, (i64,)>("Arith.Add", &(1_i64, 2_i64))
            .await
            .is_err()
    );
}

/// docs/wire E13, F24: an answer that does not fit keeps its header.
#[tokio::test]
async fn an_answer_that_is_too_large_is_an_error_reply() {
    let service = NetRpcService::new("S").method("Huge", |_: Context, (): ()| async {
        Ok::<_, Infallible>(Bytes::from(vec![7; 67_107_760]))
    });
    let server = Server::builder().net_rpc(service).expect("one service");
    let Served { client, .. } = serve(
        server.compression(Compression::None),
        &Client::builder().compression(Compression::None),
    );
    let huge = client.net_rpc::<_, Bytes>("S.Huge", &()).await;
    assert!(
        matches!(&huge, Err(NetRpcError::Remote(error)) if error.to_string().contains("too large")),
        "{:?}",
        huge.err()
    );
}
