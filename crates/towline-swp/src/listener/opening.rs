//! What the sessions that are opening may keep for openers that do not know their listener yet.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// Bytes of early data that all sessions that are opening keep together (docs/wire W17): anybody can
/// send SYNs in any name, and data behind each.
const EARLY_BYTES: usize = 8 << 20;

/// The early data of a listener's sessions.
#[derive(Debug, Default)]
pub(super) struct EarlyData(Arc<AtomicUsize>);

/// How far a session has come, and what it has kept meanwhile.
#[derive(Debug)]
pub(super) struct Opening {
    is_open: AtomicBool,
    kept: AtomicUsize,
    all: Arc<AtomicUsize>,
}

/// The session's own share: what it keeps counts no more when it is open, or has ended.
#[derive(Debug)]
pub(crate) struct Opened(Arc<Opening>);

impl EarlyData {
    pub(super) fn begin(&self) -> (Arc<Opening>, Opened) {
        let opening = Arc::new(Opening {
            is_open: AtomicBool::new(false),
            kept: AtomicUsize::new(0),
            all: Arc::clone(&self.0),
        });
        (Arc::clone(&opening), Opened(opening))
    }
}

impl Opening {
    /// Both ends know each other.
    pub(super) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::SeqCst)
    }

    /// Whether one early packet of this many bytes may go to the session: its first one, while there is
    /// room. The others come again, with the session's nonce. Called by the listener's task alone.
    pub(super) fn may_keep(&self, bytes: usize) -> bool {
        if self.is_open() {
            return true;
        }
        let others = self.all.load(Ordering::SeqCst);
        if self.kept.load(Ordering::SeqCst) > 0 || others.saturating_add(bytes) > EARLY_BYTES {
            return false;
        }
        self.all.fetch_add(bytes, Ordering::SeqCst);
        self.kept.store(bytes, Ordering::SeqCst);
        // It may have opened meanwhile.
        if self.is_open() {
            self.release();
        }
        true
    }

    fn release(&self) {
        let kept = self.kept.swap(0, Ordering::SeqCst);
        self.all.fetch_sub(kept, Ordering::SeqCst);
    }
}

impl Opened {
    pub(crate) fn open(&self) {
        self.0.is_open.store(true, Ordering::SeqCst);
        self.0.release();
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // An ended session is as good as an open one: whatever comes for it is dropped.
        self.open();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// docs/wire W17
    #[test]
    fn early_data_of_all_who_knock_is_bounded() {
        let early = EarlyData::default();
        let (first, opened) = early.begin();
        assert!(first.may_keep(EARLY_BYTES - 1));
        assert!(!first.may_keep(1), "one packet each");
        let (second, ended) = early.begin();
        assert!(!second.may_keep(2));
        assert!(second.may_keep(1));
        opened.open();
        assert!(first.is_open() && first.may_keep(EARLY_BYTES));
        let (third, _opened) = early.begin();
        assert!(
            !third.may_keep(EARLY_BYTES),
            "the second one has kept a byte"
        );
        drop(ended);
        assert!(third.may_keep(EARLY_BYTES));
    }
}
