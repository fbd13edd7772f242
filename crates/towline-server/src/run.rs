//! Servers until somebody presses a key.

use std::io;
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
/// `drain_deadline`. A second signal cuts everything off at once.
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
    drain_deadline: Duration,
) -> Result<Drained, RunError> {
    let mut signals = Signals::new().map_err(RunError::Signals)?;
    let servers = servers.into_iter().collect();
    run_until(servers, drain_deadline, async || signals.next().await).await
}

/// The same for any signal.
async fn run_until(
    servers: Vec<Server>,
    drain_deadline: Duration,
    mut signal: impl AsyncFnMut(),
) -> Result<Drained, RunError> {
    let handles: Vec<_> = servers.iter().map(Server::handle).collect();
    let mut asked = JoinSet::new();
    for server in &servers {
        asked.spawn(server.stopping().cancelled_owned());
    }
    tokio::select! {
        () = signal() => tracing::info!("stopping: connections may finish, a second signal cuts them off"),
        Some(_) = asked.join_next() => {}
    }
    let mut ends = JoinSet::new();
    for server in servers {
        ends.spawn(server.shutdown(drain_deadline));
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

#[cfg(test)]
mod tests {
    use std::future::pending;

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
        let stubborn = TaskPerConnection::new(|_stream| pending::<()>());
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
        let run = tokio::spawn(run_until(vec![server], LONG, async move || {
            signal.recv().await;
        }));
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
        let run = tokio::spawn(run_until(vec![first, second], LONG, pending));
        handle.abort("the disk is full");
        let error = run.await.unwrap().unwrap_err();
        assert!(error.to_string().contains("the disk is full"), "{error}");
    }
}
