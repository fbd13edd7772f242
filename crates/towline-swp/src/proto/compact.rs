//! The short frames of two towlines (docs/wire W48 to W51).

use bytes::{BufMut, Bytes, BytesMut};
use towline_codec::Text;

use super::{checksum::checksum, error::DecodeError, values::part};

/// The first byte of a compact frame; MessagePack never uses it.
pub(crate) const MARK: u8 = 0xc1;
/// Bytes in front of the numbers: mark, kind, tag, checksum.
const FIXED: usize = 1 + 1 + 8 + 4;
/// The most ranges an acknowledgement names (docs/wire W50).
pub(crate) const MAX_RANGES: usize = 256;

/// What a compact frame is, besides the fields that every frame has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompactKind {
    /// Data: packet `seq` in its `transmission`.
    Data {
        /// The number of the packet, from 0.
        seq: u64,
        /// The number of the transmission, from 1; never used twice in a session.
        transmission: u64,
        /// The payload.
        data: Bytes,
    },
    /// An acknowledgement; also the answer to a probe.
    Ack,
    /// A sign of life that is answered with an acknowledgement.
    KeepAlive {
        /// The number of this transmission.
        transmission: u64,
    },
    /// The sender has sent `packets` packets and sends no more.
    Fin {
        /// How many packets there are in this direction.
        packets: u64,
        /// The sender does not read any more either.
        is_close: bool,
    },
    /// The answer to a FIN.
    FinAck {
        /// Its sender has heard that the other end reads no more.
        of_close: bool,
    },
    /// The session is over at the sender.
    Reset,
}

/// A compact frame (docs/wire W48).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compact {
    /// Names the session and the direction (docs/wire W48).
    pub tag: u64,
    /// What the frame is.
    pub kind: CompactKind,
    /// The number of the first packet that is not acknowledged.
    pub ack_next: u64,
    /// Messages that may follow `ack_next`.
    pub window_messages: u64,
    /// Bytes that may follow `ack_next`.
    pub window_bytes: u64,
    /// The transmission that this frame answers, 0 for none.
    pub echo: u64,
    /// What arrived above `ack_next`: first packet and the one behind the last, ascending and apart.
    pub ranges: Vec<(u64, u64)>,
}

impl Compact {
    /// True if the bytes begin as a compact frame does.
    pub fn is_compact(input: &[u8]) -> bool {
        input.first() == Some(&MARK)
    }

    /// The tag of a frame, without reading the rest of it.
    pub fn peek_tag(input: &[u8]) -> Option<u64> {
        let tag = input.get(2..10)?.first_chunk()?;
        Self::is_compact(input).then(|| u64::from_be_bytes(*tag))
    }

    /// Reads a frame and compares its checksum.
    ///
    /// # Errors
    ///
    /// [`DecodeError::MalformedCompact`], [`DecodeError::UnknownKind`],
    /// [`DecodeError::WrongChecksum`], [`DecodeError::DataTooLong`].
    pub fn decode(input: &Bytes, max_data: usize) -> Result<Self, DecodeError> {
        const MALFORMED: DecodeError = DecodeError::MalformedCompact;
        let (fixed, rest) = input.split_first_chunk::<FIXED>().ok_or(MALFORMED)?;
        let [mark, kind, t0, t1, t2, t3, t4, t5, t6, t7, c0, c1, c2, c3] = *fixed;
        if mark != MARK {
            return Err(MALFORMED);
        }
        if rest.len() > max_data.saturating_add(MAX_RANGES * 20 + 100) {
            return Err(DecodeError::DataTooLong(
                u32::try_from(rest.len()).unwrap_or(u32::MAX),
            ));
        }
        if u32::from_be_bytes([c0, c1, c2, c3]) != sum(&fixed[..FIXED - 4], rest) {
            return Err(DecodeError::WrongChecksum);
        }
        let mut numbers = Numbers(rest);
        let ack_next = numbers.next().ok_or(MALFORMED)?;
        let window_messages = numbers.next().ok_or(MALFORMED)?;
        let window_bytes = numbers.next().ok_or(MALFORMED)?;
        let echo = numbers.next().ok_or(MALFORMED)?;
        let count = numbers.next().ok_or(MALFORMED)?;
        if count > MAX_RANGES as u64 {
            return Err(MALFORMED);
        }
        let mut ranges = Vec::with_capacity(count as usize);
        let mut at = ack_next;
        for index in 0..count {
            // docs/wire W50: between ranges at least one packet is missing, and one is in each.
            let missing = u64::from(index > 0);
            let start = numbers
                .next()
                .and_then(|gap| at.checked_add(gap)?.checked_add(missing));
            let start = start.ok_or(MALFORMED)?;
            let end = numbers
                .next()
                .and_then(|len| start.checked_add(len)?.checked_add(1));
            at = end.ok_or(MALFORMED)?;
            ranges.push((start, at));
        }
        let kind = match kind {
            1 => {
                let seq = numbers.next().ok_or(MALFORMED)?;
                let transmission = numbers.next().ok_or(MALFORMED)?;
                if numbers.0.len() > max_data {
                    return Err(DecodeError::DataTooLong(
                        u32::try_from(numbers.0.len()).unwrap_or(u32::MAX),
                    ));
                }
                let data = part(numbers.0, input);
                CompactKind::Data {
                    seq,
                    transmission,
                    data,
                }
            }
            2 => CompactKind::Ack,
            3 => CompactKind::KeepAlive {
                transmission: numbers.next().ok_or(MALFORMED)?,
            },
            4 => CompactKind::Fin {
                packets: numbers.next().ok_or(MALFORMED)?,
                is_close: numbers.next().ok_or(MALFORMED)? == 1,
            },
            5 => CompactKind::FinAck {
                of_close: numbers.next().ok_or(MALFORMED)? == 1,
            },
            6 => CompactKind::Reset,
            other => return Err(DecodeError::UnknownKind(other)),
        };
        Ok(Self {
            tag: u64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
            kind,
            ack_next,
            window_messages,
            window_bytes,
            echo,
            ranges,
        })
    }

    /// Writes the frame.
    pub fn encode(&self, out: &mut BytesMut) {
        let start = out.len();
        let (kind, data): (u8, &[u8]) = match &self.kind {
            CompactKind::Data { data, .. } => (1, data),
            CompactKind::Ack => (2, &[]),
            CompactKind::KeepAlive { .. } => (3, &[]),
            CompactKind::Fin { .. } => (4, &[]),
            CompactKind::FinAck { .. } => (5, &[]),
            CompactKind::Reset => (6, &[]),
        };
        out.reserve(FIXED + 100 + 20 * self.ranges.len() + data.len());
        out.put_u8(MARK);
        out.put_u8(kind);
        out.put_u64(self.tag);
        out.put_u32(0);
        put(out, self.ack_next);
        put(out, self.window_messages);
        put(out, self.window_bytes);
        put(out, self.echo);
        let ranges = &self.ranges[..self.ranges.len().min(MAX_RANGES)];
        put(out, ranges.len() as u64);
        let mut at = self.ack_next;
        for (index, &(first, end)) in ranges.iter().enumerate() {
            let missing = u64::from(index > 0);
            put(out, first.saturating_sub(at).saturating_sub(missing));
            put(out, end.saturating_sub(first).saturating_sub(1));
            at = end;
        }
        match &self.kind {
            CompactKind::Data {
                seq, transmission, ..
            } => {
                put(out, *seq);
                put(out, *transmission);
                out.extend_from_slice(data);
            }
            CompactKind::KeepAlive { transmission } => put(out, *transmission),
            CompactKind::Fin { packets, is_close } => {
                put(out, *packets);
                put(out, u64::from(*is_close));
            }
            CompactKind::FinAck { of_close } => put(out, u64::from(*of_close)),
            CompactKind::Ack | CompactKind::Reset => {}
        }
        let frame = &mut out[start..];
        let (head, rest) = frame.split_at_mut(FIXED);
        let sum = sum(&head[..FIXED - 4], rest);
        head[FIXED - 4..].copy_from_slice(&sum.to_be_bytes());
    }
}

/// The tag of the frames from one session to another (docs/wire W48).
pub fn compact_tag(from_nonce: &Text, dest_nonce: &Text) -> u64 {
    let mut names = Vec::with_capacity(from_nonce.len() + 1 + dest_nonce.len());
    names.extend_from_slice(from_nonce.as_bytes());
    names.push(0);
    names.extend_from_slice(dest_nonce.as_bytes());
    let [a, b, c, d, e, f, g, h, ..] = checksum(&names);
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// CRC-32C of a frame without its checksum.
fn sum(head: &[u8], rest: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(head), rest)
}

/// Seven bits a byte, the lowest first, the top bit set on all but the last.
fn put(out: &mut BytesMut, mut number: u64) {
    while number > 0x7f {
        out.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    out.put_u8(number as u8);
}

struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn next(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if shift == 63 && bits > 1 {
                return None;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn arbitrary_kind() -> impl Strategy<Value = CompactKind> {
        prop_oneof![
            (
                any::<u64>(),
                any::<u64>(),
                proptest::collection::vec(any::<u8>(), 0..9000)
            )
                .prop_map(|(seq, transmission, data)| CompactKind::Data {
                    seq,
                    transmission,
                    data: data.into()
                }),
            Just(CompactKind::Ack),
            any::<u64>().prop_map(|transmission| CompactKind::KeepAlive { transmission }),
            (any::<u64>(), any::<bool>())
                .prop_map(|(packets, is_close)| CompactKind::Fin { packets, is_close }),
            any::<bool>().prop_map(|of_close| CompactKind::FinAck { of_close }),
            Just(CompactKind::Reset),
        ]
    }

    proptest! {
        /// docs/wire W48 to W51
        #[test]
        fn frames_round_trip(
            kind in arbitrary_kind(),
            numbers in proptest::array::uniform5(any::<u64>()),
            steps in proptest::collection::vec((1..1000_u64, 1..1000_u64), 0..MAX_RANGES),
        ) {
            let [tag, ack_next, window_messages, window_bytes, echo] = numbers;
            let mut at = ack_next >> 8;
            let ranges = steps.into_iter().enumerate().map(|(index, (gap, len))| {
                // Nothing need be missing in front of the first range.
                let first = at + gap - u64::from(index == 0);
                at = first + len;
                (first, at)
            }).collect();
            let frame = Compact {
                tag, kind, ack_next: ack_next >> 8, window_messages, window_bytes, echo, ranges,
            };
            let mut wire = BytesMut::new();
            frame.encode(&mut wire);
            prop_assert_eq!(Compact::peek_tag(&wire), Some(tag));
            prop_assert_eq!(Compact::decode(&wire.freeze(), 9000), Ok(frame));
        }

        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            Compact::decode(&bytes.clone().into(), 100).ok();
            if bytes.len() >= FIXED {
                bytes[0] = MARK;
                bytes[1] %= 8;
                let sum = sum(&bytes[..FIXED - 4], &bytes[FIXED..]);
                bytes[FIXED - 4..FIXED].copy_from_slice(&sum.to_be_bytes());
                Compact::decode(&bytes.into(), 100).ok();
            }
        }
    }

    /// docs/wire W48: every byte of a frame is under the checksum.
    #[test]
    fn a_flipped_bit_anywhere_is_noticed() {
        let frame = Compact {
            tag: 7,
            kind: CompactKind::Data {
                seq: 300,
                transmission: 301,
                data: Bytes::from_static(b"payload"),
            },
            ack_next: 5,
            window_messages: 100,
            window_bytes: 1 << 20,
            echo: 9,
            ranges: vec![(7, 9), (12, 13)],
        };
        let mut wire = BytesMut::new();
        frame.encode(&mut wire);
        for bit in 8..wire.len() * 8 {
            let mut damaged = wire.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                Compact::decode(&damaged.freeze(), 100),
                Err(DecodeError::WrongChecksum)
            );
        }
        for len in 0..wire.len() {
            assert!(Compact::decode(&wire.clone().freeze().slice(..len), 100).is_err());
        }
    }
}
