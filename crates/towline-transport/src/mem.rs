//! `mem://name`: pipes within this process, for tests and for parts of one program.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc;

/// What each direction holds before its writer waits, in bytes.
const PIPE_BYTES: usize = 256 * 1024;
/// Connections that wait to be accepted; the next one waits with its `connect`.
const QUEUE: usize = 128;

type Registry = HashMap<String, mpsc::Sender<Pipe>>;

/// The listener's end of a new connection.
pub(crate) struct Pipe {
    pub(crate) io: DuplexStream,
    pub(crate) remote: String,
}

pub(crate) struct Listener {
    name: String,
    // Locked only by `accept`; a lock that is waited for, so that any number of tasks may accept.
    queue: tokio::sync::Mutex<mpsc::Receiver<Pipe>>,
}

impl Listener {
    pub(crate) fn bind(name: &str) -> io::Result<Self> {
        match registry().entry(name.to_owned()) {
            // A listener that is gone leaves its name only while it is being dropped.
            Entry::Occupied(entry) if !entry.get().is_closed() => {
                Err(io::ErrorKind::AddrInUse.into())
            }
            entry => {
                let (sender, receiver) = mpsc::channel(QUEUE);
                entry.insert_entry(sender);
                Ok(Self {
                    name: name.to_owned(),
                    queue: receiver.into(),
                })
            }
        }
    }

    pub(crate) async fn accept(&self) -> io::Result<Pipe> {
        // The registry holds the sender for as long as this listener lives.
        self.queue
            .lock()
            .await
            .recv()
            .await
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.queue.get_mut().close();
        if let Entry::Occupied(entry) = registry().entry(std::mem::take(&mut self.name))
            && entry.get().is_closed()
        {
            entry.remove();
        }
    }
}

/// The stream, and its own address.
pub(crate) async fn connect(name: &str) -> io::Result<(DuplexStream, String)> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let refused = || {
        io::Error::new(
            io::ErrorKind::ConnectionRefused,
            "nobody listens under this name",
        )
    };
    let sender = registry().get(name).cloned().ok_or_else(refused)?;
    let (ours, theirs) = duplex(PIPE_BYTES);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let local = format!("mem://{name}@{number}");
    sender
        .send(Pipe {
            io: theirs,
            remote: local.clone(),
        })
        .await
        .map_err(|_| refused())?;
    Ok((ours, local))
}

fn registry() -> MutexGuard<'static, Registry> {
    static REGISTRY: OnceLock<Mutex<Registry>> = OnceLock::new();
    // A map of names is whole whatever its user was doing when it panicked.
    REGISTRY
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}
