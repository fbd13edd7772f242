//! One stream of packets: how far it was looked at, what is being passed over, what was lost.

use std::ops::Range;

use bytes::{Buf, BytesMut};

use super::error::{EncodeError, FramingError};
use super::protocol::{Framing, FramingProtocol, Located, Resync, Skip};

/// What is done about a packet that is larger than allowed (docs/wire L22 to L24).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Oversize {
    /// The stream ends with [`FramingError::PacketTooBig`]. What a length in front gets unless told
    /// otherwise: whoever announces too much does not follow the protocol.
    Close,
    /// The packet is passed over whole, told once, and the next one is read. What a separator gets
    /// unless told otherwise.
    Skip,
    /// As the original does it: when a read would make what is buffered larger than allowed, both go,
    /// and nobody is told. The result depends on how the bytes were cut on their way, good packets are
    /// lost with bad ones, and the rest of a big packet passes for a packet. For comparison with the
    /// original only.
    DropBuffered,
}

/// One stream of packets.
///
/// It owns no bytes. Hand it what has come and was not consumed, always from the same place on:
/// [`step`](Self::step) for a slice, [`next_packet`](Self::next_packet) for a `BytesMut`.
#[derive(Clone, Debug)]
pub struct PacketCodec<P = Framing> {
    protocol: P,
    max: usize,
    oversize: Oversize,
    state: State,
    /// Whether the input was looked at since the last read.
    in_round: bool,
    skipped: u64,
    dropped: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Looking { scanned: usize },
    SkippingBytes(u64),
    SkippingToEnd,
}

const START: State = State::Looking { scanned: 0 };

/// What [`PacketCodec::step`] did with its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it found.
    pub cut: Cut,
    /// How many bytes at the start of the input are done with. Drop them, then go on.
    pub consumed: usize,
}

/// What [`PacketCodec::step`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    /// A packet: its payload is this part of the input.
    Packet(Range<usize>),
    /// A packet that is too big and is being passed over.
    Oversized {
        /// The length in front of it, if it has one.
        announced: Option<u64>,
    },
    /// No packet until more bytes come.
    Incomplete {
        /// How many at least, as far as the stream says so. A peer's word: never reserve as much.
        needed: u64,
    },
}

/// What came out of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A packet's payload.
    Packet(BytesMut),
    /// A packet that was too big and is being passed over ([`Oversize::Skip`]).
    Oversized {
        /// The length in front of it, if it has one.
        announced: Option<u64>,
    },
}

impl<P: FramingProtocol> PacketCodec<P> {
    /// The start of a stream whose packets hold at most `max` bytes of payload (docs/wire L19).
    pub fn new(protocol: P, max: usize) -> Self {
        let oversize = protocol.default_oversize();
        Self {
            protocol,
            max,
            oversize,
            state: START,
            in_round: false,
            skipped: 0,
            dropped: 0,
        }
    }

    /// What to do about larger ones.
    pub fn oversize(mut self, policy: Oversize) -> Self {
        self.oversize = policy;
        self
    }

    /// The start of another stream with the same settings, which borrows the protocol: for servers that keep
    /// nothing for a stream between two packets.
    pub const fn another(&self) -> PacketCodec<&P> {
        PacketCodec {
            protocol: &self.protocol,
            max: self.max,
            oversize: self.oversize,
            state: START,
            in_round: false,
            skipped: 0,
            dropped: 0,
        }
    }

    /// The same stream, with the protocol in another form.
    pub fn with_protocol<Q: FramingProtocol>(self, protocol: Q) -> PacketCodec<Q> {
        PacketCodec {
            protocol,
            max: self.max,
            oversize: self.oversize,
            state: self.state,
            in_round: self.in_round,
            skipped: self.skipped,
            dropped: self.dropped,
        }
    }

    /// Whether the stream is between two packets, if all that has come was consumed: then it goes on as one
    /// that starts.
    pub const fn is_between_packets(&self) -> bool {
        matches!(self.state, State::Looking { .. })
    }

    /// How packets are marked.
    pub const fn protocol(&self) -> &P {
        &self.protocol
    }

    /// The largest payload in bytes.
    pub const fn max(&self) -> usize {
        self.max
    }

    /// How many packets were too big and passed over.
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// How many bytes were dropped: those of packets that were passed over, and what
    /// [`finish`](Self::finish) found.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Looks for the next packet at the start of `input`, without a copy. After
    /// [`Cut::Incomplete`], come back with what was not consumed and more behind it.
    ///
    /// # Errors
    ///
    /// [`FramingError`]: the stream ends here, and what was not consumed has no meaning.
    pub fn step(&mut self, input: &[u8]) -> Result<Step, FramingError> {
        let consumed = self.begin_round(input.len());
        let mut step = self.look(&input[consumed..])?;
        if let Cut::Packet(range) = &mut step.cut {
            *range = range.start + consumed..range.end + consumed;
        }
        if let Cut::Incomplete { .. } = step.cut {
            self.in_round = false;
        }
        step.consumed += consumed;
        Ok(step)
    }

    /// Takes the next packet off the front of `buffer`, which shares its memory; `None` until more bytes
    /// come.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step).
    pub fn next_packet(&mut self, buffer: &mut BytesMut) -> Result<Option<Received>, FramingError> {
        let step = self.step(buffer)?;
        Ok(match step.cut {
            Cut::Packet(range) => {
                let mut packet = buffer.split_to(step.consumed);
                packet.truncate(range.end);
                packet.advance(range.start);
                Some(Received::Packet(packet))
            }
            Cut::Oversized { announced } => {
                buffer.advance(step.consumed);
                Some(Received::Oversized { announced })
            }
            Cut::Incomplete { .. } => {
                buffer.advance(step.consumed);
                None
            }
        })
    }

    /// At the end of the stream: drops what is left in `buffer` and belongs to no packet, and says how
    /// many bytes that is (docs/wire L25).
    pub fn finish(&mut self, buffer: &mut BytesMut) -> usize {
        let left = buffer.len();
        buffer.clear();
        self.state = START;
        self.in_round = false;
        self.dropped += left as u64;
        left
    }

    /// Appends `payload` to `out` as a packet.
    ///
    /// # Errors
    ///
    /// [`EncodeError`], also for more than [`max`](Self::max) bytes; `out` is as before.
    pub fn encode_packet(&self, payload: &[u8], out: &mut BytesMut) -> Result<(), EncodeError> {
        if payload.len() > self.max {
            return Err(EncodeError::TooLong {
                len: payload.len(),
                max: self.max as u64,
            });
        }
        self.protocol.encode(payload, out)
    }

    /// docs/wire L24: what is thrown away because a read brought too much.
    fn begin_round(&mut self, len: usize) -> usize {
        let first = !self.in_round;
        self.in_round = true;
        if first && self.oversize == Oversize::DropBuffered && len > self.max {
            self.state = START;
            self.dropped += len as u64;
            return len;
        }
        0
    }

    fn look(&mut self, input: &[u8]) -> Result<Step, FramingError> {
        let mut consumed = 0;
        loop {
            let rest = &input[consumed..];
            match self.state {
                State::SkippingBytes(left) => {
                    // At most `rest.len()`.
                    let now = left.min(rest.len() as u64) as usize;
                    consumed += self.drop_bytes(now);
                    if left > now as u64 {
                        let left = left - now as u64;
                        self.state = State::SkippingBytes(left);
                        return Ok(incomplete(left, consumed));
                    }
                    self.state = START;
                }
                State::SkippingToEnd => match self.protocol.resync(rest) {
                    Resync::At(end) => {
                        consumed += self.drop_bytes(end.min(rest.len()));
                        self.state = START;
                    }
                    Resync::NotYet(gone) => {
                        consumed += self.drop_bytes(gone.min(rest.len()));
                        return Ok(incomplete(1, consumed));
                    }
                },
                State::Looking { scanned } => return self.locate(rest, scanned, consumed),
            }
        }
    }

    fn locate(
        &mut self,
        rest: &[u8],
        scanned: usize,
        consumed: usize,
    ) -> Result<Step, FramingError> {
        let max = match self.oversize {
            Oversize::DropBuffered => usize::MAX,
            Oversize::Close | Oversize::Skip => self.max,
        };
        match self.protocol.locate(rest, scanned, max)? {
            Located::Incomplete { scanned, needed } => {
                self.state = State::Looking { scanned };
                Ok(incomplete(needed, consumed))
            }
            Located::Packet { start, end, next } => {
                self.state = START;
                Ok(Step {
                    cut: Cut::Packet(start + consumed..end + consumed),
                    consumed: next + consumed,
                })
            }
            // docs/wire L22.
            Located::TooBig { announced, .. } if self.oversize == Oversize::Close => {
                let max = self.max;
                Err(FramingError::PacketTooBig { max, announced })
            }
            // docs/wire L23.
            Located::TooBig { announced, skip } => {
                self.state = match skip {
                    Skip::Bytes(bytes) => State::SkippingBytes(bytes),
                    Skip::ToItsEnd => State::SkippingToEnd,
                };
                self.skipped += 1;
                Ok(Step {
                    cut: Cut::Oversized { announced },
                    consumed,
                })
            }
        }
    }

    fn drop_bytes(&mut self, count: usize) -> usize {
        self.dropped += count as u64;
        count
    }
}

fn incomplete(needed: u64, consumed: usize) -> Step {
    Step {
        cut: Cut::Incomplete { needed },
        consumed,
    }
}
