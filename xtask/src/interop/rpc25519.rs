//! Calls, streams and pushes, towline against the original in both roles, over every link that both have.
//!
//! The original is a program around it, `interop/rpc25519/original`, towline the example `rpc_peer`: either serves what
//! the other plays. `cli` and `srv`, which are played elsewhere, move files and echo calls, and nothing more.

use std::env;
use std::fs;
use std::io::PipeWriter;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use super::case::{Case, Outcome, Scope};
use super::child::Program;
use super::lab::Lab;
use super::originals;
use crate::{process, tools};

/// The original's name in a folder of programs, and of what is built here.
const ORIGINAL: &str = "rpc25519";
const LINKS: [&str; 4] = ["tcp", "tls", "quic", "connect"];
const COMPRESSIONS: [&str; 7] = [
    "none", "s2", "lz4", "zstd:01", "zstd:03", "zstd:07", "zstd:11",
];
/// Longer than QUIC keeps a silent connection.
const LONG_SILENCE: &str = "idle=35s";
const SILENCE: &str = "idle=2s";

/// The program around the original; the error says why there is none.
pub(super) fn find_original() -> Result<PathBuf> {
    if let Some(folder) = env::var_os(originals::FOLDER) {
        let named = Path::new(&folder).join(ORIGINAL);
        if named.is_file() {
            return Ok(named.canonicalize()?);
        }
    }
    ensure!(tools::go_is_here(), "Go is missing");
    let folder = "interop/rpc25519/original";
    println!("building {folder}");
    let program = process::target_dir().join("interop").join(ORIGINAL);
    let output = Command::new("go")
        .args(["build", "-buildvcs=false", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(process::root().join(folder))
        .output()
        .context("cannot start go")?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{}",
        originals::first_error(&text).trim()
    );
    Ok(program)
}

/// Builds towline's end.
pub(super) fn build_ours() -> Result<()> {
    println!("building rpc_peer");
    let example = [
        "build",
        "--quiet",
        "--release",
        "--package",
        "towline",
        "--example",
        "rpc_peer",
    ];
    process::run(&mut process::cargo(example))
}

/// Every pair of a link, a compression and a pre-shared key or none meets, in both roles.
pub(super) fn cases(scope: Scope, original: &Path) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |link, psk, compression, part, slow| {
        for dials in [End::Towline, End::Original] {
            let talk = Talk {
                link,
                psk,
                compression,
                part,
                dials,
                original: original.to_owned(),
            };
            cases.push(Case {
                name: talk.name(),
                slow,
                run: Box::new(move |lab| talk.play(lab)),
            });
        }
    };
    for (row, link) in LINKS.into_iter().enumerate() {
        for (column, compression) in COMPRESSIONS.into_iter().enumerate() {
            // Both compressions that a scope plays at least once are met with and without a key.
            let psk = (row + column) % 2 == 1;
            if scope == Scope::Quick && column != row % 2 {
                continue;
            }
            add(link, psk, compression, "small", false);
            if scope == Scope::Whole {
                add(link, psk, compression, "large", false);
            }
        }
        if scope == Scope::Whole {
            for psk in [false, true] {
                add(link, psk, "s2", SILENCE, false);
            }
        }
    }
    if scope == Scope::Whole {
        add("quic", false, "s2", LONG_SILENCE, true);
    }
    let served = original.to_owned();
    // TCP is answered by the system, stopped programs or not.
    cases.push(Case::new(
        "towline to rpc25519, quic, gone".to_owned(),
        move |lab| gone(lab, &served),
    ));
    for link in LINKS {
        if scope == Scope::Whole || link == "tcp" {
            for (name, dials) in [
                ("towline to rpc25519", End::Towline),
                ("rpc25519 to towline", End::Original),
            ] {
                let original = original.to_owned();
                cases.push(Case::new(
                    format!("{name}, {link}, another pre-shared key"),
                    move |lab| another_key(lab, link, dials, &original),
                ));
            }
        }
    }
    cases
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Towline,
    Original,
}

struct Talk {
    link: &'static str,
    psk: bool,
    compression: &'static str,
    part: &'static str,
    dials: End,
    original: PathBuf,
}

impl Talk {
    fn name(&self) -> String {
        let who = match self.dials {
            End::Towline => "towline to rpc25519",
            End::Original => "rpc25519 to towline",
        };
        let psk = if self.psk { " psk" } else { "" };
        let Self {
            link,
            compression,
            part,
            ..
        } = self;
        format!("{who}, {link}{psk} {compression}, {part}")
    }

    fn play(&self, lab: &Lab) -> Result<Outcome> {
        let room = lab.room()?;
        let key = if self.psk {
            Some(write_key(room.path(), "psk", 1)?)
        } else {
            None
        };
        let (client, server) = match self.dials {
            End::Towline => (ours(), self.original.clone()),
            End::Original => (self.original.clone(), ours()),
        };
        let line = Line {
            link: self.link,
            compression: self.compression,
            part: self.part,
        };
        let (served, address) = line.serve(&server, key.as_deref(), lab, room.path())?;
        let mut command = line.command(&client, "client", key.as_deref(), lab, room.path());
        Program::start(command.arg(&address))?
            .end(lab.deadline())?
            .expect_code(0)?
            .expect_text("ok")?;
        drop(served);
        Ok(Outcome::Pass)
    }
}

/// A server that is stopped in the middle of a call says nothing any more, not even by QUIC.
fn gone(lab: &Lab, original: &Path) -> Result<Outcome> {
    let room = lab.room()?;
    let line = Line {
        link: "quic",
        compression: "s2",
        part: "gone",
    };
    let ((served, input), address) = line.serve(original, None, lab, room.path())?;
    let mut command = line.command(&ours(), "client", None, lab, room.path());
    let mut client = Program::start(command.arg(&address))?;
    client.line(lab.deadline(), |line| (line == "connected").then_some(()))?;
    served.signal(Signal::STOP)?;
    client.end(lab.deadline())?.expect_code(0)?;
    drop((served, input));
    Ok(Outcome::Pass)
}

/// Whoever cannot open the first record hangs up: the client ends, and does not wait. Ours says what is likely.
fn another_key(lab: &Lab, link: &'static str, dials: End, original: &Path) -> Result<Outcome> {
    let room = lab.room()?;
    let keys = [
        write_key(room.path(), "psk", 1)?,
        write_key(room.path(), "other", 2)?,
    ];
    let line = Line {
        link,
        compression: "s2",
        part: "small",
    };
    let (client, server, said) = match dials {
        End::Towline => (ours(), original.to_owned(), "different pre-shared keys"),
        End::Original => (original.to_owned(), ours(), "error: calls: "),
    };
    let (served, address) = line.serve(&server, Some(&keys[0]), lab, room.path())?;
    let mut command = line.command(&client, "client", Some(&keys[1]), lab, room.path());
    Program::start(command.arg(&address))?
        .end(lab.deadline())?
        .expect_code(1)?
        .expect_text(said)?;
    drop(served);
    Ok(Outcome::Pass)
}

fn write_key(room: &Path, name: &str, byte: u8) -> Result<PathBuf> {
    let path = room.join(name);
    fs::write(&path, [byte; 32]).context("cannot write a key")?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(path)
}

fn ours() -> PathBuf {
    process::target_dir()
        .join("release")
        .join("examples")
        .join("rpc_peer")
}

/// What both ends are told alike.
#[derive(Clone, Copy)]
struct Line {
    link: &'static str,
    compression: &'static str,
    part: &'static str,
}

impl Line {
    fn command(
        self,
        program: &Path,
        task: &str,
        key: Option<&Path>,
        lab: &Lab,
        room: &Path,
    ) -> Command {
        let mut command = Command::new(program);
        command
            .args([task, self.link])
            .arg(lab.tow_certs())
            .arg(key.unwrap_or_else(|| Path::new("-")))
            .args([self.compression, self.part])
            .current_dir(room);
        command
    }

    /// The program, its address, and its input, which does not end before it does.
    fn serve(
        self,
        program: &Path,
        key: Option<&Path>,
        lab: &Lab,
        room: &Path,
    ) -> Result<((Program, PipeWriter), String)> {
        let mut command = self.command(program, "serve", key, lab, room);
        let (input, kept) = std::io::pipe()?;
        let mut served = Program::start_with(&mut command, Stdio::from(input))?;
        let address = served.line(lab.deadline(), |line| {
            Some(line.trim().strip_prefix("listening ")?.to_owned())
        })?;
        Ok(((served, kept), address))
    }
}
