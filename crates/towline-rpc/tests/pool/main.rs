//! Pools of connections over a simulated network, in virtual time.

#![expect(
    clippy::disallowed_methods,
    reason = "these tests measure virtual time"
)]

mod ending;
mod reconnecting;
mod retrying;
mod simulated;
mod spreading;
mod typed;

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{sync::Notify, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use towline_identity::Peer;
use towline_rpc::{
    CallError, CloseReason, Context, Message, Pool, Server,
    client::CallOptions,
    pool::{Cause, NoConnection, PoolBuilder, PoolError, PoolEvent},
    proto::ReconnectPolicy,
    server::ServerBuilder,
};
use towline_sim::{Conditions, SimStream, StreamNet};
use towline_transport::Connection;

/// A network, and pools on it.
fn network(seed: u64) -> StreamNet {
    let conditions = Conditions::default()
        .delay(Duration::from_millis(10))
        .jitter(Duration::from_millis(5))
        .chop(300);
    StreamNet::new(conditions, seed)
}

fn connection(stream: SimStream) -> Connection {
    let (local, remote) = (
        stream.local_addr().to_owned(),
        stream.peer_addr().to_owned(),
    );
    let peer = Peer::unauthenticated(&*remote);
    Connection::new(Box::new(stream), peer, local, remote)
}

fn pool(network: &StreamNet) -> PoolBuilder {
    let network = network.clone();
    Pool::builder().seed([5; 32]).connect_by(move |address| {
        let network = network.clone();
        async move { Ok(connection(network.connect(&address).await?)) }
    })
}

/// A server at a name; aborted, it and its connections are gone.
struct At {
    accepting: JoinHandle<()>,
    accepted: Arc<AtomicUsize>,
}

impl At {
    fn serve(network: &StreamNet, name: &str, server: ServerBuilder) -> Self {
        let mut listener = network.listen(name).expect("nobody is there");
        let (server, accepted) = (server.build(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&accepted);
        let accepting = tokio::spawn(async move {
            let mut serving = tokio::task::JoinSet::new();
            while let Ok(stream) = listener.accept().await {
                count.fetch_add(1, SeqCst);
                let server = server.clone();
                serving.spawn(async move {
                    server
                        .serve(connection(stream), CancellationToken::new())
                        .await
                });
            }
        });
        Self {
            accepting,
            accepted,
        }
    }

    async fn stop(self) {
        self.accepting.abort();
        assert!(self.accepting.await.expect_err("aborted").is_cancelled());
    }
}

/// Counts how often `count` was begun, and answers only to those behind the first `silent`.
fn counting(begun: &Arc<AtomicUsize>, silent: usize) -> ServerBuilder {
    let begun = Arc::clone(begun);
    Server::builder()
        .call("count", move |_: Context, _: Message| {
            let number = begun.fetch_add(1, SeqCst) + 1;
            async move {
                if number <= silent {
                    std::future::pending::<()>().await;
                }
                Ok::<_, Infallible>(Message::from_body(number.to_string()))
            }
        })
        .call("echo", |_: Context, request: Message| async move {
            Ok::<_, Infallible>(Message::from_body(request.body))
        })
}

/// Lets everything that can happen at this moment happen, and everything within `time`.
async fn after(time: Duration) {
    tokio::time::sleep(time).await;
}
