//! Packets as they arrive (docs/wire W52).

use std::{fmt, sync::Arc, task::Poll};

use bytes::Bytes;

use super::Session;
use crate::driver::Shared;

/// Packets as they arrive, in whatever order, beside the ordered stream: see [`Session::asap`].
/// Dropping it ends that.
pub struct AsapReceiver {
    shared: Arc<Shared>,
    registration: u64,
}

impl Session {
    /// From now on, data packets are handed out as they arrive as well, beside the ordered messages, each
    /// once: at most `limit` wait to be received, the oldest is dropped for a new one and counted
    /// (docs/wire W52). Who receives slowly delays nothing. A second call takes the place of the first.
    pub fn asap(&self, limit: usize) -> AsapReceiver {
        AsapReceiver {
            registration: self.shared.call(|engine, _| engine.register_asap(limit)),
            shared: Arc::clone(&self.shared),
        }
    }
}

impl AsapReceiver {
    /// The oldest packet that waits, with its number; `None` when the session is over or another
    /// receiver has taken the place of this one.
    ///
    /// # Cancel safety
    ///
    /// No packet is lost if the future is dropped.
    pub async fn recv(&mut self) -> Option<(u64, Bytes)> {
        let registration = self.registration;
        self.shared
            .wait(|engine, _| {
                if engine.asap_registration() != Some(registration) {
                    return Poll::Ready(None);
                }
                match engine.recv_asap() {
                    Some(packet) => Poll::Ready(Some(packet)),
                    None if engine.close_reason().is_some() => Poll::Ready(None),
                    None => Poll::Pending,
                }
            })
            .await
    }

    /// How many packets were dropped because they were not received in time.
    pub fn dropped(&self) -> u64 {
        let state = self.shared.lock();
        if state.engine.asap_registration() == Some(self.registration) {
            state.engine.asap_dropped()
        } else {
            0
        }
    }
}

impl Drop for AsapReceiver {
    fn drop(&mut self) {
        let registration = self.registration;
        self.shared
            .call(|engine, _| engine.unregister_asap(registration));
    }
}

impl fmt::Debug for AsapReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsapReceiver")
            .field("dropped", &self.dropped())
            .finish_non_exhaustive()
    }
}
