//! rpc25519 v1.6.8 itself, by the program of `interop/rpc25519/original`: its client and its server, with Go's runtime.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use crate::rpc::{ClientArgs, Load};

/// Names the folder with the original's programs, which are built elsewhere.
pub(in crate::rpc) const FOLDER: &str = "TOWLINE_RPC25519_PROGRAMS";

/// The program, if the folder is named.
pub(in crate::rpc) fn program() -> Option<PathBuf> {
    Some(PathBuf::from(env::var_os(FOLDER)?).join("rpc25519"))
}

/// What both ends are told: no pre-shared key, no compression.
fn command(program: &Path, task: &str, load: Load, certs: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .args([task, load.scheme()])
        .arg(certs)
        .args(["-", "none"]);
    command
}

pub(in crate::rpc) fn server(program: &Path, load: Load, certs: &Path) -> Command {
    let mut command = command(program, "serve", load, certs);
    command.arg("bench");
    command
}

pub(in crate::rpc) fn client(program: &Path, args: &ClientArgs) -> Command {
    let mut command = command(program, "client", args.load, &args.certs);
    let task = match args.load {
        Load::ConnectTcp | Load::ConnectTls | Load::ConnectQuic => "connects",
        _ => "echoes",
    };
    let part = format!(
        "bench={task},{},{},{},{}",
        args.size, args.connections, args.seconds, args.server_pid
    );
    // It says where it listens as "listening tcp://127.0.0.1:34567".
    let address = args.address.rsplit(['/', ' ']).next().unwrap_or_default();
    command.args([&part, address]);
    command
}
