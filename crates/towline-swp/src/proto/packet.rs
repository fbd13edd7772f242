//! The packet of the original: 21 keys in a fixed order.

use bytes::{BufMut, Bytes, BytesMut};
use towline_codec::{
    Text,
    greenpack::{Reader, Timestamp, write},
};

use super::{
    checksum::{CHECKSUM_LEN, checksum},
    error::DecodeError,
    numbers::{TcpEvent, TcpState},
    values,
};

/// More entries than a packet ever had: 21, one by accident absent, one of towline's.
const MAX_ENTRIES: usize = 64;

/// One packet in the original's format (docs/wire W2). `None` in a time is the original's zero time.
///
/// ```
/// use bytes::{Bytes, BytesMut};
/// use towline_swp::proto::{Packet, TcpEvent};
///
/// let mut packet = Packet { event: TcpEvent::DATA, ..Packet::default() };
/// packet.set_data(Bytes::from_static(b"hello world"));
/// let mut wire = BytesMut::new();
/// packet.encode(&mut wire);
///
/// let read = Packet::decode(&wire.freeze(), 1 << 20)?;
/// assert_eq!(read, packet);
/// assert!(read.checksum_matches());
/// # Ok::<(), towline_swp::proto::DecodeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Packet {
    /// `From`: the sender's inbox.
    pub from: Text,
    /// `Dest`: the receiver's inbox.
    pub dest: Text,
    /// `FromSessNonce`: the sender's session.
    pub from_nonce: Text,
    /// `DestSessNonce`: the receiver's session, empty while the sender does not know it.
    pub dest_nonce: Text,
    /// `ArrivedAtDestTm`: zero on the wire.
    pub arrived: Option<Timestamp>,
    /// `DataSendTm`: when this transmission left; acknowledgements copy it.
    pub sent: Option<Timestamp>,
    /// `SeqNum`: from 0 for data, a negative code otherwise (docs/wire W11).
    pub seq: i64,
    /// `SeqRetry`: the number of the transmission of this data, from 0.
    pub retry: i64,
    /// `AckNum`: the last packet acknowledged, −1 for none (docs/wire W27).
    pub ack: i64,
    /// `AckRetry`: the `SeqRetry` of the packet that is answered.
    pub ack_retry: i64,
    /// `AckReplyTm`: when the acknowledgement was made.
    pub ack_sent: Option<Timestamp>,
    /// `TcpEvent`: what the packet is.
    pub event: TcpEvent,
    /// `FromTcpState`: a key that the original's shipped code does not write (docs/wire W8).
    pub from_state: Option<TcpState>,
    /// `AvailReaderBytesCap`: the window in bytes.
    pub window_bytes: i64,
    /// `AvailReaderMsgCap`: the window in messages.
    pub window_messages: i64,
    /// `FromRttEstNsec`: the sender's round trip estimate in nanoseconds.
    pub rtt_nanos: i64,
    /// `FromRttSdNsec`: its deviation in nanoseconds.
    pub rtt_deviation_nanos: i64,
    /// `FromRttN`: the number of samples behind both.
    pub rtt_samples: i64,
    /// `CumulBytesTransmitted`: data bytes sent so far, with this packet's; 0 on control packets.
    pub cumulative_bytes: i64,
    /// `Data`: the payload.
    pub data: Bytes,
    /// `DataOffset`: 0 on the wire, ignored (docs/wire W22).
    pub data_offset: i64,
    /// `Blake2bChecksum`: of the data, empty for none (docs/wire W9).
    pub checksum: Bytes,
    /// `TowlineCaps`: a key of towline's, in handshake packets only (docs/wire W47).
    pub capabilities: Option<i64>,
}

impl Packet {
    /// Reads a packet from the front of `input`; what follows it is ignored (docs/wire W6).
    ///
    /// The checksum is not compared: see [`checksum_matches`](Self::checksum_matches). Large data is
    /// a part of `input`, not a copy.
    ///
    /// # Errors
    ///
    /// What docs/wire W7 refuses, and data of more than `max_data` bytes.
    pub fn decode(input: &Bytes, max_data: usize) -> Result<Self, DecodeError> {
        let mut packet = Self::default();
        let mut reader = Reader::new(input);
        values::read_map(&mut reader, MAX_ENTRIES, |key, reader| {
            match key {
                b"From" => packet.from = values::text(reader)?,
                b"Dest" => packet.dest = values::text(reader)?,
                b"FromSessNonce" => packet.from_nonce = values::text(reader)?,
                b"DestSessNonce" => packet.dest_nonce = values::text(reader)?,
                b"ArrivedAtDestTm" => packet.arrived = values::time(reader)?,
                b"DataSendTm" => packet.sent = values::time(reader)?,
                b"SeqNum" => packet.seq = values::int(reader)?,
                b"SeqRetry" => packet.retry = values::int(reader)?,
                b"AckNum" => packet.ack = values::int(reader)?,
                b"AckRetry" => packet.ack_retry = values::int(reader)?,
                b"AckReplyTm" => packet.ack_sent = values::time(reader)?,
                b"TcpEvent" => packet.event = TcpEvent(values::int(reader)?),
                b"FromTcpState" => packet.from_state = Some(TcpState(values::int(reader)?)),
                b"AvailReaderBytesCap" => packet.window_bytes = values::int(reader)?,
                b"AvailReaderMsgCap" => packet.window_messages = values::int(reader)?,
                b"FromRttEstNsec" => packet.rtt_nanos = values::int(reader)?,
                b"FromRttSdNsec" => packet.rtt_deviation_nanos = values::int(reader)?,
                b"FromRttN" => packet.rtt_samples = values::int(reader)?,
                b"CumulBytesTransmitted" => packet.cumulative_bytes = values::int(reader)?,
                b"Data" => packet.data = values::data(reader, input, max_data)?,
                b"DataOffset" => packet.data_offset = values::int(reader)?,
                b"Blake2bChecksum" => packet.checksum = values::data(reader, input, CHECKSUM_LEN)?,
                b"TowlineCaps" => packet.capabilities = Some(values::int(reader)?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(packet)
    }

    /// What [`decode`](Self::decode) would read as the sender's inbox.
    #[cfg(feature = "tokio")]
    pub(crate) fn peek_from(input: &[u8]) -> Result<Text, DecodeError> {
        let mut from = Text::default();
        // A key that comes twice counts as it stands last.
        values::read_map(&mut Reader::new(input), MAX_ENTRIES, |key, reader| {
            if key == b"From" {
                from = values::text(reader)?;
            }
            Ok(key == b"From")
        })?;
        Ok(from)
    }

    /// Writes the packet exactly as the original does (docs/wire W2 to W5); the two keys that the
    /// original does not write are written only if they are set.
    pub fn encode(&self, out: &mut BytesMut) {
        out.reserve(self.encoded_len_upper_bound());
        let extra =
            usize::from(self.from_state.is_some()) + usize::from(self.capabilities.is_some());
        write::map_header(out, 21 + extra);
        text(out, b"From", &self.from);
        text(out, b"Dest", &self.dest);
        text(out, b"FromSessNonce", &self.from_nonce);
        text(out, b"DestSessNonce", &self.dest_nonce);
        time(out, b"ArrivedAtDestTm", self.arrived);
        time(out, b"DataSendTm", self.sent);
        int(out, b"SeqNum", self.seq);
        int(out, b"SeqRetry", self.retry);
        int(out, b"AckNum", self.ack);
        int(out, b"AckRetry", self.ack_retry);
        time(out, b"AckReplyTm", self.ack_sent);
        int(out, b"TcpEvent", self.event.0);
        if let Some(state) = self.from_state {
            int(out, b"FromTcpState", state.0);
        }
        int(out, b"AvailReaderBytesCap", self.window_bytes);
        int(out, b"AvailReaderMsgCap", self.window_messages);
        int(out, b"FromRttEstNsec", self.rtt_nanos);
        int(out, b"FromRttSdNsec", self.rtt_deviation_nanos);
        int(out, b"FromRttN", self.rtt_samples);
        int(out, b"CumulBytesTransmitted", self.cumulative_bytes);
        bin(out, b"Data", &self.data);
        int(out, b"DataOffset", self.data_offset);
        bin(out, b"Blake2bChecksum", &self.checksum);
        if let Some(capabilities) = self.capabilities {
            int(out, b"TowlineCaps", capabilities);
        }
    }

    /// At least as many bytes as [`encode`](Self::encode) writes.
    pub fn encoded_len_upper_bound(&self) -> usize {
        // Keys, headers and the widest numbers and times come to 497 bytes.
        512 + self.from.len()
            + self.dest.len()
            + self.from_nonce.len()
            + self.dest_nonce.len()
            + self.data.len()
            + self.checksum.len()
    }

    /// Sets the data and its checksum.
    pub fn set_data(&mut self, data: Bytes) {
        self.checksum = super::checksum::checksum_field(&data);
        self.data = data;
    }

    /// True if the checksum is that of the data, or there is no data: then no checksum is wrong
    /// (docs/wire W9).
    pub fn checksum_matches(&self) -> bool {
        self.data.is_empty() || self.checksum[..] == checksum(&self.data)
    }
}

fn text(out: &mut BytesMut, key: &[u8], value: &Text) {
    write::str(out, key);
    write::str(out, value.as_bytes());
}

fn time(out: &mut BytesMut, key: &[u8], value: Option<Timestamp>) {
    write::str(out, key);
    values::write_time(out, value);
}

fn int(out: &mut impl BufMut, key: &[u8], value: i64) {
    write::str(out, key);
    write::int(out, value);
}

fn bin(out: &mut BytesMut, key: &[u8], value: &Bytes) {
    write::str(out, key);
    write::bin(out, value);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn arbitrary_text() -> impl Strategy<Value = Text> {
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| Text::from(&bytes[..]))
    }

    fn arbitrary_time() -> impl Strategy<Value = Option<Timestamp>> {
        proptest::option::of(
            (any::<i64>(), 0..1_000_000_000_i64).prop_map(|(s, n)| Timestamp::new(s, n)),
        )
    }

    prop_compose! {
        fn arbitrary_packet()(
            texts in proptest::array::uniform4(arbitrary_text()),
            times in proptest::array::uniform3(arbitrary_time()),
            numbers in proptest::array::uniform12(any::<i64>()),
            data in proptest::collection::vec(any::<u8>(), 0..10_000),
            checksum in proptest::collection::vec(any::<u8>(), 0..=CHECKSUM_LEN),
            from_state in proptest::option::of(any::<i64>()),
            capabilities in proptest::option::of(any::<i64>()),
        ) -> Packet {
            let [from, dest, from_nonce, dest_nonce] = texts;
            let [arrived, sent, ack_sent] = times;
            let [seq, retry, ack, ack_retry, event, window_bytes, window_messages, rtt_nanos,
                rtt_deviation_nanos, rtt_samples, cumulative_bytes, data_offset] = numbers;
            Packet {
                from, dest, from_nonce, dest_nonce, arrived, sent, seq, retry, ack, ack_retry,
                ack_sent, event: TcpEvent(event), from_state: from_state.map(TcpState),
                window_bytes, window_messages, rtt_nanos, rtt_deviation_nanos, rtt_samples,
                cumulative_bytes, data: data.into(), data_offset, checksum: checksum.into(),
                capabilities,
            }
        }
    }

    proptest! {
        #[test]
        fn packets_round_trip(packet in arbitrary_packet()) {
            let mut wire = BytesMut::new();
            packet.encode(&mut wire);
            prop_assert!(wire.len() <= packet.encoded_len_upper_bound());
            prop_assert_eq!(Packet::decode(&wire.freeze(), 10_000), Ok(packet));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            Packet::decode(&bytes.into(), 100).ok();
        }
    }

    /// docs/wire W7: a limit is applied before anything is kept.
    #[test]
    fn data_and_texts_above_their_limits_are_refused() {
        let mut packet = Packet::default();
        packet.set_data(Bytes::from(vec![1; 101]));
        let mut wire = BytesMut::new();
        packet.encode(&mut wire);
        assert_eq!(
            Packet::decode(&wire.split().freeze(), 100),
            Err(DecodeError::DataTooLong(101))
        );
        let packet = Packet {
            from: Text::from("x".repeat(4097)),
            ..Packet::default()
        };
        packet.encode(&mut wire);
        assert_eq!(
            Packet::decode(&wire.freeze(), 100),
            Err(DecodeError::TextTooLong(4097))
        );
        let mut many = vec![0xde, 0, 65];
        many.extend(std::iter::repeat_n([0xa1, b'x', 0x01], 65).flatten());
        assert_eq!(
            Packet::decode(&many.into(), 100),
            Err(DecodeError::TooManyEntries(65))
        );
    }
}
