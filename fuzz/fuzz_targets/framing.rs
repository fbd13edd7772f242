//! Any bytes, in any pieces, with any marks: the same packets as in one piece, and no panic.

#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use towline_codec::framing::{
    Framing, FramingError, LengthPrefix, Oversize, PacketCodec, Received,
};
use towline_codec::primitives::BufExt;

const MAX: usize = 300;

fuzz_target!(|data: &[u8]| {
    let [kind, policy, piece, stream @ ..] = data else {
        return;
    };
    let framing = match usize::from(*kind) {
        prefix if prefix < LengthPrefix::ALL.len() => {
            Framing::length_prefixed(LengthPrefix::ALL[prefix])
        }
        separator => {
            let bytes = [0, 1, 0, 1, 1];
            Framing::separator(&bytes[..1 + separator % bytes.len()]).expect("it is not empty")
        }
    };
    let policy = match policy % 3 {
        0 => Oversize::Close,
        1 => Oversize::Skip,
        _ => Oversize::DropBuffered,
    };
    let codec = PacketCodec::new(framing, MAX).oversize(policy);
    let whole = read(codec.clone(), stream, stream.len().max(1));
    let pieces = read(codec.clone(), stream, usize::from(*piece).max(1));
    if policy != Oversize::DropBuffered {
        assert_eq!(whole, pieces);
    }
    for packet in whole.0.into_iter().chain(pieces.0).flatten() {
        assert!(packet.len() <= MAX);
        values(&packet);
        let mut again = BytesMut::new();
        if codec.encode_packet(&packet, &mut again).is_ok() {
            let mut codec = codec.clone().oversize(Oversize::Close);
            assert_eq!(
                codec.next_packet(&mut again),
                Ok(Some(Received::Packet(BytesMut::from(&packet[..]))))
            );
        }
    }
});

type Read = (Vec<Option<Bytes>>, Option<FramingError>);

fn read(mut codec: PacketCodec, stream: &[u8], piece: usize) -> Read {
    let (mut buffer, mut packets) = (BytesMut::new(), Vec::new());
    for piece in stream.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            match codec.next_packet(&mut buffer) {
                Ok(Some(Received::Packet(packet))) => packets.push(Some(packet.freeze())),
                Ok(Some(Received::Oversized { .. })) => packets.push(None),
                Ok(None) => break,
                Err(error) => return (packets, Some(error)),
            }
        }
        // Ten bytes are the longest prefix; a separator here has five.
        assert!(buffer.len() <= MAX + 10);
    }
    (packets, None)
}

/// Reads values of all kinds until nothing is left.
fn values(mut packet: &[u8]) {
    while let Ok(kind) = packet.read_byte() {
        let _ = match kind % 8 {
            0 => packet.read_var_int().is_ok(),
            1 => packet.read_var_int_strict().is_ok(),
            2 => packet.read_var_long().is_ok(),
            3 => packet.read_var_long_strict().is_ok(),
            4 => packet.read_byte_array(64).is_ok(),
            5 => packet.read_string(64).is_ok(),
            6 => packet.read_float64().is_ok(),
            _ => packet.read_bool().is_ok(),
        };
    }
}
