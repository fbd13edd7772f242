//! The peer: an rsync daemon that serves one directory.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use crate::process::cpu_with_children;

/// A daemon that does not answer by then has failed.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Daemon {
    child: Child,
    pub(super) address: String,
    /// Its configuration.
    _config: tempfile::NamedTempFile,
}

/// The first line of what rsync says of itself.
pub(super) fn version() -> anyhow::Result<String> {
    let output = Command::new("rsync")
        .arg("--version")
        .output()
        .context("rsync is missing: install it (Debian: apt install rsync)")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

impl Daemon {
    /// Starts a daemon and waits until it listens.
    pub(super) fn start(served: &Path) -> anyhow::Result<Self> {
        let config = tempfile::NamedTempFile::new()?;
        // Started by root it would become nobody, who may not write there.
        let who = match rustix::process::geteuid().is_root() {
            true => "uid = 0\ngid = 0\n",
            false => "",
        };
        let text = format!(
            "use chroot = no\n{who}[served]\npath = {}\nread only = no\n",
            served.display()
        );
        fs::write(config.path(), text)?;
        let begun = Instant::now();
        // It takes no port 0: one that is free now may be taken when it comes to it.
        loop {
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            let mut child = Command::new("rsync")
                .args(["--daemon", "--no-detach", "--address=127.0.0.1"])
                .arg(format!("--port={port}"))
                .arg(format!("--config={}", config.path().display()))
                .stdin(Stdio::null())
                .spawn()
                .context("cannot start rsync")?;
            let address = format!("127.0.0.1:{port}");
            while child.try_wait()?.is_none() {
                if TcpStream::connect(&address).is_ok() {
                    return Ok(Self {
                        child,
                        address,
                        _config: config,
                    });
                }
                thread::sleep(Duration::from_millis(5));
            }
            if begun.elapsed() > PATIENCE {
                bail!("the rsync daemon does not listen");
            }
        }
    }

    /// Ends it, and tells the CPU time of the processes that it has served its clients in. Their memory
    /// is told by nobody.
    pub(super) fn finish(mut self) -> anyhow::Result<f64> {
        let cpu = cpu_with_children(self.child.id())?;
        self.child.kill()?;
        self.child.wait()?;
        Ok(cpu)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Nothing to do if it was ended before.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
