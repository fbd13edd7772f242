//! Numbers, times and names as the original's meter writes them.

/// Bytes of the name column.
const NAME_COLUMN: usize = 30;

/// A number of bytes: one decimal, at least five characters, and B to TB by 1024.
pub(crate) fn format_bytes(bytes: u64) -> String {
    let (value, unit) = scale(bytes as f64, &["B", "KB", "MB", "GB", "TB"]);
    format!("{value:5.1} {unit}")
}

/// A speed: one decimal, at least seven characters, and B/s to GB/s by 1024.
pub(crate) fn format_speed(bytes_per_second: f64) -> String {
    let (value, unit) = scale(bytes_per_second, &["B/s  ", "KB/s ", "MB/s ", "GB/s "]);
    format!("{value:7.1} {unit}")
}

/// Bytes a second; finite even if no time has passed that the clock can tell.
pub(crate) fn rate(bytes: u64, seconds: f64) -> f64 {
    bytes as f64 / seconds.max(1e-9)
}

/// Whole seconds as `mm:ss`, or `hh:mm:ss` from one hour on; nothing is below zero.
pub(crate) fn format_duration(seconds: f64) -> String {
    // The conversion saturates and turns "not a number" into zero.
    let seconds = seconds as u64;
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours:02}:{minutes:02}:{rest:02}")
    } else {
        format!("{minutes:02}:{rest:02}")
    }
}

/// An integer with an underscore before every three digits. The sign counts as a place, as with
/// the original: `-999` becomes `-_999`.
pub(crate) fn format_under(number: i128) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('_');
        }
        text.push(digit);
    }
    text
}

/// A name cut to 30 bytes between characters, or padded to 30 characters.
///
/// The original cuts in the middle of a character; a name cut shorter than 30 bytes for the sake of
/// a whole character is filled up to them.
pub(crate) fn name_column(name: &str) -> String {
    if name.len() <= NAME_COLUMN {
        return format!("{name:NAME_COLUMN$}");
    }
    let mut end = NAME_COLUMN;
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{}", &name[..end], " ".repeat(NAME_COLUMN - end))
}

fn scale<'a>(mut value: f64, units: &[&'a str]) -> (f64, &'a str) {
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    (value, units[unit])
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn every_text_of_the_originals_meter_is_the_same() {
        let json = include_str!("../../tests/vectors/progress_format.json");
        let entries: Vec<Value> = serde_json::from_str(json).unwrap();
        assert_eq!(entries.len(), 41);
        let mut kinds = [0; 4];
        for entry in entries {
            let name = entry["name"].as_str().unwrap();
            let decoded = &entry["decoded"];
            if name.starts_with("bytes ") {
                let value = decoded["value"].as_u64().unwrap();
                assert_eq!(format_bytes(value), decoded["total"], "{name}");
                assert_eq!(format_speed(value as f64), decoded["speed"], "{name}");
                kinds[0] += 1;
            } else if name.starts_with("duration ") {
                let seconds = decoded["seconds"].as_f64().unwrap();
                assert_eq!(format_duration(seconds), decoded["text"], "{name}");
                kinds[1] += 1;
            } else if name.starts_with("name column ") {
                let column = name_column(decoded["in"].as_str().unwrap());
                let hex: String = column.bytes().map(|b| format!("{b:02x}")).collect();
                assert_eq!(hex, entry["hex"], "{name}");
                kinds[2] += 1;
            } else if name.starts_with("formatUnder ") {
                let number = decoded["n"].as_i64().unwrap();
                assert_eq!(format_under(number.into()), decoded["text"], "{name}");
                kinds[3] += 1;
            } else {
                panic!("unknown kind of entry: {name}");
            }
        }
        assert_eq!(kinds, [13, 9, 7, 12]);
    }

    #[test]
    fn a_name_is_never_cut_inside_a_character() {
        for prefix in ["", "x", "xx", "xxx"] {
            for character in ["é", "日", "🦀"] {
                let name = format!("{prefix}{}", character.repeat(30));
                let column = name_column(&name);
                assert_eq!(column.len(), NAME_COLUMN, "{name}");
                assert!(name.starts_with(column.trim_end()), "{name}");
            }
        }
    }

    #[test]
    fn a_rate_is_a_number_whatever_the_clock_says() {
        assert_eq!(rate(10, 2.0), 5.0);
        assert!(rate(u64::MAX, 0.0).is_finite());
        assert_eq!(rate(0, 0.0), 0.0);
    }

    #[test]
    fn impossible_times_have_a_text() {
        assert_eq!(format_duration(f64::NAN), "00:00");
        assert_eq!(format_duration(f64::NEG_INFINITY), "00:00");
        assert!(format_duration(f64::INFINITY).ends_with(":15"));
    }
}
