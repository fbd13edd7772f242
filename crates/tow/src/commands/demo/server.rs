//! The server of the demo: this program once more, as a process of its own.

use std::{path::Path, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use crate::failure::{Failure, failed};

/// A `tow serve`. It ends when this does, however this ends: its standard input closes.
pub(super) struct ServerProcess {
    child: Child,
}

impl ServerProcess {
    pub(super) fn spawn(dir: &Path, certs: &Path, url: &str) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(failed)?;
        let child = Command::new(program)
            .args([
                "serve",
                "--json",
                "--allow-write",
                "--until-stdin-ends",
                "--listen",
                url,
            ])
            .arg("--certs")
            .arg(certs)
            .arg("--")
            .arg(dir)
            // The stranger's refusal is part of the show, not a line in the log.
            .env("TOW_LOG", "error")
            .env_remove("TOW_KEY")
            .env_remove("TOW_KNOWN")
            // No list of known keys that the user keeps is asked, or written to.
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        Ok(Self { child })
    }

    /// Where it listens, once it does.
    pub(super) async fn url(&mut self) -> Result<String, Failure> {
        let stdout = self.child.stdout.take();
        let stdout = stdout.ok_or_else(|| failed("the server has no output"))?;
        let mut lines = BufReader::new(stdout).lines();
        let line = lines.next_line().await.map_err(failed)?.unwrap_or_default();
        let event: serde_json::Value = serde_json::from_str(&line).map_err(failed)?;
        let url = event["url"].as_str();
        let url = url.ok_or_else(|| failed(format_args!("the server did not start: {line}")))?;
        // What it says later is of no interest, but must not fill the pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(url.to_owned())
    }

    /// Ends the server at once, and returns when it is gone.
    pub(super) async fn kill(mut self) {
        if let Err(error) = self.child.kill().await {
            tracing::warn!(%error, "the server of the demo cannot be ended");
        }
    }

    /// Stops the server and sees that it ends well.
    pub(super) async fn stop(mut self) -> Result<(), Failure> {
        drop(self.child.stdin.take());
        let status = self.child.wait().await.map_err(failed)?;
        if status.success() {
            Ok(())
        } else {
            Err(failed(format_args!("the server ended badly: {status}")))
        }
    }
}
