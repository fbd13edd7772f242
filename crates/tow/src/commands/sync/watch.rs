//! When something in a tree changes.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

/// How long nothing must happen before a change counts as complete.
const QUIET: Duration = Duration::from_millis(300);
/// How long changes that never end are waited for.
const LONGEST: Duration = Duration::from_secs(5);

/// Watches a tree.
pub(super) struct Watch {
    path: PathBuf,
    /// Device and number of what is watched: something else may come under its path.
    file: (u64, u64),
    events: mpsc::Receiver<()>,
    _watcher: RecommendedWatcher,
}

impl Watch {
    pub(super) fn new(path: &Path) -> notify::Result<Self> {
        let file = file(path)?;
        let (tell, events) = mpsc::channel(1);
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                // Reading is no change; whatever else it is, a look at the tree will tell. One word is enough.
                let read = event.as_ref().is_ok_and(|event| event.kind.is_access());
                if !read {
                    // A full channel says the same already.
                    tell.try_send(()).ok();
                }
            })?;
        watcher.watch(path, RecursiveMode::Recursive)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            events,
            _watcher: watcher,
        })
    }

    /// Watches what is under the path now, if that is something else.
    pub(super) fn renew(&mut self) -> notify::Result<()> {
        if file(&self.path)? != self.file {
            *self = Self::new(&self.path)?;
        }
        Ok(())
    }

    /// Waits for a change, and until no more come for a moment.
    pub(super) async fn changed(&mut self) -> Result<(), &'static str> {
        let next = self.events.recv().await;
        next.ok_or("the tree is not watched any more")?;
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
