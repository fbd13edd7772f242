//! Messages of delta sync: lists, manifests, requests. What is read is written back to the same
//! message, and memory stays in proportion to the input.

#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use towline_sync::wire::Message;

fuzz_target!(|data: &[u8]| {
    let mut input = Bytes::copy_from_slice(data);
    while !input.is_empty() {
        let Ok(message) = Message::decode(&mut input) else {
            return;
        };
        let mut out = BytesMut::new();
        message.encode(&mut out);
        let mut again = out.freeze();
        let read = Message::decode(&mut again).expect("what was written is read");
        assert_eq!(read, message);
        assert!(again.is_empty());
    }
});
