//! `tow serve`: the files of a directory, and the echo call.

use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncReadExt as _;
use towline::{
    rpc::{Server, proto::Limits, server::ListenConfig},
    sync::{Durability, Root, ServeOptions, serve_echo, serve_files},
};

use crate::{
    cli::Serve,
    connection::{endpoint, identity, require_secure},
    failure::{Failure, failed},
    output::Output,
};

/// How long a client may take nothing of what waits for it.
const STALLED: Duration = Duration::from_secs(120);
/// How long running transfers may take after the first interrupt.
const DRAIN: Duration = Duration::from_secs(10);

pub(crate) async fn run(args: Serve, output: Output) -> Result<(), Failure> {
    let listen = endpoint(&args.listen)?;
    require_secure(&listen, args.insecure)?;
    let dir = args.dir.clone();
    let root = tokio::task::spawn_blocking(move || Root::open(dir))
        .await
        .map_err(failed)?
        .map_err(failed)?;
    let durability = if args.no_fsync {
        Durability::None
    } else {
        Durability::Fsync
    };
    let mut options = ServeOptions::default()
        .allow_write(args.allow_write)
        .suffix(args.suffix.clone())
        .durability(durability);
    if let Some(most) = args.max_file {
        options = options.max_bytes(most);
    }
    let limits = Limits::default()
        .max_message(args.max_message)
        .write_timeout(Some(STALLED));
    let builder = Server::builder().compression(args.compress).limits(limits);
    let server = serve_echo(serve_files(builder, root, options)).build();
    let mut config = ListenConfig::new().max_connections(args.max_connections as usize);
    if let Some(identity) = identity(&listen, &args.keys, "node")? {
        config = config.identity(identity);
    }
    let stop = stop_signal(args.until_stdin_ends).map_err(failed)?;
    let listening = server.listen(&args.listen, config).await?;
    let url = listening.endpoint().to_string();
    let fields = json!({ "url": url, "dir": args.dir.display().to_string(), "allow_write": args.allow_write });
    output.result("listening", fields, &format!("listening on {url}"));

    stop.await;
    let again = stop_signal(false).map_err(failed)?;
    let counters = listening.counters();
    tokio::select! {
        biased;
        drained = listening.shutdown(DRAIN) => {
            let fields = json!({ "accepted": counters.accepted, "cut_off": drained.cut_off });
            let line = format!("stopped: {} connections served, {} cut off", counters.accepted, drained.cut_off);
            output.note("stopped", fields, &line);
        }
        () = again => {
            let fields = json!({ "accepted": counters.accepted, "cut_off": counters.active });
            let line = format!("stopped at once: {} connections cut off", counters.active);
            output.note("stopped", fields, &line);
        }
    }
    Ok(())
}

/// Ready when the server should stop. The handlers of signals are in place when this returns.
#[cfg(unix)]
pub(super) fn stop_signal(stdin_too: bool) -> std::io::Result<impl Future<Output = ()> + Send> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            biased;
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = stdin_ends(), if stdin_too => {}
        }
    })
}

/// Ready when the server should stop.
#[cfg(not(unix))]
pub(super) fn stop_signal(stdin_too: bool) -> std::io::Result<impl Future<Output = ()> + Send> {
    Ok(async move {
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => {}
            () = stdin_ends(), if stdin_too => {}
        }
    })
}

async fn stdin_ends() {
    let mut stdin = tokio::io::stdin();
    let mut ignored = [0; 256];
    while stdin.read(&mut ignored).await.is_ok_and(|count| count > 0) {}
}
