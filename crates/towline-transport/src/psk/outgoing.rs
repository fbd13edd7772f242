//! What is written, turned into records. Pure: bytes in, bytes out.

use std::io;

use bytes::{Buf as _, BufMut as _, BytesMut};
use towline_identity::psk::{BEFORE, BEHIND, MAX_RECORD, Sealer};

use super::{
    BYTES_MAGIC, BYTES_RECORD, FRAME_HEADER_BYTES, HEAD_BYTES, KIND_CONFIRM, KIND_DATA, KIND_END,
    MESSAGE_MAGIC, Records,
};

/// Bytes that one record of bytes carries.
const BYTES_TEXT: usize = BYTES_RECORD - BEFORE - HEAD_BYTES - BEHIND;
/// The largest body of a message that fits a record: what the length field counts beside it is nonce,
/// head and tag.
const MAX_MESSAGE: usize = MAX_RECORD - (BEFORE - 8) - HEAD_BYTES - BEHIND;
/// More is not sealed ahead of a transport that takes nothing.
const AHEAD: usize = 256 << 10;

/// The sealing half of a stream.
#[derive(Debug)]
pub(super) struct Outgoing {
    sealer: Sealer,
    records: Records,
    /// Records that wait for the transport.
    sealed: BytesMut,
    /// The header of the frame that is being written, as far as it has come.
    header: ([u8; FRAME_HEADER_BYTES], usize),
    /// Bytes of that frame's body that have not come yet.
    missing: usize,
    /// Where in `sealed` the record of that frame begins.
    begun_at: usize,
    ended: bool,
}

impl Outgoing {
    pub(super) fn new(sealer: Sealer, records: Records) -> Self {
        Self {
            sealer,
            records,
            sealed: BytesMut::new(),
            header: ([0; FRAME_HEADER_BYTES], 0),
            missing: 0,
            begun_at: 0,
            ended: false,
        }
    }

    /// Whether more may be written before the transport has taken some.
    pub(super) fn has_room(&self) -> bool {
        self.is_inside_message() || self.sealed.len() < AHEAD
    }

    /// Records that may go to the transport: a message that is not whole is held back.
    pub(super) fn ready(&self) -> &[u8] {
        if self.is_inside_message() {
            &self.sealed[..self.begun_at]
        } else {
            &self.sealed
        }
    }

    pub(super) fn advance(&mut self, count: usize) {
        self.sealed.advance(count);
        self.begun_at = self.begun_at.saturating_sub(count);
        if self.sealed.is_empty() {
            // An idle connection keeps no buffer.
            self.sealed = BytesMut::new();
        }
    }

    const fn is_inside_message(&self) -> bool {
        self.missing > 0
    }

    /// Takes from the front of `bytes` what fits, and says how much that was.
    pub(super) fn push(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.ended {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut taken = 0;
        while taken < bytes.len() && self.has_room() {
            let rest = &bytes[taken..];
            taken += match self.records {
                Records::Bytes => {
                    let text = &rest[..rest.len().min(BYTES_TEXT)];
                    self.seal(KIND_DATA, text)?;
                    text.len()
                }
                Records::Messages => self.push_message(rest)?,
            };
        }
        Ok(taken)
    }

    /// Proves that this end has the key (docs/wire R21).
    pub(super) fn confirm(&mut self) -> io::Result<()> {
        self.seal(KIND_CONFIRM, &[])
    }

    /// Says that nothing follows, where that can be said.
    pub(super) fn end(&mut self) -> io::Result<()> {
        if !std::mem::replace(&mut self.ended, true) && self.records == Records::Bytes {
            self.seal(KIND_END, &[])?;
        }
        Ok(())
    }

    fn seal(&mut self, kind: u8, text: &[u8]) -> io::Result<()> {
        let start = self.sealed.len();
        self.sealed
            .reserve(BEFORE + HEAD_BYTES + text.len() + BEHIND);
        self.sealed.put_bytes(0, BEFORE);
        self.sealed.put_slice(&BYTES_MAGIC);
        self.sealed.put_u8(kind);
        self.sealed.put_slice(text);
        self.finish(start)
    }

    /// Makes a record of what stands behind `start`.
    fn finish(&mut self, start: usize) -> io::Result<()> {
        self.sealed.put_bytes(0, BEHIND);
        self.sealer
            .seal(&mut self.sealed[start..])
            .map_err(io::Error::other)
    }

    /// docs/wire R18: the frame without its length.
    fn push_message(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (header, filled) = &mut self.header;
        let mut taken = 0;
        if *filled < FRAME_HEADER_BYTES {
            taken = bytes.len().min(FRAME_HEADER_BYTES - *filled);
            header[*filled..*filled + taken].copy_from_slice(&bytes[..taken]);
            *filled += taken;
            if *filled < FRAME_HEADER_BYTES {
                return Ok(taken);
            }
            let (head, length) = header.split_at(HEAD_BYTES);
            let length = length.try_into().map_or(u64::MAX, u64::from_be_bytes);
            let body = usize::try_from(length).unwrap_or(usize::MAX);
            if head[..7] != MESSAGE_MAGIC || body > MAX_MESSAGE {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "what is to be sealed is no message, or too large for a record",
                ));
            }
            self.begun_at = self.sealed.len();
            self.sealed.reserve(BEFORE + HEAD_BYTES + body + BEHIND);
            self.sealed.put_bytes(0, BEFORE);
            self.sealed.put_slice(head);
            self.missing = body;
        }
        let part = &bytes[taken..];
        let part = &part[..part.len().min(self.missing)];
        self.sealed.put_slice(part);
        self.missing -= part.len();
        if self.missing == 0 {
            self.header.1 = 0;
            self.finish(self.begun_at)?;
        }
        Ok(taken + part.len())
    }
}
