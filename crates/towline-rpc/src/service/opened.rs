//! Streams that a caller has opened, and the layers around them.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::{Context, Poll, ready},
};

use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::sync::oneshot;

use crate::{
    client::{BistreamReceiver, BistreamSender, Client, Download, Upload},
    error::StreamError,
    proto::{Message, ServiceKind},
};

/// The ends of a stream that has been opened.
#[derive(Debug)]
pub(crate) enum Opened {
    Upload(Upload),
    Download(Download),
    Bistream(BistreamSender, BistreamReceiver),
    /// A layer has answered by itself.
    #[cfg(feature = "tower")]
    Answered(Message),
}

impl Opened {
    /// Opens a stream of this kind; every other than an upload and a download is a bistream.
    pub(crate) async fn of(
        client: &Client,
        kind: ServiceKind,
        message: Message,
    ) -> Result<Self, StreamError> {
        Ok(match kind {
            ServiceKind::Upload => Self::Upload(client.upload(message).await?),
            ServiceKind::Download => Self::Download(client.download(message).await?),
            _ => {
                let (sender, receiver) = client.bistream(message).await?;
                Self::Bistream(sender, receiver)
            }
        })
    }
}

impl Opened {
    /// The upload that was asked for, or what a layer has answered in its place.
    pub(super) fn into_upload(self) -> Result<Upload, Message> {
        match self {
            Self::Upload(upload) => Ok(upload),
            #[cfg(feature = "tower")]
            Self::Answered(reply) => Err(reply),
            // What was opened is of the kind that was asked for.
            Self::Download(_) | Self::Bistream(..) => Err(Message::new()),
        }
    }
}

type Layers = BoxFuture<'static, Result<Message, StreamError>>;

/// The layers around a stream that is open: none by default.
#[derive(Default)]
pub(crate) struct Watched(Option<(Layers, oneshot::Sender<Result<Message, StreamError>>)>);

impl Watched {
    #[cfg(feature = "tower")]
    pub(crate) fn by(layers: Layers, ended: oneshot::Sender<Result<Message, StreamError>>) -> Self {
        Self(Some((layers, ended)))
    }

    /// Ready if the layers have ended the stream before its reply came.
    pub(crate) fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, StreamError>> {
        let Some((layers, _)) = &mut self.0 else {
            return Poll::Pending;
        };
        let answer = ready!(layers.poll_unpin(cx));
        self.0 = None;
        Poll::Ready(answer)
    }

    /// Tells the layers how the stream ended, and returns what they make of it.
    pub(crate) async fn ended(
        self,
        end: Result<Message, StreamError>,
    ) -> Result<Message, StreamError> {
        let Some((layers, ended)) = self.0 else {
            return end;
        };
        // A layer that does not wait for it answers all the same.
        drop(ended.send(end));
        layers.await
    }

    /// What becomes of a stream that `until_the_end` sees to.
    pub(crate) async fn around(
        mut self,
        until_the_end: impl Future<Output = Result<Message, StreamError>>,
    ) -> Result<Message, StreamError> {
        let mut stream = pin!(until_the_end);
        let end = poll_fn(|cx| {
            if let Poll::Ready(cut) = self.poll_cut(cx) {
                return Poll::Ready(Err(cut));
            }
            stream.as_mut().poll(cx).map(Ok)
        })
        .await;
        match end {
            Ok(end) => self.ended(end).await,
            Err(cut) => cut,
        }
    }
}
