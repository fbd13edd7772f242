//! A number of places that can be changed while they are taken.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// At most so many places.
#[derive(Debug)]
pub(crate) struct Places {
    most: AtomicUsize,
    taken: AtomicUsize,
    freed: Notify,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place<'a>(&'a Places);

impl Places {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most: AtomicUsize::new(most),
            taken: AtomicUsize::new(0),
            freed: Notify::new(),
        }
    }

    /// A place, if there is one.
    pub(crate) fn take(&self) -> Option<Place<'_>> {
        let most = self.most.load(Ordering::Acquire);
        self.taken
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |taken| {
                (taken < most).then_some(taken + 1)
            })
            .ok()
            .map(|_| Place(self))
    }

    /// Gives a place back that [was kept](Place::keep).
    pub(crate) fn give_back(&self) {
        self.taken.fetch_sub(1, Ordering::AcqRel);
        self.freed.notify_waiters();
    }

    /// Waits until there is one, which somebody else may take first; and no longer than it `matters`, as is asked at
    /// every change.
    pub(crate) async fn free_while(&self, matters: impl Fn() -> bool) {
        loop {
            let freed = self.freed.notified();
            if !matters() || self.taken.load(Ordering::Acquire) < self.most.load(Ordering::Acquire)
            {
                return;
            }
            freed.await;
        }
    }

    /// Changes how many there are, and has whoever waits look again. Those that are taken beyond that stay so until they are given back.
    pub(crate) fn set_most(&self, most: usize) {
        self.most.store(most, Ordering::Release);
        self.freed.notify_waiters();
    }
}

impl Place<'_> {
    /// Takes it for longer than this lives.
    pub(crate) fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.give_back();
    }
}
