//! `cargo xtask interop mux`: towline's multiplexer against every other, as client and as server.
//!
//! Both ends run programs with the same flags: the Go multiplexers in `interop/mux`, the Rust crates and
//! towline itself in `interop/muxrust`. The end that connects is the client and plays a case; the end that
//! listens is the server and does what it is told.

mod matrix;
mod netcat;
mod peer;
mod programs;

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, ensure};

pub(super) use matrix::Matrix;
pub(super) use programs::{FOLDER, Programs};

use super::case::{Case, Outcome, Scope};
use super::child::Program;
use super::lab::Lab;
use matrix::Cell;
use peer::{PEERS, Peer};

/// What is played, in the order of the matrix.
const PLAYS: [Play; 10] = [
    Play::Echo,
    Play::HalfClose,
    Play::BothOpen,
    Play::Reset,
    Play::ResetByPeer,
    Play::Ping,
    Play::PingByPeer,
    Play::GoAway,
    Play::GoAwayByPeer,
    Play::Refused,
];

/// One conversation, as the end that connects sees it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Play {
    /// 20 streams of 1 MiB at once, each half-closed by its opener, there and back.
    Echo,
    /// The answer comes only after the opener's end.
    HalfClose,
    /// The server opens a stream too.
    BothOpen,
    Reset,
    ResetByPeer,
    Ping,
    PingByPeer,
    GoAway,
    GoAwayByPeer,
    /// More streams than the server's backlog holds.
    Refused,
}

impl Play {
    /// The name in flags and in the matrix.
    const fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::HalfClose => "half-close",
            Self::BothOpen => "both-open",
            Self::Reset => "reset",
            Self::ResetByPeer => "reset-by-peer",
            Self::Ping => "ping",
            Self::PingByPeer => "ping-by-peer",
            Self::GoAway => "go-away",
            Self::GoAwayByPeer => "go-away-by-peer",
            Self::Refused => "refused",
        }
    }
}

/// Which end of the connection the peer is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The client, which plays the case; towline is the server.
    Connects,
    /// The server, which is told what to do; towline is the client.
    Listens,
}

/// Every case of a scope with the programs that are here, and the matrix that they fill.
pub(super) fn cases(scope: Scope, programs: Programs) -> (Vec<Case>, Arc<Mutex<Matrix>>) {
    let plays: &[Play] = match scope {
        Scope::Quick => &[Play::Echo],
        Scope::Whole => &PLAYS,
    };
    let matrix = Arc::new(Mutex::new(Matrix::new(plays)));
    let programs = Arc::new(programs);
    let mut cases = Vec::new();
    for peer in &PEERS {
        for end in [End::Connects, End::Listens] {
            for &play in plays {
                let absent = match programs.missing(peer) {
                    Some(why) => Some(Cell::NotRun(why)),
                    None => peer.cannot(play, end).map(Cell::NotApplicable),
                };
                if let Some(cell) = absent {
                    matrix
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .set(peer, end, play, cell);
                    continue;
                }
                let role = match end {
                    End::Connects => "client",
                    End::Listens => "server",
                };
                let name = format!("mux {} as {role}: {}", peer.name, play.name());
                let (matrix, programs) = (Arc::clone(&matrix), Arc::clone(&programs));
                cases.push(Case::new(name, move |lab| {
                    let result = converse(lab, &programs, peer, end, play);
                    let cell = if result.is_ok() {
                        Cell::Passed
                    } else {
                        Cell::Failed
                    };
                    matrix
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .set(peer, end, play, cell);
                    result.map(|()| Outcome::Pass)
                }));
            }
        }
    }
    cases.extend(netcat::cases(&programs));
    (cases, matrix)
}

fn converse(lab: &Lab, programs: &Programs, peer: &Peer, end: End, play: Play) -> Result<()> {
    let deadline = lab.deadline();
    let (mut server, mut client) = match end {
        End::Connects => (programs.towline(peer.dialect), programs.peer(peer)),
        End::Listens => (programs.peer(peer), programs.towline(peer.dialect)),
    };
    for command in [&mut server, &mut client] {
        if peer.close_late(play) {
            command.arg("--close-late");
        }
        if peer.heartbeat(play) {
            command.arg("--heartbeat");
        }
    }
    server.args(["--listen", "127.0.0.1:0"]);
    if play == Play::Refused {
        server.args(["--backlog", "4"]);
    }
    let (server, address) = lab.serve(
        &mut server,
        |line| line.strip_prefix("listening ").map(str::to_owned),
        deadline,
    )?;
    client.args(["--connect", &address, "--case", play.name()]);
    let client = Program::start(&mut client)?.end(deadline)?.expect_code(0)?;
    if play == Play::Reset {
        // Whoever was reset must say so; one peer takes it for the end of the stream.
        let saw = match end {
            End::Listens => peer.sees_a_reset_as,
            End::Connects => "reset",
        };
        ensure!(
            client.text.contains(&format!("saw {saw}")),
            "the reset was not seen as {saw}: {}",
            client.text.trim()
        );
    }
    server.end(deadline)?.expect_code(0)?;
    Ok(())
}
