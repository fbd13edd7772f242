//! Where the original programs come from.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::{process, tools};

/// Names the folder that holds the programs of rpc25519 v1.6.8.
pub(super) const FOLDER: &str = "TOWLINE_RPC25519_PROGRAMS";

/// Later versions speak another wire format.
const VERSION: &str = "v1.6.8";

const PROGRAMS: [&str; 3] = ["cli", "srv", "selfy"];

/// The programs of rpc25519 v1.6.8.
pub(super) struct Originals {
    /// The client: echo, uploads, downloads.
    pub(super) cli: PathBuf,
    /// The server.
    pub(super) srv: PathBuf,
    /// The key maker.
    pub(super) selfy: PathBuf,
}

impl Originals {
    /// The programs in the folder that the environment names, or else as Go installs them; the
    /// error says why there are none.
    pub(super) fn find() -> Result<Self> {
        let folder = match env::var_os(FOLDER) {
            Some(folder) => PathBuf::from(folder),
            None => install()?,
        };
        let program = |name: &str| {
            let path = folder.join(name);
            ensure!(
                path.is_file(),
                "there is no program {name} in {}",
                folder.display()
            );
            Ok(path.canonicalize()?)
        };
        Ok(Self {
            cli: program("cli")?,
            srv: program("srv")?,
            selfy: program("selfy")?,
        })
    }
}

/// Has Go fetch and build the programs, below the target directory.
fn install() -> Result<PathBuf> {
    ensure!(tools::go_is_here(), "Go is missing");
    let folder = process::target_dir().join("interop").join("bin");
    println!("installing rpc25519 {VERSION}");
    for name in PROGRAMS {
        install_one(name, &folder)?;
    }
    Ok(folder)
}

fn install_one(name: &str, folder: &Path) -> Result<()> {
    let output = Command::new("go")
        .arg("install")
        .arg(format!(
            "github.com/glycerine/rpc25519/cmd/{name}@{VERSION}"
        ))
        .env("GOBIN", folder)
        .output()
        .context("cannot start go")?;
    if !output.status.success() {
        bail!("{}", first_error(&String::from_utf8_lossy(&output.stderr)));
    }
    Ok(())
}

/// The first line that is no progress report.
pub(super) fn first_error(text: &str) -> &str {
    text.lines()
        .find(|line| !line.starts_with("go: downloading "))
        .map_or("go install failed", |line| {
            line.trim_start_matches("go: ").trim_end()
        })
}

#[cfg(test)]
mod tests {
    use super::first_error;

    #[test]
    fn the_first_error_is_not_a_progress_report() {
        let text =
            "go: downloading example.org/a v1.0.0\ngo: example.org/b: 403 Forbidden\n\tmore\n";
        assert_eq!(first_error(text), "example.org/b: 403 Forbidden");
        assert_eq!(first_error(""), "go install failed");
    }
}
