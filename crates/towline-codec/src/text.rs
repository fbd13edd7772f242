//! Text from the wire.

use std::{
    borrow::{Borrow, Cow},
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    str::Utf8Error,
};

use bytes::Bytes;

/// Text that came from the wire or is going to it: immutable and cheap to clone.
///
/// The original does not check that its strings are UTF-8, so a reader must accept any bytes
/// (docs/wire G24). `Text` keeps them as they are; [`Display`](fmt::Display) replaces invalid sequences by
/// U+FFFD, [`as_bytes`](Self::as_bytes) shows the truth. A long text shares its memory with its
/// clones and with the message it was read from; a short one, up to 38 bytes, is held in place.
///
/// ```
/// use towline_codec::Text;
///
/// let name = Text::from("customEcho");
/// assert_eq!(name, "customEcho");
/// assert_eq!(name.to_str()?, "customEcho");
/// # Ok::<(), std::str::Utf8Error>(())
/// ```
#[derive(Clone)]
pub struct Text(Repr);

/// Addresses, service names and CallIDs fit: those texts cost no memory of their own and no counting
/// of references.
const INLINE: usize = 38;

#[derive(Clone)]
enum Repr {
    Inline { len: u8, bytes: [u8; INLINE] },
    Shared(Bytes),
}

impl Text {
    /// The empty text.
    pub const EMPTY: Self = Self(Repr::Inline {
        len: 0,
        bytes: [0; INLINE],
    });

    /// Text that lives as long as the program; costs nothing.
    pub const fn from_static(text: &'static str) -> Self {
        Self(Repr::Shared(Bytes::from_static(text.as_bytes())))
    }

    /// Takes bytes as text, valid UTF-8 or not. A short text is copied, so that it does not keep a
    /// long message in memory; a long one shares the memory of `bytes`.
    pub fn from_bytes(bytes: Bytes) -> Self {
        Self::inline(&bytes).unwrap_or(Self(Repr::Shared(bytes)))
    }

    /// A part of `source` as text, as [`from_bytes`](Self::from_bytes); for a short one the memory
    /// of `source` is not touched.
    ///
    /// # Panics
    ///
    /// If `part` is not a part of `source`.
    pub fn from_part(source: &Bytes, part: &[u8]) -> Self {
        Self::inline(part).unwrap_or_else(|| Self(Repr::Shared(source.slice_ref(part))))
    }

    fn inline(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; INLINE];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        let len = u8::try_from(text.len()).ok()?;
        Some(Self(Repr::Inline { len, bytes }))
    }

    /// The bytes as they stand on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Shared(bytes) => bytes,
        }
    }

    /// The text, if it is valid UTF-8.
    ///
    /// # Errors
    ///
    /// Says where the first invalid sequence is.
    pub fn to_str(&self) -> Result<&str, Utf8Error> {
        std::str::from_utf8(self.as_bytes())
    }

    /// The text with each invalid sequence replaced by U+FFFD.
    pub fn to_string_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.as_bytes())
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// True if there is not a single byte.
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }
}

impl From<&[u8]> for Text {
    /// Copies the bytes, valid UTF-8 or not.
    fn from(text: &[u8]) -> Self {
        Self::inline(text).unwrap_or_else(|| Self(Repr::Shared(Bytes::copy_from_slice(text))))
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::from(text.as_bytes())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::from_bytes(Bytes::from(text))
    }
}

impl From<Text> for Bytes {
    fn from(text: Text) -> Self {
        match text.0 {
            Repr::Inline { len, bytes } => Self::copy_from_slice(&bytes[..usize::from(len)]),
            Repr::Shared(bytes) => bytes,
        }
    }
}

impl Default for Text {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Text {}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

// Order and hash are those of the bytes, so a table of texts can be asked by bytes.
impl Borrow<[u8]> for Text {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_string_lossy())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
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
    fn short_and_long_texts_behave_alike() {
        for len in [0, 1, INLINE - 1, INLINE, INLINE + 1, 1000] {
            let string = "x".repeat(len);
            let source = Bytes::from(format!("<{string}>"));
            let texts = [
                Text::from(string.as_str()),
                Text::from(string.clone()),
                Text::from_bytes(Bytes::from(string.clone())),
                Text::from_part(&source, &source[1..=len]),
            ];
            for text in &texts {
                assert_eq!(text, &string.as_str());
                assert_eq!(text, &texts[0]);
                assert_eq!(text.cmp(&texts[0]), Ordering::Equal);
                assert_eq!((text.len(), text.is_empty()), (len, len == 0));
                assert_eq!(Bytes::from(text.clone()), string);
            }
            let table: std::collections::HashMap<Text, u8> = [(texts[0].clone(), 1)].into();
            assert_eq!(table.get(string.as_bytes()), Some(&1));
        }
    }

    #[test]
    fn static_text_equals_owned_text() {
        assert_eq!(Text::from_static("x"), Text::from(String::from("x")));
        assert_eq!(Text::EMPTY, "");
    }
}
