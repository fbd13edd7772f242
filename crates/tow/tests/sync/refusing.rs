//! What a sync does not do.

use std::{fs, os::unix::fs::symlink};

use crate::support::{self, Place, exit_code, stderr, stdout};

#[test]
fn deletions_are_planned_bounded_and_done() {
    let place = Place::with_keys();
    fs::create_dir(place.path("src")).expect("made");
    fs::write(place.path("src/kept"), "kept").expect("written");
    fs::create_dir_all(place.path("srv/d/old")).expect("made");
    for name in ["old/a", "old/b", "c", "mine.o"] {
        fs::write(place.path("srv/d").join(name), name).expect("written");
    }
    let server = place.serve(&["--allow-write"]);
    let there = format!("{}#d", server.url);
    let sync = |args: &[&str]| {
        let args = [
            &["sync", "src", &there, "--delete", "--exclude", "*.o"],
            args,
        ]
        .concat();
        place.tow(&args).output().expect("runs")
    };
    let plan = sync(&["--dry-run"]);
    assert_eq!(exit_code(&plan), 0, "{}", stderr(&plan));
    let mut lines: Vec<_> = stdout(&plan).lines().map(str::to_owned).collect();
    lines.pop();
    lines.sort();
    assert_eq!(lines, ["+ kept", "- c", "- old", "- old/a", "- old/b"]);
    assert!(place.path("srv/d/c").exists());
    // docs/wire D21: too many deletions are none, and the exit code says so.
    let bounded = sync(&["--max-delete", "3"]);
    assert_eq!(exit_code(&bounded), 4, "{}", stderr(&bounded));
    assert!(place.path("srv/d/c").exists() && place.path("srv/d/kept").exists());
    assert_eq!(exit_code(&sync(&["--max-delete", "4"])), 0);
    assert_eq!(support::names(&place.path("srv/d")), ["kept", "mine.o"]);
}

/// docs/wire D22: no link in the tree of the receiver leads a write out of it.
#[test]
fn links_at_the_target_lead_nowhere() {
    let place = Place::with_keys();
    fs::create_dir_all(place.path("src/dir")).expect("made");
    fs::write(place.path("src/dir/f"), "new").expect("written");
    fs::write(place.path("src/g"), "new").expect("written");
    fs::create_dir(place.path("outside")).expect("made");
    fs::write(place.path("outside/f"), "old").expect("written");
    fs::create_dir(place.path("srv/d")).expect("made");
    symlink(place.path("outside"), place.path("srv/d/dir")).expect("made");
    symlink(place.path("outside/f"), place.path("srv/d/g")).expect("made");
    symlink(place.path("outside"), place.path("srv/way")).expect("made");
    let server = place.serve(&["--allow-write"]);
    let sync = |path: &str| {
        let url = format!("{}#{path}", server.url);
        place.tow(&["sync", "src", &url]).output().expect("runs")
    };
    assert_eq!(exit_code(&sync("d")), 0);
    assert_eq!(fs::read(place.path("srv/d/dir/f")).expect("there"), b"new");
    assert_eq!(fs::read(place.path("srv/d/g")).expect("there"), b"new");
    assert_eq!(exit_code(&sync("way")), 1);
    assert_eq!(exit_code(&sync("../outside")), 6);
    assert_eq!(fs::read(place.path("outside/f")).expect("there"), b"old");
    assert_eq!(support::names(&place.path("outside")), ["f"]);
}

#[test]
fn a_server_that_takes_no_files_says_so() {
    let place = Place::with_keys();
    fs::write(place.path("f"), "x").expect("written");
    let server = place.serve(&[]);
    let pushed = place
        .tow(&["sync", "f", &server.url])
        .output()
        .expect("runs");
    assert_eq!(exit_code(&pushed), 6);
    assert!(
        stderr(&pushed).contains("--allow-write"),
        "{}",
        stderr(&pushed)
    );
    let both = place.tow(&["sync", "f", "g"]).output().expect("runs");
    assert_eq!(exit_code(&both), 2);
}

/// docs/wire D20: a sync lists no name of its own, and does not say that all went well either.
#[test]
fn a_file_under_way_is_not_synced_in_silence() {
    let place = Place::with_keys();
    let own = ".x.tow-partial";
    for dir in ["", "srv/"] {
        fs::write(place.path(&format!("{dir}{own}")), "under way").expect("written");
    }
    symlink(own, place.path("link")).expect("made");
    let server = place.serve(&["--allow-write"]);
    let (there, remote) = (
        format!("{}#d/", server.url),
        format!("{}#{own}", server.url),
    );
    for args in [
        ["sync", own, &there],
        ["sync", "link", &there],
        ["sync", &remote, "here"],
        ["check", own, &there],
        ["pull", &remote, "-ohere"],
    ] {
        let output = place.tow(&args).output().expect("runs");
        assert_eq!(exit_code(&output), 1, "{args:?}");
        let said = stderr(&output);
        assert!(
            said.contains("nothing was moved: names of this form"),
            "{args:?}: {said}"
        );
        assert!(
            said.contains(if args[1] == "link" { "link" } else { own }),
            "{args:?}: {said}"
        );
    }
    assert_eq!(support::names(&place.path("srv")), [own]);
}

/// What cannot be read is named, the rest goes on, and the exit code says so.
#[test]
fn a_file_that_cannot_be_stored_fails_alone() {
    let place = Place::with_keys();
    fs::create_dir(place.path("src")).expect("made");
    fs::write(place.path("src/a"), "a").expect("written");
    fs::write(place.path("src/b"), "b").expect("written");
    fs::create_dir_all(place.path("srv/a/full")).expect("made");
    let server = place.serve(&["--allow-write"]);
    let synced = place
        .tow(&["sync", "src", &server.url])
        .output()
        .expect("runs");
    assert_eq!(exit_code(&synced), 4);
    assert!(
        stderr(&synced).contains("`a` is a directory here"),
        "{}",
        stderr(&synced)
    );
    assert_eq!(fs::read(place.path("srv/b")).expect("there"), b"b");
}
