//! Our Go peer as the client, against `tow serve`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use super::case::{Case, Link, Outcome, Scope, sizes};
use super::child::{Deadline, Ended, Program};
use super::data;
use super::lab::Lab;

const ECHO: &str = "a line from Go\n with time customEcho sees this: '";

pub(super) fn cases(scope: Scope) -> Vec<Case> {
    let mut cases = Vec::new();
    for link in Link::for_gopeer(scope) {
        cases.push(Case::new(
            format!("gopeer call, tow serve, {link}"),
            move |lab| echo(lab, link),
        ));
        cases.push(Case::new(
            format!("gopeer call of nothing, tow serve, {link}"),
            move |lab| refused(lab, link),
        ));
        for &size in sizes(scope) {
            cases.push(Case::new(
                format!("gopeer push {size}, tow serve, {link}"),
                move |lab| push(lab, link, size),
            ));
            cases.push(Case::new(
                format!("gopeer pull {size}, tow serve, {link}"),
                move |lab| pull(lab, link, size),
            ));
        }
        if scope == Scope::Whole {
            cases.push(Case::new(
                format!("gopeer pull of nothing, tow serve, {link}"),
                move |lab| pull_missing(lab, link),
            ));
            cases.push(Case::new(
                format!("gopeer push to a read-only tow serve, {link}"),
                move |lab| push_forbidden(lab, link),
            ));
        }
    }
    if scope == Scope::Whole {
        cases.push(Case::new(
            "gopeer call under byte 7, tow serve".to_owned(),
            plain,
        ));
        let none = Link {
            compression: "none",
            ..Link::TLS
        };
        cases.push(Case::new(
            "gopeer call without compression, tow serve with S2".to_owned(),
            move |lab| mixed(lab, none, Link::TLS),
        ));
        cases.push(Case::new(
            "gopeer call with S2, tow serve without compression".to_owned(),
            move |lab| mixed(lab, Link::TLS, none),
        ));
    }
    cases.push(Case::new(
        "gopeer with a foreign certificate, tow serve".to_owned(),
        |lab| foreign(lab, lab.foreign_certs(Link::TLS.keys)?),
    ));
    cases.push(Case::new(
        "gopeer that trusts another authority, tow serve".to_owned(),
        |lab| foreign(lab, lab.stranger_certs()),
    ));
    cases
}

fn echo(lab: &Lab, link: Link) -> Result<Outcome> {
    let room = lab.room()?;
    let server = Server::start(lab, link, room.path(), &["--allow-write"])?;
    server.expect_echo(lab, room.path(), link)?;
    server.stop()?;
    Ok(Outcome::Pass)
}

/// Unknown names are refused, in calls and in one-way messages; what comes after is served.
fn refused(lab: &Lab, link: Link) -> Result<Outcome> {
    let room = lab.room()?;
    let server = Server::start(lab, link, room.path(), &["--allow-write"])?;
    server
        .end(
            server
                .client(lab, "call", link, room.path())
                .args(["nobodyKnowsThis", "hello"]),
        )?
        .expect_code(1)?
        .expect_text("refused: error! CallRPC begin received")?;
    server
        .end(server.client(lab, "oneway", link, room.path()).args([
            "-refused",
            "nobodyKnowsThis",
            "hello",
        ]))?
        .expect_code(1)?
        .expect_text("refused: error! CallOneWay received")?;
    server.expect_echo(lab, room.path(), link)?;
    server.stop()?;
    Ok(Outcome::Pass)
}

fn push(lab: &Lab, link: Link, size: u64) -> Result<Outcome> {
    let room = lab.room()?;
    let server = Server::start(lab, link, room.path(), &["--allow-write"])?;
    let file = lab.file(size)?;
    server
        .end(server.client(lab, "push", link, room.path()).arg(file))?
        .expect_code(0)?
        .expect_text(&format!("{size} bytes"))?;
    let name = file.file_name().context("a file has a name")?;
    data::expect_same(file, &server.folder.join(name))?;
    expect_files(&server.folder, 1)?;
    server.stop()?;
    Ok(Outcome::Pass)
}

fn pull(lab: &Lab, link: Link, size: u64) -> Result<Outcome> {
    let room = lab.room()?;
    let server = Server::start(lab, link, room.path(), &[])?;
    lab.place(size, &server.folder, "wanted")?;
    server
        .end(
            server
                .client(lab, "pull", link, room.path())
                .args(["-dir", ".", "wanted"]),
        )?
        .expect_code(0)?
        .expect_text(&format!("{size} bytes"))?;
    data::expect_same(lab.file(size)?, &room.path().join("wanted"))?;
    server.stop()?;
    Ok(Outcome::Pass)
}

fn pull_missing(lab: &Lab, link: Link) -> Result<Outcome> {
    let room = lab.room()?;
    let server = Server::start(lab, link, room.path(), &[])?;
    for path in ["nothing", "../nothing"] {
        server
            .end(server.client(lab, "pull", link, room.path()).arg(path))?
            .expect_code(1)?
            .expect_text("failed: ")?;
    }
    // The served folder, and no file.
    expect_files(room.path(), 1)?;
    server.stop()?;
    Ok(Outcome::Pass)
}

/// The upload ends with JobErrs, not with a refusal of the service (T25).
fn push_forbidden(lab: &Lab, link: Link) -> Result<Outcome> {
    let room = lab.room()?;
    let server = Server::start(lab, link, room.path(), &[])?;
    server
        .end(
            server
                .client(lab, "push", link, room.path())
                .arg(lab.file(1)?),
        )?
        .expect_code(1)?
        .expect_text("failed: ")?;
    expect_files(&server.folder, 0)?;
    server.stop()?;
    Ok(Outcome::Pass)
}

/// Byte 7 is for one message: the answer follows the server's own setting (F11, F12).
fn plain(lab: &Lab) -> Result<Outcome> {
    let room = lab.room()?;
    let server = Server::start(lab, Link::TLS, room.path(), &[])?;
    server
        .end(server.client(lab, "call", Link::TLS, room.path()).args([
            "-plain",
            "customEcho",
            "a line from Go",
        ]))?
        .expect_code(0)?
        .expect_text(ECHO)?
        .expect_text("reply under byte 1")?;
    server.stop()?;
    Ok(Outcome::Pass)
}

/// The server answers with what the client uses, whatever it began with itself (F11).
fn mixed(lab: &Lab, client: Link, server: Link) -> Result<Outcome> {
    let room = lab.room()?;
    let server = Server::start(lab, server, room.path(), &[])?;
    server.expect_echo(lab, room.path(), client)?;
    server.stop()?;
    Ok(Outcome::Pass)
}

/// With these keys there is no connection; with the right ones there still is.
fn foreign(lab: &Lab, certs: &Path) -> Result<Outcome> {
    let room = lab.room()?;
    let server = Server::start(lab, Link::TLS, room.path(), &[])?;
    let ended = server
        .end(
            server
                .client(lab, "call", Link::TLS, room.path())
                .arg("-certs")
                .arg(certs)
                .args(["customEcho", "a line from Go"]),
        )?
        .expect_code(1)?;
    ensure!(
        !ended.text.contains("customEcho sees this"),
        "a client with the wrong keys was answered"
    );
    server.expect_echo(lab, room.path(), Link::TLS)?;
    server.stop()?;
    Ok(Outcome::Pass)
}

/// A running `tow serve`.
struct Server {
    program: Program,
    address: String,
    folder: PathBuf,
    deadline: Deadline,
}

impl Server {
    fn start(lab: &Lab, link: Link, room: &Path, args: &[&str]) -> Result<Self> {
        let deadline = lab.deadline();
        let folder = room.join("served");
        fs::create_dir(&folder).context("cannot create the served folder")?;
        let (program, address) = lab.tow_serve(link, &folder, args, deadline)?;
        Ok(Self {
            program,
            address,
            folder,
            deadline,
        })
    }

    fn client(&self, lab: &Lab, task: &str, link: Link, room: &Path) -> Command {
        let mut command = lab.gopeer(task, link, room);
        command.args(["-s", &self.address]);
        command
    }

    fn end(&self, command: &mut Command) -> Result<Ended> {
        Program::start(command)?.end(self.deadline)
    }

    fn expect_echo(&self, lab: &Lab, room: &Path, link: Link) -> Result<()> {
        let byte = u8::from(link.compression == "s2");
        self.end(
            self.client(lab, "call", link, room)
                .args(["customEcho", "a line from Go"]),
        )?
        .expect_code(0)?
        .expect_text(ECHO)?
        .expect_text(&format!("reply under byte {byte}"))?;
        Ok(())
    }

    fn stop(self) -> Result<()> {
        self.program.stop(Signal::TERM, self.deadline)
    }
}

fn expect_files(folder: &Path, expected: usize) -> Result<()> {
    let there = fs::read_dir(folder)?.count();
    ensure!(
        there == expected,
        "{there} entries in {}, not {expected}",
        folder.display()
    );
    Ok(())
}
