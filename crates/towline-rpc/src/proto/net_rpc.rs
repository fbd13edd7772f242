//! The bodies of net/rpc calls: a header tuple, and a value behind it (docs/wire C23).

use bytes::{BufMut as _, Bytes, BytesMut};
use towline_codec::{
    Text,
    greenpack::{DecodeError, Reader, write},
};

/// What stands before the argument of a net/rpc call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetRpcRequest {
    /// `Service.Method`.
    pub method: Text,
    /// The caller's number; the answer repeats it.
    pub seq: u64,
}

/// What stands before the value that a net/rpc call returns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetRpcResponse {
    /// `Service.Method`, as it was called.
    pub method: Text,
    /// The caller's number.
    pub seq: u64,
    /// Why there is no value; empty if there is one.
    pub error: Text,
}

/// What a failed call returns in place of a value: a struct in tuple form with one field.
const INVALID_REQUEST: &[u8] = &[0x91, 0];

impl NetRpcRequest {
    /// The body of a call: this header, and behind it the argument.
    pub fn with_argument(&self, argument: &[u8]) -> Bytes {
        let mut out = BytesMut::with_capacity(self.method.len() + argument.len() + 16);
        write::array_header(&mut out, 2);
        write::str(&mut out, self.method.as_bytes());
        write::uint(&mut out, self.seq);
        out.put_slice(argument);
        out.freeze()
    }

    /// Splits the body of a call into header and argument.
    ///
    /// # Errors
    ///
    /// A body that does not begin with this header.
    pub fn split(body: &Bytes) -> Result<(Self, Bytes), DecodeError> {
        let mut reader = Reader::new(body);
        expect_elements(&mut reader, 2)?;
        let header = Self {
            method: Text::from_part(body, reader.str()?),
            seq: reader.uint()?,
        };
        Ok((header, body.slice_ref(reader.rest())))
    }

    /// The body of the answer: `value`, or why there is none.
    pub fn answer(&self, error: &Text, value: &[u8]) -> Bytes {
        let header = NetRpcResponse {
            method: self.method.clone(),
            seq: self.seq,
            error: error.clone(),
        };
        header.with_value(value)
    }
}

impl NetRpcResponse {
    /// The body of an answer: this header, and behind it the value, unless the call failed.
    pub fn with_value(&self, value: &[u8]) -> Bytes {
        let value = if self.error.is_empty() {
            value
        } else {
            INVALID_REQUEST
        };
        let texts = self.method.len() + self.error.len();
        let mut out = BytesMut::with_capacity(texts + value.len() + 24);
        write::array_header(&mut out, 3);
        write::str(&mut out, self.method.as_bytes());
        write::uint(&mut out, self.seq);
        write::str(&mut out, self.error.as_bytes());
        out.put_slice(value);
        out.freeze()
    }

    /// Splits the body of an answer into header and value.
    ///
    /// # Errors
    ///
    /// A body that does not begin with this header.
    pub fn split(body: &Bytes) -> Result<(Self, Bytes), DecodeError> {
        let mut reader = Reader::new(body);
        expect_elements(&mut reader, 3)?;
        let header = Self {
            method: Text::from_part(body, reader.str()?),
            seq: reader.uint()?,
            error: Text::from_part(body, reader.str()?),
        };
        Ok((header, body.slice_ref(reader.rest())))
    }
}

/// docs/wire G14: the number of elements must be exact.
fn expect_elements(reader: &mut Reader<'_>, wanted: u32) -> Result<(), DecodeError> {
    match reader.array_header()?.map(u32::try_from) {
        Some(Ok(got)) if got == wanted => Ok(()),
        got => Err(DecodeError::ArraySize {
            wanted,
            got: got.map_or(0, |got| got.unwrap_or(u32::MAX)),
        }),
    }
}

/// A decoding error in the words of the original (docs/wire E13), where it has words for it.
pub(crate) fn original_words(error: DecodeError) -> Text {
    Text::from(match error {
        DecodeError::Truncated => "msgp: too few bytes left to read object".to_owned(),
        DecodeError::WrongType { wanted, got } => {
            format!("msgp: attempted to decode type \"{got}\" with method for \"{wanted}\"")
        }
        DecodeError::InvalidPrefix => "msgp: unrecognized type prefix 0xc1".to_owned(),
        DecodeError::ArraySize { wanted, got } => {
            format!("msgp: wanted array of size {wanted}; got {got}")
        }
        DecodeError::ExtensionType { wanted, got } => {
            format!("msgp: error decoding extension: wanted type {wanted}; got type {got}")
        }
        other => other.to_string(),
    })
}
