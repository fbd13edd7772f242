//! Frames: magic, compression byte, length, body (docs/wire F1 to F7).

use bytes::{Buf as _, Bytes, BytesMut};

use super::{
    Compression, MAX_ARGS, Message, Violation, compression::MAX_DECOMPRESSED, message::Source,
};

/// The first seven bytes of every frame (docs/wire F4).
pub(crate) const MAGIC: [u8; 7] = [0xb3, 0x5d, 0x18, 0x39, 0xac, 0x8e, 0x1d];
/// Magic, compression byte, length.
pub(crate) const HEADER_LEN: usize = 16;
/// Largest body of a frame: 64 MiB less 80 bytes (docs/wire F3).
pub const MAX_FRAME: usize = 67_108_784;
/// Largest message body that may be sent (docs/wire F24).
pub const MAX_BODY: usize = 67_107_760;
/// What the original advises its users to stay at: a body of this size leaves room in an uncompressed frame for a header of
/// 2,000 bytes, inside the pre-shared-key layer too (docs/wire M12, F24).
pub const USER_MAX_PAYLOAD: usize = 67_106_000;

/// Body and texts of an uncompressed message that is no larger are copied out of the read buffer:
/// cheaper than memory that they share and count the holders of.
const COPIED: usize = 4 << 10;
/// A body is copied out of the read buffer if the buffer is more than this many times as large,
/// so that a small message does not keep a large buffer alive.
const PIN_FACTOR: usize = 4;
/// A frame that is still coming may claim this many times the memory of what has come.
const CLAIM_FACTOR: usize = 32;
/// ... or this much at once.
const CLAIM_MIN: usize = 64 << 10;
/// Room below this is not worth a read.
const MIN_READ: usize = 4 << 10;

/// A message and how its frame was compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The message.
    pub message: Message,
    /// The frame's compression byte, for the mirror rule (docs/wire F11).
    pub compression_byte: u8,
}

/// Cuts a byte stream into frames and decodes them.
///
/// Bytes may arrive in any pieces (docs/wire F6). The reader owns no buffer: it takes frames off
/// the front of the caller's, so that a driver reads straight into what the frame will be made of.
#[derive(Debug)]
pub struct FrameReader {
    header: Option<Header>,
    max_message: usize,
}

impl Default for FrameReader {
    fn default() -> Self {
        Self::with_limit(MAX_DECOMPRESSED)
    }
}

#[derive(Debug, Clone, Copy)]
struct Header {
    compression_byte: u8,
    len: usize,
}

impl Header {
    fn is_plain(self) -> bool {
        Compression::from_byte(self.compression_byte) == Ok(Compression::None)
    }
}

impl FrameReader {
    /// A reader that stands before the first frame.
    pub fn new() -> Self {
        Self::default()
    }

    /// A reader that takes no message of more than `max_message` bytes, decompressed, and no frame
    /// that is larger.
    pub const fn with_limit(max_message: usize) -> Self {
        Self {
            header: None,
            max_message,
        }
    }

    /// Takes the next frame off the front of `input`; `None` if it is not complete yet.
    ///
    /// # Errors
    ///
    /// A [`Violation`] as soon as the bytes that are there show it. The connection is then of no
    /// further use.
    pub fn handle_input(&mut self, input: &mut BytesMut) -> Result<Option<Received>, Violation> {
        let header = match self.header {
            Some(header) => header,
            None => {
                let Some(header) = parse_header(input)? else {
                    return Ok(None);
                };
                if header.len > self.max_message {
                    let len = u32::try_from(header.len).unwrap_or(u32::MAX);
                    return Err(Violation::MessageTooLarge(len));
                }
                input.advance(HEADER_LEN);
                *self.header.insert(header)
            }
        };
        if input.len() < header.len {
            return Ok(None);
        }
        self.header = None;
        if header.len <= COPIED && header.is_plain() {
            let message = Message::decode_from(Source::Lent(&input[..header.len]))?;
            input.advance(header.len);
            return Ok(Some(Received {
                message,
                compression_byte: header.compression_byte,
            }));
        }
        let body = if input.capacity() > PIN_FACTOR * header.len {
            let body = Bytes::copy_from_slice(&input[..header.len]);
            input.advance(header.len);
            body
        } else {
            input.split_to(header.len).freeze()
        };
        let body =
            Compression::from_byte(header.compression_byte)?.decompress(body, self.max_message)?;
        let mut message = Message::decode(&body)?;
        if body.len() / PIN_FACTOR > message.encoded_bound() {
            // Nearly all of it is of no use: what is must not keep it alive.
            message = Message::decode_from(Source::Lent(&body))?;
        }
        Ok(Some(Received {
            message,
            compression_byte: header.compression_byte,
        }))
    }

    /// True if part of a frame has come and the rest has not.
    pub fn is_inside_frame(&self, input: &BytesMut) -> bool {
        self.header.is_some() || !input.is_empty()
    }

    /// What to report if the stream ends here: `None` at the end of a frame.
    pub fn violation_at_end(&self, input: &BytesMut) -> Option<Violation> {
        let missing = match self.header {
            Some(header) => header.len - input.len().min(header.len),
            None if input.is_empty() => return None,
            None => HEADER_LEN - input.len().min(HEADER_LEN),
        };
        Some(Violation::Truncated(
            u32::try_from(missing).unwrap_or(u32::MAX),
        ))
    }

    /// Makes room in `input` for the next read: at least `minimum` bytes, and for the rest of a
    /// large frame as much as what has come of it vouches for (docs/wire F23). A frame read this
    /// way fills its own memory to the end and is handed on without a copy.
    pub fn make_room(&self, input: &mut BytesMut, minimum: usize) {
        let spare = input.capacity() - input.len();
        let missing = self
            .header
            .map_or(0, |header| header.len.saturating_sub(input.len()));
        if missing < minimum {
            if spare < minimum.min(missing.max(MIN_READ)) {
                input.reserve(minimum);
            }
            return;
        }
        // Use up what there is: the more has come, the more may be claimed in one piece.
        if spare >= MIN_READ {
            return;
        }
        let room = missing.min((input.len() * CLAIM_FACTOR).max(CLAIM_MIN));
        let mut exact = BytesMut::with_capacity(input.len() + room);
        exact.extend_from_slice(input);
        *input = exact;
    }
}

fn parse_header(input: &BytesMut) -> Result<Option<Header>, Violation> {
    let seen = input.len().min(MAGIC.len());
    if input[..seen] != MAGIC[..seen] {
        return Err(match input.get(..3) {
            Some([0x16, 0x03, _]) => Violation::TlsHello,
            Some([0x15, 0x03, _]) => Violation::TlsAlert,
            None if matches!(input.first(), Some(0x15 | 0x16)) => return Ok(None),
            _ => Violation::WrongMagic,
        });
    }
    let Some((header, _)) = input.split_first_chunk::<HEADER_LEN>() else {
        return Ok(None);
    };
    let [.., compression_byte, l0, l1, l2, l3, l4, l5, l6, l7] = *header;
    let length = [l0, l1, l2, l3, l4, l5, l6, l7];
    if length[..7] == MAGIC {
        return Err(Violation::InterleavedFrames);
    }
    let len = usize::try_from(u64::from_be_bytes(length)).unwrap_or(usize::MAX);
    if len > MAX_FRAME {
        return Err(Violation::LengthOverLimit(
            u32::try_from(len).unwrap_or(u32::MAX),
        ));
    }
    // Before the body comes: an unknown byte makes it worthless.
    Compression::from_byte(compression_byte)?;
    Ok(Some(Header {
        compression_byte,
        len,
    }))
}

/// The header of a frame whose body has `len` bytes.
pub(crate) fn header(compression_byte: u8, len: usize) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    header[..7].copy_from_slice(&MAGIC);
    header[7] = compression_byte;
    header[8..].copy_from_slice(&(len as u64).to_be_bytes());
    header
}

/// A message was too large to send; nothing of it was sent and the connection is as it was
/// (docs/wire E11, F24).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge {
    /// The size of the body, or of the frame made of it; the number of parameters if those were too many.
    pub len: usize,
    /// The limit it passed; [`MAX_ARGS`] if it was that of parameters.
    pub max: usize,
}

impl TooLarge {
    /// What is wrong with what was to be sent.
    pub(crate) fn describe(self, what: &str) -> String {
        let Self { len, max } = self;
        if max == MAX_ARGS {
            format!("{what} has {len} parameters, the limit is {max}")
        } else {
            format!("{what} is too large: {len} bytes, the limit is {max}")
        }
    }
}

impl std::fmt::Display for TooLarge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.describe("the message"))?;
        f.write_str(if self.max == MAX_ARGS {
            ": put what they say into the body"
        } else {
            "; send it as a stream of parts"
        })
    }
}

impl std::error::Error for TooLarge {}

/// A whole frame, made apart from the connection that will send it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedFrame(pub(crate) Bytes);

impl EncodedFrame {
    /// Encodes and compresses a message. This is the expensive part of sending: it needs no access
    /// to the connection, so callers do it outside any lock.
    ///
    /// # Errors
    ///
    /// [`TooLarge`] if body or frame pass their limits.
    pub fn new(message: &Message, compression: Compression) -> Result<Self, TooLarge> {
        check_parts(message)?;
        let byte = compression_byte(message, compression);
        let compression = if byte == compression.byte() {
            compression
        } else {
            Compression::None
        };
        let mut plain = BytesMut::with_capacity(message.encoded_bound());
        message.encode(&mut plain);
        // docs/wire F20, F24: what the receiver would refuse to expand
        if plain.len() > MAX_DECOMPRESSED {
            return Err(TooLarge {
                len: plain.len(),
                max: MAX_DECOMPRESSED,
            });
        }
        let mut frame = Vec::with_capacity(HEADER_LEN + plain.len() / 2);
        frame.extend_from_slice(&[0; HEADER_LEN]);
        compression.compress(&plain, &mut frame);
        let len = frame.len() - HEADER_LEN;
        if len > MAX_FRAME {
            return Err(TooLarge {
                len,
                max: MAX_FRAME,
            });
        }
        frame[..HEADER_LEN].copy_from_slice(&header(byte, len));
        Ok(Self(Bytes::from(frame)))
    }

    /// The bytes of the frame.
    pub const fn bytes(&self) -> &Bytes {
        &self.0
    }
}

/// docs/wire F12: a message may ask not to be compressed, and then says so by its byte.
pub(crate) const fn compression_byte(message: &Message, compression: Compression) -> u8 {
    if message.hdr.no_system_compression {
        super::compression::BYTE_OFF_FOR_MESSAGE
    } else {
        compression.byte()
    }
}

/// docs/wire F24, M10: what can be seen before anything is encoded.
pub(crate) fn check_parts(message: &Message) -> Result<(), TooLarge> {
    let args = message.hdr.args.len();
    if args > MAX_ARGS {
        return Err(TooLarge {
            len: args,
            max: MAX_ARGS,
        });
    }
    match message.body.len() {
        len if len > MAX_BODY => Err(TooLarge { len, max: MAX_BODY }),
        _ => Ok(()),
    }
}
