//! A typed service with streams in both directions: a room where people talk.
//!
//! ```text
//! cargo run --example typed_service -- tcp://127.0.0.1:8443
//! tow call tcp://127.0.0.1:8443 --list
//! tow call tcp://127.0.0.1:8443 Room.said '{"limit": 2}'
//! ```

use std::{fmt, sync::Mutex};

use futures_util::{Stream, StreamExt as _, stream};
use towline::{
    Greenpack,
    rpc::{
        Context, Server,
        server::{ListenConfig, RegisterError},
        service::Incoming,
    },
};

/// What somebody said.
#[derive(Greenpack, Debug, Clone, PartialEq)]
pub(crate) struct Line {
    #[zid(0)]
    pub(crate) who: String,
    #[zid(1)]
    pub(crate) text: String,
}

/// Which lines are wanted.
#[derive(Greenpack, Debug, Clone, Default)]
pub(crate) struct Filter {
    #[zid(0)]
    pub(crate) who: Option<String>,
    #[zid(1)]
    pub(crate) limit: u64,
}

/// Why a line is not taken.
#[derive(Greenpack, Debug, Clone, PartialEq)]
pub(crate) enum Refusal {
    #[zid(0)]
    Empty,
    #[zid(1)]
    TooLong {
        #[zid(0)]
        limit: u32,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("say something"),
            Self::TooLong { limit } => write!(f, "more than {limit} bytes at once"),
        }
    }
}

/// A room where people talk.
#[towline::service]
pub(crate) trait Room {
    /// Says one line; returns how many there are.
    async fn say(&self, cx: &Context, line: Line) -> Result<u64, Refusal>;
    /// What has been said so far.
    fn said(&self, cx: &Context, filter: Filter) -> impl Stream<Item = Line>;
    /// Says all of these, or those before the first that is refused.
    async fn say_all(&self, cx: &Context, lines: Incoming<Line>) -> Result<u64, Refusal>;
    /// Repeats every line as it comes.
    fn echo(
        &self,
        cx: &Context,
        lines: Incoming<Line>,
    ) -> impl Stream<Item = Result<Line, Refusal>>;
}

/// Lines in memory.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    lines: Mutex<Vec<Line>>,
}

const LONGEST: u32 = 1000;

impl Memory {
    fn add(&self, line: Line) -> Result<u64, Refusal> {
        check(&line)?;
        let mut lines = self
            .lines
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        lines.push(line);
        Ok(lines.len() as u64)
    }
}

fn check(line: &Line) -> Result<(), Refusal> {
    match line.text.len() {
        0 => Err(Refusal::Empty),
        len if len > LONGEST as usize => Err(Refusal::TooLong { limit: LONGEST }),
        _ => Ok(()),
    }
}

impl Room for Memory {
    async fn say(&self, _: &Context, line: Line) -> Result<u64, Refusal> {
        self.add(line)
    }

    fn said(&self, _: &Context, filter: Filter) -> impl Stream<Item = Line> {
        let lines = self
            .lines
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone();
        let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
        let wanted = lines
            .into_iter()
            .filter(move |line| filter.who.as_ref().is_none_or(|who| *who == line.who))
            .take(if limit == 0 { usize::MAX } else { limit });
        stream::iter(wanted)
    }

    async fn say_all(&self, _: &Context, mut lines: Incoming<Line>) -> Result<u64, Refusal> {
        let mut count = 0;
        // A stream that breaks off is the caller's own affair: what was said is said.
        while let Some(Ok(line)) = lines.next().await {
            count = self.add(line)?;
        }
        Ok(count)
    }

    fn echo(
        &self,
        _: &Context,
        lines: Incoming<Line>,
    ) -> impl Stream<Item = Result<Line, Refusal>> {
        lines.filter_map(|line| async {
            let line = line.ok()?;
            Some(check(&line).map(|()| line))
        })
    }
}

/// The server with an empty room.
pub(crate) fn server() -> Result<Server, RegisterError> {
    let room = RoomServer::new(Memory::default());
    Ok(Server::builder().service(room)?.build())
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "it says where it listens")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let endpoint = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "tcp://127.0.0.1:0".to_owned());
    let listening = server()?.listen(&endpoint, ListenConfig::new()).await?;
    println!("{}", listening.endpoint());
    tokio::signal::ctrl_c().await?;
    Ok(())
}
