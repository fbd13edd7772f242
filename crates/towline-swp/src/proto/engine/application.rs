//! What the application does: sends and receives.

use bytes::Bytes;

use super::{CloseReason, Engine, Now, ReadState, SendError};
use crate::proto::sender::Payload;

impl Engine {
    /// Queues one packet and returns its number; it leaves when the windows and the rate allow. An
    /// empty one is a packet too (docs/wire W24). Before the session is open, packets wait.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`] says to wait for [`EngineEvent::Acknowledged`](super::EngineEvent::Acknowledged).
    pub fn send(&mut self, now: Now, payload: impl Into<Payload>) -> Result<u64, SendError> {
        let payload = payload.into();
        if let Some(reason) = self.reason.clone() {
            return Err(reason.into());
        }
        if self.peer.reads_no_more {
            return Err(CloseReason::RemoteClosed.into());
        }
        if self.finishing.is_some() {
            return Err(SendError::Finished);
        }
        let limit = self.config.max_data.min(self.config.send_buffer_bytes);
        if payload.len() > limit {
            return Err(SendError::TooLarge {
                len: payload.len(),
                limit,
            });
        }
        if !self.has_room_for(payload.len()) {
            return Err(SendError::Full);
        }
        let seq = self.sender.push(payload);
        self.watch_window(now.instant);
        Ok(seq)
    }

    /// True if [`send`](Self::send) has room for a packet of `len` bytes.
    pub fn has_room_for(&self, len: usize) -> bool {
        let (messages, bytes) = self.sender.buffered();
        messages < self.config.send_buffer_messages
            && bytes.saturating_add(len) <= self.config.send_buffer_bytes
    }

    /// How many packets the peer has acknowledged: all with smaller numbers.
    pub fn acknowledged(&self) -> u64 {
        self.sender.base()
    }

    /// How many packets were accepted so far: the number of the next one.
    pub fn accepted(&self) -> u64 {
        self.sender.accepted()
    }

    /// True if packets leave with the original's checksum, which [`Payload::with_checksum`] can
    /// calculate elsewhere.
    pub fn wants_checksums(&self) -> bool {
        !self.is_compact
    }

    /// The next message of the peer, in order.
    pub fn recv(&mut self, now: Now) -> Option<Bytes> {
        let data = self.receiver.take_message()?;
        self.consumed(now.instant);
        Some(data)
    }

    /// Up to `max` of the next bytes of the peer; where one message ends does not show.
    pub fn read(&mut self, now: Now, max: usize) -> Option<Bytes> {
        let before = self.receiver.consumed();
        let data = self.receiver.take_bytes(max);
        // Empty packets are consumed on the way to what there is to read.
        if data.is_some() || self.receiver.consumed() > before {
            self.consumed(now.instant);
        }
        data
    }

    /// What it means that there is nothing to read.
    pub fn read_state(&self) -> ReadState {
        if self.receiver.has_ready() {
            ReadState::Open
        } else if let Some(reason) = self.is_cut.clone() {
            ReadState::Failed(reason)
        } else if self.peer.has_finished && (!self.is_compact || self.receiver.is_complete()) {
            ReadState::End
        } else {
            match self.reason.clone() {
                None => ReadState::Open,
                Some(CloseReason::Finished | CloseReason::RemoteClosed) => ReadState::End,
                Some(reason) => ReadState::Failed(reason),
            }
        }
    }
}
