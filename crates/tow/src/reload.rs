//! Renewed keys in a server that runs on (docs/wire I37).

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use towline::identity::{LiveIdentity, LoadError, format_date};

use crate::connection::Loaded;

/// How often the files are looked at: renewing is nothing that hurries.
const LOOK: Duration = Duration::from_secs(30);

/// Loads an identity again when its files have changed, or on SIGHUP.
pub(crate) struct Reloading {
    live: LiveIdentity,
    loaded: Loaded,
    seen: Vec<Stamp>,
    /// Why the files that are there cannot be used, and whether another try may help.
    failed: Option<(String, bool)>,
    #[cfg(unix)]
    hangup: Option<tokio::signal::unix::Signal>,
}

/// What tells one version of a file from the next; `None` if there is none.
type Stamp = Option<Version>;

#[derive(Debug, PartialEq, Eq)]
struct Version {
    size: u64,
    modified: Option<SystemTime>,
    /// Device, file, mode, and when any of them changed: a `chmod` may be what was missing.
    #[cfg(unix)]
    inode: (u64, u64, u32, i64, i64),
}

impl Reloading {
    /// For the identity in this slot. The handler of the signal is in place when this returns.
    ///
    /// With a terminal as standard input SIGHUP keeps its meaning: the terminal has gone. So it does
    /// for a program that is not `serving`, one that is part of a pipeline.
    pub(crate) fn new(live: LiveIdentity, loaded: Loaded, serving: bool) -> io::Result<Self> {
        let seen = stamps(&loaded.dir, &loaded.name);
        #[cfg(not(unix))]
        let _no_signals = serving;
        #[cfg(unix)]
        let hangup = if !serving || io::IsTerminal::is_terminal(&io::stdin()) {
            None
        } else {
            use tokio::signal::unix::{SignalKind, signal};
            Some(signal(SignalKind::hangup())?)
        };
        Ok(Self {
            live,
            loaded,
            seen,
            failed: None,
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
            let may_help = matches!(self.failed, Some((_, true)));
            if may_help || stamps(&self.loaded.dir, &self.loaded.name) != self.seen {
                return;
            }
        }
    }

    async fn reload(&mut self) {
        self.seen = stamps(&self.loaded.dir, &self.loaded.name);
        let (current, dir) = (self.live.current(), self.loaded.dir.clone());
        let name = self.loaded.name.clone();
        let mut passphrases = self.loaded.passphrases.clone().without_terminal();
        let loading =
            tokio::task::spawn_blocking(move || current.reload(dir, &name, &mut passphrases));
        match loading.await {
            Ok(Ok(identity)) => {
                let until = format_date(identity.not_after());
                let key = identity.public_key();
                self.failed = None;
                self.live.replace(Arc::new(identity));
                tracing::info!(%key, valid_until = %until, "the key and certificate were loaded again");
            }
            Ok(Err(error)) => {
                let may_help = may_pass(&error);
                let text = error.to_string();
                if self.failed.as_ref().is_none_or(|(last, _)| *last != text) {
                    tracing::error!(%error, "the changed key files cannot be used; the old ones stay in use");
                }
                self.failed = Some((text, may_help));
            }
            Err(error) => tracing::error!(%error, "loading the key files again failed"),
        }
    }
}

/// Whether another try may end differently without a change of the files: what is missing may be a
/// directory's mode, the date, or a passphrase's file.
///
/// The rest shows in the files, and not all of it is cheap: to try a passphrase takes a second and
/// 256 MiB.
fn may_pass(error: &LoadError) -> bool {
    matches!(
        error,
        LoadError::Read { .. }
            | LoadError::Clock { .. }
            | LoadError::NotYetValid { .. }
            | LoadError::NotVouched { .. }
            | LoadError::Passphrase { .. }
    )
}

/// Keeps an identity current for ever; without one there is nothing to do, as long.
pub(crate) async fn keep_current(reloading: Option<Reloading>) {
    match reloading {
        Some(reloading) => reloading.run().await,
        None => std::future::pending().await,
    }
}

fn stamps(dir: &Path, name: &str) -> Vec<Stamp> {
    [&format!("{name}.key"), &format!("{name}.crt"), "ca.crt"]
        .map(|file| {
            let found = fs::metadata(dir.join(file)).ok()?;
            Some(Version {
                size: found.len(),
                modified: found.modified().ok(),
                #[cfg(unix)]
                inode: {
                    use std::os::unix::fs::MetadataExt;
                    let changed = (found.ctime(), found.ctime_nsec());
                    (found.dev(), found.ino(), found.mode(), changed.0, changed.1)
                },
            })
        })
        .into()
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tokio::time::timeout;
    use towline::identity::{Authority, AuthorityOptions, Identity, LeafOptions};

    use super::*;
    use crate::passphrase::Passphrases;

    const LONG: Duration = Duration::from_secs(3600);

    /// docs/wire I37: the files are looked at again when only their mode has changed, and what stands in
    /// the way may also be elsewhere.
    #[tokio::test(start_paused = true)]
    async fn files_that_could_not_be_used_are_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let certs = dir.path().join("certs");
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let authority = Authority::generate(&AuthorityOptions::new()).unwrap();
        let save = || {
            let node = authority.issue(&LeafOptions::new("node")).unwrap();
            node.save(&certs, "node", true).unwrap();
            node.public_key()
        };
        let first = save();
        let identity = Arc::new(Identity::load(&certs, "node").unwrap());
        let live = LiveIdentity::new(Arc::clone(&identity));
        let loaded = Loaded {
            identity,
            dir: certs.clone(),
            name: "node".to_owned(),
            passphrases: Passphrases::own(None),
        };
        let mut reloading = Reloading::new(live.clone(), loaded, true).unwrap();
        assert!(
            timeout(LONG, reloading.wait()).await.is_err(),
            "nothing has changed"
        );

        let key = certs.join("node.key");
        let second = save();
        mode(&key, 0o644);
        timeout(LONG, reloading.wait()).await.unwrap();
        reloading.reload().await;
        assert_eq!(live.current().public_key(), first);
        // As if it were of no use to try again: the new mode alone must be seen.
        reloading.failed = None;
        mode(&key, 0o600);
        timeout(LONG, reloading.wait()).await.unwrap();
        reloading.reload().await;
        assert_eq!(live.current().public_key(), second);

        // Another authority's certificate: what was good stays. Then everything is elsewhere for a while.
        let third = save();
        let roots = fs::read(certs.join("ca.crt")).unwrap();
        let foreign = Authority::generate(&AuthorityOptions::new()).unwrap();
        foreign.save(dir.path().join("foreign"), false).unwrap();
        fs::copy(dir.path().join("foreign/ca.crt"), certs.join("ca.crt")).unwrap();
        timeout(LONG, reloading.wait()).await.unwrap();
        reloading.reload().await;
        assert_eq!(live.current().public_key(), second);
        let (text, may_help) = reloading.failed.clone().unwrap();
        assert!(may_help && text.contains("not vouched for"), "{text}");
        timeout(LONG, reloading.wait()).await.unwrap();
        fs::write(certs.join("ca.crt"), roots).unwrap();
        reloading.reload().await;
        assert_eq!(live.current().public_key(), third);
        assert_eq!(reloading.failed, None);
    }
}
