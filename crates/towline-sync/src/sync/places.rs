//! How many syncs one connection may have at a time: the bounds of what a sync holds are each sync's own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use towline_rpc::server::ConnectionId;

/// Syncs of one connection at a time.
pub(crate) const MOST: usize = 8;

/// Counts the syncs of each connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    taken: Arc<Mutex<HashMap<ConnectionId, usize>>>,
}

/// A sync that is counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    places: Places,
    id: ConnectionId,
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, HashMap<ConnectionId, usize>> {
        // The counts are right between any two statements that could panic.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more sync of a connection; `None` if it has as many as it may.
    pub(crate) fn take(&self, id: ConnectionId) -> Option<Taken> {
        let mut taken = self.lock();
        let count = taken.entry(id).or_default();
        if *count >= MOST {
            return None;
        }
        *count += 1;
        drop(taken);
        let places = self.clone();
        Some(Taken { places, id })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        if let Some(count) = taken.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.id);
            }
        }
    }
}
