//! What every case shares: the programs, the keys, the files that travel.

use std::collections::BTreeMap;
use std::fs;
use std::io;
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

/// The programs that towline is run against, as far as they are here.
#[derive(Default)]
pub(super) struct Peers {
    pub(super) originals: Option<Originals>,
    pub(super) gopeer: Option<PathBuf>,
}

/// The programs, keys and files. The folder behind it goes when it is dropped.
pub(super) struct Lab {
    peers: Peers,
    tow: PathBuf,
    selfy_certs: Option<PathBuf>,
    tow_certs: PathBuf,
    /// Signed by another authority than the maker's, which the folder trusts.
    foreign_to_selfy: Option<PathBuf>,
    foreign_to_tow: PathBuf,
    stranger_certs: PathBuf,
    files: BTreeMap<u64, PathBuf>,
    folder: TempDir,
}

impl Lab {
    pub(super) fn set_up(peers: Peers) -> Result<Self> {
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
        let tow_certs = keys::by_tow(&tow, &below("tow")?)?;
        let foreign_to_tow = foreign_to(&tow, &below("foreign-to-tow")?, &tow_certs)?;
        let stranger_certs = keys::by_tow(&tow, &below("stranger")?)?;
        let (selfy_certs, foreign_to_selfy) = match &peers.originals {
            Some(originals) => {
                let certs = keys::by_selfy(&originals.selfy, &below("selfy")?)?;
                let foreign = foreign_to(&tow, &below("foreign-to-selfy")?, &certs)?;
                (Some(certs), Some(foreign))
            }
            None => (None, None),
        };
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
            peers,
            tow,
            selfy_certs,
            tow_certs,
            foreign_to_selfy,
            foreign_to_tow,
            stranger_certs,
            files,
            folder,
        })
    }

    /// A case's own empty folder, gone when dropped.
    pub(super) fn room(&self) -> Result<TempDir> {
        TempDir::new_in(self.folder.path()).context("cannot make a case's folder")
    }

    /// Keys by `tow keys`.
    pub(super) fn tow_certs(&self) -> &Path {
        &self.tow_certs
    }

    pub(super) fn deadline(&self) -> Deadline {
        Deadline::after(CASE_LIMIT)
    }

    pub(super) fn originals(&self) -> Result<&Originals> {
        self.peers
            .originals
            .as_ref()
            .context("the original programs are not here")
    }

    fn certs(&self, maker: Maker) -> &Path {
        match maker {
            Maker::Selfy => self.selfy_certs.as_deref().unwrap_or(&self.tow_certs),
            Maker::Tow => &self.tow_certs,
        }
    }

    /// Keys that another authority signed than the one that the folder trusts, this maker's: so it
    /// is the other end that refuses.
    pub(super) fn foreign_certs(&self, maker: Maker) -> Result<&Path> {
        match maker {
            Maker::Selfy => self
                .foreign_to_selfy
                .as_deref()
                .context("the original key maker is not here"),
            Maker::Tow => Ok(&self.foreign_to_tow),
        }
    }

    /// Keys of another authority that trust nothing but it.
    pub(super) fn stranger_certs(&self) -> &Path {
        &self.stranger_certs
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

    /// `tow` as a client over this link: keys, compression, and leave to move files over tcp.
    pub(super) fn tow_client(&self, task: &str, link: Link, folder: &Path) -> Command {
        let mut command = self.tow(task, folder);
        command.args(["--compress", link.compress()]);
        if link.tls {
            command.arg("--certs").arg(self.certs(link.keys));
        } else if task != "call" {
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

    /// Our Go peer with this sub-command over this link.
    pub(super) fn gopeer(&self, task: &str, link: Link, folder: &Path) -> Command {
        // Its cases are not there without it.
        let program = self.peers.gopeer.as_deref();
        let mut command = Command::new(program.unwrap_or_else(|| Path::new("gopeer")));
        command
            .arg(task)
            .args(["-press", link.compress()])
            .current_dir(folder);
        if link.tls {
            command.arg("-certs").arg(self.certs(link.keys));
        } else {
            command.arg("-tcp");
        }
        command
    }

    /// Starts `tow serve` and returns it with its address.
    pub(super) fn tow_serve(
        &self,
        link: Link,
        served: &Path,
        args: &[&str],
        deadline: Deadline,
    ) -> Result<(Program, String)> {
        let mut command = self.tow_client("serve", link, served);
        command
            .arg(served)
            .args(args)
            .arg("--listen")
            .arg(link.url("127.0.0.1:0"));
        self.serve(
            &mut command,
            |line| {
                let url = line.strip_prefix("listening on ")?;
                Some(url.split_once("://")?.1.trim().to_owned())
            },
            deadline,
        )
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

/// Makes keys with an authority of their own, and then has them trust the other one as well.
fn foreign_to(tow: &Path, folder: &Path, trusted: &Path) -> Result<PathBuf> {
    let certs = keys::by_tow(tow, folder)?;
    let roots = certs.join("ca.crt");
    let join = || -> io::Result<()> {
        let mut text = fs::read(&roots)?;
        text.extend(fs::read(trusted.join("ca.crt"))?);
        fs::write(&roots, text)
    };
    join().context("cannot add an authority to that of the foreign keys")?;
    Ok(certs)
}
