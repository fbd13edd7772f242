//! Storing the parts of a file beside the socket: checking, hashing and writing on one thread.

use std::sync::Arc;
use std::thread;
use std::time::SystemTime;

use tokio::sync::{mpsc, oneshot};

use crate::hash_name::HashName;
use crate::transfer::incoming::{IncomingFile, StoreError};
use crate::transfer::receive::{InPart, ReceiveError, Received, Receiver};
use crate::transfer::temporary::Temporary;

/// Parts that wait for the thread. With the one it works on and the one being pushed, at most four
/// bodies are alive per file: 4 MiB with parts of the usual size.
const DEPTH: usize = 2;

/// Takes the parts of one file, checks them and stores the file, on a blocking thread of its own.
///
/// Memory: at most four parts. Dropped before [`IncomingSink::finish`] has returned, the temporary
/// file is removed at once, so that a program may end right afterwards; the thread ends soon after.
/// [`IncomingSink::abort`] waits for that too.
#[derive(Debug)]
pub struct IncomingSink {
    temporary: Arc<Temporary>,
    commands: Option<mpsc::Sender<Command>>,
    outcome: Option<oneshot::Receiver<Result<Stored, SinkError>>>,
}

/// What is known at the end of a file.
#[derive(Debug, Clone, Default)]
pub struct Finish {
    expected_total: Option<HashName>,
    expected_size: Option<u64>,
    mtime: Option<SystemTime>,
    lone_begin: bool,
}

impl Finish {
    /// The hash the whole file must have, if the sender told it. By default none is compared; the
    /// parts were.
    #[must_use]
    pub fn expected_total(mut self, total: Option<HashName>) -> Self {
        self.expected_total = total;
        self
    }

    /// The size the file must have, if the sender told it. By default none is compared.
    #[must_use]
    pub fn expected_size(mut self, size: Option<u64>) -> Self {
        self.expected_size = size;
        self
    }

    /// The modification time to give to the file. By default it is left as it is: now.
    #[must_use]
    pub fn mtime(mut self, mtime: Option<SystemTime>) -> Self {
        self.mtime = mtime;
        self
    }

    /// Accepts an empty part 0 that is not marked as the last one as an empty file: so the original
    /// sends one. Off by default.
    #[must_use]
    pub fn lone_begin(mut self, accept: bool) -> Self {
        self.lone_begin = accept;
        self
    }
}

/// A file that has its name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stored {
    /// Its path relative to the root.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// How many parts it took.
    pub parts: u64,
    /// The hash of all its bytes.
    pub total: HashName,
}

impl IncomingSink {
    /// Starts the thread for `file`; its size is not limited.
    ///
    /// # Errors
    ///
    /// [`SinkError::Thread`] when the system gives no thread.
    pub fn start(file: IncomingFile) -> Result<Self, SinkError> {
        Self::with_limit(file, u64::MAX)
    }

    /// Starts the thread for `file`; more than `limit` bytes are refused.
    ///
    /// # Errors
    ///
    /// [`SinkError::Thread`] when the system gives no thread.
    pub fn with_limit(file: IncomingFile, limit: u64) -> Result<Self, SinkError> {
        let (commands, inbox) = mpsc::channel(DEPTH);
        let (report, outcome) = oneshot::channel();
        let name = file.shown().to_owned();
        let temporary = file.temporary();
        // A thread of its own, not one of the runtime's blocking pool: a peer that stalls in the
        // middle of a file holds it for as long as it likes, and the pool is shared and bounded.
        thread::Builder::new()
            .name("tow-store".to_owned())
            .spawn(move || {
                let result = store(file, Receiver::new(limit), inbox);
                if let Some(result) = result {
                    // Nobody waits any more: the sink was dropped while the file was finished.
                    drop(report.send(result));
                }
            })
            .map_err(|source| SinkError::Thread { name, source })?;
        Ok(Self {
            temporary,
            commands: Some(commands),
            outcome: Some(outcome),
        })
    }

    /// Hands over the next part; waits while the thread is behind. An error may be that of an
    /// earlier part.
    ///
    /// # Cancel safety
    ///
    /// Not cancel-safe: if the future is dropped the part may be lost, and the next one is then out
    /// of sync. Drop or abort the sink.
    ///
    /// # Errors
    ///
    /// What made the thread give up; the file cannot be completed then.
    pub async fn push(&mut self, part: InPart) -> Result<(), SinkError> {
        self.command(Command::Part(part)).await
    }

    /// Checks that all parts came, and puts the file in its place.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the file may or may not be stored; never a part of it.
    ///
    /// # Errors
    ///
    /// What made the thread give up; the target is untouched then, except for
    /// [`StoreError::NotDurable`].
    pub async fn finish(mut self, finish: Finish) -> Result<Stored, SinkError> {
        self.command(Command::Finish(finish)).await?;
        self.outcome().await
    }

    /// Gives up, and waits until the thread has let go of the file and its space is free again.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the temporary file goes all the same.
    pub async fn abort(mut self) {
        self.commands = None;
        if let Some(outcome) = self.outcome.take() {
            // Both answers mean that the thread has let go of the file.
            drop(outcome.await);
        }
    }

    async fn command(&mut self, command: Command) -> Result<(), SinkError> {
        let sent = match &self.commands {
            Some(commands) => commands.send(command).await.is_ok(),
            None => false,
        };
        if sent {
            return Ok(());
        }
        self.commands = None;
        match self.outcome().await {
            Err(error) => Err(error),
            Ok(_) => Err(SinkError::Stopped),
        }
    }

    async fn outcome(&mut self) -> Result<Stored, SinkError> {
        match self.outcome.take() {
            Some(outcome) => outcome.await.unwrap_or(Err(SinkError::Stopped)),
            None => Err(SinkError::Stopped),
        }
    }
}

impl Drop for IncomingSink {
    fn drop(&mut self) {
        // Not left to the thread: the program may end before the thread comes to it.
        self.temporary.remove();
    }
}

/// Why a file was not stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// The sender broke a rule.
    #[error(
        "`{name}` was not stored: {source}; {arrived} bytes arrived, what was under that name is untouched"
    )]
    Receive {
        /// The target's path relative to the root.
        name: String,
        /// Bytes that arrived and were right.
        arrived: u64,
        /// The rule.
        source: ReceiveError,
    },
    /// The file system refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no thread for the file.
    #[error("`{name}` cannot be stored: the system gives no thread for it: {source}")]
    Thread {
        /// The target's path relative to the root.
        name: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// An earlier error ended the work on this file.
    #[error("the work on this file has ended after an earlier error")]
    Stopped,
}

enum Command {
    Part(InPart),
    Finish(Finish),
}

/// The thread: returns `None` when the sink was dropped. The file is gone when it returns.
fn store(
    mut file: IncomingFile,
    mut receiver: Receiver,
    mut inbox: mpsc::Receiver<Command>,
) -> Option<Result<Stored, SinkError>> {
    loop {
        match inbox.blocking_recv()? {
            Command::Part(part) => {
                if let Err(error) = take(&mut file, &mut receiver, &part) {
                    return Some(Err(error));
                }
            }
            Command::Finish(finish) => return Some(end(file, &receiver, &finish)),
        }
    }
}

fn take(file: &mut IncomingFile, receiver: &mut Receiver, part: &InPart) -> Result<(), SinkError> {
    receiver
        .accept(part)
        .map_err(|source| broken(file, source))?;
    file.write(&part.body)?;
    Ok(())
}

fn end(file: IncomingFile, receiver: &Receiver, finish: &Finish) -> Result<Stored, SinkError> {
    let Received {
        bytes,
        parts,
        total,
    } = receiver
        .finish(
            finish.expected_total,
            finish.expected_size,
            finish.lone_begin,
        )
        .map_err(|source| broken(&file, source))?;
    let path = file.shown().to_owned();
    file.finish(finish.mtime)?;
    Ok(Stored {
        path,
        bytes,
        parts,
        total,
    })
}

fn broken(file: &IncomingFile, source: ReceiveError) -> SinkError {
    SinkError::Receive {
        name: file.shown().to_owned(),
        arrived: file.arrived(),
        source,
    }
}
