//! What a server has been asked for, in numbers.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::proto::ServiceKind;

/// A moment's view of what a server has been asked for, over all its connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Activity {
    /// Requests of one message, one-way ones and those of net/rpc included.
    pub calls: u64,
    /// Uploads, downloads and streams both ways.
    pub streams: u64,
    /// Those of them that are open now.
    pub open_streams: u64,
    /// Requests that found no service, or whose caller may not have it. They are not among the calls and
    /// streams.
    pub refused: u64,
    /// Requests whose caller did not wait for the end.
    pub cancelled: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    calls: AtomicU64,
    streams: AtomicU64,
    open_streams: AtomicU64,
    refused: AtomicU64,
    cancelled: AtomicU64,
}

impl Counters {
    pub(super) fn view(&self) -> Activity {
        Activity {
            calls: self.calls.load(Relaxed),
            streams: self.streams.load(Relaxed),
            open_streams: self.open_streams.load(Relaxed),
            refused: self.refused.load(Relaxed),
            cancelled: self.cancelled.load(Relaxed),
        }
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(super) fn cancelled(&self) {
        self.cancelled.fetch_add(1, Relaxed);
    }

    /// Counts a request, and a stream until the guard is dropped.
    pub(super) fn started(self: &Arc<Self>, kind: ServiceKind) -> Option<OpenStream> {
        if matches!(
            kind,
            ServiceKind::Call | ServiceKind::OneWay | ServiceKind::NetRpc
        ) {
            self.calls.fetch_add(1, Relaxed);
            return None;
        }
        self.streams.fetch_add(1, Relaxed);
        self.open_streams.fetch_add(1, Relaxed);
        Some(OpenStream(Arc::clone(self)))
    }
}

/// A stream that is open.
pub(super) struct OpenStream(Arc<Counters>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.open_streams.fetch_sub(1, Relaxed);
    }
}
