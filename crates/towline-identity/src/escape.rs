//! Texts of strangers, made harmless for logs and terminals.

/// The text with everything escaped that steers a terminal or a log, or that cannot be seen: control
/// characters, line and paragraph separators, and format characters, such as those that turn the
/// direction of writing around.
///
/// ```
/// use towline_identity::escape;
///
/// assert_eq!(escape("jürgen@example.com"), "jürgen@example.com");
/// assert_eq!(escape("moc.knab\u{202e}@eve"), "moc.knab\\u{202e}@eve");
/// ```
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Whether a character does something else than to be seen: Unicode's categories Cc, Cf, Zl and Zp.
pub(crate) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            u32::from(c),
            0xad | 0x600..=0x605
                | 0x61c
                | 0x6dd
                | 0x70f
                | 0x890..=0x891
                | 0x8e2
                | 0x180e
                | 0x200b..=0x200f
                | 0x2028..=0x202e
                | 0x2060..=0x206f
                | 0xfeff
                | 0xfff9..=0xfffb
                | 0x110bd
                | 0x110cd
                | 0x13430..=0x1343f
                | 0x1bca0..=0x1bca3
                | 0x1d173..=0x1d17a
                | 0xe0001
                | 0xe0020..=0xe007f
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_escaped_and_letters_are_not() {
        for plain in ["", "a b", "größe", "日本語", "e\u{301}", "it's \"here\" \\"] {
            assert_eq!(escape(plain), plain);
        }
        for (text, shown) in [
            ("a\nb", "a\\nb"),
            ("\u{1b}[31m", "\\u{1b}[31m"),
            ("a\u{202e}b", "a\\u{202e}b"),
            ("a\u{2028}b", "a\\u{2028}b"),
            ("a\u{200b}b\u{feff}", "a\\u{200b}b\\u{feff}"),
            ("\u{2066}x\u{2069}", "\\u{2066}x\\u{2069}"),
        ] {
            assert_eq!(escape(text), shown);
        }
    }
}
