//! The muxado frame, version 2 of the protocol: an eight-byte header, big-endian, then `length`
//! bytes of body (docs/wire U1).
//!
//! ```text
//!  0                  3      3½      4                   8
//! ├──────────────────┼──────┼───────┼───────────────────┤
//! │      length      │ type │ flags │     stream id     │
//! ```

mod code;
mod config;

use bytes::{Buf as _, Bytes, BytesMut};

pub use self::{code::ErrorCode, config::Config};
use super::{
    Violation,
    frame::{Inbound, Outbound, StreamFrame},
};

/// Bytes of a header.
pub const HEADER_LEN: usize = 8;
/// The longest body.
pub const MAX_LENGTH: u32 = 0x00FF_FFFF;
/// The largest stream id.
pub const MAX_STREAM: u32 = 0x7FFF_FFFF;
/// The empty frame of an unknown type that follows a go-away after which the session goes on: peers
/// that read eight bytes too many as debug text swallow it (docs/wire U58).
pub const PAD: [u8; 8] = [0, 0, 0, 0xF0, 0, 0, 0, 0];

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// 0: the abrupt end of a stream.
    Rst,
    /// 1: payload.
    Data,
    /// 2: credit.
    WndInc,
    /// 3: no more streams, or the end.
    GoAway,
    /// 4 to 15.
    Unknown(u8),
}

/// The flag bits of a header; they mean something on DATA alone (docs/wire U10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(pub u8);

impl Flags {
    /// The sender sends no more data.
    pub const FIN: Self = Self(1);
    /// Opens the stream.
    pub const SYN: Self = Self(2);

    /// True if all bits of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// With the bits of `other` as well.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Without the bits of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes of body, at most [`MAX_LENGTH`].
    pub length: u32,
    /// What the frame is.
    pub kind: Kind,
    /// Its flags, at most 15.
    pub flags: Flags,
    /// The stream it is for; 0 for a go-away.
    pub stream: u32,
}

/// Why a frame cannot be written (docs/wire U11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// A stream id above [`MAX_STREAM`].
    #[error("invalid stream id: {0}")]
    StreamId(u32),
    /// A body above [`MAX_LENGTH`].
    #[error("invalid length: {0}")]
    Length(usize),
    /// An increment of 0 or above 2147483647.
    #[error("invalid window increment: {0}")]
    Increment(u32),
}

/// A whole frame, for tools and tests; a session decodes payloads as they arrive.
///
/// ```
/// use bytes::BytesMut;
/// use towline_mux::proto::muxado::Frame;
///
/// let frame = Frame::Data { stream: 3, syn: true, fin: false, payload: "hello".into() };
/// let mut bytes = BytesMut::from(&frame.encode()?[..]);
/// assert_eq!(bytes[..8], [0, 0, 5, 0x12, 0, 0, 0, 3]);
/// assert_eq!(Frame::decode(&mut bytes)?, Some(frame));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Frame {
    /// Payload.
    Data {
        /// The stream.
        stream: u32,
        /// Opens the stream.
        syn: bool,
        /// Ends this direction, behind the payload.
        fin: bool,
        /// The bytes.
        payload: Bytes,
    },
    /// The abrupt end of a stream.
    Rst {
        /// The stream.
        stream: u32,
        /// Why.
        code: u32,
    },
    /// Credit.
    WndInc {
        /// The stream.
        stream: u32,
        /// Bytes of credit, at least 1.
        increment: u32,
    },
    /// No more streams, or the end.
    GoAway {
        /// The last stream that the sender has seen opened by its peer.
        last_stream: u32,
        /// Why.
        code: u32,
        /// A text for people.
        debug: Bytes,
    },
    /// A frame of a type that is ignored.
    Unknown {
        /// Its type, 4 to 15.
        kind: u8,
        /// Its flags.
        flags: u8,
        /// Its stream id.
        stream: u32,
        /// Its body.
        payload: Bytes,
    },
}

impl Header {
    /// The header's bytes.
    pub const fn encode(&self) -> [u8; HEADER_LEN] {
        let kind = match self.kind {
            Kind::Rst => 0,
            Kind::Data => 1,
            Kind::WndInc => 2,
            Kind::GoAway => 3,
            Kind::Unknown(kind) => kind,
        };
        let [_, l0, l1, l2] = self.length.to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        [l0, l1, l2, kind << 4 | self.flags.0 & 15, s0, s1, s2, s3]
    }

    /// Reads a header. Any eight bytes are one; [`check`](Self::check) says whether it may stand.
    pub const fn decode(bytes: &[u8; HEADER_LEN]) -> Self {
        let &[l0, l1, l2, kind, s0, s1, s2, s3] = bytes;
        Self {
            length: u32::from_be_bytes([0, l0, l1, l2]),
            kind: match kind >> 4 {
                0 => Kind::Rst,
                1 => Kind::Data,
                2 => Kind::WndInc,
                3 => Kind::GoAway,
                other => Kind::Unknown(other),
            },
            flags: Flags(kind & 15),
            stream: u32::from_be_bytes([s0, s1, s2, s3]),
        }
    }

    /// Checks what the header alone shows. Lengths come before stream ids (docs/wire U5).
    ///
    /// # Errors
    ///
    /// The rule that is broken.
    pub const fn check(&self) -> Result<(), Violation> {
        match self.kind {
            Kind::Data if self.stream == 0 => Err(Violation::DataOnStreamZero),
            Kind::Rst if self.length != 4 => Err(Violation::ResetLength(self.length)),
            Kind::WndInc if self.length != 4 => Err(Violation::CreditLength(self.length)),
            Kind::GoAway if self.length < 8 => Err(Violation::GoAwayLength(self.length)),
            Kind::GoAway if self.stream != 0 => Err(Violation::GoAwayOnStream(self.stream)),
            _ => Ok(()),
        }
    }

    /// Checks the stream id, which the original looks at behind the body (docs/wire U6, U12).
    ///
    /// # Errors
    ///
    /// The rule that is broken.
    pub const fn check_stream(&self) -> Result<(), Violation> {
        match self.kind {
            Kind::Rst if self.stream == 0 => Err(Violation::ResetOnStreamZero),
            Kind::WndInc if self.stream == 0 => Err(Violation::CreditOnStreamZero),
            Kind::Rst | Kind::Data | Kind::WndInc if self.stream > MAX_STREAM => {
                Err(Violation::ReservedBit(self.stream))
            }
            _ => Ok(()),
        }
    }

    /// True if eight bytes behind a go-away can be a header. One implementation writes a length that
    /// is eight too small: its debug text ends in what would be read as a header (docs/wire U61).
    const fn may_follow_go_away(&self, window: u32, frame: u32) -> bool {
        let on_stream = self.stream >= 1 && self.stream <= MAX_STREAM;
        match self.kind {
            Kind::Rst | Kind::WndInc => self.length == 4 && on_stream,
            Kind::Data => on_stream && self.length <= window,
            Kind::GoAway => self.stream == 0 && self.length >= 8,
            Kind::Unknown(_) => self.length <= frame,
        }
    }
}

impl Frame {
    /// The frame's bytes.
    ///
    /// # Errors
    ///
    /// [`PackError`] for what has no place in a frame. Stream id 0 is not refused, as the original
    /// does not refuse it.
    pub fn encode(&self) -> Result<Vec<u8>, PackError> {
        let header = |kind, flags, stream: u32, length: usize| {
            if stream > MAX_STREAM {
                return Err(PackError::StreamId(stream));
            }
            let length = u32::try_from(length)
                .ok()
                .filter(|&length| length <= MAX_LENGTH)
                .ok_or(PackError::Length(length))?;
            Ok(Header {
                length,
                kind,
                flags,
                stream,
            }
            .encode()
            .to_vec())
        };
        match self {
            Self::Data {
                stream,
                syn,
                fin,
                payload,
            } => {
                let flags = Flags(u8::from(*fin) | u8::from(*syn) << 1);
                let mut bytes = header(Kind::Data, flags, *stream, payload.len())?;
                bytes.extend_from_slice(payload);
                Ok(bytes)
            }
            Self::Rst { stream, code } => {
                let mut bytes = header(Kind::Rst, Flags(0), *stream, 4)?;
                bytes.extend_from_slice(&code.to_be_bytes());
                Ok(bytes)
            }
            Self::WndInc { stream, increment } => {
                let mut bytes = header(Kind::WndInc, Flags(0), *stream, 4)?;
                if *increment == 0 || *increment > MAX_STREAM {
                    return Err(PackError::Increment(*increment));
                }
                bytes.extend_from_slice(&increment.to_be_bytes());
                Ok(bytes)
            }
            Self::GoAway {
                last_stream,
                code,
                debug,
            } => {
                if *last_stream > MAX_STREAM {
                    return Err(PackError::StreamId(*last_stream));
                }
                let mut bytes = header(Kind::GoAway, Flags(0), 0, debug.len() + 8)?;
                bytes.extend_from_slice(&last_stream.to_be_bytes());
                bytes.extend_from_slice(&code.to_be_bytes());
                bytes.extend_from_slice(debug);
                Ok(bytes)
            }
            Self::Unknown {
                kind,
                flags,
                stream,
                payload,
            } => {
                let mut bytes =
                    header(Kind::Unknown(*kind), Flags(*flags), *stream, payload.len())?;
                bytes.extend_from_slice(payload);
                Ok(bytes)
            }
        }
    }

    /// Takes the first frame off `input`, or nothing while it is not whole.
    ///
    /// # Errors
    ///
    /// The rule that the frame breaks; one of its length before any of the body has come.
    pub fn decode(input: &mut BytesMut) -> Result<Option<Self>, Violation> {
        let Some(header) = input.first_chunk() else {
            return Ok(None);
        };
        let header = Header::decode(header);
        header.check()?;
        if input.len() < HEADER_LEN + header.length as usize {
            return Ok(None);
        }
        input.advance(HEADER_LEN);
        let mut payload = input.split_to(header.length as usize).freeze();
        header.check_stream().or_else(|violation| match violation {
            // A codec passes on what only a session refuses.
            Violation::ReservedBit(_) => Ok(()),
            other => Err(other),
        })?;
        let stream = header.stream;
        Ok(Some(match header.kind {
            Kind::Data => Self::Data {
                stream,
                syn: header.flags.contains(Flags::SYN),
                fin: header.flags.contains(Flags::FIN),
                payload,
            },
            Kind::Rst => Self::Rst {
                stream,
                code: payload.get_u32(),
            },
            Kind::WndInc => Self::WndInc {
                stream,
                increment: match payload.get_u32() & MAX_STREAM {
                    0 => return Err(Violation::ZeroCredit),
                    increment => increment,
                },
            },
            Kind::GoAway => Self::GoAway {
                last_stream: payload.get_u32(),
                code: payload.get_u32(),
                debug: payload,
            },
            Kind::Unknown(kind) => Self::Unknown {
                kind,
                flags: header.flags.0,
                stream,
                payload,
            },
        }))
    }
}

/// What is known of the bytes in front of the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Frame(Inbound),
    /// Eight bytes that belong to the debug text of the go-away before them.
    MoreDebug([u8; 8]),
    /// More bytes are needed.
    Incomplete,
}

/// Reads the head of the next frame. `after_go_away`: the frame before was one, and these are the
/// configured limits of a payload and of a frame.
pub(crate) fn decode(
    input: &mut BytesMut,
    after_go_away: Option<(u32, u32)>,
) -> Result<Step, Violation> {
    let Some(bytes) = input.first_chunk::<HEADER_LEN>() else {
        return Ok(Step::Incomplete);
    };
    let header = Header::decode(bytes);
    if let Some((window, frame)) = after_go_away
        && !header.may_follow_go_away(window, frame)
    {
        let stray = *bytes;
        input.advance(HEADER_LEN);
        return Ok(Step::MoreDebug(stray));
    }
    // docs/wire U5: a wrong length is refused before any of the body has come.
    header.check()?;
    let fixed = match header.kind {
        Kind::Rst | Kind::WndInc => 4,
        Kind::GoAway => 8,
        Kind::Data | Kind::Unknown(_) => 0,
    };
    if input.len() < HEADER_LEN + fixed {
        return Ok(Step::Incomplete);
    }
    input.advance(HEADER_LEN);
    header.check_stream()?;
    let stream = StreamFrame {
        id: header.stream,
        syn: false,
        ack: false,
        fin: false,
        reset: None,
        credit: 0,
        data: false,
        body: 0,
    };
    Ok(Step::Frame(match header.kind {
        Kind::Rst => Inbound::Stream(StreamFrame {
            reset: Some(input.get_u32()),
            ..stream
        }),
        Kind::Data => Inbound::Stream(StreamFrame {
            syn: header.flags.contains(Flags::SYN),
            fin: header.flags.contains(Flags::FIN),
            data: true,
            body: header.length as usize,
            ..stream
        }),
        // docs/wire U7: the top bit of an increment is not part of it.
        Kind::WndInc => match input.get_u32() & MAX_STREAM {
            0 => return Err(Violation::ZeroCredit),
            credit => Inbound::Stream(StreamFrame { credit, ..stream }),
        },
        Kind::GoAway => Inbound::GoAway {
            last: input.get_u32(),
            code: input.get_u32(),
            debug: header.length as usize - 8,
        },
        Kind::Unknown(_) => Inbound::Unknown {
            body: header.length as usize,
        },
    }))
}

/// The head of a frame to be sent: header and fixed body. Longest: a go-away.
pub(crate) fn encode(frame: Outbound, into: &mut [u8; 16]) -> &[u8] {
    let mut put = |kind, flags, stream, length, fixed: &[u32]| {
        let header = Header {
            length,
            kind,
            flags: Flags(flags),
            stream,
        };
        into[..HEADER_LEN].copy_from_slice(&header.encode());
        for (place, number) in into[HEADER_LEN..].chunks_exact_mut(4).zip(fixed) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        HEADER_LEN + 4 * fixed.len()
    };
    let len = match frame {
        Outbound::Data { id, syn, fin, len } => {
            put(Kind::Data, u8::from(fin) | u8::from(syn) << 1, id, len, &[])
        }
        // These are yamux's; muxado says the first with the SYN of a DATA frame and has no second.
        Outbound::Open { id, .. } | Outbound::Acknowledge { id, .. } => {
            put(Kind::Data, Flags::SYN.0, id, 0, &[])
        }
        Outbound::Credit { id, credit } => put(Kind::WndInc, 0, id, 4, &[credit]),
        Outbound::Fin { id } => put(Kind::Data, Flags::FIN.0, id, 0, &[]),
        Outbound::Reset { id, code } => put(Kind::Rst, 0, id, 4, &[code]),
        // muxado has no pings; an empty frame of an unknown type would be ignored.
        Outbound::Ping { .. } | Outbound::Pong { .. } => put(Kind::Unknown(15), 0, 0, 0, &[]),
        Outbound::GoAway { last, code, debug } => put(Kind::GoAway, 0, 0, 8 + debug, &[last, code]),
    };
    &into[..len]
}
