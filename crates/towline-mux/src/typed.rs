//! Streams that begin with their type.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    sync::{Mutex, mpsc},
    task::{AbortHandle, JoinSet},
};

use crate::{
    proto::{OpenError, SessionEnd, StreamEnd, WriteError},
    session::Session,
    stream::Stream,
};

/// Streams whose type has not come yet, or that wait behind [`WAITING`]; more wait in the session's
/// backlog.
const UNTYPED: usize = 128;
/// Heartbeats of the peer's that are answered at a time; more are reset. One is what peers have.
const HEARTBEATS: usize = 8;
/// How long a stream's type may take to come.
const TYPE_TIMEOUT: Duration = Duration::from_secs(10);
/// Typed streams that may wait to be accepted.
const WAITING: usize = 64;
/// No type is answered as a heartbeat.
const NO_ANSWERS: u64 = u64::MAX;

/// What a stream is for: a number of the application's, sent in its first four bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamType(pub u32);

impl StreamType {
    /// The type of heartbeats, unless they are configured otherwise.
    pub const HEARTBEAT: Self = Self(u32::MAX);
}

/// A session whose streams begin with their type (docs/wire U66).
///
/// The types are read by a task of the library's own: a stream whose type does not come holds up no
/// other, and one that ends before is not told of (docs/wire U67, U68).
///
/// It takes up to 128 streams whose type has not come, and gives each 10 s for it. Up to 64 that have one
/// wait for [`accept_typed`](Self::accept_typed). When all these places are taken, streams wait in the
/// session's backlog. Up to 8 heartbeats of the peer's are answered at a time, and take none of these places
/// once their type has come; more are reset.
///
/// ```
/// use towline_mux::muxado::{self, StreamType, TypedSession};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (here, there) = tokio::io::duplex(1024);
/// let client = TypedSession::new(muxado::client(here, muxado::Config::default())?);
/// let server = TypedSession::new(muxado::server(there, muxado::Config::default())?);
///
/// let _stream = client.open_typed(StreamType(7)).await?;
/// let stream = server.accept_typed().await?.ok_or("the client closed the session")?;
/// assert_eq!(stream.stream_type(), StreamType(7));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct TypedSession {
    session: Session,
    acceptor: Arc<Acceptor>,
}

#[derive(Debug)]
struct Acceptor {
    typed: Mutex<mpsc::Receiver<TypedStream>>,
    /// What its task will pass streams on by, until it runs.
    sender: std::sync::Mutex<Option<mpsc::Sender<TypedStream>>>,
    /// The type that is answered as a heartbeat.
    answers: Arc<AtomicU64>,
    /// Aborted when the last handle is dropped.
    task: OnceLock<AbortHandle>,
}

/// A stream and its type.
#[derive(Debug)]
pub struct TypedStream {
    stream: Stream,
    stream_type: StreamType,
}

impl TypedSession {
    /// Makes every stream of a session a typed one; nobody else may accept from the session. Streams are
    /// taken from the first [`accept_typed`](Self::accept_typed) or heartbeat on.
    pub fn new(session: Session) -> Self {
        let (sender, typed) = mpsc::channel(WAITING);
        Self {
            session,
            acceptor: Arc::new(Acceptor {
                typed: Mutex::new(typed),
                sender: std::sync::Mutex::new(Some(sender)),
                answers: Arc::new(AtomicU64::new(NO_ANSWERS)),
                task: OnceLock::new(),
            }),
        }
    }

    /// Opens a stream and tells the peer its type at once.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; [`Ended`](OpenError::Ended) if the peer reset the stream before its type was written.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future opens nothing that the peer takes for a stream of a type.
    pub async fn open_typed(&self, stream_type: StreamType) -> Result<TypedStream, OpenError> {
        let mut stream = self.session.open().await?;
        let prefix = Bytes::copy_from_slice(&stream_type.0.to_be_bytes());
        stream
            .write_chunk(prefix)
            .await
            .map_err(|error| match error {
                WriteError::Ended(StreamEnd::RemoteGoneAway) => OpenError::RemoteNotAccepting,
                WriteError::Ended(end) => OpenError::Ended(end),
                WriteError::Session(end) => OpenError::Session(end),
                // Nobody else has the stream, to close it or to give it a deadline.
                WriteError::Closed | WriteError::TimedOut => {
                    let end = self.session.close_reason();
                    OpenError::Session(end.unwrap_or(SessionEnd::ClosedHere))
                }
            })?;
        Ok(TypedStream {
            stream,
            stream_type,
        })
    }

    /// The next stream of the peer whose type has come; `Ok(None)` when the session has ended well, or was
    /// closed on this side, with a code or without.
    ///
    /// # Errors
    ///
    /// Why the session ended, if not well. A single stream that fails is not an error here.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no stream.
    pub async fn accept_typed(&self) -> Result<Option<TypedStream>, SessionEnd> {
        self.start();
        if let Some(stream) = self.acceptor.typed.lock().await.recv().await {
            return Ok(Some(stream));
        }
        match self.session.close_reason() {
            // As for `Session::accept`.
            Some(SessionEnd::ClosedWithCode(_)) | None => Ok(None),
            Some(end) if end.is_clean() => Ok(None),
            Some(end) => Err(end),
        }
    }

    /// The session itself. Streams that are opened with it have no type, and the peer will take their
    /// first four bytes for it.
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// From now on answers streams of this type as heartbeats.
    pub(crate) fn answer(&self, heartbeat: StreamType) {
        self.acceptor
            .answers
            .store(heartbeat.0.into(), Ordering::Relaxed);
        self.start();
    }

    /// Has streams taken from the session. Not before somebody wants them: a heartbeat of the peer's
    /// that comes before this side's is made would be taken for a stream of the application.
    fn start(&self) {
        let mut sender = self
            .acceptor
            .sender
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = sender.take() {
            let answers = Arc::clone(&self.acceptor.answers);
            let task = tokio::spawn(accept(self.session.clone(), sender, answers));
            self.acceptor.task.get_or_init(|| task.abort_handle());
        }
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

/// Accepts streams, reads their types, and passes them on or answers them.
async fn accept(session: Session, typed: mpsc::Sender<TypedStream>, answers: Arc<AtomicU64>) {
    let mut tasks = JoinSet::new();
    // They may last as long as the session, and must not take the place of those whose type comes.
    let mut heartbeats = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(taken) = tasks.join_next(), if !tasks.is_empty() => {
                if let Ok(Some(heartbeat)) = taken
                    && heartbeats.len() < HEARTBEATS
                {
                    heartbeats.spawn(answer(heartbeat));
                }
            }
            Some(_) = heartbeats.join_next(), if !heartbeats.is_empty() => {}
            accepted = session.accept(), if tasks.len() < UNTYPED => {
                let Ok(Some(stream)) = accepted else { break };
                tasks.spawn(take_type(stream, typed.clone(), Arc::clone(&answers)));
            }
        }
    }
    // What has come whole is still given out.
    while tasks.join_next().await.is_some() {}
}

/// Reads a stream's type and passes it on; returns it if it is a heartbeat.
async fn take_type(
    mut stream: Stream,
    typed: mpsc::Sender<TypedStream>,
    answers: Arc<AtomicU64>,
) -> Option<Stream> {
    let Ok(Ok(number)) = tokio::time::timeout(TYPE_TIMEOUT, stream.read_u32()).await else {
        return None;
    };
    if u64::from(number) == answers.load(Ordering::Relaxed) {
        return Some(stream);
    }
    // An error means that nobody accepts any more; the stream is reset as it is dropped.
    let passed = typed
        .send(TypedStream {
            stream,
            stream_type: StreamType(number),
        })
        .await;
    drop(passed);
    None
}

/// Returns every beat, in whatever pieces it comes, until the peer ends them (docs/wire U70, U75).
async fn answer(mut stream: Stream) {
    let mut beat = [0; 4];
    while stream.read_exact(&mut beat).await.is_ok() {
        if stream.write_all(&beat).await.is_err() {
            return;
        }
    }
    drop(stream.close());
}

impl TypedStream {
    /// What the stream is for.
    pub const fn stream_type(&self) -> StreamType {
        self.stream_type
    }

    /// The stream behind its type.
    pub fn into_inner(self) -> Stream {
        self.stream
    }
}

impl std::ops::Deref for TypedStream {
    type Target = Stream;

    fn deref(&self) -> &Stream {
        &self.stream
    }
}

impl std::ops::DerefMut for TypedStream {
    fn deref_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }
}

impl AsyncRead for TypedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for TypedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
