//! Few buffers and few threads for very many connections.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as Group, Semaphore};

use super::Strategy;
use super::desks::{Desks, desks};
use super::permits::Limited;
use super::reading::{Done, Membership, Reading};
use super::workers::Workers;
use crate::handler::ReadHandler;
use crate::socket::SocketStream;

/// Serves connections when there is something to read, and holds nothing for them meanwhile.
///
/// A connection that waits costs its socket and its place; a buffer is taken from a pool when bytes
/// are there, and given back when the handler has returned. Nothing polls: connections that are silent
/// take no processor time. What the original's pool was for, without its waits.
///
/// ```
/// use towline_server::{WorkerPool, read_fn};
///
/// let echo = read_fn(|socket, bytes| async move {
///     // Whoever does not read its echo is not read from.
///     if socket.send_when_ready(bytes).await.is_err() {
///         return;
///     }
/// });
/// let strategy = WorkerPool::new(echo).threads(2).build()?;
/// # drop(strategy);
/// # Ok::<(), towline_server::PoolConfigError>(())
/// ```
pub struct WorkerPool<H> {
    handler: H,
    threads: usize,
    read_buffer: usize,
    read_budget: usize,
    max_handlers: usize,
    max_pool_size: Option<usize>,
}

/// Settings that no pool can work with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PoolConfigError {
    /// A size of 0.
    #[error("{setting} is 0; it must be at least 1")]
    Zero {
        /// Which one.
        setting: &'static str,
    },
    /// A number beyond what can be counted.
    #[error("max_handlers is {given}; it must be at most {most}")]
    TooManyHandlers {
        /// What was set.
        given: usize,
        /// The largest value.
        most: usize,
    },
}

impl<H: ReadHandler> WorkerPool<H> {
    /// A pool on the threads of the runtime that the server runs in.
    pub fn new(handler: H) -> Self {
        Self {
            handler,
            threads: 0,
            read_buffer: 16 * 1024,
            read_budget: 64 * 1024,
            max_handlers: 1024,
            max_pool_size: None,
        }
    }

    /// Threads of the pool's own, each with an event loop; connections are spread over them and stay
    /// where they are. They are served in the order in which they have become ready, which keeps the
    /// slowest answers close to the others. 0, the default: a task for each thread of the server's runtime
    /// does the same. A handler must not block its thread: the other connections there would wait.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// The most bytes of one read: 16 KiB unless told otherwise.
    pub fn read_buffer(mut self, bytes: usize) -> Self {
        self.read_buffer = bytes;
        self
    }

    /// After how many bytes without a pause a connection lets others go first: 64 KiB unless told
    /// otherwise.
    pub fn read_budget(mut self, bytes: usize) -> Self {
        self.read_budget = bytes;
        self
    }

    /// How many handlers may run, and buffers be in use, at once: 1,024 unless told otherwise.
    ///
    /// A handler that waits for a peer to take what it was sent ([`Socket::flushed`](crate::Socket::flushed), [`Socket::writable`](crate::Socket::writable),
    /// [`Socket::send_when_ready`](crate::Socket::send_when_ready), [`SlowConsumer::Block`](crate::SlowConsumer::Block)) is not counted
    /// meanwhile, or peers that do not read could stop everybody: such a connection holds its buffer besides
    /// what waits for it, for as long as [`Builder::write_timeout`](crate::Builder::write_timeout) lets it. The
    /// handler goes on when it is one of so many again. One that waits for anything else is counted.
    pub fn max_handlers(mut self, most: usize) -> Self {
        self.max_handlers = most;
        self
    }

    /// Puts so many connections together into a group, within which no two handlers run at the same
    /// time, as in the original's pools, whatever they wait for. By default there are no groups.
    pub fn max_pool_size(mut self, connections: usize) -> Self {
        self.max_pool_size = Some(connections);
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`PoolConfigError`].
    pub fn validate(&self) -> Result<(), PoolConfigError> {
        let sizes = [
            ("read_buffer", self.read_buffer),
            ("read_budget", self.read_budget),
            ("max_handlers", self.max_handlers),
            ("max_pool_size", self.max_pool_size.unwrap_or(1)),
        ];
        for (setting, value) in sizes {
            if value == 0 {
                return Err(PoolConfigError::Zero { setting });
            }
        }
        let (given, most) = (self.max_handlers, Semaphore::MAX_PERMITS);
        if given > most {
            return Err(PoolConfigError::TooManyHandlers { given, most });
        }
        Ok(())
    }

    /// The strategy.
    ///
    /// # Errors
    ///
    /// [`PoolConfigError`].
    pub fn build(self) -> Result<impl Strategy, PoolConfigError> {
        self.validate()?;
        Ok(Pool {
            desks: Arc::new(desks(
                self.read_buffer,
                self.read_budget,
                Some(self.max_handlers),
            )),
            handler: Arc::new(Limited::new(self.handler, Some(self.max_handlers))),
            workers: Workers::new(self.threads),
            groups: self.max_pool_size.map(Groups::new),
        })
    }
}

impl<H> std::fmt::Debug for WorkerPool<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerPool")
            .field("threads", &self.threads)
            .field("read_buffer", &self.read_buffer)
            .field("read_budget", &self.read_budget)
            .field("max_handlers", &self.max_handlers)
            .field("max_pool_size", &self.max_pool_size)
            .finish_non_exhaustive()
    }
}

struct Pool<H: ReadHandler, F> {
    handler: Arc<Limited<H>>,
    desks: Arc<Desks<H, F>>,
    workers: Workers,
    groups: Option<Groups>,
}

/// Groups of at most so many connections; places of those that have left are used again.
struct Groups {
    size: usize,
    groups: Mutex<Vec<Shared>>,
}

/// A group, and how many are in it.
#[derive(Default)]
struct Shared {
    turn: Arc<Group<()>>,
    members: Arc<AtomicUsize>,
}

/// A place in a group.
pub(super) struct Member(Arc<AtomicUsize>);

impl Drop for Member {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Groups {
    fn new(size: usize) -> Self {
        Self {
            size,
            groups: Mutex::default(),
        }
    }

    fn join(&self) -> Membership {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let free = groups
            .iter()
            .rposition(|group| group.members.load(Ordering::Acquire) < self.size);
        let at = free.unwrap_or_else(|| {
            groups.push(Shared::default());
            groups.len() - 1
        });
        let Shared { turn, members } = &groups[at];
        members.fetch_add(1, Ordering::AcqRel);
        Membership {
            turns: Arc::clone(turn),
            _member: Member(Arc::clone(members)),
        }
    }
}

impl<H, F> Strategy for Pool<H, F>
where
    H: ReadHandler,
    F: Future<Output = Done<H>> + Send + 'static,
{
    fn on_start(&self) {
        self.workers.start();
    }

    fn on_accept(&self, stream: SocketStream) {
        let (handler, desks) = (Arc::clone(&self.handler), Arc::clone(&self.desks));
        let group = self.groups.as_ref().map(Groups::join);
        self.workers.spawn(stream, move |stream| {
            stream.run(|stream| Reading::new(stream, handler, desks, group))
        });
    }

    fn on_stop(&self) {
        self.workers.stop();
    }

    fn is_prompt(&self) -> bool {
        true
    }
}
