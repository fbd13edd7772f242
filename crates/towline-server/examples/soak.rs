//! A server and its clients under load, one in ten of them hostile: what `cargo xtask soak server` runs.
//!
//! `soak server` echoes lines until its input ends, then drains and says how that went. `soak clients ADDR
//! SECONDS COUNT` is so many clients; it says what the honest ones have seen, and stays connected until its input
//! ends.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example shows what it does"
)]

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use towline_codec::framing::Framing;
use towline_server::{PacketHandler, Packets, Server, Socket, TimeLimits, WorkerPool};
use towline_transport::{ListenOptions, Listener};

type Failure = Box<dyn Error + Send + Sync>;

const SECOND: Duration = Duration::from_secs(1);
/// An echo that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the end of the server may take.
const DRAIN: Duration = Duration::from_secs(10);
const MAX_LINE: usize = 4096;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["server"] => serve().await,
        ["clients", address, seconds, count] => {
            clients(address.parse()?, seconds.parse()?, count.parse()?).await
        }
        _ => Err("soak server, or soak clients ADDR SECONDS COUNT".into()),
    }
}

struct Echo(Framing);

impl PacketHandler for Echo {
    type State = ();

    async fn on_accept(&self, _: &Socket) {}

    async fn on_packet(&self, (): &mut (), socket: &Socket, packet: &[u8]) {
        // Who does not read loses echoes, and its time limit comes.
        let _full = socket.send_packet(&self.0, packet);
    }
}

async fn serve() -> Result<(), Failure> {
    let endpoint = "tcp://127.0.0.1:0".parse()?;
    let listener = Listener::bind(&endpoint, &ListenOptions::new()).await?;
    let lines = Framing::separator("\n")?;
    let strategy = WorkerPool::new(Packets::new(lines.clone(), MAX_LINE, Echo(lines))).build()?;
    let limits = TimeLimits::none()
        .first_byte(5 * SECOND)
        .idle(30 * SECOND)
        .packet(5 * SECOND)
        .write(5 * SECOND);
    let server = Server::builder()
        .max_connections(15_000)
        .max_queued(64 * 1024)
        .time_limits(limits)
        .start([listener], strategy)?;
    println!("{}", server.handle().local_addr().ok_or("no address")?);
    let mut ignored = Vec::new();
    tokio::io::stdin().read_to_end(&mut ignored).await?;
    let metrics = server.metrics();
    println!(
        "connections {} peak {} accepted {} packets {} refused {} panics {}",
        metrics.connections,
        metrics.max_connections,
        metrics.accepts.accepted,
        metrics.packets,
        metrics.accepts.refused_at_limit,
        metrics.accepts.handler_panics,
    );
    for (reason, count) in metrics.closed.iter().filter(|(_, count)| *count > 0) {
        println!("closed {reason} {count}");
    }
    let drained = server.shutdown(DRAIN).await;
    println!(
        "drained finished {} cut_off {}",
        drained.finished, drained.cut_off
    );
    Ok(())
}

/// What the honest ones have seen.
#[derive(Default)]
struct Seen {
    connected: AtomicU64,
    echoes: AtomicU64,
    refused: AtomicU64,
    attacks: AtomicU64,
}

async fn clients(address: SocketAddr, seconds: u64, count: u64) -> Result<(), Failure> {
    let seen = Arc::new(Seen::default());
    let over = CancellationToken::new();
    let mut tasks = JoinSet::new();
    for number in 0..count {
        let (seen, over) = (Arc::clone(&seen), over.clone());
        tasks.spawn(async move {
            // They come over five seconds.
            sleep(Duration::from_millis(number * 5000 / count)).await;
            if number.is_multiple_of(10) {
                while !over.is_cancelled() {
                    seen.attacks.fetch_add(1, Relaxed);
                    let attack = attack(address, number / 10);
                    // However it ends; a new one follows.
                    tokio::select! {
                        _ = attack => sleep(SECOND / 10).await,
                        () = over.cancelled() => {}
                    }
                }
                return None;
            }
            loop {
                match honest(address, number, &seen, &over).await {
                    // Those of every third come and go.
                    Ok(_) if !over.is_cancelled() => {}
                    Ok(stream) => return Some(stream),
                    Err(error) => {
                        if seen.refused.fetch_add(1, Relaxed) < 5 {
                            eprintln!("an honest client: {error}");
                        }
                        return None;
                    }
                }
            }
        });
    }
    sleep(Duration::from_secs(seconds)).await;
    over.cancel();
    let staying: Vec<TcpStream> = tasks.join_all().await.into_iter().flatten().collect();
    println!(
        "honest connected {} echoes {} refused {} staying {} attacks {}",
        seen.connected.load(Relaxed),
        seen.echoes.load(Relaxed),
        seen.refused.load(Relaxed),
        staying.len(),
        seen.attacks.load(Relaxed),
    );
    let mut ignored = Vec::new();
    tokio::io::stdin().read_to_end(&mut ignored).await?;
    Ok(())
}

/// Says something each second and wants it back; leaves after a while, or stays until all is over.
async fn honest(
    address: SocketAddr,
    number: u64,
    seen: &Seen,
    over: &CancellationToken,
) -> std::io::Result<TcpStream> {
    let mut stream = timeout(PATIENCE, TcpStream::connect(address)).await??;
    seen.connected.fetch_add(1, Relaxed);
    let stays = if number.is_multiple_of(3) {
        10
    } else {
        u64::MAX
    };
    let line = format!("{number:0>200}\n");
    let mut back = vec![0; line.len()];
    let mut said = 0;
    while said < stays && !over.is_cancelled() {
        let echoed = async {
            stream.write_all(line.as_bytes()).await?;
            stream.read_exact(&mut back).await
        };
        timeout(PATIENCE, echoed).await??;
        if back != line.as_bytes() {
            return Err(std::io::Error::other("something else came back"));
        }
        seen.echoes.fetch_add(1, Relaxed);
        said += 1;
        tokio::select! {
            () = sleep(Duration::from_millis(700 + number % 600)) => {}
            () = over.cancelled() => {}
        }
    }
    Ok(stream)
}

async fn attack(address: SocketAddr, kind: u64) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let mut bytes = [0; 4096];
    match kind % 6 {
        // Says nothing.
        0 => while stream.read(&mut bytes).await? > 0 {},
        // A byte each second, and never a line.
        1 => {
            while stream.write_all(b"x").await.is_ok() {
                sleep(SECOND).await;
            }
        }
        // Sends without end and reads nothing.
        2 => while stream.write_all(b"give me all of it back\n").await.is_ok() {},
        // A line that is larger than allowed, again and again.
        3 => {
            for _ in 0..100 {
                stream.write_all(&[b'y'; 4096]).await?;
                sleep(SECOND / 10).await;
            }
        }
        // Half a line, and a reset.
        4 => {
            stream.write_all(b"half").await?;
            SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        }
        // Reads a byte at a time what it asked for.
        _ => {
            for _ in 0..20 {
                stream.write_all(&[b'\n'; 1000]).await?;
                stream.read_exact(&mut bytes[..1]).await?;
                sleep(SECOND / 2).await;
            }
        }
    }
    Ok(())
}
