//! Calls through whatever carries bytes: first through one stream of yamux through TLS, then through one stream of yamux
//! over a simulated network, in virtual time.
//!
//! ```text
//! cargo run --example rpc_over_anything --features sim
//! cargo run --example rpc_over_anything --features sim -- 42
//! ```
//!
//! A client is made of any stream by `Client::builder().over(stream)`, and a server serves all streams of a session by
//! `Server::serve_session`. Who is at the other end is known from the connection beneath: here from TLS.

use std::{convert::Infallible, error::Error, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use towline::{
    codec::greenpack::Timestamp,
    identity::{Authority, AuthorityOptions, LeafOptions},
    mux::{Role, Transport, yamux},
    rpc::{Client, Context, Message, Server, VirtualWallClock},
    sim::{Conditions, SimStream, StreamNet},
    transport::{ConnectOptions, ListenOptions, Listener, Multiplexer, connect_session},
};

/// Answers with what it was sent, and says to whom.
fn server() -> Server {
    Server::builder()
        .call("shout", |context: Context, request: Message| async move {
            let who = match context.peer().emails() {
                [email, ..] => email.clone(),
                [] => context.remote_addr().to_string(),
            };
            let text = String::from_utf8_lossy(&request.body).to_uppercase();
            Ok::<_, Infallible>(Message::from_body(format!("{text}, {who}")))
        })
        .build()
}

/// One call through yamux through TLS, both ends of which prove their keys. Returns the answer.
pub(crate) async fn through_tls() -> Result<String, Box<dyn Error>> {
    let authority = Authority::generate(&AuthorityOptions::new())?;
    let node = Arc::new(authority.issue(&LeafOptions::new("node"))?);
    let ada = Arc::new(authority.issue(&LeafOptions::new("ada").email("ada@example.com"))?);

    let listener = Listener::bind(
        &"tls://127.0.0.1:0".parse()?,
        &ListenOptions::new().identity(node),
    )
    .await?;
    let endpoint = listener.local_endpoint().clone();
    let serving = async {
        let connection = listener.accept().await?.handshake().await?;
        let session = connection.into_session(Multiplexer::Yamux, Role::Server);
        server()
            .serve_session(&session, CancellationToken::new())
            .await?;
        Ok::<_, Box<dyn Error>>(())
    };
    let calling = async {
        let endpoint = endpoint.with_multiplexer(Some(Multiplexer::Yamux));
        let session = connect_session(&endpoint, &ConnectOptions::new().identity(ada)).await?;
        let client = Client::builder().over(session.open().await?);
        let reply = client.call(Message::request("shout", "hello")).await?;
        client.close().await;
        session.close().await?;
        Ok::<_, Box<dyn Error>>(String::from_utf8(reply.body.to_vec())?)
    };
    let (served, answer) = tokio::join!(serving, calling);
    served?;
    answer
}

/// Calls through yamux over a network that is slow and uneven; must run on one thread with the clock paused. Returns when
/// each answer came: the same at every run of a seed.
#[expect(
    clippy::disallowed_methods,
    reason = "it shows the time of the runtime"
)]
pub(crate) async fn in_virtual_time(seed: u64) -> Result<Vec<(Duration, String)>, Box<dyn Error>> {
    let _clock = VirtualWallClock::starting_at(Timestamp::new(1_800_000_000, 0));
    let start = tokio::time::Instant::now();
    let conditions = Conditions::default()
        .delay(Duration::from_millis(120))
        .jitter(Duration::from_millis(80))
        .chop(200)
        .stall(50, Duration::from_secs(2));
    let network = StreamNet::new(conditions, seed);
    let mut listener = network.listen("server")?;
    tokio::spawn(async move {
        while let Ok(stream) = listener.accept().await {
            // Only settings that contradict each other are refused.
            let Ok(session) = yamux::server(transport(stream), yamux::Config::default()) else {
                return;
            };
            tokio::spawn(async move {
                server()
                    .serve_session(&session, CancellationToken::new())
                    .await
            });
        }
    });

    let stream = network.connect("server").await?;
    let session = yamux::client(transport(stream), yamux::Config::default())?;
    let mut seed_of_client = [0; 32];
    seed_of_client[..8].copy_from_slice(&seed.to_be_bytes());
    let client = Client::builder()
        .seed(seed_of_client)
        .over(session.open().await?);
    let mut answers = Vec::new();
    for word in ["good", "morning"] {
        let reply = client.call(Message::request("shout", word)).await?;
        answers.push((start.elapsed(), String::from_utf8(reply.body.to_vec())?));
    }
    client.close().await;
    session.close().await?;
    Ok(answers)
}

/// What a session runs on, with the stream's addresses.
fn transport(stream: SimStream) -> Transport {
    let (local, peer) = (
        stream.local_addr().to_owned(),
        stream.peer_addr().to_owned(),
    );
    Transport::from(stream).addresses(local, peer)
}

#[expect(clippy::print_stdout, reason = "it shows what came")]
fn main() -> Result<(), Box<dyn Error>> {
    let seed = std::env::args().nth(1).map_or(Ok(1), |text| text.parse())?;
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build()?;
    println!("through TLS: {}", runtime.block_on(through_tls())?);
    // A clock that stands still, and jumps to the next moment at which something happens.
    let runtime = builder.start_paused(true).build()?;
    for (when, answer) in runtime.block_on(in_virtual_time(seed))? {
        println!("after {when:?} of virtual time: {answer}");
    }
    Ok(())
}
