//! `cargo xtask nightly`: the checks that are too slow for every change.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};

use crate::{fuzz, process, pure_core, tools};

/// How long each fuzz target runs.
const FUZZ_SECONDS: u64 = 60;

#[derive(Args)]
pub(crate) struct Options {
    /// Which checks to run; all of them without a name.
    steps: Vec<Step>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Licences, sources and bans of the dependencies.
    Dependencies,
    /// Every crate without features, with the default ones and with all.
    Features,
    /// The oldest versions that the manifests allow.
    MinimalVersions,
    /// Every example program.
    Examples,
    /// Every fuzz target for a minute.
    Fuzz,
    /// The protocol cores without a runtime.
    PureCores,
}

impl Step {
    fn run(self) -> Result<()> {
        match self {
            Self::Dependencies => dependencies(),
            Self::Features => features(),
            Self::MinimalVersions => minimal_versions(),
            Self::Examples => examples(),
            Self::Fuzz => fuzz_all(),
            Self::PureCores => pure_core::run(),
        }
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let mut failed = Vec::new();
    for step in Step::value_variants() {
        if !options.steps.is_empty() && !options.steps.contains(step) {
            continue;
        }
        let value = step.to_possible_value().context("every step has a name")?;
        let name = value.get_name();
        println!("== {name}");
        if let Err(error) = step.run() {
            println!("FAIL {name}: {error:#}");
            failed.push(name.to_owned());
        }
    }
    if options.steps.is_empty() {
        println!("== semver-checks: SKIPPED, no release exists to compare with");
    }
    ensure!(failed.is_empty(), "failed: {}", failed.join("; "));
    Ok(())
}

fn dependencies() -> Result<()> {
    let program = tools::cargo_tool("cargo-deny")?;
    // Advisories come from a database that is not a crate registry; the rest needs nothing more.
    process::run(
        std::process::Command::new(program)
            .args(["check", "bans", "licenses", "sources"])
            .current_dir(process::root()),
    )
}

fn features() -> Result<()> {
    for package in packages()? {
        for set in [None, Some("--no-default-features"), Some("--all-features")] {
            let mut command =
                process::cargo(["check", "--quiet", "--all-targets", "--package", &package]);
            // Tests ask for the drivers; without default features only the product is checked.
            if set == Some("--no-default-features") {
                command = process::cargo(["check", "--quiet", "--package", &package]);
            }
            process::run(command.args(set))?;
        }
    }
    Ok(())
}

/// Builds with the oldest versions that the manifests allow, in a copy: the lock file stays.
fn minimal_versions() -> Result<()> {
    let copy = tempfile::tempdir().context("cannot make a temporary directory")?;
    let tracked = process::output(
        std::process::Command::new("git")
            .args(["ls-files", "-z"])
            .current_dir(process::root()),
    )?;
    for file in tracked.split('\0').filter(|file| !file.is_empty()) {
        copy_file(&process::root().join(file), &copy.path().join(file))?;
    }
    for args in [
        ["update", "--quiet", "-Zdirect-minimal-versions"].as_slice(),
        &["check", "--quiet", "--workspace"],
    ] {
        process::run(
            process::cargo([])
                .args(args)
                .current_dir(copy.path())
                .env("RUSTC_BOOTSTRAP", "1")
                .env("CARGO_TARGET_DIR", process::target_dir().join("minimal")),
        )?;
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> Result<()> {
    // A file deleted but not yet committed is still listed.
    if !from.exists() {
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
    }
    std::fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}

fn examples() -> Result<()> {
    for package in packages()? {
        let folder = process::root()
            .join("crates")
            .join(&package)
            .join("examples");
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.context("cannot read the examples folder")?.path();
            let Some(name) = path.file_stem().and_then(|name| name.to_str()) else {
                continue;
            };
            println!("-- {package}: {name}");
            process::run(&mut process::cargo([
                "run",
                "--quiet",
                "--package",
                &package,
                "--example",
                name,
            ]))?;
        }
    }
    Ok(())
}

fn fuzz_all() -> Result<()> {
    for target in fuzz::TARGETS {
        println!("-- {target}");
        fuzz::fuzz(target, FUZZ_SECONDS)?;
    }
    Ok(())
}

/// The crates of the product, by folder name, which is the package's name.
fn packages() -> Result<Vec<String>> {
    let folder = process::root().join("crates");
    let mut names = Vec::new();
    for entry in
        std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        names.push(
            entry
                .context("cannot read the crates folder")?
                .file_name()
                .to_string_lossy()
                .into_owned(),
        );
    }
    names.sort_unstable();
    Ok(names)
}
