//! What sockets that come to groups and leave them cost.

use peak_alloc::PeakAlloc;
use tokio::sync::mpsc;
use towline_server::{Broadcaster, Group, Server, SocketStream, TaskPerConnection};
use towline_transport::{ConnectOptions, Endpoint, ListenOptions, Listener, connect};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// docs/wire L47: neither leaving nor the end of a group leaves anything behind with the socket.
#[tokio::test]
async fn who_comes_and_goes_ten_thousand_times_costs_what_one_does() {
    let endpoint: Endpoint = "mem://groups".parse().unwrap();
    let options = ListenOptions::new();
    let listener = Listener::bind(&endpoint, &options).await.unwrap();
    let (sender, mut sockets) = mpsc::unbounded_channel();
    let strategy = TaskPerConnection::new(move |stream: SocketStream| {
        sender.send(stream.socket().clone()).unwrap();
        async move { stream.stopping().await }
    });
    let server = Server::builder().start([listener], strategy).unwrap();
    let client = connect(&endpoint, &ConnectOptions::new()).await.unwrap();
    let socket = sockets.recv().await.unwrap();
    let room = Group::new(Broadcaster::new());
    let come_and_go = || {
        assert!(room.join(&socket) && room.leave(&socket));
        let other = Group::new(Broadcaster::new());
        assert!(other.join(&socket));
    };
    come_and_go();
    let before = MEMORY.current_usage();
    for _ in 0..10_000 {
        come_and_go();
    }
    let grown = MEMORY.current_usage().saturating_sub(before);
    assert!(grown < 50_000, "{grown} bytes");
    // Members are still let go when they end.
    assert!(room.join(&socket) && room.len() == 1);
    drop(client);
    server.shutdown(std::time::Duration::ZERO).await;
    assert!(room.is_empty());
}
