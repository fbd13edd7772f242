//! muxado: frames in pieces.

use towline_mux::proto::{
    Reading, Role, Violation,
    muxado::{Config, Frame},
};

use crate::support::{Side, hex};

/// docs/wire U3, U4, U9: every frame, cut at every place.
#[test]
fn frames_may_come_in_any_pieces() {
    let bytes = hex(
        "000005120000000368656c6c6f 00000571 00012345 0102030405 000003100000000374776f \
         000004200000000300000005 000000110000 0003",
    );
    for cut in 1..bytes.len() {
        let mut server = Side::muxado(Role::Server, Config::default());
        server.hear(&bytes[..cut]).unwrap();
        server.hear(&bytes[cut..]).unwrap();
        let stream = server.accept();
        let (data, end) = server.read_all(stream);
        assert_eq!(
            (&data[..], end.unwrap()),
            (&b"hellotwo"[..], Reading::End),
            "{cut}"
        );
    }
}

/// docs/wire U5: a wrong length is refused before the body has come.
#[test]
fn a_wrong_length_is_refused_at_the_header() {
    for (header, violation) in [
        ("0000030000000000", Violation::ResetLength(3)),
        ("ffffff0000000001", Violation::ResetLength(0xff_ffff)),
        ("0000002000000001", Violation::CreditLength(0)),
        ("0000073000000000", Violation::GoAwayLength(7)),
    ] {
        let mut server = Side::muxado(Role::Server, Config::default());
        assert_eq!(server.hear_hex(header), Err(violation));
    }
}

/// docs/wire U60, U62: texts of any length, and what follows them.
#[test]
fn what_follows_a_go_away_is_read() {
    for len in [0, 1, 8, 1 << 20, (1 << 20) + 100] {
        let mut client = Side::muxado(Role::Client, Config::default());
        let mut bytes = Frame::GoAway {
            last_stream: 0,
            code: 7,
            debug: vec![b'd'; len].into(),
        }
        .encode()
        .unwrap();
        bytes.extend(hex("0000021200000002 6869"));
        client.hear(&bytes).unwrap();
        let remote = client.engine.remote_go_away().unwrap();
        assert_eq!((remote.code, remote.debug.len()), (7, len.min(1 << 20)));
        let stream = client.accept();
        assert_eq!(client.read_all(stream).0, b"hi", "{len}");
    }
}
