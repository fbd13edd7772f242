//! A server under load for as long as it is told, its clients in another process, its memory watched.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{Running, now};
use crate::process;

/// Clients, of which one in ten is hostile.
const CLIENTS: u64 = 10_000;
/// Descriptors that each process may need.
const FILES: u64 = 12_000;
/// The server drains within 10 s; so much more is for the machine.
const DRAIN: Duration = Duration::from_secs(12);
/// What memory may grow by from the first third to the last.
const GROWTH: f64 = 1.10;
const GROWTH_MIB: f64 = 8.0;

pub(super) fn run(seconds: u64) -> Result<()> {
    raise_limit()?;
    println!("building soak");
    let example = [
        "build",
        "--quiet",
        "--release",
        "--package",
        "towline-server",
        "--example",
        "soak",
    ];
    process::run(&mut process::cargo(example))?;
    let program = process::target_dir().join("release/examples/soak");
    let mut server = Running::start(Command::new(&program).arg("server"))?;
    let address = server.line()?;
    println!("server at {address}: {CLIENTS} clients, one in ten hostile, {seconds} s");
    let duration = seconds.to_string();
    let mut clients = Running::start(Command::new(&program).args([
        "clients",
        &address,
        &duration,
        &CLIENTS.to_string(),
    ]))?;
    let memory = watch(&server, seconds)?;
    let said = clients.line()?;
    println!("{said}");

    let begun = now();
    server.child.stdin.take();
    let numbers = server.line()?;
    println!("{numbers}");
    let mut drained = server.line()?;
    while drained.starts_with("closed ") {
        println!("{drained}");
        drained = server.line()?;
    }
    let took = begun.elapsed();
    println!("{drained}, in {:.1} s", took.as_secs_f64());
    ensure!(server.child.wait()?.success(), "the server failed");
    clients.child.stdin.take();
    ensure!(clients.child.wait()?.success(), "the clients failed");

    let third = memory.len() / 3;
    let peak = |part: &[f64]| part.iter().copied().fold(0.0, f64::max);
    // The first clients are still coming at the very beginning.
    let (early, late) = (
        peak(&memory[third / 2..third + third / 2]),
        peak(&memory[2 * third..]),
    );
    println!("server's memory: {early:.1} MiB early, {late:.1} MiB late");
    ensure!(word(&said, "refused")? == 0, "honest clients were refused");
    ensure!(
        word(&said, "staying")? > 8 * CLIENTS / 10,
        "honest clients were lost"
    );
    ensure!(
        word(&said, "echoes")? > CLIENTS * seconds / 4,
        "hardly anything was echoed"
    );
    ensure!(
        word(&numbers, "refused")? == 0,
        "the server refused connections"
    );
    ensure!(word(&numbers, "panics")? == 0, "handlers panicked");
    ensure!(
        late <= early * GROWTH + GROWTH_MIB,
        "the server's memory grows"
    );
    ensure!(took <= DRAIN, "draining took {took:?}");
    println!("PASS  soak server");
    Ok(())
}

/// The server's resident memory, in MiB, four times a second.
fn watch(server: &Running, seconds: u64) -> Result<Vec<f64>> {
    let end = now() + Duration::from_secs(seconds);
    let mut memory = Vec::new();
    while now() < end {
        let status = fs::read_to_string(format!("/proc/{}/status", server.child.id()))
            .context("the server is gone")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kib: f64 = kib
            .context("/proc/PID/status has an unknown form")?
            .parse()?;
        memory.push(kib / 1024.0);
        thread::sleep(Duration::from_millis(250));
    }
    Ok(memory)
}

/// The number behind a word.
fn word(line: &str, name: &str) -> Result<u64> {
    let mut words = line.split_whitespace();
    words
        .find(|word| *word == name)
        .and_then(|_| words.next()?.parse().ok())
        .with_context(|| format!("no {name} in {line:?}"))
}

/// Each process needs a descriptor for every connection.
fn raise_limit() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= FILES) {
        return Ok(());
    }
    let raised = Rlimit {
        current: Some(FILES),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised)
        .with_context(|| format!("{FILES} open files are needed: raise the limit (ulimit -Hn)"))
}
