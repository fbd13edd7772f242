//! Keys and certificates for both ends, from either maker.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::child::{Deadline, Program};

const LIMIT: Duration = Duration::from_secs(30);

/// Makes an authority and the pairs `node` and `client` with the original's key maker.
pub(super) fn by_selfy(selfy: &Path, folder: &Path) -> Result<PathBuf> {
    for name in ["node", "client"] {
        Program::start(
            Command::new(selfy)
                .args(["-nopass", "-e", "interop@example.com", "-k", name])
                .current_dir(folder),
        )?
        .end(Deadline::after(LIMIT))?
        .expect_code(0)?;
    }
    Ok(folder.join("certs"))
}

/// Makes the same with `tow keys`.
pub(super) fn by_tow(tow: &Path, folder: &Path) -> Result<PathBuf> {
    let make = |args: &[&str]| {
        Program::start(Command::new(tow).arg("keys").args(args).current_dir(folder))?
            .end(Deadline::after(LIMIT))?
            .expect_code(0)
    };
    make(&["ca"])?;
    for name in ["node", "client"] {
        make(&["new", name, "-e", "interop@example.com"])?;
    }
    Ok(folder.join("certs"))
}
