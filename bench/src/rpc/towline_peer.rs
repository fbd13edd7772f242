//! towline: calls of `towline::rpc`, compression off.

use std::{convert::Infallible, future, path::Path, sync::Arc};

use anyhow::ensure;
use bytes::Bytes;
use towline::{
    codec::Text,
    identity::Identity,
    rpc::{Client, Compression, Context, Message, Server, server::ListenConfig},
};

use super::{BODY, ClientArgs, Figures, load};
use crate::role::say_ready;

const SERVICE: &str = "echo";

pub(super) async fn serve(endpoint: &str, certs: &Path) -> anyhow::Result<()> {
    let server = Server::builder()
        .compression(Compression::None)
        .call(SERVICE, |_: Context, request: Message| async move {
            Ok::<_, Infallible>(Message::from_body(request.body))
        })
        .build();
    let mut config = ListenConfig::new();
    if endpoint.starts_with("tls://") {
        config = config.identity(Arc::new(Identity::load(certs, "node")?));
    }
    let listening = server.listen(endpoint, config).await?;
    say_ready(listening.endpoint());
    future::pending().await
}

pub(super) async fn client(args: &ClientArgs) -> anyhow::Result<Figures> {
    let mut builder = Client::builder().compression(Compression::None);
    if args.address.starts_with("tls://") {
        builder = builder.identity(Arc::new(Identity::load(&args.certs, "client")?));
    }
    let client = builder.connect(&args.address).await?;
    let body = Bytes::from(vec![0x5a; BODY]);
    load::run(args, move || {
        let (client, body) = (client.clone(), body.clone());
        async move {
            let request = Message::request(Text::from_static(SERVICE), body.clone());
            let reply = client.call(request).await?.into_result()?;
            ensure!(reply.body == body, "an echo differs from what was sent");
            Ok(())
        }
    })
    .await
}
