//! The programs of both ends: built here, or named.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::super::originals::first_error;
use super::peer::{Dialect, PEERS, Peer, Source};
use crate::{process, tools};

/// Names a folder with the Go programs, for where their modules cannot be had from the proxy.
pub(in super::super) const FOLDER: &str = "TOWLINE_MUX_PROGRAMS";

/// Every program, or why it could not be had.
pub(in super::super) struct Programs {
    rust: PathBuf,
    go: BTreeMap<&'static str, Result<PathBuf, String>>,
}

impl Programs {
    /// Builds what is not in the named folder. A Go module that cannot be had is told, not an error.
    pub(in super::super) fn find() -> Result<Self> {
        let folder = env::var_os(FOLDER).map(PathBuf::from);
        let mut go = BTreeMap::new();
        for peer in &PEERS {
            let Source::Go {
                module,
                program,
                modfile,
            } = peer.source
            else {
                continue;
            };
            if go.contains_key(program) {
                continue;
            }
            let named = folder
                .as_ref()
                .map(|folder| folder.join(program))
                .filter(|path| path.is_file());
            let found = match named {
                Some(path) => path.canonicalize().map_err(|error| error.to_string()),
                None => build_go(module, program, modfile).map_err(|error| format!("{error:#}")),
            };
            if let Err(why) = &found {
                println!(
                    "NOT RUN: {}: {why}; set {FOLDER} to a directory with {program}, or pass \
                     --require-original to make this an error",
                    names_of(program)
                );
            }
            go.insert(program, found);
        }
        Ok(Self {
            rust: build_rust()?,
            go,
        })
    }

    /// Why there is no program of this peer.
    pub(super) fn missing(&self, peer: &Peer) -> Option<String> {
        match self.found(peer)? {
            Ok(_) => None,
            Err(why) => Some(why.clone()),
        }
    }

    /// The first program that could not be had.
    pub(in super::super) fn first_missing(&self) -> Option<&str> {
        self.go
            .values()
            .find_map(|found| found.as_ref().err().map(String::as_str))
    }

    pub(super) fn peer(&self, peer: &Peer) -> Command {
        let program = match self.found(peer) {
            Some(Ok(program)) => program,
            // Its cases are not there without it.
            Some(Err(_)) => Path::new(peer.mux),
            None => &self.rust,
        };
        let mut command = Command::new(program);
        command.args(["--mux", peer.mux]);
        command
    }

    pub(super) fn towline(&self, dialect: Dialect) -> Command {
        let mut command = Command::new(&self.rust);
        command.args([
            "--mux",
            match dialect {
                Dialect::Yamux => "towline-yamux",
                Dialect::Muxado => "towline-muxado",
            },
        ]);
        command
    }

    /// Nothing for what is built with towline.
    fn found(&self, peer: &Peer) -> Option<Result<&Path, &String>> {
        match peer.source {
            Source::Go { program, .. } => {
                let found = self.go.get(program)?;
                Some(found.as_ref().map(PathBuf::as_path))
            }
            Source::Rust => None,
        }
    }
}

fn build_go(module: &str, program: &str, modfile: Option<&str>) -> Result<PathBuf> {
    if !tools::go_is_here() {
        bail!("Go is missing");
    }
    let path = process::target_dir()
        .join("interop")
        .join("mux")
        .join(program);
    println!("building {program}");
    let mut command = Command::new("go");
    command
        .current_dir(process::root().join("interop").join("mux").join(module))
        .args(["build", "-buildvcs=false"]);
    if let Some(modfile) = modfile {
        command.arg(format!("-modfile={modfile}"));
    }
    let output = command
        .arg("-o")
        .arg(&path)
        .arg(".")
        .output()
        .context("cannot start go")?;
    if !output.status.success() {
        bail!(
            "{}",
            first_error(&String::from_utf8_lossy(&output.stderr)).trim()
        );
    }
    Ok(path)
}

/// Towline itself, and the crates beside it: a workspace of its own.
fn build_rust() -> Result<PathBuf> {
    println!("building muxrust");
    let manifest = process::root().join("interop/muxrust/Cargo.toml");
    let target = process::target_dir().join("interop").join("muxrust");
    process::run(
        process::cargo([
            "build",
            "--quiet",
            "--release",
            "--locked",
            "--manifest-path",
        ])
        .arg(manifest)
        .env("CARGO_TARGET_DIR", &target),
    )?;
    Ok(target.join("release").join("muxrust"))
}

/// The peers that a program plays.
fn names_of(program: &str) -> String {
    let names: Vec<&str> = PEERS
        .iter()
        .filter(|peer| matches!(peer.source, Source::Go { program: its, .. } if its == program))
        .map(|peer| peer.name)
        .collect();
    names.join(", ")
}
