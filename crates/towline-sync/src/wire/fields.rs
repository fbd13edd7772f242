//! Fields that several messages have.

use bytes::Bytes;

use super::{Reader, WireError, Writer, types};

/// Longest text for people, in bytes.
const TEXT_MAX: usize = 4096;
/// Largest piece of a file in one message, in bytes.
const DATA_MAX: usize = 1 << 20;
/// Version of these messages: the first, until one has been released (docs/wire D12).
pub(crate) const VERSION: u64 = 1;

pub(super) fn version(input: &mut Reader<'_>) -> Result<(), WireError> {
    match input.number()? {
        VERSION => Ok(()),
        version => Err(WireError::Version { version }),
    }
}

pub(super) fn option<T>(
    value: &Option<T>,
    out: &mut Writer<'_>,
    put: impl Fn(&T, &mut Writer<'_>),
) {
    out.byte(u8::from(value.is_some()));
    if let Some(value) = value {
        put(value, out);
    }
}

pub(super) fn optional<T>(
    input: &mut Reader<'_>,
    take: impl Fn(&mut Reader<'_>) -> Result<T, WireError>,
) -> Result<Option<T>, WireError> {
    Ok(if flag(input)? {
        Some(take(input)?)
    } else {
        None
    })
}

pub(super) fn flag(input: &mut Reader<'_>) -> Result<bool, WireError> {
    match input.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(WireError::Value {
            value: other.into(),
        }),
    }
}

pub(super) fn name(input: &mut Reader<'_>) -> Result<Bytes, WireError> {
    let name = input.bytes(types::NAME_MAX)?;
    types::check_name(&name)?;
    Ok(name)
}

pub(super) fn put_text(text: &str, out: &mut Writer<'_>) {
    let mut end = text.len().min(TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    out.bytes(&text.as_bytes()[..end]);
}

pub(super) fn text(input: &mut Reader<'_>) -> Result<String, WireError> {
    Ok(String::from_utf8_lossy(&input.bytes(TEXT_MAX)?).into_owned())
}

pub(super) fn data(input: &mut Reader<'_>) -> Result<Bytes, WireError> {
    if input.left() > DATA_MAX {
        return Err(WireError::Length);
    }
    Ok(input.rest())
}

/// Pairs, the first number as the distance from where the pair before it ended.
pub(super) fn pairs(pairs: &[(u64, u64)], out: &mut Writer<'_>) {
    out.number(pairs.len() as u64);
    let mut end = 0_u64;
    for (start, length) in pairs {
        out.signed(start.wrapping_sub(end) as i64);
        out.number(*length);
        end = start.wrapping_add(*length);
    }
}

pub(super) fn take_pairs(input: &mut Reader<'_>) -> Result<Vec<(u64, u64)>, WireError> {
    let count = input.count(2)?;
    let mut pairs = Vec::with_capacity(count);
    let mut end = 0_u64;
    for _ in 0..count {
        let start = end.wrapping_add(input.signed()? as u64);
        let length = input.number()?;
        end = start.checked_add(length).ok_or(WireError::Number)?;
        pairs.push((start, length));
    }
    Ok(pairs)
}
