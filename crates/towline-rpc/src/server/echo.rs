//! A handler that every server can use.

use super::{Context, DownloadSink, UploadParts};
use crate::{
    error::StreamError,
    proto::{CallType, Message},
};

/// A handler for [`ServerBuilder::bistream`](super::ServerBuilder::bistream) that sends every part back: its body and its
/// Args, and the last part as the last (docs/wire T30). The original's `EchoBistreamFunc`; for measuring, and for trying a
/// connection out.
///
/// ```
/// use towline_rpc::{Message, Server, server::echo_bistream};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::builder().bistream("echo", echo_bistream).build();
/// let client = server.connect_here();
/// let (sender, mut receiver) = client.bistream(Message::request("echo", "a")).await?;
/// sender.finish(Message::from_body("b")).await?;
/// assert_eq!(receiver.next().await.expect("a part").body, "a");
/// assert_eq!(receiver.next().await.expect("a part").body, "b");
/// receiver.finish().await?.into_result()?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`StreamError`] if a part was missing or came twice, or the connection is over.
///
/// # Cancel safety
///
/// Dropped, as it is when the client cancels, it sends nothing more.
pub async fn echo_bistream(
    _: Context,
    first: Message,
    mut parts: UploadParts,
    mut sink: DownloadSink,
) -> Result<Message, StreamError> {
    sink.send(back(first)).await?;
    while let Some(part) = parts.next().await? {
        if part.hdr.typ == CallType::UPLOAD_END {
            sink.send_last(back(part)).await?;
        } else {
            sink.send(back(part)).await?;
        }
    }
    Ok(Message::new())
}

fn back(part: Message) -> Message {
    let mut echo = Message::from_body(part.body);
    echo.hdr.args = part.hdr.args;
    echo
}
