//! tinytcp's values and framings, towline against Go programs in both roles, plain and over TLS.
//!
//! The original, in a program around it, is played where its module can be had; our own Go peer, written from the
//! description of the wire, is played in any case.

use std::env;
use std::io::PipeWriter;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::case::{Case, Outcome};
use super::child::{Deadline, Program};
use super::lab::Lab;
use super::originals::first_error;
use crate::{process, tools};

/// Names a folder with the program `tinytcp` of `interop/tinytcp/original`, for where its module cannot be had from
/// the proxy.
pub(super) const FOLDER: &str = "TOWLINE_TINYTCP_PROGRAMS";

/// The programs; one that cannot be had is told.
pub(super) fn cases(require_go: bool, require_original: bool) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    if tools::go_is_here() || require_go {
        let ours = build("interop/tinytcp", "tinytcp")?;
        println!("playing our own Go peer of tinytcp: it is no part of the original");
        cases.extend(of("gopeer", &ours));
    } else {
        println!("NOT RUN: our own Go peer of tinytcp: Go is missing");
    }
    let named = env::var_os(FOLDER).map(|folder| Path::new(&folder).join("tinytcp"));
    let original = match named {
        Some(program) => {
            ensure!(program.is_file(), "{} is no program", program.display());
            Ok(program.canonicalize()?)
        }
        None => build("interop/tinytcp/original", "tinytcp-original"),
    };
    match original {
        Ok(original) => cases.extend(of("tinytcp v1.0.0", &original)),
        Err(why) if require_original => return Err(why.context("tinytcp v1.0.0")),
        Err(why) => println!(
            "NOT RUN: tinytcp v1.0.0 itself: {why:#}; set {FOLDER} to a folder with its program, or pass \
             --require-original to make this an error"
        ),
    }
    Ok(cases)
}

/// Builds a Go program in a folder of ours.
fn build(folder: &str, name: &str) -> Result<PathBuf> {
    ensure!(
        tools::go_is_here(),
        "Go is missing; install it: apt-get install golang"
    );
    let program = process::target_dir().join("interop").join(name);
    println!("building {folder}");
    let mut command = Command::new("go");
    let output = command
        .args(["build", "-buildvcs=false", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(process::root().join(folder))
        .output()
        .context("cannot start go")?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}", first_error(&text).trim());
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

fn of(name: &'static str, program: &Path) -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in ["plain", "tls12", "tls13"] {
        let peer = program.to_owned();
        cases.push(Case::new(
            format!("tinytcp: {name} to towline, {mode}"),
            move |lab| {
                let (served, address) = serve(&ours(), ours_mode(mode), lab)?;
                dial(&peer, mode, lab, &address)?;
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
                dial(&ours(), ours_mode(mode), lab, &address)?;
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

/// Every value and every framing.
fn dial(program: &Path, mode: &str, lab: &Lab, address: &str) -> Result<()> {
    let mut command = Command::new(program);
    command
        .args(["client", mode])
        .arg(lab.tow_certs())
        .arg(address);
    let deadline: Deadline = lab.deadline();
    let ended = Program::start(&mut command)?.end(deadline)?;
    ended.expect_code(0)?.expect_text("ok")?;
    Ok(())
}
