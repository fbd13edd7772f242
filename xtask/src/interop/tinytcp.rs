//! tinytcp's values and framings, towline against Go programs in both roles, plain and over TLS.
//!
//! The original is played where its program can be had; our own Go peer, written from the description of the
//! wire, is played in any case.

use std::env;
use std::io::PipeWriter;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::case::{Case, Outcome};
use super::child::{Deadline, Program};
use super::lab::Lab;
use crate::{process, tools};

/// Names a folder with a program `tinytcp` around the original, v1.0.0, that takes the same commands as ours.
pub(super) const FOLDER: &str = "TOWLINE_TINYTCP_PROGRAMS";

/// What a server of v1.0.0 can be asked for: its framing by a length ends the connection after one packet.
const OF_ORIGINAL: &str = "PS";

/// The programs; one that cannot be had is told.
pub(super) fn cases(require_go: bool, require_original: bool) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    if tools::go_is_here() || require_go {
        let ours = build()?;
        println!("playing our own Go peer of tinytcp: it is no part of the original");
        cases.extend(of("gopeer", &ours, &["plain", "tls12", "tls13"], false));
    } else {
        println!("NOT RUN: our own Go peer of tinytcp: Go is missing");
    }
    match env::var_os(FOLDER) {
        Some(folder) => {
            let original = Path::new(&folder).join("tinytcp");
            ensure!(original.is_file(), "{} is no program", original.display());
            cases.extend(of(
                "tinytcp v1.0.0",
                &original,
                &["plain", "tls12", "tls13"],
                true,
            ));
        }
        None if require_original => bail!("{FOLDER} names no folder with tinytcp v1.0.0's program"),
        None => println!(
            "NOT RUN: tinytcp v1.0.0 itself: the Go module proxy has not got it; set {FOLDER} to a folder with a \
             program around it, or pass --require-original to make this an error"
        ),
    }
    Ok(cases)
}

fn build() -> Result<PathBuf> {
    ensure!(
        tools::go_is_here(),
        "Go is missing; install it: apt-get install golang"
    );
    let program = process::target_dir().join("interop").join("tinytcp");
    println!("building our own Go peer of tinytcp");
    let mut command = Command::new("go");
    command
        .args(["build", "-buildvcs=false", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(process::root().join("interop/tinytcp"));
    process::run(&mut command)?;
    Ok(program)
}

/// Builds towline's side.
pub(super) fn build_ours() -> Result<()> {
    println!("building tinytcp_peer");
    let example = [
        "build",
        "--quiet",
        "--package",
        "towline-server",
        "--example",
        "tinytcp_peer",
    ];
    process::run(&mut process::cargo(example))
}

fn of(name: &'static str, program: &Path, modes: &[&'static str], original: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    for &mode in modes {
        let peer = program.to_owned();
        cases.push(Case::new(
            format!("tinytcp: {name} to towline, {mode}"),
            move |lab| {
                let (served, address) = serve(&ours(), ours_mode(mode), lab)?;
                dial(&peer, mode, lab, &address, None)?;
                drop(served);
                Ok(Outcome::Pass)
            },
        ));
        // towline's own clients speak TLS 1.3.
        if mode == "tls12" {
            continue;
        }
        let peer = program.to_owned();
        cases.push(Case::new(
            format!("tinytcp: towline to {name}, {mode}"),
            move |lab| {
                let (served, address) = serve(&peer, mode, lab)?;
                for kind in if original { OF_ORIGINAL } else { "PSVWbBlLqQ" }.chars() {
                    dial(&ours(), ours_mode(mode), lab, &address, Some(kind))
                        .with_context(|| format!("kind {kind}"))?;
                }
                drop(served);
                Ok(Outcome::Pass)
            },
        ));
    }
    cases
}

fn ours() -> PathBuf {
    process::target_dir()
        .join("debug")
        .join("examples")
        .join("tinytcp_peer")
}

fn ours_mode(mode: &str) -> &str {
    if mode.starts_with("tls") { "tls" } else { mode }
}

/// The program, its address, and its input, which does not end before it does.
fn serve(program: &Path, mode: &str, lab: &Lab) -> Result<((Program, PipeWriter), String)> {
    let mut command = Command::new(program);
    command.args(["serve", mode]).arg(lab.tow_certs());
    let (input, kept) = std::io::pipe()?;
    let mut served = Program::start_with(&mut command, Stdio::from(input))?;
    let line = served.line(lab.deadline(), |line| Some(line.trim().to_owned()))?;
    Ok(((served, kept), line))
}

fn dial(program: &Path, mode: &str, lab: &Lab, address: &str, kind: Option<char>) -> Result<()> {
    let mut command = Command::new(program);
    command
        .args(["client", mode])
        .arg(lab.tow_certs())
        .arg(address);
    if let Some(kind) = kind {
        command.arg(kind.to_string());
    }
    let deadline: Deadline = lab.deadline();
    let ended = Program::start(&mut command)?.end(deadline)?;
    ended.expect_code(0)?.expect_text("ok")?;
    Ok(())
}
