//! `tow call`, `tow push` and `tow pull` against our Go peer as the server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use super::case::{Case, Link, Outcome, Scope, sizes};
use super::child::{Deadline, Ended, Program};
use super::data;
use super::lab::Lab;

pub(super) fn cases(scope: Scope) -> Vec<Case> {
    let mut cases = Vec::new();
    for link in Link::for_gopeer(scope) {
        cases.push(Case::new(
            format!("tow call, gopeer serve, {link}"),
            move |lab| call(lab, link),
        ));
        cases.push(Case::new(
            format!("tow call of nothing, gopeer serve, {link}"),
            move |lab| call_failing(lab, link),
        ));
        for &size in sizes(scope) {
            cases.push(Case::new(
                format!("tow push {size}, gopeer serve, {link}"),
                move |lab| push(lab, link, size),
            ));
            cases.push(Case::new(
                format!("tow pull {size}, gopeer serve, {link}"),
                move |lab| pull(lab, link, size, &[]),
            ));
        }
        if scope == Scope::Whole {
            // As the original sends it: one part that is not marked as the last (T18).
            cases.push(Case::new(
                format!("tow pull 0 in one part, gopeer serve, {link}"),
                move |lab| pull(lab, link, 0, &["-lone-empty"]),
            ));
            cases.push(Case::new(
                format!("tow pull of nothing, gopeer serve, {link}"),
                move |lab| pull_missing(lab, link),
            ));
        }
    }
    cases.push(Case::new(
        "tow with a foreign certificate, gopeer serve".to_owned(),
        |lab| foreign(lab, lab.foreign_certs(Link::TLS.keys)?, "refused"),
    ));
    cases.push(Case::new(
        "tow that trusts another authority, gopeer serve".to_owned(),
        |lab| foreign(lab, lab.stranger_certs(), "an authority we do not know"),
    ));
    cases
}

fn call(lab: &Lab, link: Link) -> Result<Outcome> {
    let room = lab.room()?;
    let server = Server::start(lab, link, room.path(), &[])?;
    server.expect_echo(lab, room.path())?;
    server.stop()?;
    Ok(Outcome::Pass)
}

/// An unknown name is refused with a CallError, a function that fails says so in JobErrs.
fn call_failing(lab: &Lab, link: Link) -> Result<Outcome> {
    let room = lab.room()?;
    let server = Server::start(lab, link, room.path(), &[])?;
    for (name, text) in [
        ("nobodyKnowsThis", "nobodyKnowsThis"),
        ("alwaysFails", "alwaysFails was given 5 bytes"),
    ] {
        server
            .end(
                lab.tow_client("call", link, room.path())
                    .args([&server.url(), name, "hello"]),
            )?
            .expect_code(1)?
            .expect_text(text)?;
    }
    server.stop()?;
    Ok(Outcome::Pass)
}

fn push(lab: &Lab, link: Link, size: u64) -> Result<Outcome> {
    let room = lab.room()?;
    let server = Server::start(lab, link, room.path(), &[])?;
    let file = lab.file(size)?;
    server
        .end(
            lab.tow_client("push", link, room.path())
                .arg(file)
                .arg(server.url()),
        )?
        .expect_code(0)?;
    let name = file.file_name().context("a file has a name")?;
    data::expect_same(file, &server.folder.join(name))?;
    server.stop()?;
    Ok(Outcome::Pass)
}

fn pull(lab: &Lab, link: Link, size: u64, args: &[&str]) -> Result<Outcome> {
    let room = lab.room()?;
    let server = Server::start(lab, link, room.path(), args)?;
    lab.place(size, &server.folder, "wanted")?;
    server
        .end(
            lab.tow_client("pull", link, room.path())
                .arg("--no-fsync")
                .arg(format!("{}#wanted", server.url())),
        )?
        .expect_code(0)?;
    data::expect_same(lab.file(size)?, &room.path().join("wanted"))?;
    server.stop()?;
    Ok(Outcome::Pass)
}

fn pull_missing(lab: &Lab, link: Link) -> Result<Outcome> {
    let room = lab.room()?;
    let server = Server::start(lab, link, room.path(), &[])?;
    server
        .end(
            lab.tow_client("pull", link, room.path())
                .arg(format!("{}#nothing", server.url())),
        )?
        .expect_code(1)?
        .expect_text("no such path")?;
    // The server's folder, and no file.
    let left = fs::read_dir(room.path())?.count();
    ensure!(left == 1, "{left} entries are left, not 1");
    server.stop()?;
    Ok(Outcome::Pass)
}

/// With these keys `tow` is refused, or refuses, and says so; with the right ones it is served.
fn foreign(lab: &Lab, certs: &Path, text: &str) -> Result<Outcome> {
    let room = lab.room()?;
    let server = Server::start(lab, Link::TLS, room.path(), &[])?;
    server
        .end(
            lab.tow("call", room.path())
                .arg("--certs")
                .arg(certs)
                .args([&server.url(), "customEcho", "hello"]),
        )?
        .expect_code(6)?
        .expect_text(text)?;
    server.expect_echo(lab, room.path())?;
    server.stop()?;
    Ok(Outcome::Pass)
}

/// A running `gopeer serve`.
struct Server {
    program: Program,
    address: String,
    link: Link,
    folder: PathBuf,
    deadline: Deadline,
}

impl Server {
    fn start(lab: &Lab, link: Link, room: &Path, args: &[&str]) -> Result<Self> {
        let deadline = lab.deadline();
        let folder = room.join("gopeer");
        fs::create_dir(&folder).context("cannot create the server's folder")?;
        let (program, address) = lab.serve(
            lab.gopeer("serve", link, room)
                .args(["-listen", "127.0.0.1:0", "-dir"])
                .arg(&folder)
                .args(args),
            |line| line.strip_prefix("listening ").map(str::to_owned),
            deadline,
        )?;
        Ok(Self {
            program,
            address,
            link,
            folder,
            deadline,
        })
    }

    fn url(&self) -> String {
        self.link.url(&self.address)
    }

    fn end(&self, command: &mut Command) -> Result<Ended> {
        Program::start(command)?.end(self.deadline)
    }

    fn expect_echo(&self, lab: &Lab, room: &Path) -> Result<()> {
        self.end(lab.tow_client("call", self.link, room).args([
            &self.url(),
            "customEcho",
            "a line for Go",
        ]))?
        .expect_code(0)?
        .expect_text("a line for Go\n with time customEcho sees this: '")?;
        Ok(())
    }

    fn stop(self) -> Result<()> {
        self.program.stop(Signal::TERM, self.deadline)
    }
}
