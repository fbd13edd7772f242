//! Writing values: for each kind the one form the original writes.
//!
//! The functions append to any [`BufMut`] that grows (a `Vec<u8>`, a `BytesMut`). Lengths above
//! `u32::MAX` cannot be represented; callers bound their data long before.

use bytes::BufMut;

use super::Timestamp;

/// The extension number of a time (docs/wire G7).
pub(super) const TIME_EXTENSION: i8 = 5;

/// `nil`.
pub fn nil(out: &mut impl BufMut) {
    out.put_u8(0xc0);
}

/// A boolean.
pub fn bool(out: &mut impl BufMut, value: bool) {
    out.put_u8(if value { 0xc3 } else { 0xc2 });
}

/// A value of a signed Go type: signed forms only, the smallest that fits (docs/wire G2).
pub fn int(out: &mut impl BufMut, value: i64) {
    if let Ok(small) = i8::try_from(value) {
        if small < -32 {
            out.put_u8(0xd0);
        }
        out.put_i8(small);
    } else if let Ok(value) = i16::try_from(value) {
        out.put_u8(0xd1);
        out.put_i16(value);
    } else if let Ok(value) = i32::try_from(value) {
        out.put_u8(0xd2);
        out.put_i32(value);
    } else {
        out.put_u8(0xd3);
        out.put_i64(value);
    }
}

/// A value of an unsigned Go type: unsigned forms only, the smallest that fits (docs/wire G3).
pub fn uint(out: &mut impl BufMut, value: u64) {
    if let Ok(small) = u8::try_from(value) {
        if small > 0x7f {
            out.put_u8(0xcc);
        }
        out.put_u8(small);
    } else if let Ok(value) = u16::try_from(value) {
        out.put_u8(0xcd);
        out.put_u16(value);
    } else if let Ok(value) = u32::try_from(value) {
        out.put_u8(0xce);
        out.put_u32(value);
    } else {
        out.put_u8(0xcf);
        out.put_u64(value);
    }
}

/// A string; its bytes need not be UTF-8 (docs/wire G4).
pub fn str(out: &mut impl BufMut, text: &[u8]) {
    match text.len() {
        len @ 0..=31 => out.put_u8(0xa0 | len as u8),
        len @ 32..=0xff => {
            out.put_u8(0xd9);
            out.put_u8(len as u8);
        }
        len @ 0x100..=0xffff => {
            out.put_u8(0xda);
            out.put_u16(len as u16);
        }
        len => {
            out.put_u8(0xdb);
            out.put_u32(len as u32);
        }
    }
    out.put_slice(text);
}

/// The header of a byte string; its `len` bytes follow (docs/wire G4).
pub fn bin_header(out: &mut impl BufMut, len: usize) {
    match len {
        0..=0xff => {
            out.put_u8(0xc4);
            out.put_u8(len as u8);
        }
        0x100..=0xffff => {
            out.put_u8(0xc5);
            out.put_u16(len as u16);
        }
        _ => {
            out.put_u8(0xc6);
            out.put_u32(len as u32);
        }
    }
}

/// A byte string.
pub fn bin(out: &mut impl BufMut, bytes: &[u8]) {
    bin_header(out, bytes.len());
    out.put_slice(bytes);
}

/// The header of a map; `entries` keys and values follow.
pub fn map_header(out: &mut impl BufMut, entries: usize) {
    match entries {
        0..=15 => out.put_u8(0x80 | entries as u8),
        16..=0xffff => {
            out.put_u8(0xde);
            out.put_u16(entries as u16);
        }
        _ => {
            out.put_u8(0xdf);
            out.put_u32(entries as u32);
        }
    }
}

/// The header of an array; `len` values follow.
pub fn array_header(out: &mut impl BufMut, len: usize) {
    match len {
        0..=15 => out.put_u8(0x90 | len as u8),
        16..=0xffff => {
            out.put_u8(0xdc);
            out.put_u16(len as u16);
        }
        _ => {
            out.put_u8(0xdd);
            out.put_u32(len as u32);
        }
    }
}

/// An instant: extension 5, seconds, nanoseconds (docs/wire G7).
pub fn time(out: &mut impl BufMut, time: Timestamp) {
    out.put_slice(&[0xc7, 12, TIME_EXTENSION as u8]);
    out.put_i64(time.seconds());
    out.put_u32(time.nanos());
}
