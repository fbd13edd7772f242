//! Our own Go peer, `interop/gopeer`: built and tested with the Go that is here.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use super::case::{Case, Outcome};
use super::child::{Deadline, Program};
use crate::{process, tools};

/// Builds the peer; the error says what is missing.
pub(super) fn build() -> Result<PathBuf> {
    ensure!(
        tools::go_is_here(),
        "Go is missing; install it: apt-get install golang"
    );
    let program = process::target_dir().join("interop").join("gopeer");
    println!("building gopeer");
    // Unstamped: the state of the repository is nothing that this program tells.
    process::run(
        go(&["build", "-buildvcs=false", "-o"])
            .arg(&program)
            .arg("."),
    )?;
    Ok(program)
}

/// The peer's own tests hold it against real bytes of the original.
pub(super) fn tests() -> Case {
    Case::new("gopeer's tests".to_owned(), |lab| {
        play(&mut go(&["vet", "./..."]), lab.deadline())?;
        play(&mut go(&["test", "./..."]), lab.deadline())?;
        Ok(Outcome::Pass)
    })
}

fn play(command: &mut Command, deadline: Deadline) -> Result<()> {
    Program::start(command)?.end(deadline)?.expect_code(0)?;
    Ok(())
}

fn go(args: &[&str]) -> Command {
    let mut command = Command::new("go");
    command
        .args(args)
        .current_dir(process::root().join(Path::new("interop/gopeer")));
    command
}
