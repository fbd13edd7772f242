//! `tow call`, `tow push` and `tow pull` against the original's server, `srv`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use super::case::{Case, Link, Maker, Outcome, Scope, sizes};
use super::child::{Deadline, Program};
use super::data;
use super::lab::Lab;

pub(super) fn cases(scope: Scope) -> Vec<Case> {
    let mut cases = Vec::new();
    for link in Link::all(scope) {
        cases.push(Case {
            name: format!("tow call, srv, {link}"),
            slow: false,
            run: Box::new(move |lab| call(lab, link)),
        });
        for &size in sizes(scope) {
            cases.push(Case {
                name: format!("tow push {size}, srv -readfile, {link}"),
                slow: false,
                run: Box::new(move |lab| push(lab, link, size)),
            });
            cases.push(Case {
                name: format!("tow pull {size}, srv -serve, {link}"),
                slow: false,
                run: Box::new(move |lab| pull(lab, link, size)),
            });
        }
        if scope == Scope::Whole {
            cases.push(Case {
                name: format!("tow pull of nothing, srv -serve, {link}"),
                slow: false,
                run: Box::new(move |lab| pull_missing(lab, link)),
            });
            cases.push(Case {
                name: format!("tow call of nothing, srv, {link}"),
                slow: false,
                run: Box::new(move |lab| call_missing(lab, link)),
            });
        }
    }
    cases.push(Case {
        name: "tow with a foreign certificate, srv".to_owned(),
        slow: false,
        run: Box::new(foreign),
    });
    cases
}

fn call(lab: &Lab, link: Link) -> Result<Outcome> {
    let room = lab.room()?;
    let server = Server::start(lab, link, room.path(), &[])?;
    Program::start(lab.tow_client("call", link, room.path()).args([
        &server.url(),
        "customEcho",
        "a line for the original",
    ]))?
    .end(server.deadline)?
    .expect_code(0)?
    .expect_text("a line for the original\n with time customEcho sees this: '")?;
    server.stop()?;
    Ok(Outcome::Pass)
}

/// The server answers with a CallError, which ends the call at once.
fn call_missing(lab: &Lab, link: Link) -> Result<Outcome> {
    let room = lab.room()?;
    let server = Server::start(lab, link, room.path(), &[])?;
    Program::start(lab.tow_client("call", link, room.path()).args([
        &server.url(),
        "nobodyKnowsThis",
        "hello",
    ]))?
    .end(server.deadline)?
    .expect_code(1)?
    .expect_text("nobodyKnowsThis")?;
    server.stop()?;
    Ok(Outcome::Pass)
}

fn push(lab: &Lab, link: Link, size: u64) -> Result<Outcome> {
    let room = lab.room()?;
    let server = Server::start(lab, link, room.path(), &["-readfile"])?;
    let file = lab.file(size)?;
    Program::start(
        lab.tow_client("push", link, room.path())
            .arg(file)
            .arg(server.url()),
    )?
    .end(server.deadline)?
    .expect_code(0)?;
    let name = file.file_name().context("a file has a name")?;
    let mut stored = name.to_owned();
    stored.push(".servergot");
    data::expect_same(file, &server.folder.join(stored))?;
    server.stop()?;
    Ok(Outcome::Pass)
}

/// Of an empty file the server sends one part that is no end (P16); `tow` finishes it all the same.
fn pull(lab: &Lab, link: Link, size: u64) -> Result<Outcome> {
    let room = lab.room()?;
    let server = Server::start(lab, link, room.path(), &["-serve"])?;
    lab.place(size, &server.folder, "wanted")?;
    let got = room.path().join("got");
    fs::create_dir(&got)?;
    Program::start(
        lab.tow_client("pull", link, room.path())
            .arg("--no-fsync")
            .arg(format!("{}#wanted", server.url()))
            .arg("-o")
            .arg(&got),
    )?
    .end(server.deadline)?
    .expect_code(0)?;
    data::expect_same(lab.file(size)?, &got.join("wanted"))?;
    server.stop()?;
    Ok(Outcome::Pass)
}

/// The one file that was wanted is not there: the pull failed. One of two: some files failed.
fn pull_missing(lab: &Lab, link: Link) -> Result<Outcome> {
    let room = lab.room()?;
    let server = Server::start(lab, link, room.path(), &["-serve"])?;
    lab.place(1, &server.folder, "wanted")?;
    let got = room.path().join("got");
    fs::create_dir(&got)?;
    let nothing = format!("{}#nothing", server.url());
    let wanted = format!("{}#wanted", server.url());
    for (urls, code, arrived) in [(vec![&nothing], 1, 0), (vec![&nothing, &wanted], 4, 1)] {
        Program::start(
            lab.tow_client("pull", link, room.path())
                .args(urls)
                .arg("-o")
                .arg(&got),
        )?
        .end(server.deadline)?
        .expect_text("no such path")?
        .expect_code(code)?;
        let left = fs::read_dir(&got)?.count();
        ensure!(left == arrived, "{left} files arrived, not {arrived}");
    }
    data::expect_same(lab.file(1)?, &got.join("wanted"))?;
    server.stop()?;
    Ok(Outcome::Pass)
}

fn foreign(lab: &Lab) -> Result<Outcome> {
    let link = Link {
        tls: true,
        compression: "s2",
        keys: Maker::Selfy,
    };
    let room = lab.room()?;
    let server = Server::start(lab, link, room.path(), &[])?;
    Program::start(
        lab.tow("call", room.path())
            .arg("--certs")
            .arg(lab.foreign_certs(link.keys)?)
            .args([&server.url(), "customEcho", "hello"]),
    )?
    .end(server.deadline)?
    .expect_code(6)?;
    server.stop()?;
    Ok(Outcome::Pass)
}

/// A running `srv`; it stores and serves files in its own working folder.
struct Server {
    program: Program,
    address: String,
    link: Link,
    folder: std::path::PathBuf,
    deadline: Deadline,
}

impl Server {
    fn start(lab: &Lab, link: Link, room: &Path, args: &[&str]) -> Result<Self> {
        let deadline = lab.deadline();
        let folder = room.join("original");
        fs::create_dir(&folder).context("cannot create the server's folder")?;
        let mut command = lab.original(&lab.originals()?.srv, link, &folder);
        command.args(["-s", "127.0.0.1:0"]).args(args);
        let (program, address) = lab.serve(
            &mut command,
            |line| {
                let (_, address) = line.split_once("returned serverAddr = '")?;
                Some(address.split_once('\'')?.0.to_owned())
            },
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

    fn stop(self) -> Result<()> {
        self.program.stop(Signal::INT, self.deadline)
    }
}
