//! `tow serve --admin` in a real browser: what people see of a server that works, and of one that has gone.

mod browser;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use self::browser::Browser;
use super::child::{Deadline, Program};
use super::{data, keys};
use crate::{process, tools};

const LIMIT: Duration = Duration::from_secs(120);
/// Calls and files that are made while the plots grow.
const ROUNDS: usize = 12;
const FILE: u64 = 8 << 20;

/// Plays it; `screenshot` is where a picture of the page goes.
pub(super) fn run(screenshot: Option<&Path>) -> Result<()> {
    let chromium = tools::require_chromium()?;
    println!("building tow");
    process::run(&mut process::cargo([
        "build",
        "--quiet",
        "--package",
        "tow",
    ]))?;
    let tow = process::target_dir().join("debug").join("tow");
    let folder = tempfile::tempdir().context("cannot make a temporary directory")?;
    let certs = keys::by_tow(&tow, folder.path())?;
    fs::create_dir(folder.path().join("srv"))?;
    let lab = Lab {
        tow,
        certs,
        folder: folder.path().to_owned(),
        deadline: Deadline::after(LIMIT),
    };
    play(&lab, &chromium, screenshot)?;
    println!("PASS  the admin page in {}", browser::version(&chromium));
    Ok(())
}

struct Lab {
    tow: PathBuf,
    certs: PathBuf,
    folder: PathBuf,
    deadline: Deadline,
}

impl Lab {
    fn tow(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.tow);
        command
            .args(args)
            .arg("--certs")
            .arg(&self.certs)
            .current_dir(&self.folder);
        command
    }

    fn succeeds(&self, args: &[&str]) -> Result<()> {
        let ended = Program::start(&mut self.tow(args))?.end(self.deadline)?;
        ended.expect_code(0)?;
        Ok(())
    }
}

fn play(lab: &Lab, chromium: &str, screenshot: Option<&Path>) -> Result<()> {
    let deadline = lab.deadline;
    let serve = [
        "serve",
        "srv",
        "--listen",
        "tls://127.0.0.1:0",
        "--allow-write",
        "--admin",
        "127.0.0.1:0",
    ];
    let mut server = Program::start(&mut lab.tow(&serve))?;
    let mut said = |prefix: &str| {
        server.line(deadline, |line| {
            line.strip_prefix(prefix).map(str::to_owned)
        })
    };
    let (url, page) = (said("listening on ")?, said("admin page at ")?);
    let mut browser = Browser::start(chromium, &page)?;
    browser.waits_until(
        deadline,
        "document.querySelector('#state').textContent === 'serving'",
    )?;

    // Somebody who stays, for the list.
    let guest = Command::new("sleep")
        .arg("600")
        .stdout(Stdio::piped())
        .spawn();
    let mut guest = Reaped(guest.context("cannot start sleep")?);
    let stdin = guest.0.stdout.take().context("its output is piped")?;
    let _staying = Program::start_with(&mut lab.tow(&["connect", &url]), stdin.into())?;
    data::make(&lab.folder.join("file"), FILE)?;
    for round in 0..ROUNDS {
        // All of it each time, and without the question whether it could be less.
        lab.succeeds(&["push", "--whole", "file", &url])?;
        for _ in 0..=round % 4 {
            lab.succeeds(&["call", &url, "customEcho", "hello"])?;
        }
        if round % 3 == 1 {
            let address = url.strip_prefix("tls://").context("a tls endpoint")?;
            let mut stranger = TcpStream::connect(address)?;
            stranger.write_all(b"GET / HTTP/1.1\r\n\r\n")?;
            // Hung up on, with an alert or without.
            let _end = stranger.read_to_end(&mut Vec::new());
        }
    }

    let calls: usize = (0..ROUNDS).map(|round| round % 4 + 1).sum();
    for condition in [
        "document.querySelector('#connections').textContent === '1'".to_owned(),
        format!("document.querySelector('#calls-note').textContent.startsWith('in all {calls},')"),
        format!("document.querySelector('#streams-note').textContent.startsWith('in all {ROUNDS} ')"),
        "document.querySelector('#refusals-note').textContent.includes('handshake 4')".to_owned(),
        "/in all [4-9][0-9][.0-9]* MiB read/.test(document.querySelector('#bytes-note').textContent)".to_owned(),
        "document.querySelectorAll('#sessions tr').length === 1".to_owned(),
        "document.querySelector('#sessions td:nth-child(3)').textContent.length > 20".to_owned(),
        // Every line has a point for each second, and those of bytes, calls and refusals are not flat.
        "[...document.querySelectorAll('svg path')].every((path) => path.getAttribute('d').split('L').length > 4)".to_owned(),
        "['bytes', 'calls', 'refusals', 'streams', 'connections'].every((id) => \
          new Set(document.querySelector('#' + id).parentNode.querySelector('path').getAttribute('d')\
          .match(/ [0-9.]+/g)).size > 1)".to_owned(),
        "document.querySelector('#url').textContent.startsWith('tls://127.0.0.1:')".to_owned(),
    ] {
        browser.waits_until(deadline, &condition)?;
    }
    if let Some(path) = screenshot {
        fs::write(path, browser.screenshot()?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        println!("the page as it looked: {}", path.display());
    }
    let (asked, complaints) = browser.seen();
    ensure!(
        complaints.is_empty(),
        "the browser complains: {complaints:?}"
    );
    let elsewhere: Vec<_> = asked
        .iter()
        .filter(|asked| !asked.starts_with(&page))
        .collect();
    ensure!(elsewhere.is_empty(), "the page asks others: {elsewhere:?}");
    ensure!(asked.len() > 3, "the page asks nobody: {asked:?}");

    server.stop(Signal::INT, deadline)?;
    browser.waits_until(
        deadline,
        "document.querySelector('#state').className === 'bad'",
    )
}

/// A program that is ended with this value.
struct Reaped(std::process::Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
