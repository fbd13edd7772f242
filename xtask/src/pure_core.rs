//! `cargo xtask pure-core`: the protocol cores build alone and know no runtime.

use anyhow::{Result, ensure};

use crate::process;

/// Crates that hold a pure core, built without default features.
const CORES: [&str; 6] = [
    "towline-codec",
    "towline-mux",
    "towline-rpc",
    "towline-swp",
    "towline-sync",
    "towline",
];

/// What a pure core may not depend on, directly or through others.
const RUNTIME: [&str; 3] = ["mio", "socket2", "tokio"];

pub(crate) fn run() -> Result<()> {
    for core in CORES {
        process::run(&mut process::cargo([
            "check",
            "--quiet",
            "--package",
            core,
            "--no-default-features",
        ]))?;
        let tree = process::output(&mut process::cargo([
            "tree",
            "--edges",
            "normal",
            "--no-default-features",
            "--prefix",
            "none",
            "--package",
            core,
        ]))?;
        let found = runtime_crates(&tree);
        ensure!(
            found.is_empty(),
            "{core} without default features depends on {}; `cargo tree -e normal --no-default-features -p {core}` shows how",
            found.join(", ")
        );
        println!("{core}: pure");
    }
    Ok(())
}

fn runtime_crates(tree: &str) -> Vec<&str> {
    let mut found: Vec<&str> = tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|name| RUNTIME.contains(name))
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::runtime_crates;

    #[test]
    fn a_runtime_is_found_once_and_by_its_whole_name() {
        let tree = "towline-rpc v0.1.0\ntokio v1.44.0\nbytes v1.10.0\ntokio v1.44.0 (*)\n";
        assert_eq!(runtime_crates(tree), ["tokio"]);
        assert!(runtime_crates("tokio-like v1.0.0\n").is_empty());
    }
}
