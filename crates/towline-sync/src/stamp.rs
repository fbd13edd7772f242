//! Modification times as text: RFC 3339 with nanoseconds, in UTC.

use std::time::{Duration, SystemTime};

const DAY: i64 = 86_400;

/// `2026-11-20T10:42:38.123456789Z`; `None` for years outside 0000 to 9999.
pub(crate) fn format(time: SystemTime) -> Option<String> {
    let (seconds, nanos) = match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => (i64::try_from(after.as_secs()).ok()?, after.subsec_nanos()),
        Err(before) => {
            let before = before.duration();
            let seconds = i64::try_from(before.as_secs()).ok()?.checked_neg()?;
            match before.subsec_nanos() {
                0 => (seconds, 0),
                nanos => (seconds.checked_sub(1)?, 1_000_000_000 - nanos),
            }
        }
    };
    let (year, month, day) = civil(seconds.div_euclid(DAY));
    if !(0..=9999).contains(&year) {
        return None;
    }
    let of_day = seconds.rem_euclid(DAY);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    Some(format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z"
    ))
}

/// The same moment as `2026-11-20 10:42:38.1234`: a space, and no zeros at the end of the fraction,
/// which is absent when it is zero.
pub(crate) fn format_spaced(time: SystemTime) -> Option<String> {
    let text = format(time)?.replacen('T', " ", 1);
    let text = text.trim_end_matches('Z').trim_end_matches('0');
    Some(match text.strip_suffix('.') {
        Some(whole) => whole.to_owned(),
        None => text.to_owned(),
    })
}

/// Reads RFC 3339 with any number of fraction digits up to nine and any offset; `None` for
/// anything else.
pub(crate) fn parse(text: &str) -> Option<SystemTime> {
    let bytes = text.as_bytes();
    if !text.is_ascii() || bytes.len() < 20 || bytes.len() > 40 {
        return None;
    }
    for (at, expected) in [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')] {
        if bytes[at] != expected {
            return None;
        }
    }
    if !matches!(bytes[10], b'T' | b't' | b' ') {
        return None;
    }
    let (year, month, day) = (
        number(&text[..4])?,
        number(&text[5..7])?,
        number(&text[8..10])?,
    );
    let (hour, minute, second) = (
        number(&text[11..13])?,
        number(&text[14..16])?,
        number(&text[17..19])?,
    );
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // A leap second (60) is taken as the first second of the next minute.
    if hour > 23
        || minute > 59
        || second > 60
        || civil(days(year, month, day)) != (year, month, day)
    {
        return None;
    }
    let mut rest = &text[19..];
    let mut nanos = 0_u32;
    if let Some(fraction) = rest.strip_prefix('.') {
        let end = fraction
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(fraction.len());
        if !(1..=9).contains(&end) {
            return None;
        }
        nanos = fraction[..end].parse::<u32>().ok()? * 10_u32.pow(9 - u32::try_from(end).ok()?);
        rest = &fraction[end..];
    }
    let offset = match rest.as_bytes() {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (number(&rest[1..3])?, number(&rest[4..6])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let offset = hours * 3600 + minutes * 60;
            if *sign == b'-' { -offset } else { offset }
        }
        _ => return None,
    };
    let seconds = days(year, month, day) * DAY + hour * 3600 + minute * 60 + second - offset;
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let base = if seconds >= 0 {
        SystemTime::UNIX_EPOCH.checked_add(whole)?
    } else {
        SystemTime::UNIX_EPOCH.checked_sub(whole)?
    };
    base.checked_add(Duration::from_nanos(nanos.into()))
}

fn number(digits: &str) -> Option<i64> {
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar. Years are counted from
/// March, so that the leap day is the last of its year.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date of a day counted from 1970-01-01; the inverse of [`days`].
fn civil(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = (shifted + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64, nanos: u32) -> SystemTime {
        let whole = Duration::from_secs(seconds.unsigned_abs());
        let base = if seconds < 0 {
            SystemTime::UNIX_EPOCH - whole
        } else {
            SystemTime::UNIX_EPOCH + whole
        };
        base + Duration::from_nanos(nanos.into())
    }

    #[test]
    fn known_instants_have_their_texts() {
        for (seconds, nanos, text) in [
            (0, 0, "1970-01-01T00:00:00.000000000Z"),
            (-1, 5, "1969-12-31T23:59:59.000000005Z"),
            (951_782_400, 0, "2000-02-29T00:00:00.000000000Z"),
            (1_795_170_158, 123_456_789, "2026-11-20T10:22:38.123456789Z"),
            (
                253_402_300_799,
                999_999_999,
                "9999-12-31T23:59:59.999999999Z",
            ),
        ] {
            assert_eq!(format(at(seconds, nanos)).as_deref(), Some(text));
            assert_eq!(parse(text), Some(at(seconds, nanos)));
        }
    }

    #[test]
    fn offsets_and_short_fractions_are_read() {
        let noon = parse("2026-11-20T12:00:00Z");
        assert!(noon.is_some());
        assert_eq!(parse("2026-11-20T13:30:00+01:30"), noon);
        assert_eq!(parse("2026-11-20T07:00:00.0-05:00"), noon);
        assert_eq!(
            parse("1970-01-01T00:00:00.5Z"),
            Some(SystemTime::UNIX_EPOCH + Duration::from_millis(500))
        );
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "now",
            "2026-11-20",
            "2026-11-20T10:22:38",
            "2026-13-20T10:22:38Z",
            "2026-02-30T10:22:38Z",
            "2026-11-20T24:00:00Z",
            "2026-11-20T10:22:38.Z",
            "2026-11-20T10:22:38.1234567890Z",
            "2026-11-20T10:22:38+1:00",
            "+026-11-20T10:22:38Z",
            "2026-11-20T10:22:38Z ",
            "２026-11-20T10:22:38Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(format(at(253_402_300_800, 0)), None);
    }

    proptest! {
        #[test]
        fn every_instant_of_four_digit_years_survives(
            seconds in -62_167_219_200_i64..253_402_300_800,
            nanos in 0_u32..1_000_000_000,
        ) {
            let time = at(seconds, nanos);
            let text = format(time).expect("a year of four digits");
            prop_assert_eq!(parse(&text), Some(time));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,45}") {
            let _ = parse(&text);
        }
    }
}
