//! Who is measured: each makes calls to an echo on one connection.

pub(super) mod handwritten;
pub(super) mod original;
pub(super) mod raw;
pub(super) mod tarpc;
pub(super) mod tls;
pub(super) mod tonic;
pub(super) mod towline;

use std::future::Future;

use bytes::Bytes;

/// A connection to an echo, whose clones share it.
pub(super) trait Caller: Clone + Send + Sync + 'static {
    /// One call, whose reply must be its body.
    fn echo(&self, body: &Bytes) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// What a reply that is no echo is told by.
const DIFFERS: &str = "an echo differs from what was sent";
