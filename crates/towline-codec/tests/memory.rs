//! What values of hostile peers cost.

#![cfg(feature = "tokio")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use bytes::BytesMut;
use peak_alloc::PeakAlloc;
use towline_codec::primitives::{BufMutExt, ReadError, ReadExt, ValueError};

use crate::support::Dribble;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What `read` needs at its peak, in bytes beyond what there was.
async fn peak(read: impl Future<Output = ()>) -> usize {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    read.await;
    MEMORY.peak_usage().saturating_sub(before)
}

/// docs/wire L10: five bytes that announce gigabytes cost nothing, nor does a megabyte that never comes.
/// Both in one test, and nothing else in this program: the peak is that of all of it.
#[tokio::test]
async fn memory_grows_with_what_comes_and_not_with_what_is_announced() {
    let announced = peak(async {
        let mut stream = &[0xff, 0xff, 0xff, 0xff, 0x7f, 1, 2, 3][..];
        let refused = ReadExt::read_byte_array(&mut stream, 1 << 20).await;
        let (announced, max) = ((1 << 35) - 1, 1 << 20);
        let expected = ValueError::TooLong { announced, max };
        assert!(matches!(refused, Err(ReadError::Value(error)) if error == expected));
        assert_eq!(stream, [1, 2, 3]);
    });
    assert!(announced.await < 4 * 1024);

    let mut bytes = BytesMut::new();
    bytes.write_var_int(1 << 20);
    bytes.extend_from_slice(&[7; 10]);
    let mut stream = Dribble::new(bytes.freeze());
    let cut_short = peak(async {
        let refused = stream.read_byte_array(2 << 20).await;
        assert!(matches!(
            refused,
            Err(ReadError::Value(ValueError::Truncated))
        ));
    });
    assert!(cut_short.await < 32 * 1024);
}
