//! A sync, as the end does it that opened the connection.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use towline_rpc::{CallError, Client, Message as RpcMessage, StreamError};

use super::drive::{Rx, Tx, drive};
use super::place::{self, Place};
use super::{SYNC_SERVICE, SyncError, SyncEvent, SyncOptions};
use crate::engine::{Engine, Filter, Options, Receiver, Sender};
use crate::fs::{Disk, DiskCache, is_own};
use crate::transfer::{blocking, part};
use crate::wire::{Hello, Message, Role, Totals};

/// Whether the other end syncs (docs/wire D23): one round trip, which a server of the original answers at
/// once as well.
///
/// # Errors
///
/// [`CallError`], if there was no answer.
///
/// # Cancel safety
///
/// Dropping the future changes nothing.
pub async fn offers_sync(client: &Client) -> Result<bool, CallError> {
    match client.call(RpcMessage::request(SYNC_SERVICE, "")).await {
        Ok(reply) => Ok(reply.into_result().is_ok()),
        Err(CallError::NoSuchService(_) | CallError::Refused(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes `remote`, a path beneath the server's root, like the tree or file `local`.
///
/// A file goes to `remote` itself, or into it if that is a directory or ends with `/`. What is under
/// way when the connection is lost goes on where it was when the same sync is begun again.
///
/// # Errors
///
/// [`SyncError`] for what ends the sync. Files that fail are told to `on_event`, and counted in what
/// is returned.
///
/// # Cancel safety
///
/// Dropping the future cancels the sync at the server. What was stored stays; what was under way
/// is taken up by the next run.
pub async fn push_tree(
    client: &Client,
    local: &Path,
    remote: &str,
    options: &SyncOptions,
    mut on_event: impl FnMut(SyncEvent) + Send,
) -> Result<Totals, SyncError> {
    let path = local.to_owned();
    let (Place { disk, name, .. }, given) = on_disk(local, move || place::source(&path)).await?;
    for name in [&name, &given].into_iter().flatten() {
        not_own(name, local.display())?;
    }
    let filter = Filter::new(options.patterns())?;
    let mut engine = options.engine();
    engine.only = name;
    let hello = options.hello(Role::Push, remote, given);
    let (opened, _) = open(client, hello).await?;
    let sender = Engine::Sender(Box::new(Sender::new(
        &engine,
        filter,
        options.ignore_name(),
    )));
    opened
        .run(sender, (disk, options.cache()), &mut on_event)
        .await
}

/// Makes the tree or file `local` like `remote`, a path beneath the server's root.
///
/// A file goes to `local` itself, or into it if that is a directory or ends with `/`.
///
/// # Errors
///
/// As [`push_tree`].
///
/// # Cancel safety
///
/// As [`push_tree`].
pub async fn pull_tree(
    client: &Client,
    remote: &str,
    local: &Path,
    options: &SyncOptions,
    mut on_event: impl FnMut(SyncEvent) + Send,
) -> Result<Totals, SyncError> {
    let (filter, opened, single) = open_pull(client, remote, options).await?;
    let mut engine = options.engine();
    engine.only = single.clone();
    let (path, make) = (local.to_owned(), !engine.dry_run);
    let place = on_disk(local, move || place::target(&path, single, make)).await?;
    opened
        .receive(engine, filter, place, options, &mut on_event)
        .await
}

/// Makes the file `local` like the regular file `remote`, a path beneath the server's root. `local` is
/// its new path: whatever has that name here is replaced, unless it is a directory, and never followed.
///
/// # Errors
///
/// As [`push_tree`], and [`SyncError::Directory`] if `remote` is one.
///
/// # Cancel safety
///
/// As [`push_tree`].
pub async fn pull_file(
    client: &Client,
    remote: &str,
    local: &Path,
    options: &SyncOptions,
    mut on_event: impl FnMut(SyncEvent) + Send,
) -> Result<Totals, SyncError> {
    let (filter, opened, single) = open_pull(client, remote, options).await?;
    if single.is_none() {
        return Err(SyncError::Directory(remote.to_owned()));
    }
    let mut engine = options.engine();
    engine.only = single;
    engine.regular = true;
    let path = local.to_owned();
    let place = on_disk(local, move || place::file(&path)).await?;
    opened
        .receive(engine, filter, place, options, &mut on_event)
        .await
}

async fn open_pull(
    client: &Client,
    remote: &str,
    options: &SyncOptions,
) -> Result<(Filter, Opened, Option<Bytes>), SyncError> {
    // A pattern that cannot be read is told before anything is asked for.
    let filter = Filter::new(options.patterns())?;
    let (opened, single) = open(client, options.hello(Role::Pull, remote, None)).await?;
    // The other end must not choose a name here.
    let asked = remote
        .split('/')
        .rfind(|part| !matches!(*part, "" | "."))
        .unwrap_or_default();
    if single.as_ref().is_some_and(|name| name != asked.as_bytes()) {
        return Err(crate::engine::Violation::UnknownFile.into());
    }
    if single.is_some() {
        not_own(asked.as_bytes(), remote)?;
    }
    Ok((filter, opened, single))
}

/// Whoever asks for a file that a sync leaves out would be told that all went well.
fn not_own(name: &[u8], path: impl fmt::Display) -> Result<(), SyncError> {
    match is_own(name) {
        true => Err(SyncError::Reserved(path.to_string())),
        false => Ok(()),
    }
}

async fn on_disk<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, SyncError> {
    let failed = |source| SyncError::Local {
        path: path.display().to_string(),
        source,
    };
    blocking::run(work).await.map_err(failed)?.map_err(failed)
}

/// How long a server may take to end a stream that has nothing left to say.
const LEAVE: Duration = Duration::from_secs(2);

/// A stream on which the server has agreed.
struct Opened {
    tx: Tx,
    rx: Rx,
    input: Bytes,
}

async fn open(client: &Client, hello: Hello) -> Result<(Opened, Option<Bytes>), SyncError> {
    let mut body = BytesMut::new();
    Message::Hello(hello).encode(&mut body);
    let first = RpcMessage::request(SYNC_SERVICE, body.freeze());
    let (sender, receiver) = client.bistream(first).await?;
    let (tx, mut rx) = (Tx::Client(sender), Rx::Client(receiver));
    let Some(mut input) = rx.next().await? else {
        return Err(ended(rx).await);
    };
    match Message::decode(&mut input)? {
        Message::Welcome { single } => Ok((Opened { tx, rx, input }, single)),
        Message::Abort { text } => {
            let refused = false;
            Err(SyncError::Remote { text, refused })
        }
        _ => Err(crate::engine::Violation::WrongEnd.into()),
    }
}

/// Why the server has ended the stream.
async fn ended(rx: Rx) -> SyncError {
    let Rx::Client(receiver) = rx else {
        return SyncError::Stream(StreamError::Ended);
    };
    match receiver.finish().await {
        Ok(reply) => {
            let refused = reply.arg(part::REFUSED).is_some();
            match reply.into_result() {
                Ok(_) => SyncError::Stream(StreamError::Ended),
                Err(error) => SyncError::Remote {
                    text: error.to_string(),
                    refused,
                },
            }
        }
        Err(error @ (StreamError::NoSuchService(_) | StreamError::Refused(_))) => {
            SyncError::Unsupported(error.to_string())
        }
        Err(error) => SyncError::Stream(error),
    }
}

impl Opened {
    async fn receive(
        self,
        mut engine: Options,
        filter: Filter,
        place: Place,
        options: &SyncOptions,
        on_event: &mut (dyn FnMut(SyncEvent) + Send),
    ) -> Result<Totals, SyncError> {
        engine.rename = place.name;
        engine.made = place.made;
        let receiver = Engine::Receiver(Box::new(Receiver::new(engine, filter)));
        self.run(receiver, (place.disk, options.cache()), on_event)
            .await
    }

    async fn run(
        mut self,
        engine: Engine,
        store: (Disk, Option<DiskCache>),
        on_event: &mut (dyn FnMut(SyncEvent) + Send),
    ) -> Result<Totals, SyncError> {
        let ends = (&mut self.tx, &mut self.rx);
        let input = std::mem::take(&mut self.input);
        match drive(engine, store, input, ends, on_event).await {
            Err(SyncError::Stream(StreamError::Ended)) => Err(ended(self.rx).await),
            Ok(totals) => {
                self.take_leave().await;
                Ok(totals)
            }
            Err(error) => Err(error),
        }
    }

    /// Ends the stream in order: halves that are dropped cancel it, and the server would tell of a sync that was cut
    /// short. What it says now changes nothing.
    async fn take_leave(self) {
        let (Tx::Client(sender), Rx::Client(receiver)) = (self.tx, self.rx) else {
            return;
        };
        let leave = async {
            if sender.finish(RpcMessage::new()).await.is_ok() {
                drop(receiver.finish().await);
            }
        };
        drop(tokio::time::timeout(LEAVE, leave).await);
    }
}
