use towline_rpc_macros::service;

struct Context;

#[service]
trait Wrong {
    async fn without_self(cx: &Context) -> u32;
    async fn exclusive(&mut self, cx: &Context) -> u32;
    async fn without_context(&self, name: String) -> u32;
    async fn borrowed(&self, cx: &Context, name: &str) -> u32;
    async fn generic<T>(&self, cx: &Context, value: T) -> u32;
    async fn stream_argument(&self, cx: &Context, items: impl Stream<Item = u32>) -> u32;
    async fn two_streams(&self, cx: &Context, a: Incoming<u32>, b: Incoming<u32>) -> u32;
    fn neither(&self, cx: &Context) -> u32;
    async fn both(&self, cx: &Context) -> impl Stream<Item = u32>;
    fn other(&self, cx: &Context) -> impl Iterator<Item = u32>;
    async fn one_type(&self, cx: &Context) -> std::io::Result<u32>;
    async fn with_body(&self, cx: &Context) -> u32 {
        0
    }
    async fn new(&self, cx: &Context) -> u32;
    #[service(name = "with_body")]
    async fn twice(&self, cx: &Context) -> u32;
    #[service(rename = "x")]
    async fn unknown(&self, cx: &Context) -> u32;
    #[idempotent]
    fn again(&self, cx: &Context) -> impl Stream<Item = u32>;
    #[idempotent = "often"]
    async fn often(&self, cx: &Context) -> u32;
    const LIMIT: u32;
}

#[service]
trait Generic<T> {
    async fn fine(&self, cx: &Context) -> u32;
}

#[service]
trait Empty {}

fn main() {}
