//! Sending a file to a server.

use std::pin::pin;
use std::time::Duration;

use tokio::time::timeout;
use towline_rpc::client::Upload;
use towline_rpc::{Client, CloseReason, Message, SendError as RpcSendError, StreamError};

use crate::hash_name::HashName;
use crate::transfer::incoming::Durability;
use crate::transfer::outgoing::{OutPart, OutgoingFile, SendError};
use crate::transfer::part::{self, ArgsError, UPLOAD_SERVICE, UploadBegin, UploadReply};
use crate::transfer::service::with_args;
use crate::transfer::source::SourceFile;

/// How a file is pushed.
#[derive(Debug, Clone)]
pub struct PushOptions {
    dir: Option<String>,
    name: Option<String>,
    uncompressed: bool,
    durability: Durability,
    reply_timeout: Option<Duration>,
}

impl Default for PushOptions {
    fn default() -> Self {
        Self {
            dir: None,
            name: None,
            uncompressed: false,
            durability: Durability::default(),
            reply_timeout: Some(Duration::from_secs(60)),
        }
    }
}

impl PushOptions {
    /// The directory beneath the server's root to store in (docs/wire T26). By default the root
    /// itself. The original ignores it.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<String>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// The name to store under. By default the last component of the local path.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// When the server counts the file as stored; [`Durability::Fsync`] by default. A server that
    /// was told not to wait for its disk does not, whatever is asked for.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sends the parts uncompressed, whatever the connection does: for files that are compressed
    /// already. Off by default.
    #[must_use]
    pub fn uncompressed(mut self, uncompressed: bool) -> Self {
        self.uncompressed = uncompressed;
        self
    }

    /// How long the server may be silent when all of the file is on its way: this long, and a second
    /// more for each MiB, because it may have to write all of it to a slow disk first; and how long it may
    /// take nothing before. 60 seconds by default; `None` waits for ever. The time runs while nothing waits to be written on the
    /// connection; for what waits there is [`Limits::write_timeout`](towline_rpc::proto::Limits).
    #[must_use]
    pub fn reply_timeout(mut self, limit: Option<Duration>) -> Self {
        self.reply_timeout = limit;
        self
    }
}

/// A file that the server has stored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pushed {
    /// Where, relative to the server's root, if the server told.
    pub stored: Option<String>,
    /// Its size.
    pub bytes: u64,
    /// How many parts it took.
    pub parts: u64,
    /// The hash of all its bytes, which is also the server's.
    pub total: HashName,
}

/// How far a transfer is; told after every part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transferred {
    /// Bytes so far.
    pub bytes: u64,
    /// Number of the latest part.
    pub part: u64,
    /// Size of the file, if it is known.
    pub total: Option<u64>,
}

/// Sends one file and waits until the server has stored it.
///
/// `progress` is called after every part that the connection took.
///
/// # Cancel safety
///
/// Dropping the future cancels the upload: the server's target stays as it was.
///
/// # Errors
///
/// [`PushError`]. Unless it is [`PushError::WrongTotal`], nothing was stored, or it is unknown
/// because the connection ended.
pub async fn push(
    client: &Client,
    source: SourceFile,
    options: &PushOptions,
    mut progress: impl FnMut(Transferred) + Send,
) -> Result<Pushed, PushError> {
    let mut outgoing = OutgoingFile::start(source)?;
    let mut sent = Transferred {
        bytes: 0,
        part: 0,
        total: outgoing.meta().size,
    };
    let mut parts = 0;
    let mut upload = None;
    let reply = loop {
        let Some(part) = outgoing.next_part().await? else {
            return Err(PushError::Unfinished);
        };
        parts += 1;
        let length = part.body.len() as u64;
        let number = part.number;
        let last = part.last;
        let message = message(part, &outgoing, options);
        match upload.take() {
            None => upload = Some(client.upload(message).await.map_err(PushError::Begin)?),
            Some(upload) if last => {
                let limit = options
                    .reply_timeout
                    .map(|limit| limit.saturating_add(time_to_store(sent.bytes)));
                break await_reply(client, upload, message, sent, limit).await?;
            }
            Some(mut running) => match took(client, running.send(message), sent, options).await? {
                Ok(()) => upload = Some(running),
                // The server has made up its mind; its reply says why.
                Err(RpcSendError::Ended) => {
                    let reply = running.finish(Message::new()).await;
                    break reply.map_err(|source| PushError::stream(source, sent, false))?;
                }
                Err(error) => return Err(PushError::stream(error.into(), sent, false)),
            },
        }
        sent.bytes += length;
        sent.part = number;
        progress(sent);
    };
    let refused = reply.arg(part::REFUSED).is_some();
    let reply = reply.into_result().map_err(|error| {
        if refused {
            PushError::Refused(error.to_string())
        } else {
            PushError::Failed(error.to_string())
        }
    })?;
    let ended = UploadReply::read(|key| reply.arg(key)).map_err(PushError::Reply)?;
    let Some(total) = outgoing.total() else {
        return Err(PushError::Unfinished);
    };
    if ended.total != total {
        return Err(PushError::WrongTotal {
            ours: total,
            server: ended.total,
        });
    }
    Ok(Pushed {
        stored: ended.stored.map(str::to_owned),
        bytes: sent.bytes,
        parts,
        total,
    })
}

/// What a server may need to get a file of this size onto its disk, at 1 MiB/s.
const fn time_to_store(bytes: u64) -> Duration {
    Duration::from_secs(bytes >> 20)
}

/// Waits until a part was taken. A server that gives no credit for it leaves nothing to be written, so
/// that the connection's own time limit does not run.
async fn took<T>(
    client: &Client,
    sending: impl Future<Output = T>,
    sent: Transferred,
    options: &PushOptions,
) -> Result<T, PushError> {
    unless_silent(client, sending, options.reply_timeout)
        .await
        .map_err(|limit| PushError::TookNothing {
            limit,
            sent: sent.bytes,
            size: sent.total,
        })
}

/// Sends the last part and waits for the reply, or gives up and cancels.
async fn await_reply(
    client: &Client,
    upload: Upload,
    last: Message,
    sent: Transferred,
    limit: Option<Duration>,
) -> Result<Message, PushError> {
    let reply = unless_silent(client, upload.finish(last), limit)
        .await
        .map_err(|limit| PushError::NoReply {
            bytes: sent.bytes,
            limit,
        })?;
    reply.map_err(|source| PushError::stream(source, sent, true))
}

/// Waits for the server, at most `limit` of silence, which is counted while nothing waits to be
/// written: a slow link still carries what was handed over long ago. The error is the limit.
async fn unless_silent<T>(
    client: &Client,
    waiting: impl Future<Output = T>,
    limit: Option<Duration>,
) -> Result<T, Duration> {
    let mut waiting = pin!(waiting);
    let Some(limit) = limit else {
        return Ok(waiting.await);
    };
    // How much waits is looked at from time to time.
    let step = (limit / 8).max(Duration::from_millis(1));
    let mut silent = Duration::ZERO;
    loop {
        if let Ok(done) = timeout(step, &mut waiting).await {
            return Ok(done);
        }
        silent = if client.unsent() > 0 {
            Duration::ZERO
        } else {
            silent + step
        };
        if silent >= limit {
            return Err(limit);
        }
    }
}

fn message(part: OutPart, outgoing: &OutgoingFile, options: &PushOptions) -> Message {
    let args = if part.number == 0 {
        UploadBegin {
            name: options.name.as_deref().unwrap_or_else(|| outgoing.name()),
            dir: options.dir.as_deref(),
            hash: Some(part.hash),
            meta: outgoing.meta(),
            durable: options.durability != Durability::None,
        }
        .write()
    } else {
        part::write_hash(part.hash)
    };
    let message = with_args(Message::request(UPLOAD_SERVICE, part.body), args);
    if options.uncompressed {
        message.without_compression()
    } else {
        message
    }
}

/// Why a file was not pushed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// The file could not be read to its end.
    #[error(transparent)]
    Read(#[from] SendError),
    /// The upload could not begin.
    #[error(transparent)]
    Begin(RpcSendError),
    /// The stream failed on its way.
    #[error("{source}; {}", told_so_far(.sent, .size, .whole))]
    Stream {
        /// How.
        source: StreamError,
        /// Bytes that the connection had taken.
        sent: u64,
        /// Size of the file.
        size: Option<u64>,
        /// Whether the last part was among them: then the server may have stored the file.
        whole: bool,
    },
    /// The server lives and takes no more of the file.
    #[error("the peer took nothing for {limit:?}; {}", told_so_far(.sent, .size, &false))]
    TookNothing {
        /// How long it was waited for.
        limit: Duration,
        /// Bytes that had been sent.
        sent: u64,
        /// Size of the file.
        size: Option<u64>,
    },
    /// The server has the whole file and does not say what became of it.
    #[error(
        "the server took all {bytes} bytes and then said nothing for {limit:?}; whether it stored the file is not known"
    )]
    NoReply {
        /// Size of the file.
        bytes: u64,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The server could not store the file: its text.
    #[error("the server did not store the file: {0}")]
    Failed(String),
    /// The server does not allow it (docs/wire T31): its text.
    #[error("the server refused the file: {0}")]
    Refused(String),
    /// The server's reply cannot be read.
    #[error("the server's reply cannot be understood: {0}")]
    Reply(#[source] ArgsError),
    /// The server ended the upload with a success before it had the whole file.
    #[error("the server ended the upload before it had the whole file")]
    Unfinished,
    /// The server stored something else.
    #[error(
        "what the server stored differs from what was sent: its hash is {server}, ours {ours}; send the file again"
    )]
    WrongTotal {
        /// The hash of what was sent.
        ours: HashName,
        /// The hash of what the server stored.
        server: HashName,
    },
}

impl PushError {
    fn stream(source: StreamError, sent: Transferred, whole: bool) -> Self {
        Self::Stream {
            source,
            sent: sent.bytes,
            size: sent.total,
            whole,
        }
    }

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

    /// True if both ends worked but the bytes are not the same.
    pub fn is_verification_failure(&self) -> bool {
        matches!(self, Self::WrongTotal { .. })
    }
}

fn told_so_far(sent: &u64, size: &Option<u64>, whole: &bool) -> String {
    match (whole, size) {
        (true, _) => format!(
            "all {sent} bytes had been sent, whether the server stored the file is not known"
        ),
        (false, Some(size)) => format!("{sent} of {size} bytes had been sent, nothing was stored"),
        (false, None) => format!("{sent} bytes had been sent, nothing was stored"),
    }
}
