//! A directory with keys, and servers that run in it.

use std::{
    io::{BufRead as _, BufReader, Lines},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Output, Stdio},
};

use tempfile::TempDir;

/// A directory of its own, where the program runs.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    /// With keys for a server and a client, and a directory `srv` to serve.
    pub(crate) fn with_keys() -> Self {
        let place = Self::new();
        for name in ["node", "client"] {
            let made = place.tow(&["keys", "new", name]).output().expect("runs");
            assert_eq!(exit_code(&made), 0, "{}", stderr(&made));
        }
        std::fs::create_dir(place.path("srv")).expect("made");
        place
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The program in this place, with nothing of the user's environment that changes it.
    pub(crate) fn tow(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tow"));
        command
            .args(args)
            .current_dir(self.root())
            .stdin(Stdio::null());
        for name in [
            "TOW_CERTS",
            "TOW_KEY",
            "TOW_KNOWN",
            "TOW_LOG",
            "TOW_PASSPHRASE",
            "TOW_PASSPHRASE_FILE",
            "TOW_CA_PASSPHRASE",
            "TOW_CA_PASSPHRASE_FILE",
            "TOW_NEW_PASSPHRASE",
            "TOW_NEW_PASSPHRASE_FILE",
            "HOME",
            "XDG_CACHE_HOME",
            "XDG_CONFIG_HOME",
        ] {
            command.env_remove(name);
        }
        command
    }

    pub(crate) fn serve(&self, args: &[&str]) -> Server {
        self.serve_at("tls://127.0.0.1:0", args)
    }

    pub(crate) fn serve_at(&self, url: &str, args: &[&str]) -> Server {
        self.serve_dir_at("srv", url, args)
    }

    /// A server of another directory than `srv`.
    pub(crate) fn serve_dir(&self, dir: &str) -> Server {
        self.serve_dir_at(dir, "tls://127.0.0.1:0", &[])
    }

    fn serve_dir_at(&self, dir: &str, url: &str, args: &[&str]) -> Server {
        let mut child = self
            .tow(&["serve", dir, "--listen", url, "--until-stdin-ends"])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("runs");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        stdout.read_line(&mut line).expect("readable");
        let log = BufReader::new(child.stderr.take().expect("piped")).lines();
        let url = line.trim().strip_prefix("listening on ").map(str::to_owned);
        let url = url.unwrap_or_else(|| panic!("the server said {line:?}"));
        Server { child, url, log }
    }
}

/// A server that runs until it is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    log: Lines<BufReader<ChildStderr>>,
}

impl Server {
    /// Waits for a line of the log.
    pub(crate) fn wait_for_log(&mut self, part: &str) -> String {
        self.log
            .by_ref()
            .map(|line| line.expect("readable"))
            .find(|line| line.contains(part))
            .unwrap_or_else(|| panic!("the server ended without saying {part:?}"))
    }

    /// Files and sockets that it has open.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))
            .expect("readable")
            .count()
    }

    /// Sends SIGHUP.
    pub(crate) fn hang_up(&self) {
        let sent = Command::new("kill")
            .args(["-HUP", &self.child.id().to_string()])
            .status();
        assert!(sent.expect("runs").success());
    }

    /// Lets it end in order; returns the rest of its log.
    pub(crate) fn stop(mut self) -> String {
        drop(self.child.stdin.take());
        let lines = self.log.by_ref().map(|line| line.expect("readable"));
        lines.collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("killed");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be dead already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub(crate) fn exit_code(output: &Output) -> i32 {
    output.status.code().expect("not killed by a signal")
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The names in a directory, sorted.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .expect("readable")
        .map(|entry| entry.expect("readable").file_name())
        .map(|name| name.into_string().expect("text"))
        .collect();
    names.sort();
    names
}

/// Bytes that do not compress, the same in every run.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
