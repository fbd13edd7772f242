//! What the connecting side plays.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinSet,
};

use crate::{
    serve::{
        COUNT, Fnv, GO_AWAY, HOLD, OPEN_BACK, OPEN_UNDER, PING_BACK, RESET, Side, TELL_END, WATCH,
        pattern,
    },
    session::Stream,
};

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Case {
    /// Many streams at once, each to its end and back.
    Echo,
    /// The answer comes only after our end.
    HalfClose,
    /// The peer opens a stream towards us.
    BothOpen,
    /// We reset a stream; the peer's reader must not take that for the end.
    Reset,
    /// The peer resets a stream under us; writing must fail sooner or later.
    ResetByPeer,
    Ping,
    PingByPeer,
    /// The peer opens nothing more, the streams that are there go on.
    GoAway,
    /// We can open nothing more, the streams that are there go on.
    GoAwayByPeer,
    /// More streams than the peer's backlog holds while it accepts none.
    Refused,
}

impl Case {
    pub(crate) fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// What was seen, for the report.
    pub(crate) async fn play(
        self,
        side: &Arc<Side>,
        streams: usize,
        size: usize,
    ) -> Result<String> {
        match self {
            Self::Echo => echo(side, streams, size).await,
            Self::HalfClose => half_close(side, size).await,
            Self::BothOpen => {
                let stream = command(side, OPEN_BACK).await?;
                expect_rest(stream, "ok").await
            }
            Self::Reset => reset(side).await,
            Self::ResetByPeer => reset_by_peer(side).await,
            Self::Ping => {
                for _ in 0..3 {
                    side.session.ping().await?;
                }
                Ok(String::new())
            }
            Self::PingByPeer => {
                let stream = command(side, PING_BACK).await?;
                expect_rest(stream, "ok").await
            }
            Self::GoAway => go_away(side).await,
            Self::GoAwayByPeer => go_away_by_peer(side).await,
            Self::Refused => refused(side).await,
        }
    }
}

async fn echo(side: &Arc<Side>, streams: usize, size: usize) -> Result<String> {
    let mut tasks = JoinSet::new();
    for _ in 0..streams {
        let side = Arc::clone(side);
        tasks.spawn(async move { side.round_trip(size).await });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(format!("{streams} x {size}"))
}

async fn half_close(side: &Side, size: usize) -> Result<String> {
    let mut stream = command(side, COUNT).await?;
    let data: Vec<u8> = pattern(size).collect();
    stream.write_all(&data).await?;
    stream.shutdown().await?;
    let mut sum = Fnv::default();
    sum.add(&data);
    expect_rest(stream, &format!("{size} {:016x}", sum.0)).await
}

async fn reset(side: &Side) -> Result<String> {
    let mut stream = command(side, WATCH).await?;
    // A reset may overtake what was written: the command must have arrived.
    expect(&mut stream, "ready").await?;
    stream.write_all(&pattern(1000).collect::<Vec<_>>()).await?;
    stream.flush().await?;
    stream.reset().await?;
    let mut asked = command(side, TELL_END).await?;
    let mut saw = String::new();
    asked.read_to_string(&mut saw).await?;
    Ok(format!("saw {saw}"))
}

async fn reset_by_peer(side: &Side) -> Result<String> {
    let mut stream = side.session.open().await?;
    let block: Vec<u8> = [RESET].into_iter().chain(pattern(1000)).collect();
    for _ in 0..100_000 {
        let written = async {
            stream.write_all(&block).await?;
            stream.flush().await
        };
        if written.await.is_err() {
            side.round_trip(100).await?;
            return Ok(String::new());
        }
    }
    bail!("100 MB were written to a stream that the peer has reset")
}

async fn go_away(side: &Side) -> Result<String> {
    let mut stream = command(side, OPEN_UNDER).await?;
    expect(&mut stream, "ready").await?;
    side.session.go_away().await?;
    stream.write_all(b"x").await?;
    stream.flush().await?;
    let mut said = String::new();
    stream.read_to_string(&mut said).await?;
    ensure!(
        said.starts_with("refused"),
        "after our go-away the peer said {said:?}"
    );
    Ok(said)
}

async fn go_away_by_peer(side: &Side) -> Result<String> {
    let mut stream = command(side, GO_AWAY).await?;
    expect(&mut stream, "gone").await?;
    ensure!(
        side.round_trip(1).await.is_err(),
        "a stream was opened after the peer's go-away"
    );
    stream.write_all(b"still here").await?;
    stream.flush().await?;
    expect(&mut stream, "still here").await?;
    Ok(String::new())
}

async fn refused(side: &Arc<Side>) -> Result<String> {
    const OPENED: usize = 12;
    let mut holder = command(side, HOLD).await?;
    expect(&mut holder, "held").await?;
    let mut tasks = JoinSet::new();
    for _ in 0..OPENED {
        let side = Arc::clone(side);
        tasks.spawn(async move { side.round_trip(100).await });
    }
    let (mut count, mut served) = (0, 0);
    while let Some(ended) = tasks.join_next().await {
        if ended?.is_ok() {
            served += 1;
            // One may have been on its way when the peer began to hold.
            ensure!(
                count > 0 || served <= 1,
                "streams were served while none was accepted"
            );
            continue;
        }
        count += 1;
        if count == 1 {
            // Now the others may be accepted.
            holder.shutdown().await?;
        }
    }
    ensure!(count < OPENED, "no stream was left in the backlog");
    side.round_trip(100).await?;
    Ok(format!("{count} of {OPENED}"))
}

/// Opens a stream and says what its acceptor shall do.
async fn command(side: &Side, command: u8) -> Result<Box<dyn Stream>> {
    let mut stream = side.session.open().await.context("open")?;
    stream.write_all(&[command]).await.context("write")?;
    stream.flush().await.context("flush")?;
    Ok(stream)
}

async fn expect(stream: &mut Box<dyn Stream>, text: &str) -> Result<()> {
    let mut said = vec![0; text.len()];
    stream.read_exact(&mut said).await?;
    let said = String::from_utf8_lossy(&said);
    ensure!(said == text, "the peer said {said:?}, not {text:?}");
    Ok(())
}

async fn expect_rest(mut stream: Box<dyn Stream>, text: &str) -> Result<String> {
    let mut said = String::new();
    stream.read_to_string(&mut said).await?;
    ensure!(said == text, "the peer said {said:?}, not {text:?}");
    stream.shutdown().await.ok();
    Ok(String::new())
}
