//! Records that came, turned into what was written. Pure: bytes in, bytes out.

use std::io;

use bytes::{Buf as _, BytesMut};
use towline_identity::psk::{
    BEFORE, BEHIND, MAX_RECORD, MIN_RECORD, Opener, RecordError, Role, SessionKey,
};

use super::{
    BYTES_MAGIC, BYTES_RECORD, HEAD_BYTES, KIND_CONFIRM, KIND_DATA, KIND_END, MESSAGE_MAGIC,
    Records,
};

const LENGTH_BYTES: usize = 8;
/// Room for the first read, and for what follows small records.
const FIRST_READ: usize = 4 << 10;
const LARGEST_READ: usize = 128 << 10;
/// A record that is still coming may claim this many times the memory of what has come of it.
const CLAIM_FACTOR: usize = 8;

/// Why what came cannot be used. The connection is of no further use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("the pre-shared-key layer: {0}")]
    Record(#[from] RecordError),
    #[error("the pre-shared-key layer: the other end sends calls, this end expects bytes")]
    MessagesThere,
    #[error("the pre-shared-key layer: the other end sends bytes, this end expects calls")]
    BytesThere,
    #[error("the pre-shared-key layer: a record says that it is of kind {0}, which is unknown")]
    Kind(u8),
    #[error(
        "the pre-shared-key layer: the other end has announced a proof of its key, and sent something else"
    )]
    NotConfirmed,
    #[error("the pre-shared-key layer: something follows the end")]
    BehindTheEnd,
    #[error(
        "the other end hung up before its first record: the two ends may have different pre-shared keys, or it \
         refused us; its log says which"
    )]
    NoRecord,
    #[error("the connection was cut off: its end was not announced")]
    CutOff,
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        let kind = match fault {
            Fault::NoRecord => io::ErrorKind::PermissionDenied,
            Fault::CutOff => io::ErrorKind::UnexpectedEof,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, fault)
    }
}

/// The opening half of a stream.
#[derive(Debug)]
pub(super) struct Incoming {
    opener: Opener,
    records: Records,
    /// What came and is not opened.
    sealed: BytesMut,
    /// What is opened and not read.
    plain: BytesMut,
    opened: bool,
    ended: bool,
}

impl Incoming {
    pub(super) fn new(key: &SessionKey, sender: Role, records: Records) -> Self {
        let limit = match records {
            Records::Bytes => BYTES_RECORD - LENGTH_BYTES,
            Records::Messages => MAX_RECORD,
        };
        Self {
            opener: Opener::new(key, sender, limit),
            records,
            sealed: BytesMut::new(),
            plain: BytesMut::new(),
            opened: false,
            ended: false,
        }
    }

    /// What is opened and was not read yet.
    pub(super) fn plain(&mut self) -> &mut BytesMut {
        &mut self.plain
    }

    /// Whether the other end has said that nothing follows.
    pub(super) const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Where the transport may put what comes: a part of the next record, or a little more. Memory for
    /// a large record is claimed as it comes (docs/wire F23).
    pub(super) fn room(&mut self) -> &mut BytesMut {
        let missing = self
            .sealed
            .first_chunk::<LENGTH_BYTES>()
            .and_then(|field| self.opener.length(*field).ok())
            .map_or(0, |length| {
                (LENGTH_BYTES + length).saturating_sub(self.sealed.len())
            });
        let most = (self.sealed.len() * CLAIM_FACTOR).clamp(FIRST_READ, LARGEST_READ.max(missing));
        let room = missing.clamp(FIRST_READ, most);
        if self.sealed.capacity() - self.sealed.len() < room.min(FIRST_READ) {
            self.sealed.reserve(room);
        }
        &mut self.sealed
    }

    /// An idle connection keeps no buffer.
    pub(super) fn rest(&mut self) {
        if self.sealed.is_empty() {
            self.sealed = BytesMut::new();
        }
        if self.plain.is_empty() {
            self.plain = BytesMut::new();
        }
    }

    /// Opens the next record, if it is whole.
    pub(super) fn open(&mut self) -> Result<bool, Fault> {
        let Some(field) = self.sealed.first_chunk::<LENGTH_BYTES>() else {
            return Ok(false);
        };
        if self.ended {
            return Err(Fault::BehindTheEnd);
        }
        let whole = LENGTH_BYTES + self.opener.length(*field)?;
        if self.sealed.len() < whole {
            return Ok(false);
        }
        let mut record = self.sealed.split_to(whole);
        let text = self.opener.open(&mut record[LENGTH_BYTES..])?;
        self.opened = true;
        let body = (text.len() - HEAD_BYTES) as u64;
        let mut head = [0; HEAD_BYTES];
        head.copy_from_slice(&text[..HEAD_BYTES]);
        let [magic @ .., kind] = head;
        record.truncate(whole - BEHIND);
        match (self.records, magic) {
            (Records::Bytes, BYTES_MAGIC) => {
                record.advance(BEFORE + HEAD_BYTES);
                match kind {
                    KIND_DATA => {}
                    KIND_END => self.ended = true,
                    other => return Err(Fault::Kind(other)),
                }
            }
            // docs/wire R18: the frame again, its length in the place of head, its head in that of
            // the nonce.
            (Records::Messages, MESSAGE_MAGIC) => {
                record[BEFORE - HEAD_BYTES..BEFORE].copy_from_slice(&head);
                record[BEFORE..BEFORE + HEAD_BYTES].copy_from_slice(&body.to_be_bytes());
                record.advance(BEFORE - HEAD_BYTES);
            }
            (Records::Bytes, MESSAGE_MAGIC) => return Err(Fault::MessagesThere),
            (Records::Messages, BYTES_MAGIC) => return Err(Fault::BytesThere),
            (_, [first, ..]) => return Err(Fault::Kind(first)),
        }
        self.plain = record;
        Ok(true)
    }

    /// Opens the record with which the other end proves that it has the key, if it is whole (docs/wire R21).
    pub(super) fn confirmed(&mut self) -> Result<bool, Fault> {
        let Some(field) = self.sealed.first_chunk::<LENGTH_BYTES>() else {
            return Ok(false);
        };
        // It holds nothing: what announces more is not it.
        let length = self
            .opener
            .length(*field)
            .map_err(|_| RecordError::WrongKey)?;
        if length != MIN_RECORD {
            return Err(RecordError::WrongKey.into());
        }
        let whole = LENGTH_BYTES + length;
        if self.sealed.len() < whole {
            return Ok(false);
        }
        let mut record = self.sealed.split_to(whole);
        let text = self.opener.open(&mut record[LENGTH_BYTES..])?;
        self.opened = true;
        match text {
            [magic @ .., KIND_CONFIRM] if *magic == BYTES_MAGIC => Ok(true),
            _ => Err(Fault::NotConfirmed),
        }
    }

    /// What it means that the transport failed here: who closes with something unread resets.
    pub(super) fn at_error(&self, error: io::Error) -> io::Error {
        match error.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
                if !self.opened =>
            {
                Fault::NoRecord.into()
            }
            _ => error,
        }
    }

    /// What it means that the transport has ended here.
    pub(super) fn at_end(&self) -> Result<(), Fault> {
        match self.records {
            _ if !self.opened => Err(Fault::NoRecord),
            Records::Messages if self.sealed.is_empty() => Ok(()),
            _ => Err(Fault::CutOff),
        }
    }
}
