//! The original's client, `cli`, against `tow serve`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use super::case::{Case, Link, Maker, Outcome, Scope, sizes};
use super::child::{Deadline, Ended, Program};
use super::data;
use super::lab::Lab;

pub(super) fn cases(scope: Scope) -> Vec<Case> {
    let mut cases = Vec::new();
    for link in Link::all(scope) {
        cases.push(Case {
            name: format!("cli echo, tow serve, {link}"),
            slow: false,
            run: Box::new(move |lab| echo(lab, link)),
        });
        for &size in sizes(scope) {
            cases.push(Case {
                name: format!("cli -sendfile {size}, tow serve, {link}"),
                slow: size == 0,
                run: Box::new(move |lab| match size {
                    0 => send_empty(lab, link),
                    size => send(lab, link, size),
                }),
            });
            cases.push(Case {
                name: format!("cli -download {size}, tow serve, {link}"),
                slow: false,
                run: Box::new(move |lab| download(lab, link, size)),
            });
        }
        cases.push(Case::new(
            format!("cli -echofile, tow serve, {link}"),
            move |lab| echo_file(lab, link),
        ));
        if scope == Scope::Whole {
            cases.push(Case {
                name: format!("cli -download of nothing, tow serve, {link}"),
                slow: false,
                run: Box::new(move |lab| download_missing(lab, link)),
            });
        }
    }
    cases.push(Case {
        name: "cli with a foreign certificate, tow serve".to_owned(),
        slow: false,
        run: Box::new(foreign),
    });
    cases
}

fn echo(lab: &Lab, link: Link) -> Result<Outcome> {
    let room = lab.room()?;
    let server = Server::start(lab, link, room.path())?;
    server.expect_echo(lab, room.path())?;
    server.stop()?;
    Ok(Outcome::Pass)
}

/// The file goes up one half of a bistream and comes back on the other.
fn echo_file(lab: &Lab, link: Link) -> Result<Outcome> {
    const SIZE: u64 = (1 << 20) + 1;
    let room = lab.room()?;
    let server = Server::start(lab, link, room.path())?;
    lab.place(SIZE, room.path(), "wanted")?;
    server
        .client(
            lab,
            room.path(),
            &["-echofile"],
            Some(&room.path().join("wanted")),
        )?
        .expect_code(0)?
        .expect_text("total time for echo")?;
    data::expect_same(
        lab.file(SIZE)?,
        &room.path().join("wanted.echoed.echoclientgot"),
    )?;
    server.stop()?;
    Ok(Outcome::Pass)
}

fn send(lab: &Lab, link: Link, size: u64) -> Result<Outcome> {
    let room = lab.room()?;
    let server = Server::start(lab, link, room.path())?;
    server
        .client(lab, room.path(), &["-sendfile"], Some(lab.file(size)?))?
        .expect_code(0)?
        .expect_text("total time for upload")?;
    data::expect_same(
        lab.file(size)?,
        &server.folder(room.path()).join(file_name(lab, size)?),
    )?;
    expect_alone(&server.folder(room.path()))?;
    server.stop()?;
    Ok(Outcome::Pass)
}

/// `cli` never ends the stream of an empty file: it waits a minute and panics.
fn send_empty(lab: &Lab, link: Link) -> Result<Outcome> {
    let room = lab.room()?;
    let server = Server::start(lab, link, room.path())?;
    server
        .client(lab, room.path(), &["-sendfile"], Some(lab.file(0)?))?
        .expect_code(2)?
        .expect_text("panic:")?;
    // Nobody said that the file was whole, so it must not appear; and others are served.
    server.expect_echo(lab, room.path())?;
    let folder = server.folder(room.path());
    server.stop()?;
    let left = fs::read_dir(&folder)?.count();
    ensure!(
        left == 0,
        "{left} files are left of an upload that never ended"
    );
    Ok(Outcome::Known(
        "P16",
        "cli waits a minute for an empty upload and panics",
    ))
}

fn download(lab: &Lab, link: Link, size: u64) -> Result<Outcome> {
    let room = lab.room()?;
    let server = Server::start(lab, link, room.path())?;
    lab.place(size, &server.folder(room.path()), "wanted")?;
    server
        .client(lab, room.path(), &["-download", "wanted"], None)?
        .expect_code(0)?
        .expect_text("total time for download")?;
    data::expect_same(
        lab.file(size)?,
        &room.path().join("wanted.downloaded.download_client_got"),
    )?;
    server.stop()?;
    Ok(Outcome::Pass)
}

/// `cli` is told that there is no such file, says nothing and ends with status 0.
fn download_missing(lab: &Lab, link: Link) -> Result<Outcome> {
    let room = lab.room()?;
    let server = Server::start(lab, link, room.path())?;
    server
        .client(lab, room.path(), &["-download", "nothing"], None)?
        .expect_code(0)?
        .expect_text("sees CallRPCReply, exiting")?;
    ensure!(
        !room
            .path()
            .join("nothing.downloaded.download_client_got")
            .exists(),
        "a file arrived that was never there"
    );
    server.expect_echo(lab, room.path())?;
    server.stop()?;
    Ok(Outcome::Known(
        "P17",
        "cli ends with status 0 though nothing arrived",
    ))
}

/// `cli` believes it is connected until its first call, which the refusal ends.
fn foreign(lab: &Lab) -> Result<Outcome> {
    let link = Link {
        tls: true,
        compression: "s2",
        keys: Maker::Selfy,
    };
    let room = lab.room()?;
    let server = Server::start(lab, link, room.path())?;
    let ended = Program::start(
        lab.original(&lab.originals()?.cli, link, room.path())
            .arg("-certs")
            .arg(lab.foreign_certs(link.keys)?)
            .args(["-wait", "5s", "-s", &server.address]),
    )?
    .end(server.deadline)?;
    ensure!(
        !ended.text.contains("with time customEcho sees this"),
        "a client with a foreign certificate was answered"
    );
    server.expect_echo(lab, room.path())?;
    server.stop()?;
    Ok(Outcome::Pass)
}

/// A running `tow serve` and the folder it serves.
struct Server {
    program: Program,
    address: String,
    link: Link,
    deadline: Deadline,
}

impl Server {
    fn start(lab: &Lab, link: Link, room: &Path) -> Result<Self> {
        let deadline = lab.deadline();
        let served = room.join("served");
        fs::create_dir(&served).context("cannot create the served folder")?;
        let args = ["--allow-write", "--no-fsync"];
        let (program, address) = lab.tow_serve(link, &served, &args, deadline)?;
        Ok(Self {
            program,
            address,
            link,
            deadline,
        })
    }

    fn folder(&self, room: &Path) -> std::path::PathBuf {
        room.join("served")
    }

    /// Runs the original's client to its end.
    fn client(&self, lab: &Lab, room: &Path, args: &[&str], file: Option<&Path>) -> Result<Ended> {
        let mut command = lab.original(&lab.originals()?.cli, self.link, room);
        command.args(["-s", &self.address]).args(args).args(file);
        Program::start(&mut command)?.end(self.deadline)
    }

    fn expect_echo(&self, lab: &Lab, room: &Path) -> Result<()> {
        self.client(lab, room, &[], None)?
            .expect_code(0)?
            .expect_text("client says hello and requests this be echoed back")?
            .expect_text("with time customEcho sees this: '")?
            .expect_text("client did 1 calls.  err = '<nil>'")?;
        Ok(())
    }

    fn stop(self) -> Result<()> {
        self.program.stop(Signal::TERM, self.deadline)
    }
}

fn file_name(lab: &Lab, size: u64) -> Result<&std::ffi::OsStr> {
    lab.file(size)?.file_name().context("a file has a name")
}

/// Nothing but the file itself is left in the folder: no temporary name.
fn expect_alone(folder: &Path) -> Result<()> {
    let entries = fs::read_dir(folder)?.count();
    ensure!(entries == 1, "{entries} files where one was sent");
    Ok(())
}
