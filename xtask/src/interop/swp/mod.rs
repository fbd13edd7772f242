//! Sessions over a broker: towline against the original and against our own Go peer, in both roles, over a real
//! nats-server, and through a relay that loses what it is told to.

mod cases;
mod conversation;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use self::conversation::{Peer, Programs};
use super::case::{Case, Scope};
use super::originals::first_error;
use crate::{process, tools};

/// Names a folder with a program `original` around the original, as `interop/swp/original` builds it.
const FOLDER: &str = "TOWLINE_SWP_PROGRAMS";

const OUR_PEER: Peer = Peer {
    name: "gopeer",
    is_original: false,
};
const ORIGINAL: Peer = Peer {
    name: "go-sliding-window 7d8aad3",
    is_original: true,
};

/// The cases with every peer that can be had; one that cannot is told.
pub(super) fn cases(scope: Scope, require_go: bool, require_original: bool) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    let mut peers = Vec::new();
    if tools::go_is_here() || require_go {
        let gopeer = build_go("gopeer").context("our own Go peer of sessions")?;
        println!("playing our own Go peer of sessions: it is no part of the original");
        cases.push(cases::tests_of_our_peer());
        peers.push((OUR_PEER, gopeer));
    } else {
        println!("NOT RUN: our own Go peer of sessions: Go is missing");
    }
    match original() {
        Ok(program) => peers.push((ORIGINAL, program)),
        Err(why) if require_original || env::var_os(FOLDER).is_some() => {
            return Err(why.context("the original of sessions"));
        }
        Err(why) => println!(
            "NOT RUN: {}: {why:#}; set {FOLDER} to a folder with a program `original`, or pass \
             --require-original to make this an error",
            ORIGINAL.name
        ),
    }
    if peers.is_empty() {
        return Ok(cases);
    }
    tools::require_nats_server()?;
    let ours = build_ours()?;
    for (peer, program) in peers {
        let programs = Programs {
            ours: ours.clone(),
            theirs: program,
        };
        cases.extend(cases::of(scope, peer, &programs));
    }
    Ok(cases)
}

/// The original's program: in the folder that the environment names, or as Go builds it.
fn original() -> Result<PathBuf> {
    let Some(folder) = env::var_os(FOLDER) else {
        return build_go("original");
    };
    let program = Path::new(&folder).join("original");
    ensure!(program.is_file(), "{} is no program", program.display());
    Ok(program.canonicalize()?)
}

fn build_go(name: &str) -> Result<PathBuf> {
    ensure!(
        tools::go_is_here(),
        "Go is missing; install it: apt-get install golang"
    );
    let program = process::target_dir()
        .join("interop")
        .join(format!("swp-{name}"));
    println!("building swp/{name}");
    let output = Command::new("go")
        .args(["build", "-buildvcs=false", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(process::root().join("interop/swp").join(name))
        .output()
        .context("cannot start go")?;
    if !output.status.success() {
        bail!("{}", first_error(&String::from_utf8_lossy(&output.stderr)));
    }
    Ok(program)
}

/// Builds towline's side, the broker's handle and the relay.
fn build_ours() -> Result<PathBuf> {
    println!("building swp_peer");
    process::run(&mut process::cargo([
        "build",
        "--quiet",
        "--release",
        "--package",
        "towline-swp",
        "--features",
        "nats,broker",
        "--example",
        "swp_peer",
    ]))?;
    Ok(process::target_dir()
        .join("release")
        .join("examples")
        .join("swp_peer"))
}
