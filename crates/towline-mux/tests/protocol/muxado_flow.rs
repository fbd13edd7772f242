//! muxado: windows and long writes.

use towline_mux::proto::{
    Reading, Role, WriteError,
    muxado::{Config, Frame},
};

use crate::support::{Side, talk};

fn pair(ours: u32, theirs: u32) -> (Side, Side) {
    let config = |window| Config::default().max_window_size(window);
    (
        Side::muxado(Role::Client, config(ours)),
        Side::muxado(Role::Server, config(theirs)),
    )
}

/// docs/wire U31: a peer whose window is smaller makes progress; of one byte, too (docs/wire U80).
#[test]
fn a_smaller_window_at_the_sender_makes_progress() {
    for window in [1, 8, 1000] {
        let (mut client, mut server) = pair(window, 262_144);
        let a = client.open();
        let data: Vec<u8> = (0..5000_u32).map(|at| at as u8).collect();
        let (mut sent, mut got, mut b) = (0, Vec::new(), None);
        while got.len() < data.len() {
            sent += client.write(a, &data[sent..]).unwrap();
            talk(&mut client, &mut server);
            let b = *b.get_or_insert_with(|| server.accept());
            let (more, end) = server.read_all(b);
            assert_eq!(end.unwrap(), Reading::Blocked);
            assert!(!more.is_empty(), "a stall at {}", got.len());
            got.extend(more);
            talk(&mut client, &mut server);
        }
        assert_eq!(got, data);
    }
}

/// docs/wire U31, U29: a peer whose window is larger is reset as soon as it goes beyond.
#[test]
fn a_larger_window_at_the_sender_is_reset() {
    let (mut client, mut server) = pair(64, 16);
    let a = client.open();
    assert_eq!(client.write(a, &[0; 40]).unwrap(), 40);
    talk(&mut client, &mut server);
    assert!(
        matches!(client.write(a, b"x"), Err(WriteError::Ended(end)) if end.code_in(towline_mux::Dialect::Muxado) == 3)
    );
    assert!(server.engine.end().is_none() && client.engine.end().is_none());
}

/// docs/wire U34: the window stops growing, and does not wrap.
#[test]
fn increments_without_end_do_not_overflow() {
    let (mut client, _) = pair(8, 8);
    let a = client.open();
    client.write(a, b"x").unwrap();
    for _ in 0..5 {
        client.hear_hex("00000420000000037fffffff").unwrap();
    }
    assert!(client.engine.write_room(a).unwrap() >= 100_000);
}

/// docs/wire U38: long writes leave in frames of at most 64 KiB, and all of it arrives.
#[test]
fn long_writes_are_cut() {
    let (mut client, mut server) = pair(1 << 20, 1 << 20);
    let a = client.open();
    assert_eq!(client.write(a, &[9; 200_000]).unwrap(), 200_000);
    let mut said = bytes::BytesMut::from(&client.said()[..]);
    let mut lens = Vec::new();
    server.hear(&said.clone()).unwrap();
    while let Some(frame) = Frame::decode(&mut said).unwrap() {
        let Frame::Data { payload, syn, .. } = frame else {
            panic!("{frame:?}");
        };
        assert_eq!(syn, lens.is_empty());
        lens.push(payload.len());
    }
    assert_eq!(lens, [65_536, 65_536, 65_536, 3392]);
    let b = server.accept();
    assert_eq!(server.read_all(b).0.len(), 200_000);
}

/// docs/wire U32: all that was read comes back as credit.
#[test]
fn credit_adds_up_to_what_was_read() {
    let (mut client, mut server) = pair(1000, 1000);
    let a = client.open();
    let mut moved = 0;
    let mut b = None;
    for step in 0..500 {
        moved += client.write(a, &vec![1; step % 700]).unwrap();
        talk(&mut client, &mut server);
        if moved > 0 {
            let b = *b.get_or_insert_with(|| server.accept());
            server.drain(b);
            talk(&mut client, &mut server);
        }
    }
    assert_eq!(client.engine.write_room(a).unwrap(), 1000);
}

/// docs/wire U37: a stream that nobody reads holds up no other.
#[test]
fn an_unread_stream_holds_up_no_other() {
    let (mut client, mut server) = pair(4096, 4096);
    let (dead, live) = (client.open(), client.open());
    client.write(dead, &[0; 9000]).unwrap();
    let mut moved = 0;
    let mut keys = Vec::new();
    for _ in 0..50 {
        client.write(live, &[1; 4000]).unwrap();
        talk(&mut client, &mut server);
        keys.extend(server.accept_all());
        moved += server.read_all(keys[1]).0.len();
        talk(&mut client, &mut server);
    }
    assert!(moved >= 190_000, "{moved}");
}
