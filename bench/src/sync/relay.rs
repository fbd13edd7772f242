//! A relay that counts what it carries.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// Carries connections to one address and counts their bytes, both ways together.
#[derive(Debug)]
pub(super) struct Relay {
    listener: Option<TcpListener>,
    carried: Arc<AtomicU64>,
}

impl Relay {
    pub(super) fn start() -> io::Result<Self> {
        Ok(Self {
            listener: Some(TcpListener::bind("127.0.0.1:0")?),
            carried: Arc::default(),
        })
    }

    /// Carries to this address from now on; returns where it is to be called.
    pub(super) fn to(&mut self, address: &str) -> io::Result<String> {
        let listener = match self.listener.take() {
            Some(listener) => listener,
            None => TcpListener::bind("127.0.0.1:0")?,
        };
        let here = listener.local_addr()?.to_string();
        let (address, carried) = (address.to_owned(), Arc::clone(&self.carried));
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if let Ok(far) = TcpStream::connect(&address)
                    && let (Ok(near2), Ok(far2)) = (near.try_clone(), far.try_clone())
                {
                    for (from, to) in [(near, far), (far2, near2)] {
                        let carried = Arc::clone(&carried);
                        thread::spawn(move || carry(from, to, &carried));
                    }
                }
            }
        });
        Ok(here)
    }

    /// Bytes so far.
    pub(super) fn carried(&self) -> u64 {
        self.carried.load(Ordering::Relaxed)
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, carried: &AtomicU64) {
    let mut buffer = vec![0; 256 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        carried.fetch_add(count as u64, Ordering::Relaxed);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    // The other direction may have ended both ends by now.
    to.shutdown(Shutdown::Write).ok();
}
