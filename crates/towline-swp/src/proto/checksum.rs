//! The checksum of data.

use bytes::Bytes;

/// Bytes of a checksum.
pub const CHECKSUM_LEN: usize = 64;

/// BLAKE2b with 64 bytes of output, the checksum of every packet's data (docs/wire W9).
///
/// ```
/// use towline_swp::proto::checksum;
///
/// assert_eq!(checksum(b"abc")[..4], [0xba, 0x80, 0xa5, 0x3f]);
/// ```
pub fn checksum(data: &[u8]) -> [u8; CHECKSUM_LEN] {
    *blake2b_simd::blake2b(data).as_array()
}

/// The field of a packet: empty for empty data (docs/wire W9).
pub(crate) fn checksum_field(data: &[u8]) -> Bytes {
    if data.is_empty() {
        Bytes::new()
    } else {
        Bytes::copy_from_slice(&checksum(data))
    }
}
