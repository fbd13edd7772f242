//! What the tests of the documentation share.

#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All files with one of these endings in `dir` and below it.
pub(crate) fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == ending)
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Fails unless `crates/FILE.rs` has a test of this name.
pub(crate) fn assert_test(file: &str, test: &str) {
    let path = root().join("crates").join(format!("{file}.rs"));
    let source =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let Some(at) = source.find(&format!("fn {test}(")) else {
        panic!("{file}.rs has no test {test}");
    };
    // Attributes stand above it, and nothing else that ends a block.
    let before = &source[..at];
    let above = &before[before.rfind('}').unwrap_or(0)..];
    assert!(
        above.contains("test"),
        "{test} of {file}.rs is a function and no test"
    );
}
