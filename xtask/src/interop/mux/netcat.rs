//! `tow listen --echo` serves the clients of every other multiplexer, and `tow connect` their servers.

use std::fs::{self, File};
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use super::super::case::{Case, Outcome};
use super::super::child::Program;
use super::super::lab::Lab;
use super::peer::{Dialect, PEERS, Peer};
use super::programs::Programs;

pub(super) fn cases(programs: &Arc<Programs>) -> Vec<Case> {
    let mut cases = Vec::new();
    for peer in PEERS.iter().filter(|peer| programs.missing(peer).is_none()) {
        let found = Arc::clone(programs);
        cases.push(Case::new(
            format!("tow listen --echo, {} as client", peer.name),
            move |lab| listen(lab, &found, peer),
        ));
        let found = Arc::clone(programs);
        cases.push(Case::new(
            format!("tow connect, {} as server", peer.name),
            move |lab| connect(lab, &found, peer),
        ));
    }
    cases
}

fn url(peer: &Peer, address: &str) -> String {
    let multiplexer = match peer.dialect {
        Dialect::Yamux => "yamux",
        Dialect::Muxado => "muxado",
    };
    format!("{multiplexer}+tcp://{address}")
}

/// The echo that the peer's client asks for begins with its own first byte, as every byte does.
fn listen(lab: &Lab, programs: &Programs, peer: &Peer) -> Result<Outcome> {
    let deadline = lab.deadline();
    let room = lab.room()?;
    let (server, address) = lab.serve(
        lab.tow("listen", room.path())
            .arg(url(peer, "127.0.0.1:0"))
            .arg("--echo"),
        |line| Some(line.split_once("+tcp://")?.1.trim().to_owned()),
        deadline,
    )?;
    let mut client = programs.peer(peer);
    client.args(["--connect", &address, "--case", "echo"]);
    if peer.close_late(super::Play::Echo) {
        client.arg("--close-late");
    }
    Program::start(&mut client)?.end(deadline)?.expect_code(0)?;
    server.stop(Signal::TERM, deadline)?;
    Ok(Outcome::Pass)
}

/// The peer's server echoes a stream that begins with `e`.
fn connect(lab: &Lab, programs: &Programs, peer: &Peer) -> Result<Outcome> {
    let deadline = lab.deadline();
    let room = lab.room()?;
    let (server, address) = lab.serve(
        programs.peer(peer).args(["--listen", "127.0.0.1:0"]),
        |line| line.strip_prefix("listening ").map(str::to_owned),
        deadline,
    )?;
    // What is left when the input ends fits into a window: not every peer goes on giving credit then.
    let mut sent = vec![b'e'];
    sent.extend((0..100_000_u32).map(|at| (at % 251) as u8));
    let (input, output) = (room.path().join("input"), room.path().join("output"));
    fs::write(&input, &sent).context("cannot write the input")?;
    let status = lab
        .tow("connect", room.path())
        .arg(url(peer, &address))
        .stdin(File::open(&input)?)
        .stdout(File::create(&output)?)
        .stderr(Stdio::piped())
        .output()
        .context("cannot start tow")?;
    if !status.status.success() {
        bail!(
            "tow connect ended with {}: {}",
            status.status,
            String::from_utf8_lossy(&status.stderr)
        );
    }
    ensure!(
        fs::read(&output)? == sent,
        "the echo differs from what was sent"
    );
    server.end(deadline)?.expect_code(0)?;
    Ok(Outcome::Pass)
}
