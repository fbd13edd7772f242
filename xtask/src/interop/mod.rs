//! `cargo xtask interop`: towline against the original programs, both roles, real files.

mod case;
mod child;
mod data;
mod go_client;
mod go_server;
mod keys;
mod lab;
mod originals;

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Result, bail, ensure};
use clap::Args;

use case::{Case, Outcome, Scope};
use lab::Lab;
use originals::Originals;

use crate::{process, tools};

/// The originals that towline is run against.
const NAMES: [&str; 1] = ["rpc25519"];

/// Some cases wait a minute for the original to give up; the others run beside them.
const WORKERS: usize = 4;

#[derive(Args)]
pub(crate) struct Options {
    /// Which originals (all of them unless named).
    #[arg(value_parser = NAMES)]
    names: Vec<String>,
    /// Each peer and each role once, instead of the whole matrix.
    #[arg(long)]
    quick: bool,
    /// Fail, instead of skipping, when Go or the original programs are missing.
    #[arg(long)]
    require_go: bool,
    /// Only cases whose name contains this text.
    #[arg(long)]
    only: Option<String>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    // The one original there is stands for all of them; the names are checked by clap.
    let _ = &options.names;
    let originals = match Originals::find() {
        Ok(originals) => originals,
        Err(missing) if options.require_go => bail!("rpc25519: {missing:#}"),
        Err(missing) => {
            println!("SKIPPED rpc25519: {missing:#}");
            return Ok(());
        }
    };
    tools::require_c_compiler()?;
    println!("building tow");
    process::run(&mut process::cargo([
        "build",
        "--quiet",
        "--release",
        "--package",
        "tow",
    ]))?;
    let lab = Lab::set_up(originals)?;

    let scope = if options.quick {
        Scope::Quick
    } else {
        Scope::Whole
    };
    let mut cases = go_client::cases(scope);
    cases.extend(go_server::cases(scope));
    if let Some(only) = &options.only {
        cases.retain(|case| case.name.contains(only));
    }
    ensure!(!cases.is_empty(), "no case has that name");
    play(&lab, cases)
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
