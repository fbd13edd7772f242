//! yamux: opening, accepting, refusing.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use towline_mux::proto::{
    AckPolicy, Event, MemoryManager, OpenError, Opening, Reading, Role, StreamKey, Violation, yamux,
};

use crate::support::{Side, quiet, talk};

/// docs/wire Y6, Y8: both ends open at the same time; what is written before the acknowledgement
/// arrives.
#[test]
fn both_ends_open_without_a_collision() {
    let (mut client, mut server) = (Side::client(), Side::server());
    for number in 0..3 {
        let (a, b) = (client.open(), server.open());
        assert_eq!(client.engine.stream_id(a), 2 * number + 1);
        assert_eq!(server.engine.stream_id(b), 2 * number + 2);
        client.write(a, b"from the client").unwrap();
        server.write(b, b"from the server").unwrap();
    }
    talk(&mut client, &mut server);
    for _ in 0..3 {
        let (a, b) = (client.accept(), server.accept());
        assert_eq!(client.read_all(a).0, b"from the server");
        assert_eq!(server.read_all(b).0, b"from the client");
    }
}

/// docs/wire Y10, Y27: on a window update, on data, twice, for nobody, never.
#[test]
fn acknowledgements_may_come_in_any_way_or_not_at_all() {
    for acknowledgement in [
        "",
        "000100020000000100000000",
        "000000020000000100000000",
        "000100020000000100000000000100020000000100000000",
        "000100020000006300000000",
    ] {
        let mut client = Side::client();
        let stream = client.open();
        client.said();
        client.hear_hex(acknowledgement).unwrap();
        client.hear_hex("0000000000000001000000026869").unwrap();
        assert_eq!(client.read_all(stream).0, b"hi");
        client.engine.shutdown(stream).unwrap();
        assert_eq!(client.said_yamux(), ["WU[FIN] sid=1 len=0"]);
        client.hear_hex("000100060000000100000000").unwrap();
        assert_eq!(client.engine.stream_count(), 0);
    }
}

/// docs/wire Y11, Y76: when the acknowledgement leaves, by policy.
#[test]
fn acknowledgements_leave_when_the_policy_says() {
    for (policy, on_arrival, on_accept) in [
        (AckPolicy::OnAccept, 0, 1),
        (AckPolicy::OnArrival, 1, 0),
        (AckPolicy::Lazy, 0, 0),
    ] {
        let mut server = Side::yamux(Role::Server, quiet().ack_policy(policy));
        server.hear_hex("000100010000000100000000").unwrap();
        assert_eq!(server.said_yamux().len(), on_arrival, "{policy:?}");
        let stream = server.accept();
        assert_eq!(server.said_yamux().len(), on_accept, "{policy:?}");
        server.write(stream, b"x").unwrap();
        let said = server.said_yamux();
        assert_eq!(
            said.len() + on_arrival + on_accept,
            2,
            "{policy:?}: {said:?}"
        );
    }
}

/// docs/wire Y12, Y13: 256 unacknowledged, then one place for each that is given back.
#[test]
fn opening_waits_for_acknowledgements() {
    let mut client = Side::client();
    let streams: Vec<StreamKey> = (0..256).map(|_| client.open()).collect();
    client.said();
    assert_eq!(client.engine.open(client.now).unwrap(), Opening::Blocked);
    for (release, next) in [
        ("000100020000000100000000", 513),
        ("000100080000000300000000", 515),
        ("000100020000000500000000", 517),
    ] {
        client.hear_hex(release).unwrap();
        assert!(client.events().contains(&Event::Openable));
        let stream = client.open();
        assert_eq!(client.engine.stream_id(stream), next);
        assert_eq!(client.engine.open(client.now).unwrap(), Opening::Blocked);
    }
    // A reset of this side's own gives a place back, too.
    client.engine.reset(client.now, streams[9], 0);
    client.open();
}

/// docs/wire Y16, Y22, Y35: an id that has ended is free, and frames for it mean nothing.
#[test]
fn an_id_that_has_ended_is_unknown() {
    let mut server = Side::server();
    server.hear_hex("000100010000000100000000").unwrap();
    let first = server.accept();
    server.engine.shutdown(first).unwrap();
    server.hear_hex("000100040000000100000000").unwrap();
    server.said();
    assert_eq!(server.engine.stream_count(), 0);
    for late in [
        "0000000000000001000000026869",
        "000100000000000100000064",
        "000100040000000100000000",
        "000100020000000100000000",
        "000100080000000100000000",
    ] {
        server.hear_hex(late).unwrap();
        assert!(server.said().is_empty(), "{late}");
    }
    server.hear_hex("0000000100000001000000026f6b").unwrap();
    let second = server.accept();
    assert_eq!(server.read_all(second).0, b"ok");
    assert_eq!(server.read_all(first).0, b"");
}

/// docs/wire Y17.
#[test]
fn two_clients_find_out_at_the_first_stream() {
    let (mut a, mut b) = (Side::client(), Side::client());
    a.open();
    assert_eq!(b.hear(&a.said()), Err(Violation::Parity(1)));
    assert_eq!(b.said_yamux(), ["GOAWAY[] sid=0 len=1"]);
}

/// docs/wire Y18, Y19: the surplus is refused, with its payload, and leaves nothing behind.
#[test]
fn a_full_backlog_refuses_the_surplus_alone() {
    let config = quiet().accept_backlog(2).max_incoming_streams(5);
    let mut server = Side::yamux(Role::Server, config);
    for id in 1..=10_u32 {
        let id = 2 * id - 1;
        server
            .hear_hex(&format!("00000001{id:08x}000000026869"))
            .unwrap();
    }
    let refused = server.said_yamux();
    assert_eq!(refused.len(), 8);
    assert!(refused.iter().all(|frame| frame.starts_with("WU[RST]")));
    let mut streams = server.accept_all();
    assert_eq!(streams.len(), 2);
    for stream in &streams {
        assert_eq!(server.read_all(*stream).0, b"hi");
    }
    // The whole limit is still there.
    for id in [101, 103, 105] {
        server
            .hear_hex(&format!("00010001{id:08x}00000000"))
            .unwrap();
        streams.extend(server.accept_all());
    }
    assert_eq!(streams.len(), 5);
    assert_eq!(server.engine.stats().streams_refused, 8);
}

/// docs/wire Y20.
#[test]
fn a_stream_that_ends_makes_room_for_one() {
    let mut server = Side::yamux(Role::Server, quiet().max_incoming_streams(1));
    server.hear_hex("000100010000000100000000").unwrap();
    let stream = server.accept();
    server.said();
    server.hear_hex("000100010000000300000000").unwrap();
    assert_eq!(server.said_yamux(), ["WU[RST] sid=3 len=0"]);
    server.engine.reset(server.now, stream, 0);
    server.hear_hex("000100010000000500000000").unwrap();
    server.accept();
}

/// docs/wire Y21: the opener waits, and every stream is accepted.
#[test]
fn a_slow_acceptor_gets_every_stream() {
    let config = || quiet().accept_backlog(4);
    let mut client = Side::yamux(Role::Client, config());
    let mut server = Side::yamux(Role::Server, config());
    let (mut opened, mut accepted) = (0, 0);
    while accepted < 20 {
        if opened < 20
            && let Opening::Stream(_) = client.engine.open(client.now).unwrap()
        {
            opened += 1;
        }
        talk(&mut client, &mut server);
        if opened == 20 || opened - accepted == 4 {
            server.accept();
            accepted += 1;
        }
    }
    assert_eq!(server.engine.stats().streams_refused, 0);
}

#[derive(Default)]
struct Counting {
    held: AtomicUsize,
    limit: usize,
}

impl MemoryManager for Counting {
    fn reserve(&self, bytes: usize, _: u8) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if self.held.load(Ordering::Relaxed) + bytes > self.limit {
            return Err("the limit is reached".into());
        }
        self.held.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    fn release(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// docs/wire Y22, Y67, Y68: ten thousand streams, and the balance is zero; a refusal costs one stream.
#[test]
fn memory_balances_and_a_refusal_costs_one_stream() {
    let manager = Arc::new(Counting {
        limit: 600_000,
        ..Counting::default()
    });
    let config = || {
        let manager: Arc<dyn MemoryManager> = Arc::<Counting>::clone(&manager);
        quiet().memory_manager(manager)
    };
    let mut server = Side::yamux(Role::Server, config());
    for id in [1, 3, 5] {
        server
            .hear_hex(&format!("00000001{id:08x}000000026869"))
            .unwrap();
    }
    assert_eq!(server.said_yamux(), ["WU[RST] sid=5 len=0"]);
    let mut keys = server.accept_all();
    assert_eq!(keys.len(), 2);
    assert!(matches!(
        server.engine.open(server.now),
        Err(OpenError::Memory(_))
    ));
    // What was not read still counts when the stream has ended.
    server.hear_hex("000100080000000300000000").unwrap();
    assert_eq!(manager.held.load(Ordering::Relaxed), 2 * 262_144);
    let second = keys.pop().unwrap();
    server.drain(second);
    assert_eq!(manager.held.load(Ordering::Relaxed), 262_144);
    server.engine.release(server.now, second);
    server.engine.release(server.now, keys[0]);
    assert_eq!(manager.held.load(Ordering::Relaxed), 0);
    for number in 0..10_000_u32 {
        let id = 2 * number + 7;
        server
            .hear_hex(&format!("00000005{id:08x}000000026869"))
            .unwrap();
        let key = server.accept();
        assert_eq!(server.read_all(key).0, b"hi");
        server.engine.shutdown(key).unwrap();
        server.said();
        assert_eq!(server.read(key, 1).unwrap(), Reading::End);
        server.engine.release(server.now, key);
    }
    assert_eq!(manager.held.load(Ordering::Relaxed), 0);
    assert_eq!(
        (
            server.engine.stream_count(),
            server.engine.stats().bytes_held
        ),
        (0, 0)
    );
    // A session that ends with streams gives everything back, too.
    server.hear_hex("0000000100ffffff000000026869").unwrap();
    server.engine.abort();
    drop(server);
    assert_eq!(manager.held.load(Ordering::Relaxed), 0);
}

/// A rate of new streams is kept to, and streams that are refused for it cost nothing.
#[test]
fn streams_above_the_rate_are_refused() {
    let mut server = Side::yamux(Role::Server, quiet().max_stream_rate(Some(2)));
    for round in 0..2_u32 {
        for number in 0..3 {
            let id = 2 * (3 * round + number) + 1;
            server
                .hear_hex(&format!("00010001{id:08x}00000000"))
                .unwrap();
        }
        assert_eq!(server.said_yamux().len(), 1);
        assert_eq!(server.accept_all().len(), 2);
        server.said();
        server.wait(std::time::Duration::from_secs(1));
    }
}

/// Settings that cannot work are refused with their numbers.
#[test]
fn configurations_that_cannot_work_are_refused() {
    let default = yamux::Config::default;
    for (config, text) in [
        (default().accept_backlog(0), "accept_backlog is 0"),
        (
            default().initial_stream_window(1000),
            "initial_stream_window is 1000",
        ),
        (
            default()
                .initial_stream_window(1 << 20)
                .max_stream_window(1 << 19),
            "max_stream_window 524288 is below initial_stream_window 1048576",
        ),
        (default().max_message_size(1023), "max_message_size is 1023"),
        (
            default().max_message_size(2 << 20),
            "max_message_size is 2097152",
        ),
        (
            default().keep_alive(Some(std::time::Duration::ZERO)),
            "keep_alive is 0",
        ),
        (
            default().connection_write_timeout(std::time::Duration::ZERO),
            "connection_write_timeout is 0",
        ),
        (default().receive_budget(1 << 20), "receive_budget 1048576"),
    ] {
        let error = config.validate().unwrap_err().to_string();
        assert!(error.starts_with(text), "{error}");
    }
    default()
        .receive_budget(1 << 20)
        .overcommit(true)
        .validate()
        .unwrap();
}
