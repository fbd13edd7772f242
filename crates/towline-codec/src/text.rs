//! Text from the wire.

use std::{
    borrow::{Borrow, Cow},
    fmt,
    str::Utf8Error,
};

use bytes::Bytes;

/// Text that came from the wire or is going to it: immutable and cheap to clone.
///
/// The original does not check that its strings are UTF-8, so a reader must accept any bytes
/// (docs/wire G24). `Text` keeps them as they are; [`Display`](fmt::Display) replaces invalid sequences by
/// U+FFFD, [`as_bytes`](Self::as_bytes) shows the truth. A clone shares the memory of the original,
/// and a `Text` read from a message shares the memory of that message.
///
/// ```
/// use towline_codec::Text;
///
/// let name = Text::from("customEcho");
/// assert_eq!(name, "customEcho");
/// assert_eq!(name.to_str()?, "customEcho");
/// # Ok::<(), std::str::Utf8Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Bytes);

impl Text {
    /// The empty text.
    pub const EMPTY: Self = Self(Bytes::new());

    /// Text that lives as long as the program; costs nothing.
    pub const fn from_static(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// Takes bytes as text, valid UTF-8 or not, without a copy.
    pub const fn from_bytes(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The bytes as they stand on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text, if it is valid UTF-8.
    ///
    /// # Errors
    ///
    /// Says where the first invalid sequence is.
    pub fn to_str(&self) -> Result<&str, Utf8Error> {
        std::str::from_utf8(&self.0)
    }

    /// The text with each invalid sequence replaced by U+FFFD.
    pub fn to_string_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there is not a single byte.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Bytes::from(text))
    }
}

impl From<Text> for Bytes {
    fn from(text: Text) -> Self {
        text.0
    }
}

impl Borrow<[u8]> for Text {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_string_lossy())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_utf8_is_kept_and_shown_replaced() {
        let text = Text::from_bytes(Bytes::from_static(b"a\xffb"));
        assert!(text.to_str().is_err());
        assert_eq!(text.to_string(), "a\u{fffd}b");
        assert_eq!(text.as_bytes(), b"a\xffb");
        assert_eq!(format!("{text:?}"), "\"a\\xffb\"");
    }

    #[test]
    fn static_text_equals_owned_text() {
        assert_eq!(Text::from_static("x"), Text::from(String::from("x")));
        assert_eq!(Text::EMPTY, "");
    }
}
