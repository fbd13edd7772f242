//! `tow serve`: the files of a directory, and the echo call.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use towline::{
    identity::{Authorisation, KnownKeys, LiveIdentity},
    rpc::{
        Server,
        proto::{Concurrency, Limits},
        server::ListenConfig,
    },
    server::{ServerConfig, ServerHandle},
    sync::{Durability, Root, RootError, ServeOptions, part::PART_SIZE, serve_echo, serve_files},
};

use crate::{
    admin::{Admin, Shown},
    cli::Serve,
    clock::now,
    connection::{endpoint_without_path, identity, require_secure, trust},
    failure::{Exit, Failure, failed},
    output::Output,
    progress::rate,
    reload::{Reloading, keep_current},
};

/// How long a client may take nothing of what waits for it.
const STALLED: Duration = Duration::from_secs(120);
/// Bytes of requests that one client may have in work: of calls, which are echoes, and of the first messages of
/// uploads, which hold a part of 1 MiB each.
const CALL_BYTES: usize = 64 << 20;
/// Smallest limit of a message that lets a full part of a file and its header pass.
const LEAST_FOR_FILES: usize = PART_SIZE + (64 << 10);

pub(crate) async fn run(args: Serve, output: Output) -> Result<(), Failure> {
    let listen = endpoint_without_path(&args.listen)?;
    require_secure(&listen, args.insecure)?;
    let options = options(&args)?;
    let (dir, write) = (args.dir.clone(), args.allow_write);
    let root = tokio::task::spawn_blocking(move || {
        let root = Root::open(dir)?;
        root.check_access(write)?;
        Ok::<_, RootError>(root)
    })
    .await
    .map_err(failed)?
    .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    let limits = Limits::default()
        .max_message(args.max_message as usize)
        .write_timeout(Some(STALLED));
    // docs/wire F11, F13
    let builder = Server::builder()
        .compression(args.compress)
        .mirror_compression(!args.no_mirror)
        .concurrency(Concurrency::default().body_bytes(CALL_BYTES))
        .limits(limits);
    let server = serve_echo(serve_files(builder, root.clone(), options)).build();
    let limits = read_limits(&args)?;
    let mut config = ListenConfig::new()
        .server(limits.builder().map_err(failed)?)
        .inherited(args.inherited);
    if let Some(seconds) = limits.handshake_timeout {
        config = config.handshake_timeout(Duration::from_secs(seconds));
    }
    let reloading = match identity(&listen, &args.keys, "node").await? {
        Some(loaded) => {
            let trust = trust(
                &args.keys,
                KnownKeys::for_server,
                args.warn_on_address_reuse,
            )?;
            let live = LiveIdentity::new(Arc::clone(&loaded.identity));
            config = config.identity(live.clone()).trust(trust);
            Some(Reloading::new(live, loaded, true).map_err(failed)?)
        }
        None => None,
    };
    if !args.allow.is_empty() {
        config = config.authorise(Authorisation::keys(args.allow.iter().copied()));
    }
    let stop = stop_signal(args.until_stdin_ends).map_err(failed)?;
    // Before anybody is let in: who asks for numbers wants all of them.
    let admin = match args.admin {
        Some(address) => Some(Admin::bind(address, args.insecure).await?),
        None => None,
    };
    let hangups = Hangups::new(args.limits.is_some()).map_err(failed)?;
    let listening = server.listen(&args.listen, config).await?;
    let begun = now();
    let seen = || Seen {
        calls: server.activity().calls,
        seconds: now().saturating_duration_since(begun).as_secs_f64(),
    };
    let url = listening.endpoint().to_string();
    let fields = json!({ "url": url, "dir": args.dir.display().to_string(), "allow_write": args.allow_write });
    output.result("listening", fields, &format!("listening on {url}"));
    let _admin = match admin {
        Some(admin) => {
            let page = admin.url();
            output.note(
                "admin",
                json!({ "url": page }),
                &format!("admin page at {page}"),
            );
            let shown = Shown {
                sockets: listening.handle(),
                services: server.clone(),
                url: url.as_str().into(),
            };
            Some(admin.serve(shown)?)
        }
        None => None,
    };

    if args.allow_write {
        // Beside the serving: a large tree takes its time. At the end it is not waited for.
        tokio::task::spawn_blocking(move || {
            if let Err(error) = root.sweep_tree() {
                tracing::warn!(%error, "what killed processes may have left stays");
            }
        });
    }

    tokio::select! {
        biased;
        () = stop => {}
        () = keep_current(reloading) => {}
        () = hangups.keep_limits(&args, listening.handle()) => {}
    }
    let again = stop_signal(false).map_err(failed)?;
    let counters = listening.counters();
    tokio::select! {
        biased;
        drained = listening.drain() => {
            let what = format!("stopped: {} connections served, {} cut off", counters.accepted, drained.cut_off);
            tell_stopped(output, &what, counters.accepted, drained.cut_off, &seen());
        }
        () = again => {
            let what = format!("stopped at once: {} connections cut off", counters.active);
            tell_stopped(output, &what, counters.accepted, counters.active, &seen());
        }
    }
    Ok(())
}

/// What a server has been asked for in its time.
struct Seen {
    calls: u64,
    seconds: f64,
}

/// docs/wire T34
fn tell_stopped(
    output: Output,
    what: &str,
    accepted: impl Serialize,
    cut_off: impl Serialize,
    seen: &Seen,
) {
    let calls = seen.calls;
    let per_second = rate(calls, seen.seconds);
    let fields = json!({
        "accepted": accepted, "cut_off": cut_off, "calls": calls, "calls_per_second": per_second,
    });
    let line = format!("{what}; {calls} calls, {per_second:.1} a second");
    output.note("stopped", fields, &line);
}

/// How connections are let in: by the options, and by the file of limits if there is one.
fn read_limits(args: &Serve) -> Result<ServerConfig, Failure> {
    let mut config = ServerConfig::default();
    if let Some(file) = &args.limits {
        let problem =
            |why: String| Failure::new(Exit::Usage, format!("--limits {}: {why}", file.display()));
        let text = std::fs::read_to_string(file).map_err(|error| problem(error.to_string()))?;
        config = serde_json::from_str(&text).map_err(|error| problem(error.to_string()))?;
        let elsewhere = config.address.is_some()
            || config.tcp.address.is_some()
            || config.tls.cert.is_some()
            || config.tls.key.is_some();
        if elsewhere {
            return Err(problem("address, tcp and tls are not limits".to_owned())
                .hint("say where to listen with --listen, and by which keys with --certs"));
        }
        if let Err(error) = config.builder() {
            return Err(problem(error.to_string()));
        }
    }
    let most = args.max_connections as usize;
    config.max_connections.get_or_insert(most);
    Ok(config)
}

/// SIGHUP, where it means to read the limits again. With a terminal it keeps its meaning.
struct Hangups {
    #[cfg(unix)]
    signal: Option<tokio::signal::unix::Signal>,
}

impl Hangups {
    #[cfg(unix)]
    fn new(wanted: bool) -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        let wanted = wanted && !std::io::IsTerminal::is_terminal(&std::io::stdin());
        let signal = wanted.then(|| signal(SignalKind::hangup())).transpose()?;
        Ok(Self { signal })
    }

    #[cfg(not(unix))]
    fn new(_: bool) -> std::io::Result<Self> {
        Ok(Self {})
    }

    /// Reads the limits again at each signal, for ever. What cannot be used leaves the old ones.
    async fn keep_limits(self, args: &Serve, server: ServerHandle) {
        #[cfg(unix)]
        if let Some(mut signal) = self.signal {
            while signal.recv().await.is_some() {
                let read = read_limits(args)
                    .and_then(|new| new.builder().map_err(failed))
                    .and_then(|new| server.reconfigure(&new).map_err(failed));
                match read {
                    Ok(()) => tracing::info!("the limits were read again"),
                    Err(failure) => {
                        tracing::error!("the old limits stay: {}", failure.message());
                    }
                }
            }
        }
        #[cfg(not(unix))]
        let _unchanged = (args, server);
        std::future::pending().await
    }
}

/// How files are served, unless it could never work.
fn options(args: &Serve) -> Result<ServeOptions, Failure> {
    if args.allow_write && (args.max_message as usize) < LEAST_FOR_FILES {
        return Err(Failure::new(
            Exit::Usage,
            format!(
                "with --max-message {} no file could be stored: its parts have 1 MiB",
                args.max_message
            ),
        )
        .hint(format!(
            "at least {LEAST_FOR_FILES} is needed with --allow-write"
        )));
    }
    let durability = if args.no_fsync {
        Durability::None
    } else {
        Durability::Fsync
    };
    let mut options = ServeOptions::default()
        .allow_write(args.allow_write)
        .suffix(args.suffix.clone())
        .durability(durability)
        .cache_dir(super::sync::cache_dir());
    if let Some(most) = args.max_file {
        options = options.max_bytes(most);
    }
    options
        .validate()
        .map_err(|error| Failure::new(Exit::Usage, format!("--suffix: {error}")))?;
    Ok(options)
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
