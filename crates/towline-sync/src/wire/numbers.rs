//! Numbers and byte strings.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// What a peer sent cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// A message ends before its fields do.
    #[error("a sync message ends too early")]
    Truncated,
    /// A number has more than 64 bits.
    #[error("a number in a sync message is too long")]
    Number,
    /// A length or count is above its limit.
    #[error("a length in a sync message is above its limit")]
    Length,
    /// There is no such kind of message.
    #[error("sync messages of kind {kind} are not known")]
    Kind {
        /// Its number.
        kind: u8,
    },
    /// A field holds what it must not.
    #[error("a field of a sync message holds {value}, which means nothing")]
    Value {
        /// What it holds.
        value: u64,
    },
    /// The other end speaks another version.
    #[error("version {version} of sync messages is not known here, only version 1")]
    Version {
        /// Which.
        version: u64,
    },
    /// A name or path is not acceptable.
    #[error("a name in a sync message is not one that a file can have")]
    Name,
    /// Bytes follow the last field of a message.
    #[error("a sync message is longer than its fields")]
    Trailing,
}

/// Appends fields.
#[derive(Debug)]
pub(crate) struct Writer<'a>(pub(crate) &'a mut BytesMut);

impl Writer<'_> {
    pub(crate) fn byte(&mut self, value: u8) {
        self.0.put_u8(value);
    }

    /// docs/wire D11: seven bits a byte, the lowest first.
    pub(crate) fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.put_u8(value as u8);
    }

    /// docs/wire D11: the sign in the lowest bit.
    pub(crate) fn signed(&mut self, value: i64) {
        self.number(((value << 1) ^ (value >> 63)) as u64);
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.number(value.len() as u64);
        self.0.put_slice(value);
    }

    pub(crate) fn raw(&mut self, value: &[u8]) {
        self.0.put_slice(value);
    }
}

/// Takes fields off the front.
#[derive(Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a mut Bytes);

impl Reader<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn left(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn byte(&mut self) -> Result<u8, WireError> {
        if self.0.is_empty() {
            return Err(WireError::Truncated);
        }
        Ok(self.0.get_u8())
    }

    pub(crate) fn number(&mut self) -> Result<u64, WireError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return Err(WireError::Number);
            }
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(WireError::Number)
    }

    pub(crate) fn signed(&mut self) -> Result<i64, WireError> {
        let value = self.number()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A number that is at most `limit`.
    pub(crate) fn at_most(&mut self, limit: u64) -> Result<u64, WireError> {
        let value = self.number()?;
        if value > limit {
            return Err(WireError::Length);
        }
        Ok(value)
    }

    /// How many things of at least `least` bytes follow: refused if the rest cannot hold them.
    pub(crate) fn count(&mut self, least: usize) -> Result<usize, WireError> {
        let count = self.number()?;
        if count > (self.left() / least.max(1)) as u64 {
            return Err(WireError::Truncated);
        }
        Ok(count as usize)
    }

    /// Bytes, shared with the input.
    pub(crate) fn bytes(&mut self, limit: usize) -> Result<Bytes, WireError> {
        let length = self.at_most(limit as u64)? as usize;
        self.split(length)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let mut value = [0; N];
        if self.0.len() < N {
            return Err(WireError::Truncated);
        }
        self.0.copy_to_slice(&mut value);
        Ok(value)
    }

    pub(crate) fn split(&mut self, length: usize) -> Result<Bytes, WireError> {
        if length > self.0.len() {
            return Err(WireError::Truncated);
        }
        Ok(self.0.split_to(length))
    }

    pub(crate) fn rest(&mut self) -> Bytes {
        let all = self.0.len();
        self.0.split_to(all)
    }
}
