//! Manifests as the original prints them: JSON, indented by four spaces.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use towline_codec::greenpack::Timestamp;

use super::field::Fields;
use super::{RsyncDiff, RsyncHashes};

const STEP: usize = 4;

impl RsyncHashes {
    /// JSON as the original prints it, with the names of its fields (docs/wire D9).
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        object(self, 0, &mut out);
        out
    }
}

impl RsyncDiff {
    /// JSON as the original prints it, with the names of its fields (docs/wire D9).
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        object(self, 0, &mut out);
        out
    }
}

pub(super) fn object(value: &dyn Fields, indent: usize, out: &mut String) {
    out.push('{');
    let inner = indent + STEP;
    // Go prints in the order of declaration, in which the three last numbers of a manifest stand first.
    for early in [true, false] {
        value.each(&mut |name, write| {
            if matches!(name, "Rsync0CallID" | "IsFromSender" | "Created") != early {
                return;
            }
            if !out.ends_with('{') {
                out.push(',');
            }
            line(inner, out);
            text(name, out);
            out.push_str(": ");
            write(inner, out);
        });
    }
    if !out.ends_with('{') {
        line(indent, out);
    }
    out.push('}');
}

pub(super) fn array<T>(
    elements: &[T],
    indent: usize,
    out: &mut String,
    write: impl Fn(&T, usize, &mut String),
) {
    if elements.is_empty() {
        // A nil slice, which Go prints so.
        out.push_str("null");
        return;
    }
    out.push('[');
    for (index, element) in elements.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        line(indent + STEP, out);
        write(element, indent + STEP, out);
    }
    line(indent, out);
    out.push(']');
}

pub(super) fn text(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Go escapes what could end a script in a page as well.
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

pub(super) fn binary(bytes: &[u8], out: &mut String) {
    if bytes.is_empty() {
        out.push_str("null");
    } else {
        text(&STANDARD.encode(bytes), out);
    }
}

pub(super) fn time(time: Option<Timestamp>, out: &mut String) {
    let shown = time.and_then(Timestamp::to_system_time);
    let Some(shown) = shown.and_then(crate::stamp::format) else {
        out.push_str("\"0001-01-01T00:00:00Z\"");
        return;
    };
    let digits = shown.trim_end_matches('Z').trim_end_matches('0');
    text(&format!("{}Z", digits.trim_end_matches('.')), out);
}

fn line(indent: usize, out: &mut String) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', indent));
}
