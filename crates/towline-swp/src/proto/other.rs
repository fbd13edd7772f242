//! The original's other encoded types.

use bytes::{Bytes, BytesMut};
use towline_codec::{
    Text,
    greenpack::{Reader, Timestamp, write},
};

use super::{error::DecodeError, numbers::TcpEvent, values};

const MAX_ENTRIES: usize = 64;
/// Numbers of a `NackList` that are read.
const MAX_LIST: usize = 64 << 10;

/// A file as the original sends it through a session's byte stream, whole (docs/wire W12).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BigFile {
    /// `Filepath`: for people; nothing is opened by it.
    pub path: Text,
    /// `SizeInBytes`: of the data.
    pub size: i64,
    /// `Blake2b`: [`checksum`](super::checksum()) of the data.
    pub blake2b: Bytes,
    /// `SendTime`.
    pub sent: Option<Timestamp>,
    /// `Data`.
    pub data: Bytes,
}

impl BigFile {
    /// Reads one from the front of `input`.
    ///
    /// # Errors
    ///
    /// What docs/wire W7 refuses, and data of more than `max_data` bytes.
    pub fn decode(input: &Bytes, max_data: usize) -> Result<Self, DecodeError> {
        let mut file = Self::default();
        values::read_map(&mut Reader::new(input), MAX_ENTRIES, |key, reader| {
            match key {
                b"Filepath" => file.path = values::text(reader)?,
                b"SizeInBytes" => file.size = values::int(reader)?,
                b"Blake2b" => file.blake2b = values::data(reader, input, max_data.max(64))?,
                b"SendTime" => file.sent = values::time(reader)?,
                b"Data" => file.data = values::data(reader, input, max_data)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(file)
    }

    /// Writes it as the original does.
    pub fn encode(&self, out: &mut BytesMut) {
        self.encode_header(out, self.data.len());
        out.extend_from_slice(&self.data);
    }

    /// Writes everything up to the data, of which `data_len` bytes follow: for data that is not in
    /// memory.
    pub fn encode_header(&self, out: &mut BytesMut, data_len: usize) {
        write::map_header(out, 5);
        write::str(out, b"Filepath");
        write::str(out, self.path.as_bytes());
        write::str(out, b"SizeInBytes");
        write::int(out, self.size);
        write::str(out, b"Blake2b");
        write::bin(out, &self.blake2b);
        write::str(out, b"SendTime");
        values::write_time(out, self.sent);
        write::str(out, b"Data");
        write::bin_header(out, data_len);
    }
}

/// A body that the original defines and never sends (docs/wire W12).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SynAckAck {
    /// `TcpEvent`.
    pub event: TcpEvent,
    /// `SessionNonce`.
    pub nonce: Text,
    /// `NextExpected`.
    pub next_expected: i64,
    /// `NackList`.
    pub nacks: Vec<i64>,
}

impl SynAckAck {
    /// Reads one from the front of `input`.
    ///
    /// # Errors
    ///
    /// What docs/wire W7 refuses, and a list of more than 65,536 numbers.
    pub fn decode(input: &Bytes) -> Result<Self, DecodeError> {
        let mut value = Self::default();
        values::read_map(&mut Reader::new(input), MAX_ENTRIES, |key, reader| {
            match key {
                b"TcpEvent" => value.event = TcpEvent(values::int(reader)?),
                b"SessionNonce" => value.nonce = values::text(reader)?,
                b"NextExpected" => value.next_expected = values::int(reader)?,
                b"NackList" => {
                    let len = reader.array_header()?.ok_or(DecodeError::Nil)?;
                    if len > MAX_LIST {
                        return Err(DecodeError::ListTooLong(
                            u32::try_from(len).unwrap_or(u32::MAX),
                        ));
                    }
                    value.nacks = (0..len)
                        .map(|_| values::int(reader))
                        .collect::<Result<_, _>>()?;
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(value)
    }

    /// Writes it as the original does.
    pub fn encode(&self, out: &mut BytesMut) {
        write::map_header(out, 4);
        write::str(out, b"TcpEvent");
        write::int(out, self.event.0);
        write::str(out, b"SessionNonce");
        write::str(out, self.nonce.as_bytes());
        write::str(out, b"NextExpected");
        write::int(out, self.next_expected);
        write::str(out, b"NackList");
        write::array_header(out, self.nacks.len());
        for &nack in &self.nacks {
            write::int(out, nack);
        }
    }
}

/// A counter of the original's, encodable and never sent (docs/wire W12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ByteAccount {
    /// `NumBytesAcked`.
    pub acked: i64,
}

impl ByteAccount {
    /// Reads one from the front of `input`.
    ///
    /// # Errors
    ///
    /// What docs/wire W7 refuses.
    pub fn decode(input: &Bytes) -> Result<Self, DecodeError> {
        let mut value = Self::default();
        values::read_map(&mut Reader::new(input), MAX_ENTRIES, |key, reader| {
            match key {
                b"NumBytesAcked" => value.acked = values::int(reader)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(value)
    }

    /// Writes it as the original does.
    pub fn encode(&self, out: &mut BytesMut) {
        write::map_header(out, 1);
        write::str(out, b"NumBytesAcked");
        write::int(out, self.acked);
    }
}

/// An error of the original's, encodable and never sent (docs/wire W12).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TerminatedError {
    /// `Msg`.
    pub message: Text,
}

impl TerminatedError {
    /// Reads one from the front of `input`.
    ///
    /// # Errors
    ///
    /// What docs/wire W7 refuses.
    pub fn decode(input: &Bytes) -> Result<Self, DecodeError> {
        let mut value = Self::default();
        values::read_map(&mut Reader::new(input), MAX_ENTRIES, |key, reader| {
            match key {
                b"Msg" => value.message = values::text(reader)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(value)
    }

    /// Writes it as the original does.
    pub fn encode(&self, out: &mut BytesMut) {
        write::map_header(out, 1);
        write::str(out, b"Msg");
        write::str(out, self.message.as_bytes());
    }
}
