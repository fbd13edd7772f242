//! Messages: the unit that travels in one frame.

use bytes::{BufMut, Bytes, BytesMut};
use towline_codec::{
    Text,
    greenpack::{DecodeError, Reader, Timestamp, write},
};

use super::{CallType, Hdr};

/// A message: header, opaque body, error text (docs/wire M1).
///
/// Requests and replies are both messages. The body and every text of a received message share the
/// memory of the frame they came in; cloning is cheap.
///
/// ```
/// use towline_rpc::proto::Message;
///
/// let request = Message::request("customEcho", "hello").with_arg("lang", "en");
/// assert_eq!(request.hdr.service_name, "customEcho");
/// assert_eq!(request.body, "hello");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// The header. Boxed, because a message is moved far more often than it is made.
    pub hdr: Box<Hdr>,
    /// The body: `JobSerz`. Opaque to the protocol.
    pub body: Bytes,
    /// The error text of the function that was called: `JobErrs` (docs/wire E1). Empty means success.
    pub error: Text,
}

/// The text with which a called function failed (docs/wire E1).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct RemoteError {
    text: Text,
}

impl RemoteError {
    #[cfg(feature = "tokio")]
    pub(crate) const fn new(text: Text) -> Self {
        Self { text }
    }

    /// The text as it came from the server.
    pub const fn text(&self) -> &Text {
        &self.text
    }
}

const KEY_HDR: &[u8] = b"\xadHDR_zid00_rct";
const KEY_BODY: &[u8] = b"\xb1JobSerz_zid01_bin";
const KEY_ERROR: &[u8] = b"\xb1JobErrs_zid02_str";
/// By their numbers.
const KEYS: [&[u8]; 3] = [KEY_HDR, KEY_BODY, KEY_ERROR];

impl Message {
    /// An empty message.
    pub fn new() -> Self {
        Self::default()
    }

    /// A request to a service.
    pub fn request(service: impl Into<Text>, body: impl Into<Bytes>) -> Self {
        Self {
            hdr: Box::new(Hdr {
                service_name: service.into(),
                ..Hdr::default()
            }),
            body: body.into(),
            error: Text::EMPTY,
        }
    }

    /// A message that holds only a body: what most handlers answer with.
    pub fn from_body(body: impl Into<Bytes>) -> Self {
        Self {
            body: body.into(),
            ..Self::default()
        }
    }

    /// Sets the subject.
    #[must_use]
    pub fn with_subject(mut self, subject: impl Into<Text>) -> Self {
        self.hdr.subject = subject.into();
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Adds a small parameter; a second one of the same name replaces the first.
    #[must_use]
    pub fn with_arg(mut self, name: impl Into<Text>, value: impl Into<Text>) -> Self {
        self.hdr.args.insert(name.into(), value.into());
        self
    }

    /// Sets when the caller stops waiting, in wall time.
    #[must_use]
    pub fn with_deadline(mut self, deadline: impl Into<Timestamp>) -> Self {
        self.hdr.deadline = Some(deadline.into());
        self
    }

    /// Sends this one message uncompressed (docs/wire F12): for bodies that are compressed already.
    #[must_use]
    pub fn without_compression(mut self) -> Self {
        self.hdr.no_system_compression = true;
        self
    }

    /// A parameter, if it is there and is UTF-8.
    pub fn arg(&self, name: &str) -> Option<&str> {
        self.hdr.args.get(name.as_bytes())?.to_str().ok()
    }

    /// The reply, or the error text of the function as an error (docs/wire E1).
    ///
    /// # Errors
    ///
    /// [`RemoteError`] if the error text is not empty; the body is then lost.
    pub fn into_result(self) -> Result<Self, RemoteError> {
        if self.error.is_empty() {
            Ok(self)
        } else {
            Err(RemoteError { text: self.error })
        }
    }

    /// The keep-alive message (docs/wire K1).
    pub fn keep_alive() -> Self {
        Self {
            hdr: Box::new(Hdr {
                typ: CallType::KEEP_ALIVE,
                ..Hdr::default()
            }),
            ..Self::default()
        }
    }

    /// Appends the whole message as greenpack: what stands in an uncompressed frame.
    pub fn encode(&self, out: &mut BytesMut) {
        out.reserve(self.hdr.encoded_bound() + self.error.len() + self.body.len());
        self.encode_before_body(out);
        out.put_slice(&self.body);
        self.encode_after_body(out);
    }

    /// Everything before the bytes of the body, so that a large body need not be copied.
    pub(crate) fn encode_before_body(&self, out: &mut BytesMut) {
        let entries = 1 + usize::from(!self.body.is_empty()) + usize::from(!self.error.is_empty());
        write::map_header(out, entries);
        out.put_slice(KEY_HDR);
        self.hdr.encode(out);
        if !self.body.is_empty() {
            out.put_slice(KEY_BODY);
            write::bin_header(out, self.body.len());
        }
    }

    /// Everything after the bytes of the body.
    pub(crate) fn encode_after_body(&self, out: &mut BytesMut) {
        if !self.error.is_empty() {
            out.put_slice(KEY_ERROR);
            write::str(out, self.error.as_bytes());
        }
    }

    /// An upper bound of the encoded length.
    pub(crate) fn encoded_bound(&self) -> usize {
        self.hdr.encoded_bound() + self.body.len() + self.error.len()
    }

    /// Reads a message; body and texts share the memory of `source`. Bytes behind it are ignored
    /// (docs/wire G19).
    ///
    /// # Errors
    ///
    /// Whatever in the input is not greenpack, or not of its field's type.
    pub fn decode(source: &Bytes) -> Result<Self, DecodeError> {
        Self::decode_from(Source::Shared(source))
    }

    pub(crate) fn decode_from(source: Source<'_>) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(source.all());
        let mut message = Self::default();
        let Some(entries) = reader.map_header()? else {
            return Ok(message);
        };
        for _ in 0..entries {
            let number = match reader.take_literal(&KEYS) {
                None => reader.key()?.and_then(|name| {
                    let is_named = |key: &&[u8]| key.get(1..) == Some(name);
                    KEYS.iter().position(is_named)
                }),
                number => number,
            };
            match number {
                Some(0) => message.hdr.read(&mut reader, source)?,
                Some(1) => message.body = source.bytes(reader.bin()?),
                Some(2) => message.error = source.text(reader.str()?),
                _ => reader.skip()?,
            }
        }
        Ok(message)
    }
}

/// The memory that a message is read from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source<'a> {
    /// What is read shares it.
    Shared(&'a Bytes),
    /// What is read is copied out of it.
    Lent(&'a [u8]),
}

impl<'a> Source<'a> {
    fn all(self) -> &'a [u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Lent(bytes) => bytes,
        }
    }

    fn bytes(self, part: &[u8]) -> Bytes {
        match self {
            Self::Shared(source) => source.slice_ref(part),
            Self::Lent(_) => Bytes::copy_from_slice(part),
        }
    }

    pub(crate) fn text(self, part: &[u8]) -> Text {
        match self {
            Self::Shared(source) => Text::from_part(source, part),
            Self::Lent(_) => Text::from(part),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_message_is_an_empty_header() {
        // docs/wire M2
        let mut out = BytesMut::new();
        Message::new().encode(&mut out);
        assert_eq!(&out[..], b"\x81\xadHDR_zid00_rct\x80");
    }

    #[test]
    fn invalid_utf8_in_a_name_does_not_drop_the_message() {
        let odd = Text::from_bytes(Bytes::from_static(b"sv\xff"));
        let mut out = BytesMut::new();
        Message::request(odd.clone(), "x").encode(&mut out);
        let message = Message::decode(&out.freeze()).expect("well-formed");
        assert_eq!(message.hdr.service_name, odd);
    }

    #[test]
    fn fields_are_read_in_any_order_and_form() {
        // The body before the header, fields backwards and twice, a key as bytes, one that nobody knows.
        let mut out = BytesMut::new();
        write::map_header(&mut out, 2);
        out.put_slice(KEY_BODY);
        write::bin(&mut out, b"body");
        out.put_slice(KEY_HDR);
        write::map_header(&mut out, 5);
        write::str(&mut out, b"ServiceName_zid11_str");
        write::str(&mut out, b"first");
        write::bin(&mut out, b"Seqno_zid04_u64");
        write::uint(&mut out, 7);
        write::str(&mut out, b"From_zid01_str");
        write::str(&mut out, b"me");
        write::str(&mut out, b"Unknown_zid99_str");
        write::str(&mut out, b"?");
        write::str(&mut out, b"ServiceName_zid11_str");
        write::str(&mut out, b"last");
        let message = Message::decode(&out.freeze()).expect("well-formed");
        assert_eq!(message.body, "body");
        assert_eq!(message.hdr.service_name, "last");
        assert_eq!(
            (message.hdr.seqno, &*message.hdr.from.to_string()),
            (7, "me")
        );
    }

    #[test]
    fn an_error_text_becomes_an_error() {
        let failed = Message {
            error: Text::from_static("no such row"),
            ..Message::new()
        };
        assert_eq!(failed.into_result().unwrap_err().to_string(), "no such row");
    }
}
