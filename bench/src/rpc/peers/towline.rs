//! towline: calls and streams of `towline::rpc`, compression off.

use std::{
    convert::Infallible,
    future,
    path::{Path, PathBuf},
    sync::Arc,
};

use ::towline::{
    codec::Text,
    identity::Identity,
    rpc::{
        Client, Compression, Context, Message, Server,
        server::{DownloadSink, ListenConfig, UploadParts},
    },
};
use anyhow::ensure;
use bytes::Bytes;

use super::{Caller, DIFFERS};
use crate::{role::say_ready, rpc::streams};

const ECHO: &str = "echo";
const SINK: &str = "sink";
const SOURCE: &str = "source";
/// What the original sends at most in one part, and what files travel in.
const PART: usize = 1 << 20;

/// `scheme` is that of the endpoint, as `tcp`.
pub(in crate::rpc) async fn serve(scheme: &str, certs: &Path) -> anyhow::Result<()> {
    let server = Server::builder()
        .compression(Compression::None)
        .call(ECHO, |_: Context, request: Message| async move {
            Ok::<_, Infallible>(Message::from_body(request.body))
        })
        .upload(
            SINK,
            |_: Context, first: Message, mut parts: UploadParts| async move {
                let mut bytes = first.body.len();
                while let Some(part) = parts.next().await? {
                    bytes += part.body.len();
                }
                anyhow::Ok(Message::from_body(bytes.to_string()))
            },
        )
        .download(
            SOURCE,
            |_: Context, _: Message, mut sink: DownloadSink| async move {
                let part = Bytes::from(streams::noise(PART));
                for _ in 0..streams::BYTES / PART {
                    sink.send(Message::from_body(part.clone())).await?;
                }
                anyhow::Ok(Message::new())
            },
        )
        .build();
    let mut config = ListenConfig::new().max_connections(20_000);
    if scheme != "tcp" {
        config = config.identity(Arc::new(Identity::load(certs, "node")?));
    }
    let listening = server
        .listen(&format!("{scheme}://127.0.0.1:0"), config)
        .await?;
    say_ready(listening.endpoint());
    future::pending().await
}

#[derive(Clone)]
pub(in crate::rpc) struct Towline(Client);

pub(in crate::rpc) async fn connect(address: String, certs: PathBuf) -> anyhow::Result<Towline> {
    let mut builder = Client::builder().compression(Compression::None);
    if !address.starts_with("tcp://") {
        builder = builder.identity(Arc::new(Identity::load(&certs, "client")?));
    }
    Ok(Towline(builder.connect(&address).await?))
}

impl Caller for Towline {
    async fn echo(&self, body: &Bytes) -> anyhow::Result<()> {
        let request = Message::request(Text::from_static(ECHO), body.clone());
        let reply = self.0.call(request).await?.into_result()?;
        ensure!(reply.body == *body, DIFFERS);
        Ok(())
    }
}

impl Towline {
    /// Sends so many bytes as an upload, to the server's reply.
    pub(in crate::rpc) async fn upload(&self) -> anyhow::Result<()> {
        let part = Bytes::from(streams::noise(PART));
        let mut upload = self.0.upload(Message::request(SINK, part.clone())).await?;
        for _ in 2..streams::BYTES / PART {
            upload.send(Message::from_body(part.clone())).await?;
        }
        let reply = upload.finish(Message::from_body(part)).await?;
        ensure!(
            reply.into_result()?.body == streams::BYTES.to_string(),
            "not all bytes came"
        );
        Ok(())
    }

    /// Takes as many as a download.
    pub(in crate::rpc) async fn download(&self) -> anyhow::Result<()> {
        let mut download = self.0.download(Message::request(SOURCE, "")).await?;
        let mut bytes = 0;
        while let Some(part) = download.next().await {
            bytes += part.body.len();
        }
        download.finish().await?.into_result()?;
        ensure!(bytes == streams::BYTES, "{bytes} bytes came");
        Ok(())
    }
}
