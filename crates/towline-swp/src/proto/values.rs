//! Reading the values of the original's MessagePack profile, within limits.

use bytes::{BufMut, Bytes};
use towline_codec::{
    Text,
    greenpack::{DecodeError as ValueError, Kind, Reader, Timestamp, write},
};

use super::error::DecodeError;

/// The longest text that is read: inboxes, nonces, paths.
pub(crate) const MAX_TEXT: usize = 4 << 10;
/// Data shorter than this is copied out of its packet, so that it does not keep a large buffer
/// alive.
const COPY_BELOW: usize = 4 << 10;

/// A part of a packet as it is kept: copied if it is short, or less than half of the packet, which a
/// part of it would keep alive.
pub(crate) fn part(part: &[u8], packet: &Bytes) -> Bytes {
    if part.len() < COPY_BELOW || part.len() < packet.len() / 2 {
        Bytes::copy_from_slice(part)
    } else {
        packet.slice_ref(part)
    }
}

/// Seconds from 1970 to the original's zero time, the first of January of year 1.
const ZERO_SECONDS: i64 = -62_135_596_800;

/// Reads the entries of a map; `field` gets each key with the reader in front of the value, and
/// returns false for a key it does not know.
///
/// Keys may come in any order, be absent, be unknown, come twice (docs/wire W6).
pub(crate) fn read_map(
    reader: &mut Reader<'_>,
    max_entries: usize,
    mut field: impl FnMut(&[u8], &mut Reader<'_>) -> Result<bool, DecodeError>,
) -> Result<(), DecodeError> {
    let entries = reader.map_header()?.ok_or(DecodeError::NoMap)?;
    if entries > max_entries {
        return Err(DecodeError::TooManyEntries(
            u32::try_from(entries).unwrap_or(u32::MAX),
        ));
    }
    for _ in 0..entries {
        // docs/wire W7: an empty key is what the original's decoder dies of.
        let key = reader.key()?.ok_or(DecodeError::EmptyKey)?;
        if !field(key, reader)? {
            reader.skip()?;
        }
    }
    Ok(())
}

/// docs/wire W7: nil stands for no value; the readers of greenpack would take it for zero.
fn refuse_nil(reader: &Reader<'_>) -> Result<(), DecodeError> {
    match reader.peek()? {
        Kind::Nil => Err(DecodeError::Nil),
        _ => Ok(()),
    }
}

pub(crate) fn int(reader: &mut Reader<'_>) -> Result<i64, DecodeError> {
    refuse_nil(reader)?;
    Ok(reader.int()?)
}

pub(crate) fn text(reader: &mut Reader<'_>) -> Result<Text, DecodeError> {
    refuse_nil(reader)?;
    let text = reader.str()?;
    if text.len() > MAX_TEXT {
        return Err(DecodeError::TextTooLong(
            u32::try_from(text.len()).unwrap_or(u32::MAX),
        ));
    }
    Ok(Text::from(text))
}

/// A byte string of at most `limit` bytes, as a part of `source` if it is most of it.
pub(crate) fn data(
    reader: &mut Reader<'_>,
    source: &Bytes,
    limit: usize,
) -> Result<Bytes, DecodeError> {
    refuse_nil(reader)?;
    let data = reader.bin()?;
    if data.len() > limit {
        return Err(DecodeError::DataTooLong(
            u32::try_from(data.len()).unwrap_or(u32::MAX),
        ));
    }
    Ok(part(data, source))
}

/// An instant in either form that the original has read: its own extension 5, or MessagePack's −1 in
/// 4, 8 or 12 bytes (docs/wire W4, W6). The zero time reads as `None`.
pub(crate) fn time(reader: &mut Reader<'_>) -> Result<Option<Timestamp>, DecodeError> {
    refuse_nil(reader)?;
    let start = reader.rest();
    let is_standard = match start {
        [0xc7, 12, kind, ..] | [0xd6 | 0xd7, kind, ..] => *kind == 0xff,
        _ => false,
    };
    if !is_standard {
        return Ok(reader.time()?);
    }
    reader.skip()?;
    let (seconds, nanos) = match &start[..start.len() - reader.rest().len()] {
        [0xd6, _, seconds @ ..] => (number(seconds) as i64, 0),
        [0xd7, _, both @ ..] => {
            let both = number(both);
            ((both & 0x3_ffff_ffff) as i64, (both >> 34) as i64)
        }
        [_, _, _, n0, n1, n2, n3, seconds @ ..] => (
            number(seconds) as i64,
            i64::from(u32::from_be_bytes([*n0, *n1, *n2, *n3])),
        ),
        _ => return Err(ValueError::Truncated.into()),
    };
    let time = Timestamp::new(seconds, nanos);
    Ok((time != Timestamp::new(ZERO_SECONDS, 0)).then_some(time))
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// Writes an instant; `None` is the original's zero time (docs/wire W4).
pub(crate) fn write_time(out: &mut impl BufMut, time: Option<Timestamp>) {
    write::time(out, time.unwrap_or_else(|| Timestamp::new(ZERO_SECONDS, 0)));
}
