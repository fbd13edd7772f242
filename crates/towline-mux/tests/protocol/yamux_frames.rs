//! yamux: frames in pieces, and the ends of a transport.

use towline_mux::proto::{ReadError, SessionEnd};

use crate::support::{Side, hex};

const OPEN: &str = "000100010000000100000000";
const HELLO: &str = "00000000000000010000000568656c6c6f";

/// docs/wire Y3: byte by byte, all at once, cut anywhere.
#[test]
fn frames_may_come_in_any_pieces() {
    let bytes = hex(&format!("{OPEN}{HELLO}{HELLO}000200010000000000000009"));
    for cut in 1..bytes.len() {
        let mut server = Side::server();
        for piece in [&bytes[..cut], &bytes[cut..]] {
            server.hear(piece).unwrap();
        }
        let stream = server.accept();
        assert_eq!(server.read_all(stream).0, b"hellohello", "cut at {cut}");
        assert!(
            server
                .said_yamux()
                .contains(&"PING[ACK] sid=0 len=9".to_owned())
        );
    }
    let mut server = Side::server();
    for byte in &bytes {
        server.hear(&[*byte]).unwrap();
    }
    let stream = server.accept();
    assert_eq!(server.read_all(stream).0, b"hellohello");
}

/// docs/wire Y4, Y50: three ends, and what a reader sees of each.
#[test]
fn ends_between_and_inside_frames_are_told_apart() {
    for (bytes, clean, data) in [
        (format!("{OPEN}{HELLO}"), true, "hello"),
        (format!("{OPEN}{HELLO}000000"), false, "hello"),
        (format!("{OPEN}0000000000000001000000056865"), false, "he"),
    ] {
        let mut server = Side::server();
        server.hear_hex(&bytes).unwrap();
        let stream = server.accept();
        server.hear_end();
        match server.engine.end().unwrap() {
            SessionEnd::ClosedByPeer if clean => {}
            SessionEnd::Truncated if !clean => {}
            other => panic!("{other:?}"),
        }
        let (got, end) = server.read_all(stream);
        assert_eq!(got, data.as_bytes());
        assert!(matches!(end, Err(ReadError::Session(_))), "{end:?}");
        assert!(server.engine.is_over());
    }
}

/// docs/wire Y5: flags that nobody knows are not looked at.
#[test]
fn unknown_flags_are_ignored() {
    let mut server = Side::server();
    server
        .hear_hex("0001fff1000000010000000000000ff000000001000000026869")
        .unwrap();
    let stream = server.accept();
    assert_eq!(server.read_all(stream).0, b"hi");
}
