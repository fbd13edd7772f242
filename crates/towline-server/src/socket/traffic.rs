//! What has passed over a connection, and when something last did.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::time_limits::TimeLimits;

/// Bytes, and bytes in the last interval.
#[derive(Default)]
pub(crate) struct Traffic {
    read: AtomicU64,
    written: AtomicU64,
    read_rate: AtomicU64,
    written_rate: AtomicU64,
}

/// What the server's clock has seen of a connection. Times are in ms of that clock.
#[derive(Default)]
pub(crate) struct Watch {
    pub(crate) rated_read: u64,
    pub(crate) rated_written: u64,
    /// When something last moved; 0 before the first look.
    pub(crate) moved_at: u64,
    /// Since when the packet below is under way; before the first byte, since when the connection is there.
    pub(crate) since: u64,
    /// The low bits of the number of bytes both ways when something last moved: two looks are never 4 GiB apart
    /// to the byte.
    pub(crate) moved: u32,
    /// The packet that was under way.
    pub(crate) packet: u32,
    /// Limits of its own, in place of the server's.
    pub(crate) limits: Option<Box<TimeLimits>>,
}

impl Traffic {
    pub(crate) fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    pub(crate) fn read_rate(&self) -> u64 {
        self.read_rate.load(Ordering::Relaxed)
    }

    pub(crate) fn written_rate(&self) -> u64 {
        self.written_rate.load(Ordering::Relaxed)
    }

    pub(crate) fn add_read(&self, count: usize) {
        self.read.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn add_written(&self, count: usize) {
        self.written.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Ends an interval.
    pub(crate) fn rate(&self, watch: &mut Watch) {
        let (read, written) = (self.read(), self.written());
        self.read_rate
            .store(read - watch.rated_read, Ordering::Relaxed);
        self.written_rate
            .store(written - watch.rated_written, Ordering::Relaxed);
        (watch.rated_read, watch.rated_written) = (read, written);
    }
}
