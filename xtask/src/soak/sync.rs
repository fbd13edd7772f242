//! Sync of real data, and sync with its ends killed over and over.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use super::relay::Relay;
use super::{Running, now};
use crate::process;

const MIB: u64 = 1 << 20;
/// A crate of some thousand files, and two of its releases.
const CRATE: &str = "aws-lc-sys";
const RELEASES: [&str; 2] = ["0.28.0", "0.29.0"];
/// The file that is sent while ends are killed, and the disk image.
const LARGE: u64 = 1024 * MIB;
/// How often an end is killed.
const KILLS: u64 = 10;
/// A run that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(300);

pub(super) fn run() -> Result<()> {
    println!("building tow");
    let build = ["build", "--quiet", "--release", "--package", "tow"];
    process::run(&mut process::cargo(build))?;
    let place = Place::make()?;
    place.releases()?;
    place.image()?;
    place.kills()?;
    println!("PASS  soak sync");
    Ok(())
}

/// Where everything lies; gone when dropped.
struct Place {
    dir: TempDir,
    tow: PathBuf,
    certs: PathBuf,
    relay: Relay,
}

/// What a sync said in the end.
struct Synced {
    literal: u64,
    text: String,
}

impl Place {
    fn make() -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("towline-soak-")
            .tempdir()
            .context("cannot make a temporary directory")?;
        let tow = process::target_dir().join("release/tow");
        let keys = |args: &[&str]| {
            let mut keys = Command::new(&tow);
            keys.arg("keys").args(args).arg("--quiet");
            process::run(keys.current_dir(dir.path()))
        };
        keys(&["ca"])?;
        for name in ["node", "client"] {
            keys(&["new", name, "-e", "soak@example.com"])?;
        }
        let certs = dir.path().join("certs");
        Ok(Self {
            dir,
            tow,
            certs,
            relay: Relay::start()?,
        })
    }

    fn fresh(&self, name: &str) -> Result<PathBuf> {
        let path = self.dir.path().join(name);
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        fs::create_dir(&path)?;
        Ok(path)
    }

    /// Two releases of a crate, as the registry has them: the second over the first.
    fn releases(&self) -> Result<()> {
        let [old, new] = RELEASES.map(|version| self.release(version));
        let (old, new) = (old?, new?);
        let served = self.fresh("served")?;
        copy(&old, &served.join("tree"))?;
        let _server = self.serve(&served)?;
        // Releases have all their files from the same moment in time: only contents tell them apart.
        let args = ["--delete", "--checksum"];
        let first = self.sync(&new, "tree", &args)?;
        println!(
            "{CRATE} {} over {}: {}",
            RELEASES[1], RELEASES[0], first.text
        );
        same(&new, &served.join("tree"))?;
        let again = self.sync(&new, "tree", &args)?;
        println!("the same again: {}", again.text);
        ensure!(again.literal == 0, "a second run sent data of files");
        Ok(())
    }

    /// The sources of a release: fetched by cargo, from whatever registry it is told to use.
    fn release(&self, version: &str) -> Result<PathBuf> {
        let project = self.fresh("project")?;
        let manifest = format!(
            "[package]\nname = \"empty\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\n[lib]\npath = \
             \"lib.rs\"\n\n[dependencies]\n{CRATE} = \"={version}\"\n"
        );
        fs::write(project.join("Cargo.toml"), manifest)?;
        fs::write(project.join("lib.rs"), "")?;
        let mut fetch = process::cargo(["metadata", "--quiet", "--format-version", "1"]);
        let text = process::output(fetch.current_dir(&project))?;
        let metadata: Value = serde_json::from_str(&text)?;
        let packages = metadata["packages"].as_array().context("no packages")?;
        let manifest = packages
            .iter()
            .filter(|package| package["name"] == CRATE && package["version"] == version)
            .find_map(|package| package["manifest_path"].as_str())
            .with_context(|| format!("cargo has not fetched {CRATE} {version}"))?;
        let dir = Path::new(manifest).parent().context("no directory")?;
        Ok(dir.to_path_buf())
    }

    /// A file system of 1 GiB, made and edited without mounting it.
    fn image(&self) -> Result<()> {
        let image = self.fresh("sources")?.join("disk.img");
        let tree = self.release(RELEASES[0])?;
        fs::File::create(&image)?.set_len(LARGE)?;
        let mut make = e2fs("mkfs.ext4");
        make.args(["-q", "-F", "-d"]).arg(&tree).arg(&image);
        process::run(&mut make).context("mkfs.ext4 is needed (Debian: apt install e2fsprogs)")?;
        let served = self.fresh("served")?;
        let _server = self.serve(&served)?;
        let first = self.sync(&image, "disk.img", &[])?;
        println!("ext4 image: {}", first.text);
        same(&image, &served.join("disk.img"))?;

        let addition = self.dir.path().join("addition");
        fs::write(&addition, noise(3 * MIB))?;
        let requests = format!(
            "write {} addition\nrm Cargo.toml\nmkdir drawer\nwrite {} drawer/one\n",
            addition.display(),
            addition.display()
        );
        let script = self.dir.path().join("requests");
        fs::write(&script, requests)?;
        let mut edit = e2fs("debugfs");
        edit.arg("-w").arg("-f").arg(&script).arg(&image);
        process::output(edit.stderr(Stdio::null()))?;
        let edited = self.sync(&image, "disk.img", &[])?;
        println!("edited by 6 MiB: {}", edited.text);
        same(&image, &served.join("disk.img"))?;
        ensure!(
            edited.literal < 16 * MIB,
            "{} bytes were sent",
            edited.literal
        );
        Ok(())
    }

    /// One file of 1 GiB, by a client and to a server that are killed by turns.
    fn kills(&self) -> Result<()> {
        let source = self.fresh("sources")?.join("large.bin");
        fs::write(&source, noise(LARGE))?;
        let served = self.fresh("served")?;
        let mut server = self.serve(&served)?;
        let before = self.relay.carried();
        let mut client = self.start_sync(&source, "large.bin", &[])?;
        for kill in 0..KILLS {
            // A share of the file after each kill, whatever was sent twice.
            let until = before + (kill + 1) * LARGE / (KILLS + 2);
            let begun = now();
            while self.relay.carried() < until {
                ensure!(client.try_wait()?.is_none(), "a client ended early");
                ensure!(begun.elapsed() < PATIENCE, "a sync makes no progress");
                thread::sleep(Duration::from_millis(1));
            }
            if kill % 2 == 0 {
                client.kill()?;
                client.wait()?;
                client = self.start_sync(&source, "large.bin", &[])?;
            } else {
                // The client connects again by itself.
                drop(server);
                server = self.serve(&served)?;
            }
        }
        let output = client.wait_with_output()?;
        let synced = Synced::read(&output.stdout)?;
        ensure!(output.status.success(), "the last client failed");
        drop(server);
        let carried = self.relay.carried() - before;
        let share = carried as f64 / LARGE as f64;
        println!("killed {KILLS} times: {}", synced.text);
        println!(
            "in all {} MiB on the wire for {} MiB: {share:.3} times",
            carried / MIB,
            LARGE / MIB
        );
        same(&source, &served.join("large.bin"))?;
        ensure!(share < 1.2, "too much was sent twice");
        let left = fs::read_dir(&served)?.count();
        ensure!(left == 1, "partial files were left behind");
        Ok(())
    }

    /// A server; the relay leads to it. It is killed when dropped.
    fn serve(&self, served: &Path) -> Result<Running> {
        let mut command = Command::new(&self.tow);
        command.arg("serve").arg(served);
        command.args(["--allow-write", "--json", "--listen", "tls://127.0.0.1:0"]);
        command.arg("--certs").arg(&self.certs);
        command.env("XDG_CACHE_HOME", self.dir.path().join("cache"));
        let mut server = Running::start(&mut command)?;
        let line: Value = serde_json::from_str(&server.line()?)?;
        let url = line["url"].as_str().context("no URL")?;
        let address = url.strip_prefix("tls://").context("not tls")?;
        let end = address.find(['?', '#', '/']).unwrap_or(address.len());
        self.relay.set_target(&address[..end]);
        Ok(server)
    }

    fn start_sync(&self, source: &Path, to: &str, args: &[&str]) -> Result<Child> {
        let mut command = Command::new(&self.tow);
        command.arg("sync").arg(source);
        command.arg(format!("tls://{}#{to}", self.relay.address()));
        command.args(args).args(["--json", "--certs"]);
        command.arg(&self.certs).args(["--retries", "20"]);
        command.env("XDG_CACHE_HOME", self.dir.path().join("cache"));
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(Stdio::null());
        command.spawn().context("cannot start tow")
    }

    fn sync(&self, source: &Path, to: &str, args: &[&str]) -> Result<Synced> {
        let output = self.start_sync(source, to, args)?.wait_with_output()?;
        ensure!(
            output.status.success(),
            "tow sync failed: {}",
            output.status
        );
        Synced::read(&output.stdout)
    }
}

impl Synced {
    fn read(stdout: &[u8]) -> Result<Self> {
        let text = String::from_utf8_lossy(stdout);
        let mut events = text
            .lines()
            .rev()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let event = events
            .find(|event| event["event"] == "synced")
            .context("tow sync gave no summary")?;
        let number = |name: &str| {
            event[name]
                .as_u64()
                .with_context(|| format!("no {name} in the summary"))
        };
        let (literal, reused) = (number("literal")?, number("reused")?);
        let text = format!(
            "{} entries, {} files written or compared, {literal} bytes sent, {reused} reused, {:.2} s",
            number("entries")?,
            number("files_done")?,
            event["seconds"].as_f64().unwrap_or_default()
        );
        Ok(Self { literal, text })
    }
}

/// A program of e2fsprogs, which may lie where only the superuser looks.
fn e2fs(name: &str) -> Command {
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/sbin:/usr/sbin");
    let found = env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|path| path.is_file());
    Command::new(found.unwrap_or_else(|| PathBuf::from(name)))
}

/// Bytes that no two blocks of are alike, the same each time.
fn noise(count: u64) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = Vec::with_capacity(count as usize);
    while (bytes.len() as u64) < count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    process::run(Command::new("cp").arg("--archive").args([from, to]))
}

/// Fails if two files or trees differ.
fn same(one: &Path, other: &Path) -> Result<()> {
    let mut diff = Command::new("diff");
    diff.args(["--recursive", "--no-dereference", "--brief"]);
    process::run(diff.args([one, other])).context("the two differ")
}
