//! Short blocking work, such as opening a file, beside the tasks of the runtime.

use std::io;

/// Runs `work` on a thread that may block. Dropped, the work goes on and its result is dropped.
///
/// # Errors
///
/// When the runtime is shutting down, or the work panicked.
pub(crate) async fn run<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    Ok(tokio::task::spawn_blocking(work).await?)
}
