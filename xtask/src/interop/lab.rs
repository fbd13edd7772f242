//! What every case shares: the programs, the keys, the files that travel.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::case::{Link, Maker, Scope, sizes};
use super::child::{Deadline, Program};
use super::originals::Originals;
use super::{data, keys};
use crate::process;

/// How long one case may take: the longest waits a minute for the original.
const CASE_LIMIT: Duration = Duration::from_secs(150);

/// The programs, keys and files. The folder behind it goes when it is dropped.
pub(super) struct Lab {
    pub(super) originals: Originals,
    tow: PathBuf,
    selfy_certs: PathBuf,
    tow_certs: PathBuf,
    foreign_certs: PathBuf,
    files: BTreeMap<u64, PathBuf>,
    folder: TempDir,
}

impl Lab {
    pub(super) fn set_up(originals: Originals) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("towline-interop-")
            .tempdir()
            .context("cannot make a temporary directory")?;
        let below = |name: &str| {
            let path = folder.path().join(name);
            fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
            anyhow::Ok(path)
        };
        let tow = process::target_dir().join("release").join("tow");
        let selfy_certs = keys::by_selfy(&originals.selfy, &below("selfy")?)?;
        let tow_certs = keys::by_tow(&tow, &below("tow")?)?;
        let foreign_certs = keys::by_tow(&tow, &below("foreign")?)?;
        // The client trusts the server, so that it is the server that refuses.
        fs::remove_file(foreign_certs.join("ca.crt"))
            .and_then(|()| fs::copy(selfy_certs.join("ca.crt"), foreign_certs.join("ca.crt")))
            .context("cannot exchange the authority of the foreign keys")?;
        let store = below("files")?;
        let mut files = BTreeMap::new();
        for &size in sizes(Scope::Quick).iter().chain(sizes(Scope::Whole)) {
            if let std::collections::btree_map::Entry::Vacant(entry) = files.entry(size) {
                let path = store.join(format!("file-{size}"));
                data::make(&path, size)?;
                entry.insert(path);
            }
        }
        Ok(Self {
            originals,
            tow,
            selfy_certs,
            tow_certs,
            foreign_certs,
            files,
            folder,
        })
    }

    /// A case's own empty folder, gone when dropped.
    pub(super) fn room(&self) -> Result<TempDir> {
        TempDir::new_in(self.folder.path()).context("cannot make a case's folder")
    }

    pub(super) fn deadline(&self) -> Deadline {
        Deadline::after(CASE_LIMIT)
    }

    pub(super) fn certs(&self, maker: Maker) -> &Path {
        match maker {
            Maker::Selfy => &self.selfy_certs,
            Maker::Tow => &self.tow_certs,
        }
    }

    /// A client's keys that another authority signed than the one that the folder trusts, selfy's.
    pub(super) fn foreign_certs(&self) -> &Path {
        &self.foreign_certs
    }

    pub(super) fn file(&self, size: u64) -> Result<&Path> {
        self.files
            .get(&size)
            .map(PathBuf::as_path)
            .with_context(|| format!("no file of {size} bytes"))
    }

    /// Puts the file of this size into a folder, under a link: its bytes are not copied.
    pub(super) fn place(&self, size: u64, folder: &Path, name: &str) -> Result<PathBuf> {
        let to = folder.join(name);
        fs::hard_link(self.file(size)?, &to)
            .with_context(|| format!("cannot place {}", to.display()))?;
        Ok(to)
    }

    /// `tow`, with this sub-command, in this folder.
    pub(super) fn tow(&self, task: &str, folder: &Path) -> Command {
        let mut command = Command::new(&self.tow);
        command.arg(task).current_dir(folder);
        command
    }

    /// `tow` as a client over this link: keys, compression, and no questions about tcp.
    pub(super) fn tow_client(&self, task: &str, link: Link, folder: &Path) -> Command {
        let mut command = self.tow(task, folder);
        command.args(["--compress", link.compress()]);
        if link.tls {
            command.arg("--certs").arg(self.certs(link.keys));
        } else {
            command.arg("--insecure");
        }
        command
    }

    /// The original's client or server over this link.
    pub(super) fn original(&self, program: &Path, link: Link, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .args(["-press", link.press()])
            // Needed even over plain TCP (pitfall P23).
            .arg("-certs")
            .arg(self.certs(link.keys))
            .current_dir(folder);
        if !link.tls {
            command.arg("-tcp");
        }
        command
    }

    /// Starts a server and returns it with the address from its start line.
    pub(super) fn serve(
        &self,
        command: &mut Command,
        address: impl Fn(&str) -> Option<String>,
        deadline: Deadline,
    ) -> Result<(Program, String)> {
        let mut server = Program::start(command)?;
        let address = server.line(deadline, |line| address(line))?;
        Ok((server, address))
    }
}
