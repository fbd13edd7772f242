//! `cargo xtask interop`: towline against Go programs, the originals and our own, in both roles.

mod admin;
mod case;
mod child;
mod data;
mod go_client;
mod go_server;
mod gopeer;
mod gopeer_client;
mod gopeer_server;
mod identity;
mod keys;
mod lab;
mod mux;
mod originals;
mod rpc25519;
mod swp;
mod tinytcp;

use std::collections::VecDeque;
use std::env;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, ensure};
use clap::Args;

use case::{Case, Outcome, Scope};
use lab::{Lab, Peers};
use originals::Originals;

use crate::{process, tools};

/// What can be played: calls and files, keys and trust, streams on one connection, values and packets, or sessions over
/// a broker; and the admin page in a browser, when it is named.
const NAMES: [&str; 6] = ["rpc25519", "identity", "mux", "tinytcp", "swp", ADMIN];
const ADMIN: &str = "admin";

/// Some cases wait a minute for the original to give up; the others run beside them.
const WORKERS: usize = 4;

#[derive(Args)]
pub(crate) struct Options {
    /// Which groups of cases (all of them but admin unless named).
    #[arg(value_parser = NAMES)]
    names: Vec<String>,
    /// Each peer and each role once, instead of the whole matrix.
    #[arg(long)]
    quick: bool,
    /// Fail, instead of skipping, when Go is missing: our own Go peer is then played in any case.
    #[arg(long)]
    require_go: bool,
    /// Fail, instead of skipping, when the original programs cannot be had.
    #[arg(long)]
    require_original: bool,
    /// Only cases whose name contains this text.
    #[arg(long)]
    only: Option<String>,
    /// Where a picture of the admin page goes.
    #[arg(long, value_name = "FILE")]
    screenshot: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if options.names.iter().any(|name| name == ADMIN) {
        admin::run(options.screenshot.as_deref())?;
        if options.names.len() == 1 {
            return Ok(());
        }
    }
    let wanted =
        |name: &str| options.names.is_empty() || options.names.iter().any(|one| one == name);
    let peers = if wanted("rpc25519") || wanted("identity") {
        find_peers(options)?
    } else {
        Peers::default()
    };
    if !wanted("identity")
        && !wanted("mux")
        && !wanted("tinytcp")
        && !wanted("swp")
        && peers.originals.is_none()
        && peers.gopeer.is_none()
    {
        return Ok(());
    }
    tools::require_c_compiler()?;
    println!("building tow");
    process::run(&mut process::cargo([
        "build",
        "--quiet",
        "--release",
        "--package",
        "tow",
    ]))?;

    let scope = if options.quick {
        Scope::Quick
    } else {
        Scope::Whole
    };
    let mut cases = Vec::new();
    if wanted("identity") {
        cases.extend(identity::cases(scope, peers.originals.is_some()));
    }
    if wanted("identity") && peers.gopeer.is_some() {
        cases.extend(identity::gopeer_cases());
    }
    if wanted("rpc25519")
        && let Some(original) = find_rpc25519(options)?
    {
        rpc25519::build_ours()?;
        cases.extend(rpc25519::cases(scope, &original));
    }
    if wanted("rpc25519") && peers.originals.is_some() {
        cases.extend(go_client::cases(scope));
        cases.extend(go_server::cases(scope));
    }
    if wanted("rpc25519") && peers.gopeer.is_some() {
        cases.push(gopeer::tests());
        cases.extend(gopeer_client::cases(scope));
        cases.extend(gopeer_server::cases(scope));
    }
    let matrix = if wanted("mux") {
        let programs = find_mux_programs(options)?;
        let (more, matrix) = mux::cases(scope, programs);
        cases.extend(more);
        Some(matrix)
    } else {
        None
    };
    if wanted("tinytcp") {
        let played = tinytcp::cases(
            options.require_go,
            options.require_original && options.names.len() == 1,
        )?;
        if !played.is_empty() {
            tinytcp::build_ours()?;
        }
        cases.extend(played);
    }
    if wanted("swp") {
        cases.extend(swp::cases(
            scope,
            options.require_go,
            options.require_original && options.names.len() == 1,
        )?);
    }
    if let Some(only) = &options.only {
        cases.retain(|case| case.name.contains(only));
    }
    ensure!(!cases.is_empty(), "no case has that name");
    let played = play(&Lab::set_up(peers)?, cases);
    if let Some(matrix) = matrix {
        let matrix = matrix.lock().unwrap_or_else(PoisonError::into_inner);
        print!("{}", matrix.table());
    }
    played
}

/// The program around rpc25519; that it cannot be had is told, and an error if it was required or named.
fn find_rpc25519(options: &Options) -> Result<Option<PathBuf>> {
    match rpc25519::find_original() {
        Ok(original) => Ok(Some(original)),
        Err(missing) if options.require_original || env::var_os(originals::FOLDER).is_some() => {
            Err(missing.context("the program around rpc25519"))
        }
        Err(missing) => {
            println!(
                "NOT RUN: calls and streams with rpc25519: {missing:#}; set {} to a folder with the program \
                 rpc25519, or pass --require-original to make this an error",
                originals::FOLDER
            );
            Ok(None)
        }
    }
}

/// The multiplexers' programs; one that cannot be had is told, and an error if it was required or named.
fn find_mux_programs(options: &Options) -> Result<mux::Programs> {
    ensure!(
        tools::go_is_here() || !options.require_go,
        "Go is missing; install it: apt-get install golang"
    );
    let programs = mux::Programs::find()?;
    if let Some(why) = programs.first_missing() {
        ensure!(
            !options.require_original && env::var_os(mux::FOLDER).is_none(),
            "a multiplexer's program: {why}"
        );
    }
    Ok(programs)
}

/// The peers that can be had; each that cannot is told, in a line that nobody overlooks.
fn find_peers(options: &Options) -> Result<Peers> {
    let gopeer = match (tools::go_is_here(), options.require_go) {
        (true, _) | (_, true) => Some(gopeer::build().context("our own Go peer")?),
        (false, false) => {
            println!(
                "NOT RUN: our own Go peer: Go is missing; pass --require-go to make this an error"
            );
            None
        }
    };
    let originals = match Originals::find() {
        Ok(originals) => Some(originals),
        // A folder that was named and has no programs is a mistake, not an absence.
        Err(missing) if options.require_original || env::var_os(originals::FOLDER).is_some() => {
            return Err(missing.context("rpc25519's own programs"));
        }
        Err(missing) => {
            println!(
                "NOT RUN: rpc25519's own programs: {missing:#}; set {} to a directory with cli, \
                 srv and selfy, or pass --require-original to make this an error",
                originals::FOLDER
            );
            None
        }
    };
    Ok(Peers { originals, gopeer })
}

/// Runs the cases, a few at a time, and prints one line for each.
fn play(lab: &Lab, mut cases: Vec<Case>) -> Result<()> {
    // Those that wait for the original's own time limit start first.
    cases.sort_by_key(|case| !case.slow);
    let queue = Mutex::new(VecDeque::from(cases));
    let totals = Mutex::new([0_usize; 3]);
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let next = queue
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .pop_front();
                    let Some(case) = next else { break };
                    let name = case.name;
                    let (slot, line) = match (case.run)(lab) {
                        Ok(Outcome::Pass) => (0, format!("PASS  {name}")),
                        Ok(Outcome::Known(pitfall, what)) => {
                            (1, format!("KNOWN {name}: {pitfall}, {what}"))
                        }
                        Err(error) => (2, format!("FAIL  {name}: {error:#}")),
                    };
                    let mut totals = totals.lock().unwrap_or_else(PoisonError::into_inner);
                    totals[slot] += 1;
                    println!("{line}");
                }
            });
        }
    });
    let [passed, known, failed] = totals.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{passed} passed, {failed} failed, {known} known pitfalls");
    ensure!(failed == 0, "{failed} interoperability cases failed");
    Ok(())
}
