//! Values of hostile peers: where they stop.

#![cfg(feature = "tokio")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use towline_codec::primitives::{BufExt, BufMutExt, ReadError, ReadExt, ValueError};

use crate::support::Dribble;

/// docs/wire L11: bytes that are no text are told so, and can be had as bytes.
#[tokio::test]
async fn a_string_counts_bytes_and_must_be_utf8() {
    let mut out = Vec::new();
    out.write_string("zażółć").unwrap();
    assert_eq!(out[0], 10);
    assert_eq!(
        ReadExt::read_string(&mut &out[..], 10).await.unwrap(),
        "zażółć"
    );
    let too_long = BufExt::read_string(&mut &out[..], 9);
    assert_eq!(
        too_long,
        Err(ValueError::TooLong {
            announced: 10,
            max: 9
        })
    );
    let wrong = [2, 0xff, 0xfe];
    assert_eq!(
        BufExt::read_string(&mut &wrong[..], 9),
        Err(ValueError::NotUtf8)
    );
    assert_eq!(
        BufExt::read_byte_array(&mut &wrong[..], 9).unwrap(),
        Bytes::from_static(&[0xff, 0xfe])
    );
}

/// docs/wire L6: after exactly five and ten bytes, and no byte is taken too much.
#[tokio::test]
async fn numbers_that_do_not_end_are_left_at_their_last_byte() {
    let bytes = Bytes::from_static(&[0xff; 12]);
    let mut stream = Dribble::new(bytes.clone());
    assert!(matches!(
        stream.read_var_int().await,
        Err(ReadError::Value(ValueError::VarIntTooLong))
    ));
    assert_eq!(stream.taken(), 5);
    let mut stream = Dribble::new(bytes);
    assert!(matches!(
        stream.read_var_long().await,
        Err(ReadError::Value(ValueError::VarLongTooLong))
    ));
    assert_eq!(stream.taken(), 10);
}

proptest! {
    /// docs/wire L1, L2, L4, L7: every value comes back, NaNs bit by bit.
    #[test]
    fn every_value_comes_back(
        (byte, flag) in any::<(u8, bool)>(),
        (short, int, long) in any::<(i16, i32, i64)>(),
        (single, double) in any::<(u32, u64)>(),
        (bytes, string) in any::<(Vec<u8>, String)>(),
    ) {
        let mut out = BytesMut::new();
        out.write_byte(byte);
        out.write_bool(flag);
        out.write_int16(short);
        out.write_int16_le(short);
        out.write_int32(int);
        out.write_int32_le(int);
        out.write_int64(long);
        out.write_int64_le(long);
        out.write_float32(f32::from_bits(single));
        out.write_float32_le(f32::from_bits(single));
        out.write_float64(f64::from_bits(double));
        out.write_float64_le(f64::from_bits(double));
        out.write_var_int(int);
        out.write_var_long(long);
        out.write_byte_array(&bytes).unwrap();
        out.write_string(&string).unwrap();
        prop_assert_eq!(out.read_byte(), Ok(byte));
        prop_assert_eq!(out.read_bool(), Ok(flag));
        prop_assert_eq!((out.read_int16(), out.read_int16_le()), (Ok(short), Ok(short)));
        prop_assert_eq!((out.read_int32(), out.read_int32_le()), (Ok(int), Ok(int)));
        prop_assert_eq!((out.read_int64(), out.read_int64_le()), (Ok(long), Ok(long)));
        prop_assert_eq!(out.read_float32().map(f32::to_bits), Ok(single));
        prop_assert_eq!(out.read_float32_le().map(f32::to_bits), Ok(single));
        prop_assert_eq!(out.read_float64().map(f64::to_bits), Ok(double));
        prop_assert_eq!(out.read_float64_le().map(f64::to_bits), Ok(double));
        prop_assert_eq!(out.read_var_int_strict(), Ok(int));
        prop_assert_eq!(out.read_var_long_strict(), Ok(long));
        prop_assert_eq!(out.read_byte_array(usize::MAX), Ok(bytes.into()));
        prop_assert_eq!(out.read_string(usize::MAX), Ok(string));
        prop_assert!(out.is_empty());
    }

    /// Nothing panics, whatever the bytes are.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in any::<Vec<u8>>(), max in 0usize..300) {
        type Reader = fn(&mut Bytes, usize) -> bool;
        let readers: [Reader; 6] = [
            |input, _| input.read_var_int_strict().is_ok(),
            |input, _| input.read_var_long_strict().is_ok(),
            |input, _| input.read_float64().is_ok(),
            |input, max| input.read_bytes(max).is_ok_and(|read| read.len() == max),
            |input, max| input.read_byte_array(max).is_ok_and(|read| read.len() <= max),
            |input, max| input.read_string(max).is_ok_and(|read| read.len() <= max),
        ];
        for read in readers {
            let mut input = Bytes::from(bytes.clone());
            let read = read(&mut input, max);
            prop_assert!(!read || input.len() < bytes.len() || max == 0);
        }
    }
}
