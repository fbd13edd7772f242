//! Names in a trait mean what its author means, whatever generated code calls its own.

#![cfg(feature = "macros")]

use futures_util::{Stream, StreamExt as _, stream};
use towline_codec::greenpack::Greenpack;
use towline_rpc::{Context, Server, service::Incoming};

/// Types as generic parameters are often called.
#[derive(Greenpack, Debug, Clone, PartialEq)]
struct S {
    #[zid(0)]
    number: u64,
}
type F = u64;
type R = String;

#[towline_rpc::service]
trait Names {
    async fn call(&self, ctx: &Context, service: F, registry: F, implementation: F, caller: F)
    -> S;
    async fn contexts(&self, ctx: &Context, cx: R, answer: R, method: R) -> R;
    async fn upload(&self, ctx: &Context, cx: F, items: Incoming<F>) -> F;
    fn download(&self, ctx: &Context, out: F, cx: F) -> impl Stream<Item = S>;
    fn bistream(&self, ctx: &Context, out: F, cx: Incoming<F>) -> impl Stream<Item = F>;
}

struct Sums;

fn in_digits(digits: [F; 4]) -> S {
    let number = digits
        .into_iter()
        .rev()
        .fold(0, |sum, digit| 10 * sum + digit);
    S { number }
}

impl Names for Sums {
    async fn call(&self, _: &Context, service: F, registry: F, implementation: F, caller: F) -> S {
        in_digits([service, registry, implementation, caller])
    }

    async fn contexts(&self, _: &Context, cx: R, answer: R, method: R) -> R {
        [cx, answer, method].concat()
    }

    async fn upload(&self, _: &Context, cx: F, items: Incoming<F>) -> F {
        items
            .fold(cx, |sum, item| async move { sum + item.unwrap_or(0) })
            .await
    }

    fn download(&self, _: &Context, out: F, cx: F) -> impl Stream<Item = S> {
        stream::iter([S { number: out }, S { number: cx }])
    }

    fn bistream(&self, _: &Context, out: F, cx: Incoming<F>) -> impl Stream<Item = F> {
        cx.map(move |item| out + item.unwrap_or(0))
    }
}

async fn ask(server: NamesServer<impl Names>) -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::builder().service(server)?.build();
    let client = NamesClient::new(server.connect_here());
    assert_eq!(client.call(1, 2, 3, 4).await?, S { number: 4_321 });
    let texts = ["a", "b", "c"].map(str::to_owned);
    let [a, b, c] = texts;
    assert_eq!(client.contexts(a, b, c).await?, "abc");
    assert_eq!(client.upload(1, stream::iter([2, 3])).await?, 6);
    let numbers = client.download(7, 8).await?;
    let numbers: Vec<F> = numbers
        .map(|item| item.map_or(0, |item| item.number))
        .collect()
        .await;
    assert_eq!(numbers, [7, 8]);
    let sums = client.bistream(5, stream::iter([1, 2])).await?;
    let sums: Vec<F> = sums.map(|item| item.unwrap_or(0)).collect().await;
    assert_eq!(sums, [6, 7]);
    Ok(())
}

#[tokio::test]
async fn arguments_may_have_any_name() -> Result<(), Box<dyn std::error::Error>> {
    ask(NamesServer::new(Sums)).await
}

#[tokio::test]
async fn so_they_may_in_a_mock() -> Result<(), Box<dyn std::error::Error>> {
    let mock = NamesMock::new()
        .on_call(|_, service, registry, implementation, caller| async move {
            in_digits([service, registry, implementation, caller])
        })
        .on_contexts(|_, cx, answer, method| async move { [cx, answer, method].concat() })
        .on_upload(|_, cx, items| {
            items.fold(cx, |sum, item| async move { sum + item.unwrap_or(0) })
        })
        .on_download(|_, out, cx| stream::iter([S { number: out }, S { number: cx }]))
        .on_bistream(|_, out, cx| cx.map(move |item| out + item.unwrap_or(0)));
    ask(NamesServer::new(mock)).await
}
