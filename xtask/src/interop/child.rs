//! A program under test: its lines, its end, and its certain death.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::process;

/// The point in time at which a case has taken too long.
#[derive(Clone, Copy)]
pub(super) struct Deadline(Instant);

impl Deadline {
    pub(super) fn after(limit: Duration) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the programs under test run in real time"
        )]
        let now = Instant::now();
        Self(now + limit)
    }

    pub(super) fn is_over(self) -> bool {
        self.left().is_zero()
    }

    fn left(self) -> Duration {
        #[expect(
            clippy::disallowed_methods,
            reason = "the programs under test run in real time"
        )]
        let now = Instant::now();
        self.0.saturating_duration_since(now)
    }
}

enum Event {
    Line(String),
    Exited,
}

/// A started program. It is killed when this value is dropped.
pub(super) struct Program {
    name: String,
    child: Child,
    events: Receiver<Event>,
    /// What was written so far, both streams together, in the order it was read.
    text: String,
}

impl Program {
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        Self::start_with(command, Stdio::null())
    }

    /// Starts it with something to read.
    pub(super) fn start_with(command: &mut Command, stdin: Stdio) -> Result<Self> {
        let name = process::shown(command);
        let mut child = command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let (sender, events) = channel();
        let readers = [
            child.stdout.take().map(|out| lines(out, sender.clone())),
            child.stderr.take().map(|err| lines(err, sender.clone())),
        ];
        let pid = Pid::from_child(&child);
        thread::spawn(move || {
            // The exit is told only after the last line, so that nobody misses what came before it.
            for reader in readers.into_iter().flatten() {
                reader.join().ok();
            }
            // Not reaped here: the process id stays taken until `child.wait()`, so no signal goes astray.
            waitid(
                WaitId::Pid(pid),
                WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
            )
            .ok();
            sender.send(Event::Exited).ok();
        });
        Ok(Self {
            name,
            child,
            events,
            text: String::new(),
        })
    }

    /// The first line for which `pick` returns something.
    pub(super) fn line<T>(
        &mut self,
        deadline: Deadline,
        mut pick: impl FnMut(&str) -> Option<T>,
    ) -> Result<T> {
        loop {
            match self.events.recv_timeout(deadline.left()) {
                Ok(Event::Line(line)) => {
                    let picked = pick(&line);
                    self.text.push_str(&line);
                    self.text.push('\n');
                    if let Some(picked) = picked {
                        return Ok(picked);
                    }
                }
                Ok(Event::Exited) | Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait()?;
                    bail!("{} ended early with {status}\n{}", self.name, self.tail());
                }
                Err(RecvTimeoutError::Timeout) => return Err(self.too_slow()),
            }
        }
    }

    /// How it ended, and everything it wrote.
    pub(super) fn end(mut self, deadline: Deadline) -> Result<Ended> {
        loop {
            match self.events.recv_timeout(deadline.left()) {
                Ok(Event::Line(line)) => {
                    self.text.push_str(&line);
                    self.text.push('\n');
                }
                Ok(Event::Exited) | Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait()?;
                    return Ok(Ended {
                        tail: self.tail(),
                        name: std::mem::take(&mut self.name),
                        text: std::mem::take(&mut self.text),
                        status,
                    });
                }
                Err(RecvTimeoutError::Timeout) => return Err(self.too_slow()),
            }
        }
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal)
            .with_context(|| format!("cannot signal {}", self.name))
    }

    /// Asks it to stop, as a service manager does, and expects status 0.
    pub(super) fn stop(self, signal: Signal, deadline: Deadline) -> Result<()> {
        self.signal(signal)?;
        self.end(deadline)?.expect_code(0)?;
        Ok(())
    }

    fn too_slow(&self) -> anyhow::Error {
        anyhow!("{} took too long\n{}", self.name, self.tail())
    }

    /// The last lines, for a failure's report.
    fn tail(&self) -> String {
        let lines: Vec<&str> = self.text.lines().collect();
        let from = lines.len().saturating_sub(20);
        lines[from..]
            .iter()
            .map(|line| format!("    | {line}\n"))
            .collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A program that has ended.
pub(super) struct Ended {
    name: String,
    tail: String,
    status: ExitStatus,
    pub(super) text: String,
}

impl Ended {
    pub(super) fn expect_code(self, code: i32) -> Result<Self> {
        ensure!(
            self.status.code() == Some(code),
            "{} ended with {}, not exit status {code}\n{}",
            self.name,
            self.status,
            self.tail
        );
        Ok(self)
    }

    pub(super) fn expect_text(self, text: &str) -> Result<Self> {
        ensure!(
            self.text.contains(text),
            "{} did not write {text:?}\n{}",
            self.name,
            self.tail
        );
        Ok(self)
    }
}

/// Sends each line of a stream; a carriage return ends a line too, as progress meters use it.
fn lines(stream: impl Read + Send + 'static, sender: Sender<Event>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n') {
            let Ok(line) = line else { break };
            let line = String::from_utf8_lossy(&line).into_owned();
            if sender.send(Event::Line(line)).is_err() {
                break;
            }
        }
    })
}
