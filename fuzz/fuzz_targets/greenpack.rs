//! Any bytes: the greenpack reader ends, within its input, and what it read, value or message, survives
//! a rewrite.

#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use towline_codec::greenpack::{DecodeError, Kind, Reader, write};
use towline_rpc::proto::Message;

fuzz_target!(|data: &[u8]| {
    let mut reader = Reader::new(data);
    while !reader.rest().is_empty() {
        let before = reader.rest();
        if step(&mut reader).is_err() {
            break;
        }
        // Without progress a peer could keep a reader busy for ever.
        assert!(reader.rest().len() < before.len());
        assert!(before.ends_with(reader.rest()));
    }
    Reader::new(data).skip().ok();
    read_message(data);
});

/// A message that was read is written in a form that reads the same, and that is the shortest.
fn read_message(data: &[u8]) {
    let Ok(message) = Message::decode(&Bytes::copy_from_slice(data)) else {
        return;
    };
    let encode = |message: &Message| {
        let mut out = BytesMut::new();
        message.encode(&mut out);
        out.freeze()
    };
    let once = encode(&message);
    let again = Message::decode(&once);
    assert_eq!(again.as_ref(), Ok(&message));
    assert_eq!(again.map(|again| encode(&again)), Ok(once));
}

/// Reads one value by its kind; passing over it must take the same bytes.
fn step(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    let mut skipper = reader.clone();
    let mut again = Vec::new();
    match reader.peek()? {
        Kind::Map => return reader.map_header().map(drop),
        Kind::Array => return reader.array_header().map(drop),
        Kind::Bool => {
            let value = reader.bool()?;
            write::bool(&mut again, value);
            assert_eq!(Reader::new(&again).bool(), Ok(value));
        }
        Kind::Int => {
            let value = reader.int()?;
            write::int(&mut again, value);
            assert_eq!(Reader::new(&again).int(), Ok(value));
        }
        Kind::Uint => {
            let value = reader.uint()?;
            write::uint(&mut again, value);
            assert_eq!(Reader::new(&again).uint(), Ok(value));
        }
        Kind::Str => {
            let value = reader.str()?;
            write::str(&mut again, value);
            assert_eq!(Reader::new(&again).str(), Ok(value));
        }
        Kind::Bin => {
            let value = reader.bin()?;
            write::bin(&mut again, value);
            assert_eq!(Reader::new(&again).bin(), Ok(value));
        }
        Kind::Ext => drop(reader.time()?),
        _ => return reader.skip(),
    }
    skipper.skip()?;
    assert_eq!(skipper.rest().len(), reader.rest().len());
    Ok(())
}
