//! `cargo xtask test`: every test of the workspace, and how many there were.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use crate::{process, tools};

pub(crate) fn run() -> Result<()> {
    tools::require_c_compiler()?;
    tools::report_optional();
    tools::require_nats_server()?;
    // One failing crate must not hide the others: every binary runs, then the sum is told.
    let mut command = process::cargo([
        "test",
        "--workspace",
        // Sessions are tested over networks that are features, and so are layers and metrics.
        "--features",
        "towline/sim,towline/nats,towline/broker,towline/tower,towline/metrics",
        "--no-fail-fast",
    ]);
    let mut child = command
        // The broker is there: its tests are not left out.
        .env("TOWLINE_REQUIRE_NATS", "1")
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo test")?;
    let stdout = child.stdout.take().context("cargo test has no output")?;
    let mut total = Counts::default();
    for line in BufReader::new(stdout).lines() {
        let line = line.context("cannot read what cargo test writes")?;
        println!("{line}");
        if let Some(counts) = Counts::parse(&line) {
            total.passed += counts.passed;
            total.failed += counts.failed;
        }
    }
    let status = child.wait().context("cannot wait for cargo test")?;
    println!("{} passed, {} failed", total.passed, total.failed);
    ensure!(status.success(), "cargo test ended with {status}");
    ensure!(total.passed > 0, "cargo test ran no test");
    Ok(())
}

#[derive(Debug, Default, PartialEq)]
struct Counts {
    passed: u64,
    failed: u64,
}

impl Counts {
    /// Reads `test result: ok. 3 passed; 0 failed; …`, the line that ends each test binary.
    fn parse(line: &str) -> Option<Self> {
        let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let mut numbers = counts.split("; ").map(|part| {
            let (number, word) = part.split_once(' ')?;
            Some((word, number.parse::<u64>().ok()?))
        });
        let ("passed", passed) = numbers.next()?? else {
            return None;
        };
        let ("failed", failed) = numbers.next()?? else {
            return None;
        };
        Some(Self { passed, failed })
    }
}

#[cfg(test)]
mod tests {
    use super::Counts;

    #[test]
    fn result_lines_are_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(
            Counts::parse(line),
            Some(Counts {
                passed: 12,
                failed: 3
            })
        );
    }

    #[test]
    fn other_lines_are_not() {
        assert_eq!(Counts::parse("test tests::result ... ok"), None);
        assert_eq!(Counts::parse("test result: ok. many passed"), None);
    }
}
