//! The messages of the original's five steps, as bytes.

use bytes::BytesMut;
use proptest::prelude::*;
use serde_json::Value;
use towline_codec::greenpack::{Greenpack, Reader};
use towline_sync::compat::{
    CdcConfig, MatchHashPair, RsyncChunk, RsyncDiff, RsyncHashes, RsyncStep0ClientRequestsRead,
    RsyncStep1SenderOverview, RsyncStep2AckOverview, RsyncStep3SenderProvidesDeltas,
    RsyncStep4ReaderAcksDeltasFin,
};

use crate::inputs::{entries, unhex};

const STRUCTS: &str = include_str!("../vectors/rsync_structs.json");

/// docs/wire D6: the plain form there and back; the streaming form is read where no pointer is
/// shared, and refused without a panic where one is.
fn compare<T: Greenpack + PartialEq + std::fmt::Debug>(entry: &Value) {
    let name = entry["name"].as_str().unwrap();
    let plain = unhex(entry["hex"].as_str().unwrap());
    let value = T::decode(&mut Reader::new(&plain)).unwrap();
    let mut out = BytesMut::new();
    value.encode(&mut out);
    assert_eq!(out, plain, "{name}");
    let streaming = unhex(entry["decoded"]["encodemsg_hex"].as_str().unwrap());
    match T::decode(&mut Reader::new(&streaming)) {
        Ok(read) => assert_eq!(read, value, "{name}"),
        Err(_) => assert_eq!(name, "RsyncDiff small"),
    }
    // Whatever is cut off, nothing panics, and what was whole still is.
    for end in 0..plain.len() {
        assert!(
            T::decode(&mut Reader::new(&plain[..end])).is_err(),
            "{name}"
        );
    }
    let mut longer = plain.clone();
    longer.extend(b"more");
    assert_eq!(T::decode(&mut Reader::new(&longer)).unwrap(), value);
}

#[test]
fn every_struct_is_written_and_read_as_the_original_does() {
    let entries = entries(STRUCTS);
    for entry in &entries {
        let name = entry["name"].as_str().unwrap();
        match name.split(' ').next().unwrap() {
            "RsyncStep0_ClientRequestsRead" => compare::<RsyncStep0ClientRequestsRead>(entry),
            "RsyncStep1_SenderOverview" => compare::<RsyncStep1SenderOverview>(entry),
            "RsyncStep2_AckOverview" => compare::<RsyncStep2AckOverview>(entry),
            "RsyncStep3_SenderProvidesDeltas" => compare::<RsyncStep3SenderProvidesDeltas>(entry),
            "RsyncStep4_ReaderAcksDeltasFin" => compare::<RsyncStep4ReaderAcksDeltasFin>(entry),
            "RsyncChunk" => compare::<RsyncChunk>(entry),
            "CDC_Config" => compare::<CdcConfig>(entry),
            "RsyncHashes" => compare::<RsyncHashes>(entry),
            "MatchHashPair" => compare::<MatchHashPair>(entry),
            "RsyncDiff" => compare::<RsyncDiff>(entry),
            other => panic!("{other} is not compared"),
        }
    }
    assert_eq!(entries.len(), 13);
}

/// docs/wire D7: an array that announces 2^32 - 1 chunks and holds none costs nothing.
#[test]
fn announced_chunks_cost_no_memory() {
    let mut bytes = vec![0x81, 0xb0];
    bytes.extend(b"Chunks_zid15_slc");
    bytes.extend([0xdd, 0xff, 0xff, 0xff, 0xff]);
    assert!(RsyncHashes::decode(&mut Reader::new(&bytes)).is_err());
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        drop(RsyncDiff::decode(&mut Reader::new(&bytes)));
        drop(RsyncStep3SenderProvidesDeltas::decode(&mut Reader::new(&bytes)));
    }
}
