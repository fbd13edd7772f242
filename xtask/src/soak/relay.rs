//! A relay that counts what it carries, to a server that may come and go.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::Result;

/// Carries connections to whatever address it was told last.
pub(super) struct Relay {
    address: String,
    target: Arc<Mutex<String>>,
    carried: Arc<AtomicU64>,
}

impl Relay {
    pub(super) fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let relay = Self {
            address: listener.local_addr()?.to_string(),
            target: Arc::default(),
            carried: Arc::default(),
        };
        let (target, carried) = (Arc::clone(&relay.target), Arc::clone(&relay.carried));
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let target = target
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone();
                // A server that is not there just now: the connection ends.
                let Ok(far) = TcpStream::connect(target) else {
                    continue;
                };
                if let (Ok(near2), Ok(far2)) = (near.try_clone(), far.try_clone()) {
                    for (from, to) in [(near, far), (far2, near2)] {
                        let carried = Arc::clone(&carried);
                        thread::spawn(move || carry(from, to, &carried));
                    }
                }
            }
        });
        Ok(relay)
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Where new connections go from now on.
    pub(super) fn set_target(&self, address: &str) {
        address.clone_into(&mut self.target.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Bytes so far, both ways together.
    pub(super) fn carried(&self) -> u64 {
        self.carried.load(Ordering::Relaxed)
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, carried: &AtomicU64) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        carried.fetch_add(count as u64, Ordering::Relaxed);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    // Whatever ended it, neither end is to wait for the other.
    to.shutdown(Shutdown::Both).ok();
    from.shutdown(Shutdown::Read).ok();
}
