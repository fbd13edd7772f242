//! Why a value could not be read.

use std::fmt;

/// What stands at a place in the input, by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are MessagePack's own")]
pub enum Kind {
    Nil,
    Bool,
    Int,
    Uint,
    Float32,
    Float64,
    Str,
    Bin,
    Array,
    Map,
    Ext,
    /// The byte `c1`, which MessagePack never uses.
    Invalid,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nil => "nil",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::Str => "str",
            Self::Bin => "bin",
            Self::Array => "array",
            Self::Map => "map",
            Self::Ext => "ext",
            Self::Invalid => "invalid",
        })
    }
}

/// Why a value could not be read. The input is the peer's; the reader never panics on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The input ends inside a value, or a length reaches beyond it.
    #[error(
        "too few bytes left to read the value: the message is truncated or a length in it is wrong"
    )]
    Truncated,
    /// A value of another kind stands where this one is due.
    #[error("a value of type {got} stands where {wanted} is due")]
    WrongType {
        /// What the field holds.
        wanted: Kind,
        /// What the input holds.
        got: Kind,
    },
    /// The byte `c1` stands where a value should begin.
    #[error("unrecognised type prefix 0xc1")]
    InvalidPrefix,
    /// An integer does not fit the field.
    #[error("an integer is too large or too small for its field")]
    OutOfRange,
    /// An array whose number of elements is fixed has another one (docs/wire G14).
    #[error("an array of {got} elements stands where {wanted} are due")]
    ArraySize {
        /// How many are due.
        wanted: u32,
        /// How many the input holds.
        got: u32,
    },
    /// An extension of another type number stands where a time is due.
    #[error("an extension of type {got} stands where type {wanted} is due")]
    ExtensionType {
        /// The number that is due.
        wanted: i8,
        /// The number in the input.
        got: i8,
    },
    /// A map that should name a variant of an enum names none that is known (docs/wire G31).
    #[error("no known variant is named: the other end may have a newer version of the type")]
    UnknownVariant,
    /// Text that stands for a time is no RFC 3339, or for bytes no base64.
    #[error("text that stands for {0} is not in its form")]
    Text(&'static str),
    /// Arrays or maps are nested deeper than [`MAX_DEPTH`](super::MAX_DEPTH).
    #[error("arrays and maps are nested deeper than {}", super::MAX_DEPTH)]
    TooDeep,
    /// A map has more entries than its reader takes: so many.
    #[error("a map has more than {0} entries")]
    TooManyEntries(u32),
}
