//! What waits to be written.

use std::collections::VecDeque;

use bytes::{BufMut as _, Bytes, BytesMut};

use super::{
    Message,
    frame::{self, EncodedFrame, HEADER_LEN, MAX_FRAME, TooLarge},
};

/// A body at least this large travels as a piece of its own; a smaller one is copied behind its
/// header, so that many small frames make one piece and leave in one system call.
const OWN_PIECE: usize = 16 << 10;
/// Memory of the piece that small frames are gathered in.
const GATHER: usize = 32 << 10;

/// Frames in the order they will be written, as pieces of memory.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pieces: VecDeque<Bytes>,
    gathered: BytesMut,
    /// Bytes that were pushed and not yet reported as written.
    unsent: usize,
}

impl Outbox {
    /// Appends a frame with an uncompressed body, or none of it.
    pub(crate) fn push_plain(&mut self, message: &Message, byte: u8) -> Result<(), TooLarge> {
        frame::check_parts(message)?;
        let start = self.gathered.len();
        // The bound counts a large body too; it will not be gathered.
        self.gathered.reserve(GATHER.min(message.encoded_bound()));
        self.gathered.put_slice(&[0; HEADER_LEN]);
        message.encode_before_body(&mut self.gathered);
        let apart = message.body.len() >= OWN_PIECE && message.error.is_empty();
        if !apart {
            self.gathered.put_slice(&message.body);
            message.encode_after_body(&mut self.gathered);
        }
        let len =
            self.gathered.len() - start - HEADER_LEN + if apart { message.body.len() } else { 0 };
        if len > MAX_FRAME {
            self.gathered.truncate(start);
            return Err(TooLarge {
                len,
                max: MAX_FRAME,
            });
        }
        self.gathered[start..start + HEADER_LEN].copy_from_slice(&frame::header(byte, len));
        if apart {
            self.finish_gathered();
            self.pieces.push_back(message.body.clone());
        } else if self.gathered.len() >= GATHER {
            self.finish_gathered();
        }
        self.unsent += HEADER_LEN + len;
        Ok(())
    }

    /// Appends a frame that was made elsewhere.
    pub(crate) fn push_encoded(&mut self, frame: EncodedFrame) {
        self.unsent += frame.0.len();
        if frame.0.len() < OWN_PIECE {
            self.gathered.put_slice(&frame.0);
            if self.gathered.len() >= GATHER {
                self.finish_gathered();
            }
        } else {
            self.finish_gathered();
            self.pieces.push_back(frame.0);
        }
    }

    /// The next piece to write.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        if self.pieces.is_empty() {
            self.finish_gathered();
        }
        self.pieces.pop_front()
    }

    /// Notes that `len` bytes reached the transport.
    pub(crate) fn written(&mut self, len: usize) {
        self.unsent = self.unsent.saturating_sub(len);
    }

    pub(crate) const fn unsent(&self) -> usize {
        self.unsent
    }

    fn finish_gathered(&mut self) {
        if !self.gathered.is_empty() {
            self.pieces.push_back(self.gathered.split().freeze());
        }
    }
}
