//! Servers until somebody presses a key.

use std::future::pending;
use std::io;
use std::pin::pin;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::server::{Aborted, Drained, Server};

/// Why servers ended otherwise than by a signal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A server was aborted; the first reason, if several were.
    #[error(transparent)]
    Aborted(#[from] Aborted),
    /// Signals cannot be waited for.
    #[error("signals cannot be waited for: {0}")]
    Signals(#[source] io::Error),
}

/// Serves until SIGINT or SIGTERM comes (Ctrl-C where there are no signals), or one of the servers is
/// asked to end; then ends all of them at the same time, waiting for their handlers until
/// `drain_deadline`, or each until its own ([`Builder::drain_deadline`](crate::Builder::drain_deadline)) if that is
/// `None`. A second signal cuts everything off at once.
///
/// # Errors
///
/// [`RunError`]; the servers have ended by then.
///
/// # Cancel safety
///
/// Dropping the future cuts every connection off.
///
/// ```no_run
/// # async fn run(server: towline_server::Server) -> Result<(), towline_server::RunError> {
/// let drained = towline_server::run_until_signal([server], std::time::Duration::from_secs(10)).await?;
/// println!("{} connections were cut off", drained.cut_off);
/// # Ok(())
/// # }
/// ```
pub async fn run_until_signal(
    servers: impl IntoIterator<Item = Server>,
    drain_deadline: impl Into<Option<Duration>>,
) -> Result<Drained, RunError> {
    let mut signals = Signals::new().map_err(RunError::Signals)?;
    let servers = servers.into_iter().collect();
    let ends = async || signals.next().await;
    run_until(
        servers,
        drain_deadline.into(),
        ends,
        async || pending().await,
        async || {},
    )
    .await
}

/// As [`run_until_signal`], and calls `reload` each time SIGHUP comes, where there are signals: to read
/// certificates and settings again, and hand them to [`TlsConfig`](towline_transport::TlsConfig),
/// `LiveIdentity` and [`ServerHandle::reconfigure`](crate::ServerHandle::reconfigure), which also changes the deadline of
/// each server that counts if `drain_deadline` is `None`. Connections are left
/// alone. Signals that come while it runs are one more reload when it is done.
///
/// ```no_run
/// # async fn run(server: towline_server::Server) -> Result<(), towline_server::RunError> {
/// use towline_server::{Server, run_until_signal_reloading};
///
/// let handle = server.handle();
/// let drained = run_until_signal_reloading([server], None, async || {
///     let most = std::fs::read_to_string("max_connections").ok();
///     let Some(most) = most.and_then(|text| text.trim().parse().ok()) else { return };
///     if let Err(error) = handle.reconfigure(&Server::builder().max_connections(most)) {
///         eprintln!("the old settings stay: {error}");
///     }
/// })
/// .await?;
/// println!("{} connections were cut off", drained.cut_off);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// As [`run_until_signal`].
///
/// # Cancel safety
///
/// As [`run_until_signal`].
pub async fn run_until_signal_reloading(
    servers: impl IntoIterator<Item = Server>,
    drain_deadline: impl Into<Option<Duration>>,
    reload: impl AsyncFnMut(),
) -> Result<Drained, RunError> {
    let mut signals = Signals::new().map_err(RunError::Signals)?;
    let mut hangups = Hangups::new().map_err(RunError::Signals)?;
    let servers = servers.into_iter().collect();
    let ends = async || signals.next().await;
    run_until(
        servers,
        drain_deadline.into(),
        ends,
        async || hangups.next().await,
        reload,
    )
    .await
}

/// The same for any signal.
async fn run_until(
    servers: Vec<Server>,
    drain_deadline: Option<Duration>,
    mut signal: impl AsyncFnMut(),
    mut hangup: impl AsyncFnMut(),
    mut reload: impl AsyncFnMut(),
) -> Result<Drained, RunError> {
    let handles: Vec<_> = servers.iter().map(Server::handle).collect();
    let mut asked = JoinSet::new();
    for server in &servers {
        asked.spawn(server.stopping().cancelled_owned());
    }
    let mut reloads = pin!(async {
        loop {
            hangup().await;
            reload().await;
        }
    });
    tokio::select! {
        () = signal() => tracing::info!("stopping: connections may finish, a second signal cuts them off"),
        Some(_) = asked.join_next() => {}
        () = &mut reloads => {}
    }
    let mut ends = JoinSet::new();
    for server in servers {
        ends.spawn(async move {
            match drain_deadline {
                Some(deadline) => server.shutdown(deadline).await,
                None => server.drain().await,
            }
        });
    }
    let mut total = Drained::default();
    let ended = async {
        while let Some(end) = ends.join_next().await {
            let drained = end.unwrap_or_default();
            total.finished += drained.finished;
            total.cut_off += drained.cut_off;
        }
    };
    let forced = tokio::select! {
        () = ended => false,
        () = signal() => true,
    };
    if forced {
        // Dropping the futures cuts off what they wait for.
        total.cut_off += handles
            .iter()
            .map(|handle| handle.metrics().connections as usize)
            .sum::<usize>();
        ends.shutdown().await;
    }
    match handles.iter().find_map(|handle| handle.take_failure()) {
        Some(failure) => Err(Aborted(failure).into()),
        None => Ok(total),
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(unix)]
struct Hangups(tokio::signal::unix::Signal);

#[cfg(unix)]
impl Hangups {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        signal(SignalKind::hangup()).map(Self)
    }

    async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            pending::<()>().await;
        }
    }
}

#[cfg(not(unix))]
struct Hangups;

#[cfg(not(unix))]
impl Hangups {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::mpsc;
    use towline_transport::{ConnectOptions, Endpoint, ListenOptions, Listener, connect};

    use super::*;
    use crate::strategy::TaskPerConnection;

    const LONG: Duration = Duration::from_secs(3600);

    async fn server(name: &str) -> (Server, Endpoint) {
        let endpoint: Endpoint = format!("mem://run-{name}").parse().unwrap();
        let listener = Listener::bind(&endpoint, &ListenOptions::new())
            .await
            .unwrap();
        // Ends for nobody.
        let stubborn = TaskPerConnection::new(async |_stream| pending::<()>().await);
        let server = Server::builder().start([listener], stubborn).unwrap();
        (server, endpoint)
    }

    /// docs/wire L50.
    #[tokio::test(start_paused = true)]
    async fn the_first_signal_drains_and_the_second_cuts_off() {
        let (server, endpoint) = server("signals").await;
        let handle = server.handle();
        let _client = connect(&endpoint, &ConnectOptions::new()).await.unwrap();
        while handle.metrics().connections == 0 {
            tokio::task::yield_now().await;
        }
        let (signals, mut signal) = mpsc::unbounded_channel::<()>();
        let ends = async move || {
            signal.recv().await;
        };
        let run = run_until(vec![server], Some(LONG), ends, pending, async || {});
        let run = tokio::spawn(run);
        signals.send(()).unwrap();
        tokio::time::sleep(LONG / 2).await;
        assert!(!run.is_finished());
        assert_eq!(handle.metrics().connections, 1);
        signals.send(()).unwrap();
        assert_eq!(run.await.unwrap().unwrap().cut_off, 1);
        assert_eq!(handle.metrics().connections, 0);
    }

    /// docs/wire L50.
    #[tokio::test(start_paused = true)]
    async fn the_first_server_that_is_aborted_ends_all_with_its_reason() {
        let ((first, _), (second, _)) = (server("first").await, server("second").await);
        let handle = second.handle();
        let run = run_until(
            vec![first, second],
            Some(LONG),
            pending,
            pending,
            async || {},
        );
        let run = tokio::spawn(run);
        handle.abort("the disk is full");
        let error = run.await.unwrap().unwrap_err();
        assert!(error.to_string().contains("the disk is full"), "{error}");
    }

    /// docs/wire L53: each hangup is a reload, after which everybody is still there.
    #[tokio::test(start_paused = true)]
    async fn a_hangup_reloads_and_leaves_connections_alone() {
        let (server, endpoint) = server("hangup").await;
        let handle = server.handle();
        let mut client = connect(&endpoint, &ConnectOptions::new()).await.unwrap();
        while handle.metrics().connections == 0 {
            tokio::task::yield_now().await;
        }
        let (hangups, mut hangup) = mpsc::unbounded_channel::<()>();
        let (reloads, mut reloaded) = mpsc::unbounded_channel::<()>();
        let changing = handle.clone();
        let run = run_until(
            vec![server],
            None,
            pending,
            async move || {
                hangup.recv().await.unwrap();
            },
            async move || {
                changing
                    .reconfigure(&Server::builder().max_connections(1))
                    .unwrap();
                reloads.send(()).unwrap();
            },
        );
        let run = tokio::spawn(run);
        for _ in 0..2 {
            hangups.send(()).unwrap();
            reloaded.recv().await.unwrap();
        }
        assert_eq!(handle.metrics().connections, 1);
        // One more than there may be now.
        let mut refused = connect(&endpoint, &ConnectOptions::new()).await.unwrap();
        assert_eq!(refused.read(&mut [0]).await.unwrap(), 0);
        client.write_all(b"still here").await.unwrap();
        run.abort();
    }

    /// docs/wire L53: the deadline by which handlers end can be changed as well.
    #[tokio::test(start_paused = true)]
    async fn each_server_drains_until_its_own_deadline_as_it_is_by_then() {
        let (server, endpoint) = server("deadline").await;
        let handle = server.handle();
        let _client = connect(&endpoint, &ConnectOptions::new()).await.unwrap();
        while handle.metrics().connections == 0 {
            tokio::task::yield_now().await;
        }
        let settings = Server::builder().drain_deadline(LONG);
        handle.reconfigure(&settings).unwrap();
        let run = run_until(vec![server], None, pending, pending, async || {});
        let run = tokio::spawn(run);
        handle.stop();
        tokio::time::sleep(LONG / 2).await;
        assert!(!run.is_finished());
        assert_eq!(run.await.unwrap().unwrap().cut_off, 1);
    }
}
