//! The product: `tow serve`, `tow push` and `tow pull`.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use towline::identity::CipherSuite;

use super::{Commands, Direction, Place, SOURCE};

/// Builds `tow` from the sources beside this directory, if it is not built yet.
pub(crate) fn build() -> anyhow::Result<PathBuf> {
    eprintln!("building tow");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let output = Command::new(cargo)
        .args(["build", "--release", "--locked", "--package", "tow"])
        .arg("--manifest-path")
        .arg(manifest)
        .args(["--message-format", "json-render-diagnostics"])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    ensure!(output.status.success(), "tow cannot be built");
    String::from_utf8(output.stdout)?
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "tow")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .context("cargo does not say where it has put tow")
}

/// What `tow` says of itself.
pub(crate) fn version(tow: &Path) -> anyhow::Result<String> {
    let output = Command::new(tow)
        .arg("--version")
        .output()
        .with_context(|| format!("cannot start {}", tow.display()))?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

pub(super) fn commands(
    direction: Direction,
    suite: CipherSuite,
    place: &Place,
) -> anyhow::Result<Commands<'_>> {
    let mut server = Command::new(&place.tow);
    server.arg("serve").arg(place.served_for(direction));
    server.args(["--allow-write", "--no-fsync", "--compress", "none"]);
    server.args(["--until-stdin-ends", "--json", "--certs"]);
    server.arg(&place.certs);
    server.args(["--listen", &format!("tls://127.0.0.1:0?cipher={suite}")]);
    let client = move |ready: &str| {
        let listening: Value = serde_json::from_str(ready)
            .with_context(|| format!("tow said {ready:?} instead of where it listens"))?;
        let url = listening["url"]
            .as_str()
            .context("tow does not say where it listens")?;
        let mut client = Command::new(&place.tow);
        match direction {
            Direction::Push => client.arg("push").arg(&place.source).arg(url),
            Direction::Pull => client
                .args(["pull", &format!("{url}#{SOURCE}"), "--no-fsync", "--out"])
                .arg(&place.fetched),
        };
        client.args(["--compress", "none", "--quiet", "--certs"]);
        client.arg(&place.certs);
        Ok(client)
    };
    Ok((server, Box::new(client)))
}
