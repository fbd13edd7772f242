//! The yamux header: twelve bytes, big-endian (docs/wire Y1).
//!
//! ```text
//!  0         1         2                   4                   8                   12
//! ├─────────┼─────────┼───────────────────┼───────────────────┼───────────────────┤
//! │ version │  type   │       flags       │     stream id     │      length       │
//! ```
//!
//! Only a DATA frame has a body, of `length` bytes; elsewhere `length` is a number.

mod config;

pub use self::config::Config;
use super::{
    Violation,
    frame::{Inbound, Outbound, StreamFrame},
};

/// Bytes of a header.
pub const HEADER_LEN: usize = 12;

/// The window every stream starts with, in both directions, whatever is configured (docs/wire Y37).
pub const FIRST_WINDOW: u32 = 256 << 10;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// 0: payload.
    Data,
    /// 1: credit.
    WindowUpdate,
    /// 2: a ping or its answer.
    Ping,
    /// 3: no more streams, or the end.
    GoAway,
}

/// The flag bits. Unknown bits are kept, ignored by everybody, and never set by us (docs/wire Y5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(pub u16);

impl Flags {
    /// Opens a stream; asks, on a ping.
    pub const SYN: Self = Self(1);
    /// Acknowledges a stream; answers, on a ping.
    pub const ACK: Self = Self(2);
    /// The sender sends no more data.
    pub const FIN: Self = Self(4);
    /// The stream is dead in both directions.
    pub const RST: Self = Self(8);

    /// True if all bits of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A frame's header.
///
/// ```
/// use towline_mux::proto::yamux::{Flags, Header, Kind};
///
/// let open = Header { kind: Kind::WindowUpdate, flags: Flags::SYN, stream: 1, length: 0 };
/// assert_eq!(open.encode(), [0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0]);
/// assert_eq!(Header::decode(&open.encode()), Ok(open));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What the frame is.
    pub kind: Kind,
    /// Its flags.
    pub flags: Flags,
    /// The stream it is for; 0 for pings and go-aways.
    pub stream: u32,
    /// Bytes of payload, credit to add, the ping's value, or a code.
    pub length: u32,
}

impl Header {
    /// The header's bytes.
    pub const fn encode(&self) -> [u8; HEADER_LEN] {
        let kind = match self.kind {
            Kind::Data => 0,
            Kind::WindowUpdate => 1,
            Kind::Ping => 2,
            Kind::GoAway => 3,
        };
        let [f0, f1] = self.flags.0.to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        let [l0, l1, l2, l3] = self.length.to_be_bytes();
        [0, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3]
    }

    /// Reads a header.
    ///
    /// # Errors
    ///
    /// [`Violation::Version`] and [`Violation::FrameType`], in this order.
    pub const fn decode(bytes: &[u8; HEADER_LEN]) -> Result<Self, Violation> {
        let &[version, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3] = bytes;
        // docs/wire Y2: the version is looked at first.
        if version != 0 {
            return Err(Violation::Version(version as u32));
        }
        let kind = match kind {
            0 => Kind::Data,
            1 => Kind::WindowUpdate,
            2 => Kind::Ping,
            3 => Kind::GoAway,
            other => return Err(Violation::FrameType(other as u32)),
        };
        Ok(Self {
            kind,
            flags: Flags(u16::from_be_bytes([f0, f1])),
            stream: u32::from_be_bytes([s0, s1, s2, s3]),
            length: u32::from_be_bytes([l0, l1, l2, l3]),
        })
    }

    pub(crate) const fn into_inbound(self) -> Inbound {
        let Self {
            kind,
            flags,
            stream,
            length,
        } = self;
        match kind {
            Kind::Ping if flags.contains(Flags::SYN) => Inbound::Ping { value: length },
            // docs/wire Y53: one without flags asks nothing and answers nothing.
            Kind::Ping if !flags.contains(Flags::ACK) => Inbound::Unknown { body: 0 },
            Kind::Ping => Inbound::Pong { value: length },
            Kind::GoAway => Inbound::GoAway {
                last: u32::MAX,
                code: length,
                debug: 0,
            },
            Kind::Data | Kind::WindowUpdate => {
                let data = matches!(kind, Kind::Data);
                let reset = flags.contains(Flags::RST);
                Inbound::Stream(StreamFrame {
                    id: stream,
                    syn: flags.contains(Flags::SYN),
                    ack: flags.contains(Flags::ACK),
                    fin: flags.contains(Flags::FIN),
                    // docs/wire Y32: a code only where `length` is free to be one, and then it is
                    // not credit as well.
                    reset: if !reset {
                        None
                    } else if data {
                        Some(0)
                    } else {
                        Some(length)
                    },
                    credit: if data || reset { 0 } else { length },
                    data,
                    body: if data { length as usize } else { 0 },
                })
            }
        }
    }

    pub(crate) const fn from_outbound(frame: Outbound) -> Self {
        match frame {
            Outbound::Data { id, syn, fin, len } => Self {
                kind: Kind::Data,
                flags: Flags((if syn { 1 } else { 0 }) | (if fin { 4 } else { 0 })),
                stream: id,
                length: len,
            },
            Outbound::Open { id, credit } => Self::update(Flags::SYN, id, credit),
            Outbound::Acknowledge { id, credit } => Self::update(Flags::ACK, id, credit),
            Outbound::Credit { id, credit } => Self::update(Flags(0), id, credit),
            Outbound::Fin { id } => Self::update(Flags::FIN, id, 0),
            Outbound::Reset { id, code } => Self::update(Flags::RST, id, code),
            Outbound::Ping { value } => Self::session(Kind::Ping, Flags::SYN, value),
            Outbound::Pong { value } => Self::session(Kind::Ping, Flags::ACK, value),
            Outbound::GoAway { code, .. } => Self::session(Kind::GoAway, Flags(0), code),
        }
    }

    const fn update(flags: Flags, stream: u32, length: u32) -> Self {
        Self {
            kind: Kind::WindowUpdate,
            flags,
            stream,
            length,
        }
    }

    const fn session(kind: Kind, flags: Flags, length: u32) -> Self {
        Self {
            kind,
            flags,
            stream: 0,
            length,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// docs/wire Y1: a header is what it was.
        #[test]
        fn headers_survive_the_way_there_and_back(bytes in any::<[u8; 12]>(), kind in 0_u8..6) {
            let mut bytes = bytes;
            bytes[1] = kind;
            match Header::decode(&bytes) {
                Ok(header) => prop_assert_eq!(header.encode(), bytes),
                Err(Violation::Version(version)) => prop_assert_eq!(version, u32::from(bytes[0])),
                Err(violation) => prop_assert_eq!(violation, Violation::FrameType(kind.into())),
            }
        }
    }
}
