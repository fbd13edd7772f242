//! Any bytes as a PROXY header: read or refused as they come, never a byte too many, and no panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use towline_server::{Parsed, ProxyError, ProxyHeader};

const STARTS: [&[u8]; 3] = [b"", b"PROXY TCP", b"\r\n\r\n\0\r\nQUIT\n\x21"];

fuzz_target!(|data: &[u8]| {
    let [start, rest @ ..] = data else {
        return;
    };
    let start = STARTS[usize::from(*start) % STARTS.len()];
    let input = [start, rest].concat();
    let whole = ProxyHeader::parse(&input);
    if let Ok(Parsed::Header(_, len)) = whole {
        assert!(len <= input.len());
    }
    // As a server reads it: only what is said to belong to the header.
    let mut come = 0;
    loop {
        match ProxyHeader::parse(&input[..come]) {
            Ok(Parsed::Header(header, len)) => {
                assert_eq!((len, whole), (come, Ok(Parsed::Header(header, len))));
                return;
            }
            Ok(Parsed::More(more)) => {
                assert!(more > 0);
                come += more;
                if come > input.len() {
                    // It never became whole, and need not be certain to be wrong.
                    assert!(!matches!(whole, Ok(Parsed::Header(..))));
                    return;
                }
            }
            Err(error) => {
                let same = whole == Err(error);
                // A line without an end may show other faults first when it is all there.
                assert!(same || error == ProxyError::LineTooLong, "{whole:?}");
                return;
            }
        }
    }
});
