//! A sync, as a server does it.

use std::io;

use bytes::{Bytes, BytesMut};
use towline_identity::Verdict;
use towline_rpc::server::{DownloadSink, UploadParts};
use towline_rpc::{Context, Message as RpcMessage};

use super::drive::{Rx, Tx, drive};
use super::place::{self, Place};
use super::places::{self, Places};
use super::{SyncError, SyncEvent};
use crate::engine::{Engine, Filter, Options, Receiver, Sender};
use crate::transfer::unfinished::Unfinished;
use crate::transfer::{Durability, Root, ServeOptions, blocking, part};
use crate::wire::{Hello, Message, RelPath, Role, WireError};

/// Answers one sync to its end.
pub(crate) async fn serve(
    (root, options): (Root, ServeOptions),
    places: Places,
    context: Context,
    first: RpcMessage,
    parts: UploadParts,
    sink: DownloadSink,
) -> Result<RpcMessage, SyncError> {
    let (tx, rx) = (Tx::Server(sink), Rx::Server(parts));
    let unfinished = Unfinished::new(context.peer(), "a sync");
    let result = match places.take(context.connection().id()) {
        Some(_place) => run(root, options, &context, first, tx, rx).await,
        None => Err(refused(&format!(
            "this connection has {} syncs under way, and may have no more; wait until one ends",
            places::MOST
        ))),
    };
    unfinished.finished();
    match result {
        Ok(()) => Ok(RpcMessage::new()),
        // docs/wire T31: what is not allowed is told apart from what failed.
        Err(SyncError::Remote {
            text,
            refused: true,
        }) => {
            tracing::warn!(peer = %context.peer(), why = ?text, "refused a sync");
            let mut reply = RpcMessage::new().with_arg(part::REFUSED, "yes");
            reply.error = text.into();
            Ok(reply)
        }
        Err(error) => {
            let shown = error.to_string();
            tracing::warn!(peer = %context.peer(), error = ?shown, "a sync ended early");
            Err(error)
        }
    }
}

fn refused(text: &str) -> SyncError {
    SyncError::Remote {
        text: text.to_owned(),
        refused: true,
    }
}

async fn run(
    root: Root,
    options: ServeOptions,
    context: &Context,
    first: RpcMessage,
    mut tx: Tx,
    mut rx: Rx,
) -> Result<(), SyncError> {
    let mut input = first.body;
    let hello = match Message::decode(&mut input) {
        Ok(Message::Hello(hello)) => hello,
        Ok(_) => return Err(crate::engine::Violation::WrongEnd.into()),
        Err(error @ WireError::Version { .. }) => return Err(refused(&error.to_string())),
        Err(error) => return Err(error.into()),
    };
    // docs/wire T32, T25
    match hello.role {
        Role::Push if !options.may_write() => {
            return Err(refused(
                "this server does not take files; it must be started with --allow-write",
            ));
        }
        Role::Push if options.has_suffix() => {
            return Err(refused(
                "this server gives files other names: nothing can be synced to it",
            ));
        }
        Role::Push => {
            if let Verdict::Refuse(why) = options.check_writer(context.peer()) {
                tracing::warn!(peer = %context.peer(), why = ?why, "a peer is not authorised");
                return Err(refused("your key is not authorised to store files here"));
            }
        }
        Role::Pull => {
            if let Verdict::Refuse(why) = options.check_reader(context.peer()) {
                tracing::warn!(peer = %context.peer(), why = ?why, "a peer is not authorised");
                return Err(refused("your key is not authorised to fetch files here"));
            }
        }
    }
    let filter = Filter::new(&hello.exclude)?;
    let mut engine = Options::from_hello(&hello);
    engine.durable &= options.stored_how() == Durability::Fsync;
    engine.max_file = options.largest();
    // The directory that is served is not the client's.
    engine.keep_root = relative(&hello.path)?.0.is_root();
    let Place { disk, name, made } = place_of(&root, &hello).await?;
    engine.made = made;
    let single = match hello.role {
        Role::Push => {
            engine.only.clone_from(&name);
            engine.rename.clone_from(&name);
            None
        }
        Role::Pull => {
            engine.only.clone_from(&name);
            name
        }
    };
    let mut welcome = BytesMut::new();
    Message::Welcome { single }.encode(&mut welcome);
    tx.send(welcome.freeze()).await?;
    let engine = match hello.role {
        Role::Push => Engine::Receiver(Box::new(Receiver::new(engine, filter))),
        Role::Pull => Engine::Sender(Box::new(Sender::new(
            &engine,
            filter,
            hello.ignore_file.clone(),
        ))),
    };
    let mut log = |event| {
        if let SyncEvent::Item(item) = event {
            tracing::debug!(?item, "synced");
        }
    };
    let totals = drive(
        engine,
        (disk, options.cache()),
        input,
        (&mut tx, &mut rx),
        &mut log,
    )
    .await?;
    tracing::info!(
        peer = %context.peer(),
        role = ?hello.role,
        files = totals.files_done,
        literal = totals.literal,
        reused = totals.reused,
        failed = totals.failed,
        "synced a tree"
    );
    Ok(())
}

/// The place that the client means (docs/wire D13, D22).
async fn place_of(root: &Root, hello: &Hello) -> Result<Place, SyncError> {
    let shown = String::from_utf8_lossy(&hello.path).into_owned();
    let (path, into) = relative(&hello.path)?;
    let (root, hello) = (root.clone(), hello.clone());
    let place = blocking::run(move || -> io::Result<Place> {
        match hello.role {
            Role::Pull => place::source_beneath(root.dir(), &path),
            Role::Push => {
                let make = !hello.dry_run;
                place::target_beneath(root.dir(), &path, into, hello.single, make)
            }
        }
    });
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::PermissionDenied => refused(&format!("`{shown}`: {source}")),
        _ => SyncError::Local {
            path: shown.clone(),
            source,
        },
    };
    place.await.map_err(failed)?.map_err(failed)
}

/// A path as a client writes it; whether it ends with a separator.
fn relative(path: &Bytes) -> Result<(RelPath, bool), SyncError> {
    let into = path.ends_with(b"/");
    if path.starts_with(b"/") {
        return Err(refused(
            "the path is absolute; name one relative to the directory that is served",
        ));
    }
    let mut relative = RelPath::root();
    for name in path.split(|byte| *byte == b'/') {
        if name.is_empty() || name == b"." {
            continue;
        }
        let name = RelPath::new(name)
            .map_err(|_| refused("the path holds a part that no file can have, or `..`"))?;
        relative = relative.join(name.as_bytes());
    }
    Ok((relative, into))
}
