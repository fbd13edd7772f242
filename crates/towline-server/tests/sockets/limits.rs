//! Who is let in.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::time::timeout;
use towline_server::{AtLimit, ConfigError, Server, SocketStream, TaskPerConnection};

use crate::support::{LONG, dial, echo, echoes, hangs_up, join, start, start_in_memory, until};

/// docs/wire L33.
#[tokio::test]
async fn one_more_than_the_limit_is_closed_without_a_byte_and_a_place_is_free_at_once() {
    let server = start(Server::builder().max_connections(2), echo()).await;
    let (mut first, mut second) = (dial(&server).await, dial(&server).await);
    assert!(echoes(&mut first, "a").await && echoes(&mut second, "b").await);
    assert!(hangs_up(&mut dial(&server).await).await);
    assert_eq!(server.counters().refused_at_limit, 1);
    // The original's place is free after up to a second.
    drop(first);
    until(|| server.counters().active == 1).await;
    assert!(echoes(&mut dial(&server).await, "c").await);
}

/// docs/wire L33.
#[tokio::test]
async fn those_beyond_the_limit_can_be_told_or_made_to_wait() {
    let busy = AtLimit::Respond("busy\n".into());
    let server = start(Server::builder().max_connections(1).at_limit(busy), echo()).await;
    let mut first = dial(&server).await;
    assert!(echoes(&mut first, "a").await);
    let mut told = String::new();
    dial(&server).await.read_to_string(&mut told).await.unwrap();
    assert_eq!(told, "busy\n");

    let builder = Server::builder().max_connections(1).at_limit(AtLimit::Wait);
    let server = start(builder, echo()).await;
    let mut first = dial(&server).await;
    assert!(echoes(&mut first, "a").await);
    let mut second = dial(&server).await;
    let waits = timeout(Duration::from_millis(50), echoes(&mut second, "b")).await;
    assert!(waits.is_err());
    drop(first);
    let mut back = [0];
    timeout(LONG, second.read_exact(&mut back))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((&back, server.counters().refused_at_limit), (b"b", 0));
}

/// docs/wire L34.
#[tokio::test]
async fn each_cause_of_a_refusal_is_counted_as_its_own() {
    let server = start(Server::builder().max_per_address(1), echo()).await;
    let mut first = dial(&server).await;
    assert!(echoes(&mut first, "a").await);
    assert!(hangs_up(&mut dial(&server).await).await);
    assert_eq!(server.counters().refused_at_address_limit, 1);

    let server = start(Server::builder().accept_rate(1, 2), echo()).await;
    let mut clients = [dial(&server).await, dial(&server).await];
    for client in &mut clients {
        assert!(echoes(client, "a").await);
    }
    assert!(hangs_up(&mut dial(&server).await).await);
    assert_eq!(server.counters().refused_at_rate, 1);

    let denied = Server::builder().deny(["127.0.0.0/8".parse().unwrap()]);
    let server = start(denied, echo()).await;
    assert!(hangs_up(&mut dial(&server).await).await);
    assert_eq!(server.counters().refused_networks, 1);
    let allowed = Server::builder().allow(["10.0.0.0/8".parse().unwrap()]);
    let server = start(allowed, echo()).await;
    assert!(hangs_up(&mut dial(&server).await).await);
    assert_eq!(server.counters().accepted, 0);
}

/// docs/wire L27.
#[tokio::test]
async fn settings_that_serve_nobody_are_refused() {
    for (builder, setting) in [
        (Server::builder().max_per_address(0), "max_per_address"),
        (Server::builder().accept_rate(0, 1), "accept_rate"),
        (Server::builder().accept_rate(1, 0), "accept_rate's burst"),
        (
            Server::builder().metrics_interval(Duration::ZERO),
            "metrics_interval",
        ),
        (
            Server::builder().first_byte_timeout(Duration::ZERO),
            "first_byte_timeout",
        ),
        (
            Server::builder().idle_timeout(Duration::ZERO),
            "idle_timeout",
        ),
        (
            Server::builder().packet_timeout(Duration::ZERO),
            "packet_timeout",
        ),
        (
            Server::builder().write_timeout(Duration::ZERO),
            "write_timeout",
        ),
    ] {
        assert_eq!(builder.validate(), Err(ConfigError::Zero { setting }));
    }
}

/// docs/wire L35: a hundred clients that connect and reset cost the others nothing.
#[tokio::test]
async fn clients_that_connect_and_reset_cost_the_others_nothing() {
    let server = start(Server::builder(), echo()).await;
    let mut good = dial(&server).await;
    for turn in 0..500 {
        let bad = dial(&server).await;
        socket2::SockRef::from(&bad)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(bad);
        if turn % 50 == 0 {
            assert!(echoes(&mut good, "still here").await);
        }
    }
    until(|| server.metrics().connections == 1).await;
    assert!(echoes(&mut good, "still here").await);
}

/// docs/wire L33: in the original a configuration that names no limit refuses everybody.
#[cfg(feature = "serde")]
#[tokio::test]
async fn a_configuration_without_a_limit_serves() {
    let config = towline_server::ServerConfig::default();
    let server = start(config.builder().unwrap(), echo()).await;
    let mut client = dial(&server).await;
    assert!(echoes(&mut client, "hello").await);
}

/// docs/wire L33: neither earlier, while bytes still leave, nor later, when the handler returns.
#[tokio::test(start_paused = true)]
async fn a_place_is_free_when_the_connection_has_ended() {
    // More than is on its way at once.
    let sends = TaskPerConnection::new(|stream: SocketStream| async move {
        stream.send(vec![b'x'; 1 << 20]).unwrap();
    });
    let builder = || Server::builder().max_connections(1);
    let (server, endpoint) = start_in_memory(builder(), sends).await;
    let mut first = join(&endpoint).await;
    first.read_exact(&mut [0; 1000]).await.unwrap();
    assert_eq!(join(&endpoint).await.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(server.counters().refused_at_limit, 1);
    first.read_to_end(&mut Vec::new()).await.unwrap();
    drop(first);
    until(|| server.counters().active == 0).await;
    join(&endpoint).await.read_exact(&mut [0]).await.unwrap();

    let stays = TaskPerConnection::new(|stream: SocketStream| async move {
        stream.send("x").unwrap();
        stream.stopping().await;
    });
    let idle = builder().idle_timeout(Duration::from_secs(1));
    let (server, endpoint) = start_in_memory(idle, stays).await;
    for _ in 0..3 {
        let mut client = join(&endpoint).await;
        client.read_exact(&mut [0]).await.unwrap();
        until(|| server.counters().active == 0).await;
    }
    assert_eq!(server.counters().refused_at_limit, 0);
}
