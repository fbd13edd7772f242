//! What a tree is afterwards, there and back.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
};

use crate::{
    facts, summary,
    support::{self, Place, exit_code, stderr, stdout},
    tree,
};

pub(crate) fn there_and_back(url: &str) {
    let place = Place::with_keys();
    tree(&place.path("src"));
    let server = place.serve_at(url, &["--allow-write", "--no-fsync"]);
    let there = format!("{}#a/b", server.url);
    let sync = |args: &[&str]| {
        place
            .tow(&[&["sync", "--json"], args].concat())
            .output()
            .expect("runs")
    };
    let first = summary(&sync(&["src", &there]));
    assert_eq!(first["failed"], 0);
    assert!(facts(&place.path("src")) == facts(&place.path("srv/a/b")));
    let twins = ["deep/big.bin", "twin"].map(|name| place.path("srv/a/b").join(name));
    let inodes = twins.map(|path| path.metadata().expect("there").ino());
    assert_eq!(inodes[0], inodes[1]);
    let holes = place.path("srv/a/b/holes").metadata().expect("there");
    assert!(holes.blocks() < 1000, "holes stay holes");
    // docs/wire D15: a second run sends the listing and nothing else.
    let second = summary(&sync(&["src", &there]));
    assert_eq!(
        (&second["literal"], &second["files"]),
        (&0.into(), &0.into())
    );
    // And back again.
    summary(&sync(&[&there, "back"]));
    assert!(facts(&place.path("src")) == facts(&place.path("back")));
    let checked = place.tow(&["check", "src", &there]).output().expect("runs");
    assert_eq!(exit_code(&checked), 0, "{}", stderr(&checked));
    assert!(stdout(&checked).contains("no difference"));
}

#[test]
fn a_tree_goes_there_and_back_over_tls() {
    there_and_back("tls://127.0.0.1:0");
}

#[test]
fn a_tree_goes_there_and_back_over_quic() {
    there_and_back("quic://127.0.0.1:0");
}

#[test]
fn a_tree_goes_there_and_back_over_a_unix_socket() {
    let dir = tempfile::tempdir().expect("made");
    there_and_back(&format!("unix://{}", dir.path().join("socket").display()));
}

/// docs/wire D24.
#[test]
fn owners_are_kept_and_compared_where_that_is_asked_for() {
    let place = Place::with_keys();
    fs::create_dir(place.path("src")).expect("made");
    fs::write(place.path("src/f"), "content").expect("written");
    if chown(place.path("src/f"), Some(40_001), Some(40_002)).is_err() {
        eprintln!("NOT RUN: only root gives files to others");
        return;
    }
    let server = place.serve(&["--allow-write"]);
    let there = format!("{}#stored", server.url);
    let run = |args: &[&str]| exit_code(&place.tow(args).output().expect("runs"));
    let owner = || {
        let meta = place.path("srv/stored/f").metadata().expect("there");
        (meta.uid(), meta.gid())
    };
    assert_eq!(run(&["sync", "src", &there]), 0);
    assert_ne!(owner(), (40_001, 40_002));
    assert_eq!(run(&["check", "src", &there]), 0);
    assert_ne!(run(&["check", "--owner", "src", &there]), 0);
    assert_eq!(run(&["sync", "--owner", "src", &there]), 0);
    assert_eq!(owner(), (40_001, 40_002));
    assert_eq!(run(&["check", "--owner", "--xattrs", "src", &there]), 0);
}

/// docs/wire D14: mode and time of the directory itself come along, but for the one that is served.
#[test]
fn the_directory_itself_has_its_mode_and_time() {
    let place = Place::with_keys();
    let src = place.path("src");
    fs::create_dir(&src).expect("made");
    fs::write(src.join("f"), "content").expect("written");
    fs::set_permissions(&src, fs::Permissions::from_mode(0o750)).expect("set");
    let served = |name: &str| {
        let meta = place.path(name).metadata().expect("there");
        (meta.mode() & 0o7777, meta.mtime(), meta.mtime_nsec())
    };
    let before = served("srv").0;
    let server = place.serve(&["--allow-write"]);
    let there = format!("{}#d", server.url);
    let run = |args: &[&str]| exit_code(&place.tow(args).output().expect("runs"));
    assert_eq!(run(&["sync", "src", &there]), 0);
    assert_eq!(served("srv/d"), served("src"));
    assert_eq!(run(&["sync", &there, "back"]), 0);
    assert_eq!(served("back"), served("src"));
    fs::set_permissions(&src, fs::Permissions::from_mode(0o711)).expect("set");
    assert_eq!(run(&["check", "src", &there]), 5);
    assert_eq!(run(&["sync", "src", &there]), 0);
    assert_eq!(run(&["check", "src", &there]), 0);
    assert_eq!(served("srv/d").0, 0o711);
    assert_eq!(run(&["sync", "src", &server.url]), 0);
    assert_eq!(served("srv").0, before);
}

/// docs/wire D21: what is not there yet is planned as new.
#[test]
fn a_destination_that_is_not_there_is_planned_as_new() {
    let place = Place::with_keys();
    fs::create_dir_all(place.path("src/d")).expect("made");
    fs::write(place.path("src/d/f"), "content").expect("written");
    fs::write(place.path("file"), "content").expect("written");
    fs::create_dir_all(place.path("srv/there/d")).expect("made");
    fs::write(place.path("srv/there/d/f"), "content").expect("written");
    let server = place.serve(&["--allow-write"]);
    let (there, not) = (
        format!("{}#there", server.url),
        format!("{}#not/yet", server.url),
    );
    let new = ["+ .", "+ d", "+ d/f"];
    for (from, to, exit, planned) in [
        ("src", &*not, 0, &new[..]),
        (&there, "not/yet", 0, &new[..]),
        ("file", &*not, 0, &["+ yet"][..]),
    ] {
        let plan = place.tow(&["sync", "-n", from, to]).output().expect("runs");
        assert_eq!(exit_code(&plan), exit, "{}", stderr(&plan));
        let text = stdout(&plan);
        let lines: Vec<_> = text.lines().take(planned.len()).collect();
        assert_eq!(lines, planned);
        let checked = place.tow(&["check", from, to]).output().expect("runs");
        assert_eq!(exit_code(&checked), 5, "{}", stderr(&checked));
    }
    assert_eq!(support::names(&place.path("srv")), ["there"]);
    assert!(!place.path("not").exists());
}

#[test]
fn a_link_to_a_file_is_stored_under_the_name_that_was_given() {
    let place = Place::with_keys();
    fs::write(place.path("file"), "content").expect("written");
    symlink("file", place.path("link")).expect("made");
    let server = place.serve(&["--allow-write"]);
    let synced = place.tow(&["sync", "link", &server.url]).output();
    let synced = synced.expect("runs");
    assert_eq!(exit_code(&synced), 0, "{}", stderr(&synced));
    assert_eq!(support::names(&place.path("srv")), ["link"]);
    assert_eq!(fs::read(place.path("srv/link")).expect("there"), b"content");
}

#[test]
fn one_is_not_many_and_links_keep_their_time() {
    let place = Place::with_keys();
    fs::create_dir(place.path("src")).expect("made");
    symlink("nowhere", place.path("src/link")).expect("made");
    let server = place.serve(&["--allow-write"]);
    let there = format!("{}#d", server.url);
    let run = |args: &[&str]| place.tow(args).output().expect("runs");
    let synced = run(&["sync", "src", &there]);
    assert!(
        stdout(&synced).contains("synced 1 entry in"),
        "{}",
        stdout(&synced)
    );
    assert!(
        stdout(&synced).contains(" 0 files written"),
        "{}",
        stdout(&synced)
    );
    let time = |name: &str| {
        let meta = place.path(name).symlink_metadata().expect("there");
        (meta.mtime(), meta.mtime_nsec())
    };
    assert_eq!(time("srv/d/link"), time("src/link"));
    fs::remove_file(place.path("src/link")).expect("removed");
    symlink("nowhere", place.path("src/link")).expect("made");
    let checked = run(&["check", "src", &there]);
    assert_eq!(exit_code(&checked), 5);
    // The directory has another time, too.
    assert!(
        stderr(&checked).contains("1 entry, 2 differences"),
        "{}",
        stderr(&checked)
    );
    assert_eq!(exit_code(&run(&["sync", "src", &there])), 0);
    assert_eq!(time("srv/d/link"), time("src/link"));
    let checked = run(&["check", "src", &there]);
    assert!(stdout(&checked).contains("1 entry, no difference"));
}
