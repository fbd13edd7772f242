//! Rust multiplexers as programs that play the cases of `interop/mux/play`: the side that listens answers
//! commands, the side that connects plays a case and says how it went. Flags and output are those of the
//! Go programs.

mod cases;
mod peers;
mod serve;
mod session;

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use clap::{Parser, ValueEnum};
use tokio::net::{TcpListener, TcpStream};

use self::{
    cases::Case,
    serve::Side,
    session::{Options, Role, start},
};

/// The time in which a program must have come to its end.
const LIMIT: Duration = Duration::from_secs(30);

#[derive(Parser)]
struct Flags {
    /// Which multiplexer
    #[arg(long)]
    mux: Mux,
    /// Listen here for one connection, as the server
    #[arg(long, required_unless_present = "connect")]
    listen: Option<String>,
    /// Connect there, as the client, and play the case
    #[arg(long, conflicts_with = "listen")]
    connect: Option<String>,
    /// What to play
    #[arg(long, default_value = "echo")]
    case: Case,
    /// How many streams the case echo opens
    #[arg(long, default_value_t = 20)]
    streams: usize,
    /// How many bytes each of them carries
    #[arg(long, default_value_t = 1 << 20)]
    size: usize,
    /// How many streams may wait to be accepted (0: the default)
    #[arg(long, default_value_t = 0)]
    backlog: usize,
    /// End a stream only when all of its echo is there
    #[arg(long)]
    close_late: bool,
    /// Typed streams and heartbeats; muxado only
    #[arg(long)]
    heartbeat: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Mux {
    TowlineYamux,
    TowlineMuxado,
    Yamux,
    TokioYamux,
    Muxado,
}

#[tokio::main]
async fn main() -> ExitCode {
    let ended = tokio::time::timeout(LIMIT, run(Flags::parse())).await;
    match ended.unwrap_or_else(|_| bail!("not done after {LIMIT:?}")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("FAIL {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: Flags) -> Result<()> {
    let options = Options {
        backlog: flags.backlog,
        close_late: flags.close_late,
        heartbeat: flags.heartbeat,
    };
    if let Some(address) = flags.connect {
        let name = flags.case.name();
        let io = TcpStream::connect(&address).await?;
        let session = start(flags.mux, io, Role::Client, options).await?;
        let side = Arc::new(Side::new(session, options));
        let accepting = tokio::spawn(Arc::clone(&side).accept_all());
        let said = flags
            .case
            .play(&side, flags.streams, flags.size)
            .await
            .with_context(|| name.clone())?;
        accepting.abort();
        side.session.close().await?;
        println!("ok {name} {said}");
    } else if let Some(address) = flags.listen {
        let listener = TcpListener::bind(&address).await?;
        println!("listening {}", listener.local_addr()?);
        let (io, _) = listener.accept().await?;
        let session = start(flags.mux, io, Role::Server, options).await?;
        // On a task of its own: the thread that waits for it wakes more slowly.
        let end = tokio::spawn(Arc::new(Side::new(session, options)).accept_all()).await?;
        println!("ended {end:#}");
    }
    Ok(())
}
