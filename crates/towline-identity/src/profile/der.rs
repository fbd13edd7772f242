//! DER, as much of it as the original's certificates need, written in their order.

use std::time::SystemTime;

use x509_parser::time::ASN1Time;

use super::unix;

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const PRINTABLE_STRING: u8 = 0x13;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// One element: tag, length, content. Contents of 64 KiB and more do not occur here.
pub(super) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match content.len() {
        short @ 0..=0x7f => out.push(short as u8),
        long @ 0x80..=0xff => out.extend_from_slice(&[0x81, long as u8]),
        longer => out.extend_from_slice(&[0x82, (longer >> 8) as u8, longer as u8]),
    }
    out.extend_from_slice(content);
    out
}

pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(SEQUENCE, &parts.concat())
}

/// An object identifier, its content given.
pub(super) fn oid(content: &[u8]) -> Vec<u8> {
    element(OBJECT_IDENTIFIER, content)
}

/// A bit string of whole bytes.
pub(super) fn bits(bytes: &[u8]) -> Vec<u8> {
    element(BIT_STRING, &[&[0], bytes].concat())
}

/// A moment in whole seconds: UTCTime before 2050, GeneralizedTime from then on, as RFC 5280 says.
/// `None` beyond the year 9999.
pub(super) fn time(moment: SystemTime) -> Option<Vec<u8>> {
    let seconds = i64::try_from(unix(moment).as_secs()).ok()?;
    let time = ASN1Time::from_timestamp(seconds).ok()?.to_datetime();
    let (year, month) = (time.year(), u8::from(time.month()));
    let rest = format!(
        "{month:02}{:02}{:02}{:02}{:02}Z",
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    );
    Some(if year < 2050 {
        element(UTC_TIME, format!("{:02}{rest}", year % 100).as_bytes())
    } else {
        element(GENERALIZED_TIME, format!("{year:04}{rest}").as_bytes())
    })
}
