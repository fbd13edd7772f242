//! The services of a server that gives and takes files.

use std::sync::Arc;
use std::time::SystemTime;

use towline_identity::Verdict;
use towline_rpc::proto::CallType;
use towline_rpc::server::{DownloadSink, ServerBuilder, UploadParts};
use towline_rpc::{Context, Message, SendError as RpcSendError, StreamError};

use crate::transfer::blocking;
use crate::transfer::incoming::{Durability, IncomingOptions, StoreError};
use crate::transfer::outgoing::{OutgoingFile, SendError};
use crate::transfer::part::{self, ArgsError, DownloadPart, FileMeta, UploadBegin, UploadReply};
use crate::transfer::receive::{InPart, ReceiveError};
use crate::transfer::root::{NameError, Root};
use crate::transfer::serve_options::ServeOptions;
use crate::transfer::sink::{Finish, IncomingSink, SinkError, Stored};
use crate::transfer::source::OpenError;
use crate::transfer::unfinished::Unfinished;

/// Adds the services that store files beneath `root`, send files from there, and sync trees
/// (docs/wire T1, D10).
///
/// All are registered whatever the options say: an upload to a server that does not take files is
/// answered with an error, because an unknown service would disable a client of the original.
///
/// ```
/// use towline_rpc::Server;
/// use towline_sync::{Root, ServeOptions, serve_files};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let dir = dir.path();
/// let options = ServeOptions::default().allow_write(true);
/// let server = serve_files(Server::builder(), Root::open(dir)?, options).build();
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn serve_files(builder: ServerBuilder, root: Root, options: ServeOptions) -> ServerBuilder {
    let files = Arc::new(Files { root, options });
    let (storing, sending, syncing) = (Arc::clone(&files), Arc::clone(&files), files);
    let places = crate::sync::Places::default();
    builder
        .call(crate::SYNC_SERVICE, |_, _| async {
            // docs/wire D23
            Ok::<_, std::convert::Infallible>(Message::from_body("1"))
        })
        .bistream(crate::SYNC_SERVICE, move |context, first, parts, sink| {
            let how = (syncing.root.clone(), syncing.options.clone());
            crate::sync::serve(how, places.clone(), context, first, parts, sink)
        })
        .upload(part::UPLOAD_SERVICE, move |context, first, parts| {
            store(Arc::clone(&storing), context, first, parts)
        })
        .download(part::DOWNLOAD_SERVICE, move |context, request, sink| {
            send(Arc::clone(&sending), context, request, sink)
        })
}

#[derive(Debug)]
struct Files {
    root: Root,
    options: ServeOptions,
}

/// The reason is for our log, not for the peer.
fn refused<E>(context: &Context, why: &str, error: E) -> E {
    tracing::warn!(peer = %context.peer(), why = %escaped(why), "a peer is not authorised");
    error
}

/// A text for the log: what a peer named must not forge lines or move the cursor.
fn escaped(text: impl std::fmt::Display) -> String {
    text.to_string()
        .chars()
        .flat_map(|c| {
            let escape = c.is_control().then(|| c.escape_default());
            let plain = escape.is_none().then_some(c);
            escape.into_iter().flatten().chain(plain)
        })
        .collect()
}

async fn store(
    files: Arc<Files>,
    context: Context,
    first: Message,
    parts: UploadParts,
) -> Result<Message, UploadError> {
    let unfinished = Unfinished::new(context.peer(), "an upload");
    let result = match files.options.check_writer(context.peer()) {
        Verdict::Allow => receive(&files, first, parts).await,
        Verdict::Refuse(why) => Err(refused(&context, &why, UploadError::NotAuthorised)),
    };
    unfinished.finished();
    match &result {
        Ok(stored) => tracing::info!(
            peer = %context.peer(),
            path = ?stored.path,
            bytes = stored.bytes,
            "stored a file"
        ),
        Err(error) => {
            tracing::warn!(peer = %context.peer(), error = %escaped(error), "stored no file")
        }
    }
    let stored = match result {
        Ok(stored) => stored,
        Err(error) if error.is_refusal() => return Ok(refusal(&error)),
        Err(error) => return Err(error),
    };
    let reply = UploadReply {
        total: stored.total,
        stored: Some(&stored.path),
    };
    let sentence = part::upload_sentence(wall_time(), &stored.path, stored.bytes);
    Ok(with_args(Message::from_body(sentence), reply.write()))
}

async fn receive(
    files: &Arc<Files>,
    first: Message,
    mut parts: UploadParts,
) -> Result<Stored, UploadError> {
    let options = &files.options;
    if !options.may_write() {
        return Err(UploadError::ReadOnly);
    }
    let begin = UploadBegin::read(|key| first.arg(key))?;
    let meta = begin.meta;
    if let Some(size) = meta.size.filter(|size| *size > options.largest()) {
        return Err(UploadError::TooLarge {
            size,
            limit: options.largest(),
        });
    }
    let target = files
        .root
        .target(begin.name, begin.dir, options.appended())?;
    let durability = if begin.durable {
        options.stored_how()
    } else {
        Durability::None
    };
    let incoming = IncomingOptions::default()
        .durability(durability)
        .mode(meta.mode);
    let shown = target.to_string();
    let root = files.root.clone();
    let file = blocking::run(move || root.create_incoming(&target, &incoming))
        .await
        .unwrap_or_else(|source| {
            Err(StoreError::Create {
                name: shown.clone(),
                source,
            })
        })?;
    let mut sink = IncomingSink::with_limit(file, options.largest())?;
    let mut arrived = first.body.len() as u64;
    sink.push(in_part(first)?).await?;
    loop {
        match parts.next().await {
            Ok(Some(part)) => {
                arrived += part.body.len() as u64;
                sink.push(in_part(part)?).await?;
            }
            Ok(None) => break,
            Err(source) => {
                sink.abort().await;
                return Err(UploadError::Stream {
                    name: shown,
                    arrived,
                    source,
                });
            }
        }
    }
    let finish = Finish::default().expected_size(meta.size).mtime(meta.mtime);
    Ok(sink.finish(finish).await?)
}

fn in_part(message: Message) -> Result<InPart, ArgsError> {
    Ok(InPart {
        number: message.hdr.stream_part,
        hash: part::read_hash(|key| message.arg(key))?,
        last: message.hdr.typ == CallType::UPLOAD_END,
        body: message.body,
    })
}

async fn send(
    files: Arc<Files>,
    context: Context,
    request: Message,
    sink: DownloadSink,
) -> Result<Message, DownloadError> {
    let unfinished = Unfinished::new(context.peer(), "a download");
    let result = match files.options.check_reader(context.peer()) {
        Verdict::Allow => transmit(&files, &request, sink).await,
        Verdict::Refuse(why) => Err(refused(&context, &why, DownloadError::NotAuthorised)),
    };
    unfinished.finished();
    match &result {
        Ok(_) => tracing::info!(
            peer = %context.peer(),
            path = ?request.arg(part::REQUESTED_PATH),
            "sent a file"
        ),
        Err(error) => {
            tracing::warn!(peer = %context.peer(), error = %escaped(error), "sent no file")
        }
    }
    match result {
        Err(error) if error.is_refusal() => Ok(refusal(&error)),
        result => result,
    }
}

/// docs/wire T31: a reply that says that the server does not allow it.
fn refusal(error: &impl std::fmt::Display) -> Message {
    let mut reply = Message::new().with_arg(part::REFUSED, "yes");
    reply.error = error.to_string().into();
    reply
}

async fn transmit(
    files: &Arc<Files>,
    request: &Message,
    mut sink: DownloadSink,
) -> Result<Message, DownloadError> {
    let path = part::read_requested_path(|key| request.arg(key))?;
    let (root, wanted) = (files.root.clone(), path.to_owned());
    let source = blocking::run(move || root.open_for_read(&wanted))
        .await
        .unwrap_or_else(|source| {
            Err(OpenError::Io {
                path: path.to_owned(),
                source,
            })
        })?;
    let mut outgoing = OutgoingFile::start(source)?;
    let mut meta = outgoing.meta();
    while let Some(part) = outgoing.next_part().await? {
        let args = DownloadPart {
            path: Some(path),
            name: Some(outgoing.name()),
            hash: Some(part.hash),
            meta,
        }
        .write();
        // docs/wire T7 wants the size in every part; time and mode are read from the first one.
        meta = FileMeta {
            size: meta.size,
            ..FileMeta::default()
        };
        let message = with_args(Message::from_body(part.body), args);
        if part.last {
            sink.send_last(message).await?;
        } else {
            sink.send(message).await?;
        }
    }
    let total = outgoing
        .total()
        .map(|total| (part::SERVER_TOTAL, total.to_string()));
    Ok(with_args(Message::new(), total.into_iter().collect()))
}

pub(crate) fn with_args(mut message: Message, args: part::Args) -> Message {
    for (key, value) in args {
        message = message.with_arg(key, value);
    }
    message
}

#[expect(
    clippy::disallowed_methods,
    reason = "the time is only shown to people"
)]
fn wall_time() -> SystemTime {
    SystemTime::now()
}

/// Why an upload ended without a file; the text goes to the client.
#[derive(Debug, thiserror::Error)]
enum UploadError {
    #[error("this server does not take files; it has to be started with --allow-write")]
    ReadOnly,
    #[error("your key is not authorised to store files here")]
    NotAuthorised,
    #[error("the file has {size} bytes, this server takes at most {limit}")]
    TooLarge { size: u64, limit: u64 },
    #[error(transparent)]
    Args(#[from] ArgsError),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Sink(#[from] SinkError),
    #[error(
        "`{name}` was not stored: {source}; {arrived} bytes arrived, what was under that name is untouched"
    )]
    Stream {
        name: String,
        arrived: u64,
        source: StreamError,
    },
}

impl UploadError {
    /// True if it is a matter of permission, which trying again does not change.
    fn is_refusal(&self) -> bool {
        match self {
            Self::ReadOnly | Self::NotAuthorised | Self::TooLarge { .. } | Self::Name(_) => true,
            Self::Store(error) => is_refused_store(error),
            Self::Sink(SinkError::Store(error)) => is_refused_store(error),
            Self::Sink(SinkError::Receive { source, .. }) => {
                matches!(source, ReceiveError::TooLarge { .. })
            }
            Self::Args(_) | Self::Sink(_) | Self::Stream { .. } => false,
        }
    }
}

fn is_refused_store(error: &StoreError) -> bool {
    match error {
        StoreError::Outside { .. } => true,
        StoreError::Create { source, .. } | StoreError::Write { source, .. } => {
            source.kind() == std::io::ErrorKind::PermissionDenied
        }
        _ => false,
    }
}

/// Why a download ended before its last part; the text goes to the client.
#[derive(Debug, thiserror::Error)]
enum DownloadError {
    #[error("your key is not authorised to fetch files here")]
    NotAuthorised,
    #[error(transparent)]
    Args(#[from] ArgsError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Read(#[from] SendError),
    #[error(transparent)]
    Send(#[from] RpcSendError),
}

impl DownloadError {
    /// True if it is a matter of permission, which trying again does not change.
    fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::NotAuthorised
                | Self::Open(
                    OpenError::Name(_) | OpenError::Outside { .. } | OpenError::Denied { .. }
                )
        )
    }
}
