//! Renewed keys in a server that runs on (docs/wire I37).

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use towline::identity::{LiveIdentity, format_date};

use crate::connection::Loaded;

/// How often the files are looked at: renewing is nothing that hurries.
const LOOK: Duration = Duration::from_secs(30);

/// Loads an identity again when its files have changed, or on SIGHUP.
pub(crate) struct Reloading {
    live: LiveIdentity,
    loaded: Loaded,
    seen: Vec<Stamp>,
    #[cfg(unix)]
    hangup: Option<tokio::signal::unix::Signal>,
}

/// What tells one version of a file from the next; `None` if there is none.
type Stamp = Option<(u64, SystemTime)>;

impl Reloading {
    /// For the identity in this slot. The handler of the signal is in place when this returns.
    ///
    /// With a terminal as standard input SIGHUP keeps its meaning: the terminal has gone.
    pub(crate) fn new(live: LiveIdentity, loaded: Loaded) -> io::Result<Self> {
        let seen = stamps(&loaded);
        #[cfg(unix)]
        let hangup = if io::IsTerminal::is_terminal(&io::stdin()) {
            None
        } else {
            use tokio::signal::unix::{SignalKind, signal};
            Some(signal(SignalKind::hangup())?)
        };
        Ok(Self {
            live,
            loaded,
            seen,
            #[cfg(unix)]
            hangup,
        })
    }

    /// Runs for ever. Dropping it stops it; a load that has begun ends on its own thread.
    pub(crate) async fn run(mut self) {
        loop {
            self.wait().await;
            self.reload().await;
        }
    }

    /// Until a reload is due.
    async fn wait(&mut self) {
        loop {
            #[cfg(unix)]
            if let Some(hangup) = &mut self.hangup {
                tokio::select! {
                    biased;
                    signal = hangup.recv() => match signal {
                        Some(()) => return,
                        None => self.hangup = None,
                    },
                    () = tokio::time::sleep(LOOK) => {}
                }
            } else {
                tokio::time::sleep(LOOK).await;
            }
            #[cfg(not(unix))]
            tokio::time::sleep(LOOK).await;
            if stamps(&self.loaded) != self.seen {
                return;
            }
        }
    }

    async fn reload(&mut self) {
        self.seen = stamps(&self.loaded);
        let (current, dir) = (self.live.current(), self.loaded.dir.clone());
        let name = self.loaded.name.clone();
        let mut passphrases = self.loaded.passphrases.clone().without_terminal();
        let loading =
            tokio::task::spawn_blocking(move || current.reload(dir, &name, &mut passphrases));
        match loading.await {
            Ok(Ok(identity)) => {
                let until = format_date(identity.not_after());
                let key = identity.public_key();
                self.live.replace(Arc::new(identity));
                tracing::info!(%key, valid_until = %until, "the key and certificate were loaded again");
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "the changed key files cannot be used; the old ones stay in use");
            }
            Err(error) => tracing::error!(%error, "loading the key files again failed"),
        }
    }
}

fn stamps(loaded: &Loaded) -> Vec<Stamp> {
    let file = |name: String| -> PathBuf { loaded.dir.join(name) };
    let name = &loaded.name;
    [
        file(format!("{name}.key")),
        file(format!("{name}.crt")),
        file("ca.crt".to_owned()),
    ]
    .iter()
    .map(|path| {
        let found = fs::metadata(path).ok()?;
        Some((found.len(), found.modified().ok()?))
    })
    .collect()
}
