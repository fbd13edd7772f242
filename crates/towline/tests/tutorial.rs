//! The tutorial of docs/, as it stands, in a crate of its own.

#![cfg(feature = "macros")]

use std::{env, fs, path::Path, process::Command};

/// The blocks of a kind.
fn blocks(page: &str, kind: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<String> = None;
    for line in page.lines() {
        if let Some(block) = &mut open {
            if line == "```" {
                blocks.extend(open.take());
            } else {
                block.push_str(line);
                block.push('\n');
            }
        } else if line == format!("```{kind}") {
            open = Some(String::new());
        }
    }
    blocks
}

#[test]
fn the_tutorial_does_what_it_says() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(here.join("../../docs/tutorial-services.md")).unwrap();
    let place = tempfile::tempdir().unwrap();
    let manifest = blocks(&page, "toml").concat();
    let dependency = format!("towline = {{ path = {:?} }}", here.to_str().unwrap());
    let changed = manifest.replace("towline = \"0.1\"", &dependency);
    assert_ne!(manifest, changed, "the crate depends on towline");
    // A workspace of its own, wherever temporary files lie, in the profile of this workspace's tests.
    let changed = format!(
        "{changed}\n[workspace]\n[profile.dev]\ndebug = \"line-tables-only\"\n[profile.dev.package.\"*\"]\nopt-level = 2\ndebug = false\n"
    );
    fs::create_dir(place.path().join("src")).unwrap();
    fs::write(place.path().join("Cargo.toml"), changed).unwrap();
    fs::write(
        place.path().join("src/main.rs"),
        blocks(&page, "rust").concat(),
    )
    .unwrap();
    // The versions that the workspace has been built with: they are on this machine.
    fs::copy(
        here.join("../../Cargo.lock"),
        place.path().join("Cargo.lock"),
    )
    .unwrap();

    // That of the workspace: what it has built is there already.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let cargo = |command: &str| {
        let output = Command::new(env::var_os("CARGO").unwrap())
            .args([command, "--offline", "--quiet"])
            .current_dir(place.path())
            .env("CARGO_TARGET_DIR", target)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(cargo("run"), blocks(&page, "text").concat());
    assert!(cargo("test").contains("1 passed"));
}
