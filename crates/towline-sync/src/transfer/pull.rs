//! Fetching a file from a server.

use towline_rpc::proto::CallType;
use towline_rpc::{Client, CloseReason, Message, SendError as RpcSendError, StreamError};

use crate::transfer::blocking;
use crate::transfer::incoming::{Durability, IncomingOptions, StoreError};
use crate::transfer::part::{self, ArgsError, DOWNLOAD_SERVICE, DownloadPart, FileMeta};
use crate::transfer::push::Transferred;
use crate::transfer::receive::{InPart, ReceiveError};
use crate::transfer::root::{Root, Target};
use crate::transfer::service::with_args;
use crate::transfer::sink::{Finish, IncomingSink, SinkError, Stored};

/// How a file is pulled.
#[derive(Debug, Clone)]
pub struct PullOptions {
    durability: Durability,
    keep_mode: bool,
    keep_mtime: bool,
    max_bytes: u64,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            keep_mode: true,
            keep_mtime: true,
            max_bytes: u64::MAX,
        }
    }
}

impl PullOptions {
    /// When the file counts as stored; [`Durability::Fsync`] by default.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Whether the file gets the permission bits it has at the server, if the server sends them. On
    /// by default.
    #[must_use]
    pub fn keep_mode(mut self, keep: bool) -> Self {
        self.keep_mode = keep;
        self
    }

    /// Whether the file gets the modification time it has at the server, if the server sends it. On
    /// by default.
    #[must_use]
    pub fn keep_mtime(mut self, keep: bool) -> Self {
        self.keep_mtime = keep;
        self
    }

    /// Bytes a file may have. Not limited by default: a server can fill the disk.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }
}

/// Fetches the file `path` of the server and stores it as `target` beneath `root`.
///
/// `progress` is called after every part that came.
///
/// # Cancel safety
///
/// Dropping the future cancels the download; the target stays as it was, and the temporary file goes
/// soon after.
///
/// # Errors
///
/// [`PullError`]; the target is untouched then, except for [`StoreError::NotDurable`].
pub async fn pull(
    client: &Client,
    path: &str,
    root: &Root,
    target: &Target,
    options: &PullOptions,
    mut progress: impl FnMut(Transferred) + Send,
) -> Result<Stored, PullError> {
    let request = with_args(
        Message::request(DOWNLOAD_SERVICE, Vec::new()),
        part::write_requested_path(path),
    );
    let mut download = client.download(request).await.map_err(PullError::Begin)?;
    let mut begun: Option<(IncomingSink, FileMeta)> = None;
    let mut come = Transferred {
        bytes: 0,
        part: 0,
        total: None,
    };
    let result = loop {
        let Some(message) = download.next().await else {
            break Ok(());
        };
        let taken = take(message, &mut begun, &mut come, root, target, options).await;
        if let Err(error) = taken {
            break Err(error);
        }
        progress(come);
    };
    if let Err(error) = result {
        // Tells the server before the wait for the temporary file to go.
        drop(download);
        abort(begun).await;
        return Err(error);
    }
    let reply = match download.finish().await {
        Ok(reply) => reply,
        Err(error) => {
            abort(begun).await;
            return Err(PullError::Stream {
                source: error,
                arrived: come.bytes,
                size: come.total,
            });
        }
    };
    let refused = reply.arg(part::REFUSED).is_some();
    let reply = match reply.into_result() {
        Ok(reply) => reply,
        Err(error) => {
            abort(begun).await;
            return Err(if refused {
                PullError::Refused(error.to_string())
            } else {
                PullError::Failed(error.to_string())
            });
        }
    };
    let Some((sink, meta)) = begun else {
        return Err(PullError::Nothing);
    };
    let total = match reply.arg(part::SERVER_TOTAL).map(str::parse).transpose() {
        Ok(total) => total,
        Err(error) => {
            sink.abort().await;
            return Err(PullError::Args(ArgsError::Hash(error)));
        }
    };
    let finish = Finish::default()
        .expected_total(total)
        .expected_size(meta.size)
        .mtime(meta.mtime.filter(|_| options.keep_mtime))
        // docs/wire T18: only where the server said that the file is empty.
        .lone_begin(meta.size == Some(0));
    Ok(sink.finish(finish).await?)
}

/// Takes one part; the first one begins the file.
async fn take(
    message: Message,
    begun: &mut Option<(IncomingSink, FileMeta)>,
    come: &mut Transferred,
    root: &Root,
    target: &Target,
    options: &PullOptions,
) -> Result<(), PullError> {
    let args = DownloadPart::read(|key| message.arg(key)).map_err(PullError::Args)?;
    let sink = match begun {
        Some((sink, _)) => sink,
        None => {
            let incoming = IncomingOptions::default()
                .durability(options.durability)
                .mode(args.meta.mode.filter(|_| options.keep_mode));
            let (beneath, name) = (root.clone(), target.clone());
            let file = blocking::run(move || beneath.create_incoming(&name, &incoming))
                .await
                .unwrap_or_else(|source| {
                    Err(StoreError::Create {
                        name: target.to_string(),
                        source,
                    })
                })
                .map_err(SinkError::from)?;
            let sink = IncomingSink::with_limit(file, options.max_bytes)?;
            come.total = args.meta.size;
            &mut begun.insert((sink, args.meta)).0
        }
    };
    let hash = args.hash;
    let length = message.body.len() as u64;
    let number = message.hdr.stream_part;
    sink.push(InPart {
        number,
        last: message.hdr.typ == CallType::DOWNLOAD_END,
        body: message.body,
        hash,
    })
    .await?;
    come.bytes += length;
    come.part = number.unsigned_abs();
    Ok(())
}

async fn abort(begun: Option<(IncomingSink, FileMeta)>) {
    if let Some((sink, _)) = begun {
        sink.abort().await;
    }
}

/// Why a file was not pulled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// The download could not begin.
    #[error(transparent)]
    Begin(RpcSendError),
    /// The stream failed on its way.
    #[error("{source}; {arrived}{} bytes arrived, nothing was stored", of(.size))]
    Stream {
        /// How.
        source: StreamError,
        /// Bytes that had arrived.
        arrived: u64,
        /// Size of the file, if the server had told it.
        size: Option<u64>,
    },
    /// The server could not send the file: its text.
    #[error("the server did not send the file: {0}")]
    Failed(String),
    /// The server does not allow it (docs/wire T31): its text.
    #[error("the server refused the file: {0}")]
    Refused(String),
    /// The server ended the download with a success and without a part.
    #[error("the server sent no part of the file, and no reason")]
    Nothing,
    /// What came with a part cannot be read.
    #[error("what the server sent with a part cannot be understood: {0}")]
    Args(#[source] ArgsError),
    /// The file could not be stored, or was not what the server said.
    #[error(transparent)]
    Sink(#[from] SinkError),
}

impl PullError {
    /// Why the connection is over, if that is what happened.
    pub fn close_reason(&self) -> Option<&CloseReason> {
        match self {
            Self::Begin(RpcSendError::Closed(reason))
            | Self::Stream {
                source: StreamError::Closed(reason),
                ..
            } => Some(reason),
            _ => None,
        }
    }

    /// True if a hash or the size of what came is wrong.
    pub fn is_verification_failure(&self) -> bool {
        matches!(
            self,
            Self::Sink(SinkError::Receive {
                source: ReceiveError::WrongHash { .. }
                    | ReceiveError::WrongTotal { .. }
                    | ReceiveError::WrongSize { .. }
                    | ReceiveError::NoHash { .. },
                ..
            })
        )
    }

    /// The error of the local disk, if that is what happened.
    pub fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Sink(SinkError::Store(error)) => Some(error),
            _ => None,
        }
    }
}

fn of(size: &Option<u64>) -> String {
    size.map(|size| format!(" of {size}")).unwrap_or_default()
}
