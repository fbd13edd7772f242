//! Packets that end with a separator.

use std::fmt;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use memchr::memmem::Finder;

use super::codec::Oversize;
use super::error::{EmptySeparatorError, EncodeError, FramingError};
use super::protocol::{FramingProtocol, Located, Resync, Skip};

/// Bytes that end a packet and do not belong to it (docs/wire L13). A clone shares them.
#[derive(Clone)]
pub struct Separator(Arc<Finder<'static>>);

impl Separator {
    /// Packets that end with `bytes`, such as `b"\n"`; they are matched as a whole.
    ///
    /// # Errors
    ///
    /// Without a single byte it would be found everywhere (docs/wire L15).
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self, EmptySeparatorError> {
        let bytes = bytes.as_ref();
        if bytes.is_empty() {
            return Err(EmptySeparatorError);
        }
        Ok(Self(Arc::new(Finder::new(bytes).into_owned())))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.needle()
    }

    /// Where the separator stands first.
    fn find(&self, input: &[u8]) -> Option<usize> {
        match *self.as_bytes() {
            [byte] => memchr::memchr(byte, input),
            _ => self.0.find(input),
        }
    }

    /// How many bytes at the end of what was looked at may belong to a separator that is not there yet.
    fn overlap(&self) -> usize {
        self.as_bytes().len() - 1
    }
}

impl FramingProtocol for Separator {
    fn locate(&self, input: &[u8], scanned: usize, max: usize) -> Result<Located, FramingError> {
        let len = self.as_bytes().len();
        let found = self.find(input.get(scanned..).unwrap_or_default());
        // docs/wire L19, L21: the payload alone counts, however the bytes came.
        Ok(match found.map(|at| scanned + at) {
            Some(at) if at <= max => Located::Packet {
                start: 0,
                end: at,
                next: at + len,
            },
            None if input.len() < max.saturating_add(len) => Located::Incomplete {
                scanned: input.len().saturating_sub(self.overlap()),
                needed: 1,
            },
            _ => Located::TooBig {
                announced: None,
                skip: Skip::ToItsEnd,
            },
        })
    }

    fn resync(&self, input: &[u8]) -> Resync {
        match self.find(input) {
            Some(at) => Resync::At(at + self.as_bytes().len()),
            None => Resync::NotYet(input.len().saturating_sub(self.overlap())),
        }
    }

    fn default_oversize(&self) -> Oversize {
        Oversize::Skip
    }

    fn encode(&self, payload: &[u8], out: &mut BytesMut) -> Result<(), EncodeError> {
        let separator = self.as_bytes();
        // docs/wire L14: the separator may also begin at the payload's end and run into the real one.
        let before = out.len();
        out.reserve(payload.len() + separator.len());
        out.put_slice(payload);
        out.put_slice(separator);
        match self.find(&out[before..]) {
            Some(at) if at < payload.len() => {
                out.truncate(before);
                Err(EncodeError::ContainsSeparator { at })
            }
            _ => Ok(()),
        }
    }
}

impl PartialEq for Separator {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Separator {}

impl fmt::Debug for Separator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Separator(\"{}\")", self.as_bytes().escape_ascii())
    }
}
