//! Compression of frame bodies (docs/wire F8 to F20, F29, F30).

mod lz4;
mod s2;
mod zstd;

use std::{fmt, str::FromStr};

use bytes::Bytes;

use super::Violation;

/// Largest decompressed body (docs/wire F20).
pub const MAX_DECOMPRESSED: usize = 64 << 20;

/// How a side compresses what it sends. What it receives, it decompresses in any case
/// (docs/wire F9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Compression {
    /// Bodies go as they are.
    None,
    /// S2, a faster relative of Snappy: the default (docs/wire F14).
    #[default]
    S2,
    /// LZ4 (docs/wire F29): about as fast as S2, and what other tools understand.
    Lz4,
    /// zstd at its fastest level (docs/wire F30).
    Zstd01,
    /// zstd at its usual level, 3.
    Zstd03,
    /// zstd at level 7.
    Zstd07,
    /// zstd at level 11: the smallest, and ten times slower than the fastest.
    Zstd11,
}

/// The compression byte of a message that asked not to be compressed (docs/wire F12).
pub(crate) const BYTE_OFF_FOR_MESSAGE: u8 = 7;

impl Compression {
    /// All of them, in the order of their bytes.
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::S2,
        Self::Lz4,
        Self::Zstd01,
        Self::Zstd03,
        Self::Zstd07,
        Self::Zstd11,
    ];

    /// The original's name, but `none` for its `compression-none` (docs/wire F8).
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::S2 => "s2",
            Self::Lz4 => "lz4",
            Self::Zstd01 => "zstd:01",
            Self::Zstd03 => "zstd:03",
            Self::Zstd07 => "zstd:07",
            Self::Zstd11 => "zstd:11",
        }
    }

    /// The byte that names this compression in a frame (docs/wire F8).
    pub const fn byte(self) -> u8 {
        match self {
            Self::None => 0,
            Self::S2 => 1,
            Self::Lz4 => 2,
            Self::Zstd01 => 3,
            Self::Zstd03 => 4,
            Self::Zstd07 => 5,
            Self::Zstd11 => 6,
        }
    }

    /// The compression a frame's byte names. 0 and 7 both mean none.
    ///
    /// # Errors
    ///
    /// [`Violation::UnknownCompression`] for a byte that means nothing.
    pub const fn from_byte(byte: u8) -> Result<Self, Violation> {
        match byte {
            0 | BYTE_OFF_FOR_MESSAGE => Ok(Self::None),
            1 => Ok(Self::S2),
            2 => Ok(Self::Lz4),
            3 => Ok(Self::Zstd01),
            4 => Ok(Self::Zstd03),
            5 => Ok(Self::Zstd07),
            6 => Ok(Self::Zstd11),
            other => Err(Violation::UnknownCompression(other)),
        }
    }

    /// Appends `plain` in compressed form to `out`.
    pub(crate) fn compress(self, plain: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::None => out.extend_from_slice(plain),
            Self::S2 => s2::compress(plain, out),
            Self::Lz4 => lz4::compress(plain, out),
            Self::Zstd01 => zstd::compress(plain, 1, out),
            Self::Zstd03 => zstd::compress(plain, 3, out),
            Self::Zstd07 => zstd::compress(plain, 7, out),
            Self::Zstd11 => zstd::compress(plain, 11, out),
        }
    }

    /// The body as it was before compression; without a copy if it was not compressed.
    ///
    /// # Errors
    ///
    /// [`Violation::CorruptCompression`], or [`Violation::DecompressedTooLarge`] as soon as the
    /// output would pass `limit`.
    pub fn decompress(self, body: Bytes, limit: usize) -> Result<Bytes, Violation> {
        match self {
            Self::None => Ok(body),
            Self::S2 => s2::decompress(&body, limit).map(Bytes::from),
            Self::Lz4 => lz4::decompress(&body, limit).map(Bytes::from),
            Self::Zstd01 | Self::Zstd03 | Self::Zstd07 | Self::Zstd11 => {
                zstd::decompress(&body, limit).map(Bytes::from)
            }
        }
    }
}

fn too_large(limit: usize) -> Violation {
    Violation::DecompressedTooLarge(u32::try_from(limit).unwrap_or(u32::MAX))
}

/// A name that means no compression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("compression `{0}` is unknown: use none, s2, lz4, zstd:01, zstd:03, zstd:07 or zstd:11")]
pub struct UnknownCompressionName(String);

impl FromStr for Compression {
    type Err = UnknownCompressionName;

    /// The original's names, and `none`.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        if matches!(name, "" | "compression-none") {
            return Ok(Self::None);
        }
        Self::ALL
            .into_iter()
            .find(|compression| compression.name() == name)
            .ok_or_else(|| UnknownCompressionName(name.to_owned()))
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_and_bytes_lead_back_to_their_compression() {
        for compression in Compression::ALL {
            assert_eq!(compression.to_string().parse(), Ok(compression));
            assert_eq!(Compression::from_byte(compression.byte()), Ok(compression));
        }
        assert_eq!("compression-none".parse(), Ok(Compression::None));
        let error = "zstd:04".parse::<Compression>().unwrap_err();
        assert!(error.to_string().contains("zstd:04"), "{error}");
    }

    proptest! {
        #[test]
        fn every_compression_round_trips_and_keeps_its_limit(
            pattern in proptest::collection::vec(any::<u8>(), 1..40),
            len in 0..300_000_usize,
        ) {
            let plain: Vec<u8> = pattern
                .iter()
                .cycle()
                .take(len)
                .enumerate()
                .map(|(at, byte)| byte.wrapping_add((at / 5000) as u8))
                .collect();
            for compression in Compression::ALL {
                let mut packed = Vec::new();
                compression.compress(&plain, &mut packed);
                let packed = Bytes::from(packed);
                prop_assert_eq!(
                    compression.decompress(packed.clone(), len),
                    Ok(Bytes::from(plain.clone())),
                    "{}",
                    compression
                );
                if len > 0 && compression != Compression::None {
                    prop_assert_eq!(
                        compression.decompress(packed, len - 1),
                        Err(Violation::DecompressedTooLarge(len as u32 - 1)),
                        "{}",
                        compression
                    );
                }
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            for compression in Compression::ALL {
                compression.decompress(bytes.clone().into(), 1 << 20).ok();
            }
        }
    }
}
