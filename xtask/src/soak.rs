//! `cargo xtask soak`: towline's programs in real time, under load or killed over and over.

mod relay;
mod server;
mod sync;

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};

use crate::process;

#[derive(Args)]
pub(crate) struct Options {
    /// What to soak.
    #[arg(value_enum)]
    name: Name,
    /// For how long a server is under load.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(15..))]
    seconds: u64,
}

/// What can be soaked.
#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// A server with 10,000 clients, one in ten hostile
    Server,
    /// Sync of two releases of a large crate, of an edited disk image, and with ends killed on the way
    Sync,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    match options.name {
        Name::Server => server::run(options.seconds),
        Name::Sync => sync::run(),
    }
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "the programs run in real time")]
    Instant::now()
}

/// A program and its lines; killed when dropped.
struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    fn start(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", process::shown(command)))?;
        let stdout = child.stdout.take().context("its output is piped")?;
        Ok(Self {
            child,
            stdout: BufReader::new(stdout),
        })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        ensure!(!line.is_empty(), "a program ended early");
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
