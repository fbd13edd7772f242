//! One end of a session over a broker, a broker, and a relay that loses what it is told to: what `cargo xtask interop
//! swp` plays with Go programs.
//!
//! * `swp_peer [--window N] [--bytes N] [--piece N] [--on-consume] URL LOCAL REMOTE connect|accept TASK...` does the
//!   tasks in their order, as the Go programs do: `send:N`, `recv:N`, `slow:N`, `both:N`, `sendfile:N`, `recvfile:N`,
//!   `pause:MS`, `close`, `closed`. Whoever accepts begins with one that receives.
//! * `swp_peer broker` runs a nats-server with two accounts until its input ends: a's clients and b's do not hear each
//!   other.
//! * `swp_peer relay URL_A URL_B A B [LOSS...]` carries packets between inbox A of one account and B of the other. A
//!   loss, `a/SYN/1`, is a packet of A's by kind and number; data counts by `SeqNum`, the others from 1. `cross` holds
//!   the first SYN back until the other side has sent one, too.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod play;
mod relay;

use std::{error::Error, io::Read, sync::Arc, time::Duration};

use towline_swp::{
    Listener, Session,
    network::{broker::Broker, nats::NatsNetwork},
    proto::{AckMode, Config},
};

type Failure = Box<dyn Error + Send + Sync>;

const USAGE: &str = "swp_peer broker | relay URL_A URL_B A B [LOSS...] | \
                     [OPTION...] URL LOCAL REMOTE connect|accept TASK...";

/// Clients of either account have its name as user and password.
const ACCOUNTS: &str = "
accounts {
  a { users = [ { user: a, password: a } ] }
  b { users = [ { user: b, password: b } ] }
}
";

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["broker"] => broker(),
        ["relay", url_a, url_b, a, b, ref losses @ ..] => {
            relay::run(url_a, url_b, a, b, losses).await
        }
        _ => peer(&args).await,
    }
}

/// Tells its port and runs until there is no more input.
fn broker() -> Result<(), Failure> {
    let place = tempfile::tempdir()?;
    let file = place.path().join("nats.conf");
    std::fs::write(&file, ACCOUNTS)?;
    let broker = Broker::start_with(&["-c", file.to_str().ok_or("a path that is no text")?])?;
    println!("listening on port {}", broker.port());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    drop(broker);
    Ok(())
}

async fn peer(mut args: &[&str]) -> Result<(), Failure> {
    let (mut window, mut bytes, mut piece) = (64, 4 << 20, 16 << 10);
    let mut mode = AckMode::OnReceive;
    loop {
        args = match *args {
            ["--window", number, ref rest @ ..] => {
                window = number.parse()?;
                rest
            }
            ["--bytes", number, ref rest @ ..] => {
                bytes = number.parse()?;
                rest
            }
            ["--piece", number, ref rest @ ..] => {
                piece = number.parse()?;
                rest
            }
            ["--on-consume", ref rest @ ..] => {
                mode = AckMode::OnConsume;
                rest
            }
            _ => break,
        };
    }
    let [url, local, remote, role, tasks @ ..] = args else {
        return Err(USAGE.into());
    };
    let network = Arc::new(NatsNetwork::connect(url).await?);
    let config = Config::new(*local, *remote)
        .window(window, bytes)
        .ack_mode(mode)
        .linger(Duration::from_secs(60));
    let session = if *role == "connect" {
        let session = Session::connect(network, config).await?;
        println!("ready");
        session
    } else {
        let listener = Listener::bind(network, config).await?;
        println!("ready");
        listener.accept().await.ok_or("the network is gone")?
    };
    let result = play::play(&session, piece, tasks).await;
    println!("{:?}", session.stats());
    result?;
    println!("done");
    // What is left to answer is answered before the program ends.
    session.task_ended().await;
    Ok(())
}
