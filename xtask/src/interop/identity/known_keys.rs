//! Known-keys files of one side used by the other, learning and locked, over TLS.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::super::case::{Case, Link, Outcome};
use super::super::child::{Deadline, Ended, Program};
use super::super::lab::Lab;

/// Read by servers.
const CLIENTS: &str = "known_client_keys";
/// Read by clients.
const SERVERS: &str = "known_server_keys";
/// How long the original waits for an answer, when it is the other end that has to end the waiting.
const PATIENCE: &str = "140s";

pub(super) fn cases() -> Vec<Case> {
    let case = |name: &str, run: fn(&Lab) -> Result<Outcome>| Case::new(name.to_owned(), run);
    vec![
        case(
            "known client keys of tow serve, read by srv",
            made_by_tow_serve,
        ),
        case("known client keys of srv, read by tow serve", made_by_srv),
        case(
            "known server keys of tow call, read by cli",
            made_by_tow_call,
        ),
        case("known server keys of cli, read by tow call", made_by_cli),
        case("cli with an unknown key, tow serve", cli_is_refused),
    ]
}

/// With our Go peer, on Go's TLS, as the client.
pub(super) fn gopeer_cases() -> Vec<Case> {
    vec![Case::new(
        "gopeer, learnt and then unknown, tow serve".to_owned(),
        gopeer_is_learnt_and_refused,
    )]
}

/// docs/wire I41, I46: Go reports the alert at its first read.
fn gopeer_is_learnt_and_refused(lab: &Lab) -> Result<Outcome> {
    let place = Place::new(lab)?;
    let (learning, locked) = (
        place.learning("learning", CLIENTS)?,
        place.folder("locked")?,
    );
    let call = |server: &Server, folder: &Path| {
        let mut command = lab.gopeer("call", Link::TLS, folder);
        command.arg("-certs").arg(place.certs());
        command.args(["-s", &server.address, "customEcho", "a line from Go"]);
        Program::start(&mut command)?.end(lab.deadline())
    };
    let server = place.tow_serve(&learning, "node")?;
    call(&server, &learning)?.expect_code(0)?;
    place.lock(&learning, &locked, CLIENTS, "client")?;
    let server = place.tow_serve(&locked, "node")?;
    call(&server, &locked)?.expect_code(0)?;

    let elsewhere = place.folder("elsewhere")?;
    place.know(&elsewhere, "eve")?;
    let server = place.tow_serve(&elsewhere, "node")?;
    call(&server, &elsewhere)?
        .expect_code(1)?
        .expect_text("access denied")?;
    Ok(Outcome::Pass)
}

/// `tow serve` learns the original's client; the original's server is locked with that list.
fn made_by_tow_serve(lab: &Lab) -> Result<Outcome> {
    let place = Place::new(lab)?;
    let (learning, locked) = (place.learning("tow", CLIENTS)?, place.folder("srv")?);
    let server = place.tow_serve(&learning, "node")?;
    place
        .cli(&learning, &server.address, "client", "10s")?
        .expect_code(0)?;
    place.lock(&learning, &locked, CLIENTS, "client")?;
    let server = place.srv(&locked, "node")?;
    place
        .cli(&locked, &server.address, "client", "10s")?
        .expect_code(0)?;
    place
        .tow_call(&locked, &server.address, "client")?
        .expect_code(0)?;
    // The original leaves a refused connection open (pitfall P2): ours gives up by its own limit.
    let refused = place.tow_call(&locked, &server.address, "eve")?;
    ensure!(refused.expect_code(0).is_err(), "srv served an unknown key");
    Ok(Outcome::Pass)
}

fn made_by_srv(lab: &Lab) -> Result<Outcome> {
    let place = Place::new(lab)?;
    let (learning, locked) = (place.learning("srv", CLIENTS)?, place.folder("tow")?);
    let server = place.srv(&learning, "node")?;
    place
        .tow_call(&learning, &server.address, "client")?
        .expect_code(0)?;
    place.lock(&learning, &locked, CLIENTS, "client")?;
    let mut server = place.tow_serve(&locked, "node")?;
    place
        .tow_call(&locked, &server.address, "client")?
        .expect_code(0)?;
    place
        .cli(&locked, &server.address, "client", "10s")?
        .expect_code(0)?;
    place
        .tow_call(&locked, &server.address, "eve")?
        .expect_code(6)?;
    server.program.line(lab.deadline(), |line| {
        line.contains("to admit it: tow keys known add")
            .then_some(())
    })?;
    Ok(Outcome::Pass)
}

/// The original's client goes on waiting on a connection that is closed, as long as it was told to
/// (pitfall P32); that the server has closed it, `openssl s_client` shows.
fn cli_is_refused(lab: &Lab) -> Result<Outcome> {
    let place = Place::new(lab)?;
    let (learning, locked) = (place.learning("tow", CLIENTS)?, place.folder("locked")?);
    let server = place.tow_serve(&learning, "node")?;
    place
        .tow_call(&learning, &server.address, "client")?
        .expect_code(0)?;
    place.lock(&learning, &locked, CLIENTS, "client")?;
    let server = place.tow_serve(&locked, "node")?;
    let refused = place.cli(&locked, &server.address, "eve", "3s")?;
    ensure!(
        !refused.text.contains("with time customEcho sees this"),
        "cli was served with an unknown key"
    );
    place
        .tow_call(&locked, &server.address, "client")?
        .expect_code(0)?;
    Ok(Outcome::Pass)
}

fn made_by_tow_call(lab: &Lab) -> Result<Outcome> {
    let place = Place::new(lab)?;
    let (learning, locked) = (place.learning("tow", SERVERS)?, place.folder("cli")?);
    let elsewhere = place.folder("server")?;
    let server = place.srv(&elsewhere, "node")?;
    place
        .tow_call(&learning, &server.address, "client")?
        .expect_code(0)?;
    place.lock(&learning, &locked, SERVERS, "node")?;
    place
        .cli(&locked, &server.address, "client", "10s")?
        .expect_code(0)?;
    place
        .tow_call(&locked, &server.address, "client")?
        .expect_code(0)?;
    // A server of ours whose key is not on the list.
    let other = place.tow_serve(&elsewhere, "eve")?;
    let refused = place.cli(&locked, &other.address, "client", PATIENCE)?;
    ensure!(
        refused.expect_code(0).is_err(),
        "cli called an unknown server"
    );
    Ok(Outcome::Pass)
}

fn made_by_cli(lab: &Lab) -> Result<Outcome> {
    let place = Place::new(lab)?;
    let (learning, locked) = (place.learning("cli", SERVERS)?, place.folder("tow")?);
    let elsewhere = place.folder("server")?;
    let server = place.tow_serve(&elsewhere, "node")?;
    place
        .cli(&learning, &server.address, "client", "10s")?
        .expect_code(0)?;
    place.lock(&learning, &locked, SERVERS, "node")?;
    place
        .tow_call(&locked, &server.address, "client")?
        .expect_code(0)?;
    let other = place.srv(&elsewhere, "eve")?;
    place
        .tow_call(&locked, &other.address, "client")?
        .expect_code(6)?
        .expect_text(SERVERS)?;
    Ok(Outcome::Pass)
}

/// Keys `node`, `client` and `eve` of one authority, and folders for programs to run in.
pub(super) struct Place<'a> {
    lab: &'a Lab,
    room: TempDir,
}

/// A server that is killed when dropped.
pub(super) struct Server {
    pub(super) program: Program,
    pub(super) address: String,
}

impl<'a> Place<'a> {
    pub(super) fn new(lab: &'a Lab) -> Result<Self> {
        let room = lab.room()?;
        for name in ["node", "client", "eve"] {
            let email = format!("{name}@example.com");
            Program::start(
                lab.tow("keys", room.path())
                    .args(["new", name, "-e", &email]),
            )?
            .end(lab.deadline())?
            .expect_code(0)?;
        }
        Ok(Self { lab, room })
    }

    pub(super) fn certs(&self) -> PathBuf {
        self.room.path().join("certs")
    }

    pub(super) fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.room.path().join(name);
        fs::create_dir(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(folder)
    }

    /// A folder with an empty list that may be written to.
    fn learning(&self, name: &str, list: &str) -> Result<PathBuf> {
        let folder = self.folder(name)?;
        fs::write(folder.join(list), "").context("cannot write an empty list")?;
        Ok(folder)
    }

    /// Takes the list, which has learnt this key and no other, to another folder, and locks it.
    pub(super) fn lock(&self, from: &Path, to: &Path, list: &str, name: &str) -> Result<()> {
        let text = fs::read_to_string(from.join(list)).context("cannot read the list")?;
        let (header, entries) = text.split_once('\n').unwrap_or_default();
        ensure!(
            header == "# known_pub_keys file: address pubkey-identity-string",
            "the list begins with {header:?}"
        );
        let expected = format!(
            "127.0.0.1 pubkey@edwardsRPC-ed25519-b58c-{}:{name}@example.com\n",
            self.key(name)?
        );
        ensure!(entries == expected, "the list holds {entries:?}");
        let there = to.join(list);
        fs::write(&there, text)
            .and_then(|()| fs::set_permissions(&there, Permissions::from_mode(0o444)))
            .context("cannot place the locked list")
    }

    /// A locked list in this folder with this key, by the commands of `tow`.
    pub(super) fn know(&self, folder: &Path, name: &str) -> Result<()> {
        for args in [&["known", "add", &self.key(name)?][..], &["known", "lock"]] {
            Program::start(self.lab.tow("keys", folder).args(args))?
                .end(self.lab.deadline())?
                .expect_code(0)?;
        }
        Ok(())
    }

    fn key(&self, name: &str) -> Result<String> {
        let shown = Program::start(
            self.lab
                .tow("keys", self.room.path())
                .arg("show")
                .arg(self.certs().join(format!("{name}.crt"))),
        )?
        .end(self.lab.deadline())?
        .expect_code(0)?;
        let key = shown
            .text
            .split_whitespace()
            .find(|word| word.len() == 51 && word.starts_with('9'));
        Ok(key.context("tow keys show says no key")?.to_owned())
    }

    pub(super) fn tow_serve(&self, folder: &Path, name: &str) -> Result<Server> {
        let mut command = self.lab.tow("serve", folder);
        command.args([".", "--listen", "tls://127.0.0.1:0", "--key", name]);
        command.arg("--certs").arg(self.certs());
        self.server(&mut command, |line| {
            let url = line.strip_prefix("listening on ")?;
            Some(url.split_once("://")?.1.trim().to_owned())
        })
    }

    fn srv(&self, folder: &Path, name: &str) -> Result<Server> {
        let mut command = Command::new(&self.lab.originals()?.srv);
        command.args(["-s", "127.0.0.1:0", "-k", name]);
        command.arg("-certs").arg(self.certs()).current_dir(folder);
        self.server(&mut command, |line| {
            let (_, address) = line.split_once("returned serverAddr = '")?;
            Some(address.split_once('\'')?.0.to_owned())
        })
    }

    fn server(
        &self,
        command: &mut Command,
        address: impl Fn(&str) -> Option<String>,
    ) -> Result<Server> {
        let (program, address) = self.lab.serve(command, address, self.lab.deadline())?;
        Ok(Server { program, address })
    }

    pub(super) fn tow_call(&self, folder: &Path, address: &str, name: &str) -> Result<Ended> {
        let mut command = self.lab.tow("call", folder);
        command.args([&format!("tls://{address}"), "customEcho", "hello"]);
        command.args(["--key", name, "--timeout", "5s", "--certs"]);
        Program::start(command.arg(self.certs()))?.end(self.lab.deadline())
    }

    fn cli(&self, folder: &Path, address: &str, name: &str, wait: &str) -> Result<Ended> {
        let mut command = Command::new(&self.lab.originals()?.cli);
        command.args(["-s", address, "-k", name, "-wait", wait]);
        command.arg("-certs").arg(self.certs()).current_dir(folder);
        // Well below what it was told to wait.
        Program::start(&mut command)?.end(Deadline::after(Duration::from_secs(60)))
    }
}
