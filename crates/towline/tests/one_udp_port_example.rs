//! The example `one_udp_port`, both sides of it.

#![cfg(feature = "tokio")]

#[path = "../examples/one_udp_port.rs"]
#[expect(dead_code, reason = "its main is for users")]
mod one_udp_port;

use std::{net::SocketAddr, sync::Arc};

use one_udp_port::{Keys, Side};
use towline::{
    identity::{Authority, AuthorityOptions, LeafOptions},
    rpc::Message,
};

/// docs/wire F36: two clients of each side, all on its port; closing one leaves the others, and the server, working.
#[tokio::test]
async fn two_sides_call_each_other_from_the_ports_they_listen_on() {
    let authority = Authority::generate(&AuthorityOptions::new()).unwrap();
    let identity = |name: &str| Arc::new(authority.issue(&LeafOptions::new(name)).unwrap());
    let keys = Keys {
        server: identity("node"),
        client: identity("client"),
    };
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let near = Side::start(any, keys.clone()).await.unwrap();
    let far = Side::start(any, keys).await.unwrap();
    let address =
        |side: &Side| SocketAddr::new(any.ip(), side.listening.endpoint().port().unwrap());
    for (from, to) in [(&near, &far), (&far, &near)] {
        let first = from.dial(address(to)).await.unwrap();
        let second = from.dial(address(to)).await.unwrap();
        for client in [&first, &second] {
            let reply = client
                .call(Message::request("customEcho", "hello"))
                .await
                .unwrap();
            let text = format!("hello was said by udp://{}", address(from));
            assert_eq!(reply.body, text);
        }
        first.close().await;
        second
            .call(Message::request("customEcho", ""))
            .await
            .unwrap();
        second.close().await;
    }
}
