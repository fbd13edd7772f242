//! Greenpack as JSON, for people and for programs that know nothing else.
//!
//! Bytes are base64 (standard alphabet, padded), times RFC 3339 in UTC, durations nanoseconds, complex
//! numbers arrays of two, other extensions objects `{"ext": N, "data": "…"}`. Keys that are not text are
//! written as text. A float that JSON cannot hold is null.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::BytesMut;
use serde_json::{Map, Number, Value};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{DecodeError, Form, Greenpack, Kind, MAX_DEPTH, Reader, Timestamp, write};

/// The JSON of a greenpack value of any type, its keys as they stand on the wire.
///
/// # Errors
///
/// Whatever in the input is not greenpack.
pub fn of_bytes(greenpack: &[u8]) -> Result<Value, DecodeError> {
    value(&mut Reader::new(greenpack), MAX_DEPTH)
}

/// The JSON of a value of a type of ours, its fields by their names.
///
/// # Errors
///
/// A hand-written form that is not greenpack.
pub fn of<T: Greenpack>(value: &T) -> Result<Value, DecodeError> {
    let mut out = BytesMut::new();
    value.encode_as(Form::Named, &mut out);
    of_bytes(&out)
}

/// A value of a type of ours from JSON. Fields may be called by their bare names, in Go or in Rust.
///
/// # Errors
///
/// Whatever in it is not of this type.
pub fn read<T: Greenpack>(json: &Value) -> Result<T, DecodeError> {
    let bytes = to_bytes(json);
    T::decode(&mut Reader::lenient(&bytes))
}

/// Greenpack that says the same as the JSON, as far as it can without knowing the type.
pub fn to_bytes(json: &Value) -> BytesMut {
    let mut out = BytesMut::new();
    put(json, &mut out);
    out
}

fn put(json: &Value, out: &mut BytesMut) {
    match json {
        Value::Null => write::nil(out),
        Value::Bool(value) => write::bool(out, *value),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => write::int(out, number),
            (None, Some(number)) => write::uint(out, number),
            (None, None) => number.as_f64().unwrap_or(f64::NAN).encode_plain(out),
        },
        Value::String(text) => write::str(out, text.as_bytes()),
        Value::Array(values) => {
            write::array_header(out, values.len());
            values.iter().for_each(|value| put(value, out));
        }
        Value::Object(entries) => {
            write::map_header(out, entries.len());
            for (key, value) in entries {
                write::str(out, key.as_bytes());
                put(value, out);
            }
        }
    }
}

fn value(reader: &mut Reader<'_>, depth: usize) -> Result<Value, DecodeError> {
    Ok(match reader.peek()? {
        Kind::Nil => {
            reader.skip()?;
            Value::Null
        }
        Kind::Bool => reader.bool()?.into(),
        Kind::Int => reader.int()?.into(),
        Kind::Uint => reader.uint()?.into(),
        Kind::Float32 => float(reader.f32()?.into()),
        Kind::Float64 => float(reader.f64()?),
        Kind::Str => text(reader.str()?).into(),
        Kind::Bin => STANDARD.encode(reader.bin()?).into(),
        Kind::Ext => extension(reader)?,
        Kind::Array => {
            let len = reader.array_header()?.unwrap_or(0);
            let depth = depth.checked_sub(1).ok_or(DecodeError::TooDeep)?;
            (0..len)
                .map(|_| value(reader, depth))
                .collect::<Result<Vec<_>, _>>()?
                .into()
        }
        Kind::Map => {
            let depth = depth.checked_sub(1).ok_or(DecodeError::TooDeep)?;
            let mut entries = Map::new();
            for _ in 0..reader.map_header()?.unwrap_or(0) {
                let key = match value(reader, depth)? {
                    Value::String(key) => key,
                    other => other.to_string(),
                };
                entries.insert(key, value(reader, depth)?);
            }
            entries.into()
        }
        Kind::Invalid => return Err(DecodeError::InvalidPrefix),
    })
}

fn extension(reader: &mut Reader<'_>) -> Result<Value, DecodeError> {
    let mut again = reader.clone();
    let Some((number, data)) = reader.extension()? else {
        return Ok(Value::Null);
    };
    Ok(match (number, data.len()) {
        (5, 12) => rfc3339(Timestamp::decode(&mut again)?).into(),
        (7, _) => super::Nanoseconds::decode(&mut again)?.0.into(),
        (3, 8) => {
            let complex = super::Complex::<f32>::decode(&mut again)?;
            vec![float(complex.re.into()), float(complex.im.into())].into()
        }
        (4, 16) => {
            let complex = super::Complex::<f64>::decode(&mut again)?;
            vec![float(complex.re), float(complex.im)].into()
        }
        _ => serde_json::json!({ "ext": number, "data": STANDARD.encode(data) }),
    })
}

fn float(value: f64) -> Value {
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An instant as RFC 3339 has it, in UTC; one whose year has more than four digits in seconds since 1970.
pub fn rfc3339(at: Timestamp) -> String {
    let nanos = i128::from(at.seconds()) * 1_000_000_000 + i128::from(at.nanos());
    OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .ok()
        .and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_else(|| at.to_string())
}

/// Reads what [`rfc3339`] writes, in any zone.
///
/// # Errors
///
/// [`DecodeError::Text`].
pub fn time_of(text: &[u8]) -> Result<Timestamp, DecodeError> {
    let at = std::str::from_utf8(text)
        .ok()
        .and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok())
        .ok_or(DecodeError::Text("a time"))?;
    Ok(Timestamp::new(at.unix_timestamp(), at.nanosecond().into()))
}

/// Reads bytes in base64.
///
/// # Errors
///
/// [`DecodeError::Text`].
pub fn bytes_of(text: &[u8]) -> Result<Vec<u8>, DecodeError> {
    STANDARD
        .decode(text)
        .map_err(|_| DecodeError::Text("bytes"))
}
