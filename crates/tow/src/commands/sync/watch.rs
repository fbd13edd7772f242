//! When something in a tree changes.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use notify::{ErrorKind, Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::{sync::mpsc, time::MissedTickBehavior};

use super::ended::{Ended, Remedy};
use crate::failure::failed;

/// How long nothing must happen before a change counts as complete.
const QUIET: Duration = Duration::from_millis(300);
/// How long changes that never end are waited for.
const LONGEST: Duration = Duration::from_secs(5);
/// How often to see whether the path leads elsewhere: nobody tells when a directory above it is replaced.
const LOOK: Duration = Duration::from_secs(2);

/// Watches a tree.
pub(super) struct Watch {
    path: PathBuf,
    /// Device and number of what is watched: something else may come under its path.
    file: (u64, u64),
    /// What was watched is gone, and what has its number now is not watched; or not all of it is.
    stale: Arc<AtomicBool>,
    events: mpsc::Receiver<()>,
    _watcher: RecommendedWatcher,
}

impl Watch {
    pub(super) fn new(path: &Path) -> Result<Self, Ended> {
        let file = file(path).map_err(later)?;
        // As the watcher names it.
        let path = std::path::absolute(path).map_err(later)?;
        let (tell, events) = mpsc::channel(1);
        let stale = Arc::new(AtomicBool::new(false));
        let (root, flag) = (path.clone(), Arc::clone(&stale));
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // Reading is no change; whatever else it is, a look at the tree will tell. One word is enough.
            let read = event.as_ref().is_ok_and(|event| event.kind.is_access());
            if !read {
                let lost = event.map_or(true, |event| {
                    event.need_rescan() || event.kind.is_remove() && event.paths.contains(&root)
                });
                // Before the word that makes somebody look at it.
                flag.fetch_or(lost, Ordering::Release);
                // A full channel says the same already.
                tell.try_send(()).ok();
            }
        })
        .map_err(cannot_watch)?;
        watcher
            .watch(&path, RecursiveMode::Recursive)
            .map_err(cannot_watch)?;
        Ok(Self {
            path,
            file,
            stale,
            events,
            _watcher: watcher,
        })
    }

    /// Watches what is under the path now, if that is something else.
    pub(super) fn renew(&mut self) -> Result<(), Ended> {
        if file(&self.path).map_err(later)? != self.file || self.stale.load(Ordering::Acquire) {
            *self = Self::new(&self.path)?;
        }
        Ok(())
    }

    /// Waits for a change, and until no more come for a moment.
    pub(super) async fn changed(&mut self) -> Result<(), &'static str> {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                next = self.events.recv() => {
                    next.ok_or("the tree is not watched any more")?;
                    break;
                }
                _ = look.tick() => if file(&self.path).ok() != Some(self.file) { break },
            }
        }
        let settle = async {
            while let Ok(Some(())) = tokio::time::timeout(QUIET, self.events.recv()).await {}
        };
        // Changes without an end are synced as they are.
        drop(tokio::time::timeout(LONGEST, settle).await);
        Ok(())
    }
}

fn file(path: &Path) -> io::Result<(u64, u64)> {
    let about =
        |error: io::Error| io::Error::new(error.kind(), format!("`{}`: {error}", path.display()));
    let meta = fs::metadata(path).map_err(about)?;
    Ok((meta.dev(), meta.ino()))
}

/// What is away may come back.
fn later(error: io::Error) -> Ended {
    Ended {
        failure: failed(error),
        remedy: Remedy::Time,
    }
}

fn cannot_watch(error: notify::Error) -> Ended {
    match error.kind {
        // A directory that has vanished meanwhile.
        ErrorKind::Io(_) | ErrorKind::PathNotFound => Ended {
            failure: failed(error),
            remedy: Remedy::Time,
        },
        ErrorKind::MaxFilesWatch => failed("the system does not watch so many directories")
            .hint("raise fs.inotify.max_user_watches (sysctl), or leave --watch out")
            .into(),
        _ => failed(error).into(),
    }
}
