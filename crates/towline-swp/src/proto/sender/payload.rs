//! Data on its way into a session.

use bytes::Bytes;

use crate::proto::checksum::checksum_field;

/// Data to send, with its checksum if somebody has calculated it already.
#[derive(Debug, Clone, Default)]
pub struct Payload {
    pub(super) data: Bytes,
    pub(super) checksum: Option<Bytes>,
}

impl Payload {
    /// Calculates the checksum here and now: before a lock is taken, if the session needs it
    /// (docs/wire W9). Without it the checksum is calculated when the packet is first sent.
    #[must_use]
    pub fn with_checksum(mut self) -> Self {
        self.checksum = Some(checksum_field(&self.data));
        self
    }

    /// Bytes of the data.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// True if there is no data: a packet all the same (docs/wire W24).
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }
}

impl From<Bytes> for Payload {
    fn from(data: Bytes) -> Self {
        Self {
            data,
            checksum: None,
        }
    }
}
