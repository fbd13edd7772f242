//! Any bytes as a packet: read or refused, never a panic, and what was read is written alike.

#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use towline_swp::proto::{BigFile, Compact, Incoming, Packet, SynAckAck};

const LIMIT: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let input = Bytes::copy_from_slice(data);
    let _ = Incoming::decode(&input, LIMIT);
    if let Ok(packet) = Packet::decode(&input, LIMIT) {
        let mut wire = BytesMut::new();
        packet.encode(&mut wire);
        assert_eq!(Packet::decode(&wire.freeze(), LIMIT), Ok(packet));
    }
    if let Ok(frame) = Compact::decode(&input, LIMIT) {
        let mut wire = BytesMut::new();
        frame.encode(&mut wire);
        assert_eq!(Compact::decode(&wire.freeze(), LIMIT), Ok(frame));
    }
    if let Ok(file) = BigFile::decode(&input, LIMIT) {
        let mut wire = BytesMut::new();
        file.encode(&mut wire);
        assert_eq!(BigFile::decode(&wire.freeze(), LIMIT), Ok(file));
    }
    let _ = SynAckAck::decode(&input);
});
