//! Programs that tasks need: found, installed below the target directory, or named.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::process;

/// A C compiler, which the ring and blake3 crates build with.
pub(crate) fn require_c_compiler() -> Result<()> {
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    if !process::works(&compiler, &["--version"]) {
        bail!("no C compiler ({compiler}); install one: apt-get install gcc");
    }
    Ok(())
}

/// A nats-server, which sessions over a broker are tested with: found, installed from Debian's package, or
/// asked for.
pub(crate) fn require_nats_server() -> Result<()> {
    if nats_server_is_here() {
        return Ok(());
    }
    install("nats-server")?;
    if !nats_server_is_here() {
        bail!("no nats-server; install it: sudo apt-get install nats-server");
    }
    Ok(())
}

/// Chromium, for the admin page: found, installed from Debian's package, or asked for.
pub(crate) fn require_chromium() -> Result<String> {
    let found = || {
        let mut names = ["chromium", "chromium-browser"].into_iter();
        names.find(|name| process::works(name, &["--version"]))
    };
    if found().is_none() {
        install("chromium")?;
    }
    let chromium = found().context("no Chromium; install it: sudo apt-get install chromium")?;
    Ok(chromium.to_owned())
}

/// Installs a package of Debian's, where that is possible.
fn install(package: &str) -> Result<()> {
    if !process::works("sh", &["-c", "test \"$(id -u)\" = 0"])
        || !process::works("apt-get", &["--version"])
    {
        return Ok(());
    }
    println!("{package} is missing: installing Debian's package");
    for args in [
        &["update", "-qq"][..],
        &["install", "-y", "-qq", "--no-install-recommends", package],
    ] {
        let mut command = std::process::Command::new("apt-get");
        process::run(command.args(args).env("DEBIAN_FRONTEND", "noninteractive"))?;
    }
    Ok(())
}

/// Debian puts it where not everybody's PATH leads.
fn nats_server_is_here() -> bool {
    ["nats-server", "/usr/sbin/nats-server"]
        .iter()
        .any(|program| process::works(program, &["--version"]))
}

/// Says which optional programs are missing and what goes untested without them.
pub(crate) fn report_optional() {
    if !openssl_is_here() {
        println!(
            "note: openssl is missing, its checks of our certificates are left out: apt-get install openssl"
        );
    }
    if !go_is_here() {
        println!(
            "note: Go is missing, `cargo xtask interop` leaves our Go peer out: apt-get install golang"
        );
    }
}

/// Whether the openssl program can be started.
pub(crate) fn openssl_is_here() -> bool {
    process::works("openssl", &["version"])
}

/// Whether a Go toolchain can be started.
pub(crate) fn go_is_here() -> bool {
    process::works("go", &["version"])
}

/// The path of a cargo subcommand, installed with the lock file of its authors if it is missing.
pub(crate) fn cargo_tool(name: &str) -> Result<PathBuf> {
    let folder = process::target_dir().join("tools");
    let program = folder.join("bin").join(name);
    if !program.exists() {
        println!("{name} is missing: installing it into {}", folder.display());
        process::run(
            process::cargo(["install", "--locked", name, "--root"])
                .arg(&folder)
                .env("CARGO_TARGET_DIR", folder.join("build")),
        )
        .with_context(|| format!("cannot install {name}; try `cargo install --locked {name}`"))?;
    }
    Ok(program)
}
