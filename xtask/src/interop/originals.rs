//! Where the original programs are.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};

/// Names the folder that holds the programs of rpc25519 v1.6.8.
const FOLDER: &str = "TOWLINE_RPC25519_PROGRAMS";

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
    /// The programs in the folder that the environment names; the error says what is missing.
    pub(super) fn find() -> Result<Self> {
        let Some(folder) = env::var_os(FOLDER) else {
            bail!(
                "the original programs are not here; set {FOLDER} to a folder with cli, srv and \
                 selfy of rpc25519 v1.6.8 (interop/rpc25519/README.md says how)"
            );
        };
        let program = |name: &str| {
            let path = Path::new(&folder).join(name);
            ensure!(path.is_file(), "{FOLDER} has no program {name}");
            Ok(path.canonicalize()?)
        };
        Ok(Self {
            cli: program("cli")?,
            srv: program("srv")?,
            selfy: program("selfy")?,
        })
    }
}
