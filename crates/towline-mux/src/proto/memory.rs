//! Accounting of memory by whoever embeds a session.

use std::{error::Error, sync::Arc};

/// Decides whether a session may promise its peer more memory, as go-yamux's `MemoryManager` does.
///
/// It is called with the session's lock held: it must be quick and must not use the session.
/// Everything reserved is released exactly once, by whatever way a stream ends.
///
/// One for all sessions of a program, which lets windows grow into half of what there is:
///
/// ```
/// use std::{error::Error, sync::{Arc, Mutex}};
/// use towline_mux::{MemoryManager, proto::yamux::Config};
///
/// struct Pool { free: Mutex<usize>, size: usize }
///
/// impl MemoryManager for Pool {
///     fn reserve(&self, bytes: usize, priority: u8) -> Result<(), Box<dyn Error + Send + Sync>> {
///         let mut free = self.free.lock().map_err(|_| "the pool is broken")?;
///         let kept = self.size / 256 * usize::from(255 - priority);
///         if bytes + kept > *free { return Err("the pool is used up".into()) }
///         *free -= bytes;
///         Ok(())
///     }
///
///     fn release(&self, bytes: usize) {
///         if let Ok(mut free) = self.free.lock() { *free += bytes }
///     }
/// }
///
/// let size = 256 << 20;
/// let config = Config::default().memory_manager(Arc::new(Pool { free: Mutex::new(size), size }));
/// # let _ = config;
/// ```
pub trait MemoryManager: Send + Sync {
    /// Reserves `bytes`. `priority` is 255 for a new stream and 128 for the growth of a window: the
    /// higher, the closer to its limit a manager may go.
    ///
    /// # Errors
    ///
    /// Refuses. A stream that is being opened fails, one that comes in is reset, a window stays as it
    /// is; the session goes on (docs/wire Y45, Y67).
    fn reserve(&self, bytes: usize, priority: u8) -> Result<(), Box<dyn Error + Send + Sync>>;

    /// Gives back what was reserved.
    fn release(&self, bytes: usize);
}

/// What one stream has reserved. Gives it back when it goes.
pub(crate) struct Reservation {
    manager: Arc<dyn MemoryManager>,
    bytes: usize,
}

impl Reservation {
    pub(crate) fn new(
        manager: &Arc<dyn MemoryManager>,
        bytes: usize,
    ) -> Result<Self, Box<dyn Error + Send + Sync>> {
        manager.reserve(bytes, 255)?;
        Ok(Self {
            manager: Arc::clone(manager),
            bytes,
        })
    }

    /// True if it could grow.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let granted = self.manager.reserve(bytes, 128).is_ok();
        if granted {
            self.bytes += bytes;
        }
        granted
    }
}

impl std::fmt::Debug for Reservation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reservation({})", self.bytes)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.manager.release(self.bytes);
    }
}
