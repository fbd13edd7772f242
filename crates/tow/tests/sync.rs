//! `tow sync` and `tow check`, as a user meets them.

#![cfg(target_os = "linux")]

#[expect(dead_code, reason = "shared with other tests, which use the rest")]
mod support;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
    path::Path,
    process::{Child, Stdio},
};

use support::{Place, exit_code, noise, stderr, stdout};

/// A tree with something of everything.
fn tree(root: &Path) {
    fs::create_dir_all(root.join("deep/deeper")).expect("made");
    fs::create_dir(root.join("empty")).expect("made");
    fs::write(root.join("small.txt"), "a line\n").expect("written");
    fs::write(root.join("nothing"), "").expect("written");
    fs::write(root.join("deep/big.bin"), noise(3_000_000)).expect("written");
    fs::write(root.join("deep/deeper/run.sh"), "#!/bin/sh\n").expect("written");
    let mode = fs::Permissions::from_mode(0o750);
    fs::set_permissions(root.join("deep/deeper/run.sh"), mode).expect("set");
    symlink("deep/big.bin", root.join("link")).expect("made");
    symlink("/nowhere", root.join("dangling")).expect("made");
    fs::hard_link(root.join("deep/big.bin"), root.join("twin")).expect("made");
    let holes = fs::File::create(root.join("holes")).expect("made");
    holes.set_len(64 << 20).expect("made");
}

/// Path, content or target, mode, time, of everything beneath.
fn facts(root: &Path) -> Vec<(String, Vec<u8>, u32, i64, i64)> {
    let mut facts = Vec::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).expect("readable") {
            let path = entry.expect("readable").path();
            let meta = path.symlink_metadata().expect("there");
            let name = path
                .strip_prefix(root)
                .expect("beneath")
                .display()
                .to_string();
            if meta.is_symlink() {
                let target = fs::read_link(&path).expect("readable");
                facts.push((name, target.into_os_string().into_encoded_bytes(), 0, 0, 0));
                continue;
            }
            let content = if meta.is_dir() {
                dirs.push(path);
                Vec::new()
            } else {
                fs::read(&path).expect("readable")
            };
            facts.push((name, content, meta.mode(), meta.mtime(), meta.mtime_nsec()));
        }
    }
    facts.sort();
    facts
}

fn events(output: &std::process::Output) -> Vec<serde_json::Value> {
    let text = stdout(output);
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn summary(output: &std::process::Output) -> serde_json::Value {
    assert_eq!(exit_code(output), 0, "{}", stderr(output));
    let event = events(output)
        .into_iter()
        .find(|event| event["event"] == "synced");
    event.expect("a summary")
}

fn there_and_back(url: &str) {
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

#[test]
fn only_what_changed_of_a_file_is_sent() {
    let place = Place::with_keys();
    let mut bytes = noise(8 << 20);
    fs::write(place.path("f"), &bytes).expect("written");
    let server = place.serve(&["--allow-write"]);
    let there = format!("{}#stored", server.url);
    let sync = || {
        summary(
            &place
                .tow(&["sync", "--json", "f", &there])
                .output()
                .expect("runs"),
        )
    };
    assert_eq!(sync()["literal"], bytes.len());
    assert!(fs::read(place.path("srv/stored")).expect("there") == bytes);
    bytes.splice(1000..1000, *b"put in");
    bytes[5_000_000..5_004_096].fill(7);
    fs::write(place.path("f"), &bytes).expect("written");
    let literal = sync()["literal"].as_u64().expect("a number");
    assert!(literal < 20_000, "{literal}");
    assert!(fs::read(place.path("srv/stored")).expect("there") == bytes);
}

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

/// docs/wire D20: killed again and again, a client goes on where it was, and the file comes out whole.
#[test]
fn a_client_that_is_killed_sends_nothing_twice() {
    let place = Place::with_keys();
    let size = 64 << 20;
    fs::write(place.path("big"), noise(size)).expect("written");
    let server = place.serve(&["--allow-write", "--no-fsync"]);
    let journal = place.path("srv/.big.tow-journal");
    let records = || journal.metadata().map_or(0, |meta| meta.len()) / 52;
    let mut before = 0;
    for _ in 0..5 {
        let mut client = place
            .tow(&["sync", "big", &server.url, "--limit", "40MiB"])
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("runs");
        while records() < before + 20 {
            assert!(
                client.try_wait().expect("known").is_none(),
                "it ended too early"
            );
            std::thread::yield_now();
        }
        client.kill().expect("killed");
        client.wait().expect("ends");
        assert!(!place.path("srv/big").exists());
        before = records();
    }
    let args = ["sync", "--json", "big", &server.url];
    let last = summary(&place.tow(&args).output().expect("runs"));
    let literal = last["literal"].as_u64().expect("a number");
    assert!(
        literal <= size as u64 - before * (256 << 10),
        "{literal} after {before} blocks"
    );
    assert!(fs::read(place.path("srv/big")).expect("there") == noise(size));
    assert_eq!(support::names(&place.path("srv")), ["big"]);
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

/// Waits until a file has this content.
fn wait_for(file: &Path, content: &str, child: &mut Child) {
    while fs::read_to_string(file).unwrap_or_default() != content {
        assert!(
            child.try_wait().expect("known").is_none(),
            "it ended instead of going on"
        );
        std::thread::yield_now();
    }
}

/// Waits for a line of an output that holds a text.
fn wait_for_line(lines: &mut impl Iterator<Item = std::io::Result<String>>, part: &str) {
    let mut others = Vec::new();
    for line in lines {
        let line = line.expect("readable");
        if line.contains(part) {
            return;
        }
        others.push(line);
    }
    panic!("it never said `{part}`, but {others:?}");
}

/// A server that is away, and a tree that vanishes, are waited for; each is said once.
#[test]
fn watching_goes_on_when_the_server_or_the_tree_was_away() {
    let place = Place::with_keys();
    fs::create_dir(place.path("src")).expect("made");
    let source = place.path("src/f");
    fs::write(&source, "first").expect("written");
    let url = format!("unix://{}", place.path("socket").display());
    let mut server = place.serve_at(&url, &["--allow-write"]);
    let stored = place.path("srv/d/f");
    let there = format!("{url}#d");
    let mut watching = place
        .tow(&["sync", "--watch", "src", &there])
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("runs");
    let output = watching.stdout.take().expect("piped");
    let mut output = BufReader::new(output).lines();
    let errors = watching.stderr.take().expect("piped");
    let mut errors = BufReader::new(errors).lines();
    wait_for_line(&mut output, "synced");
    assert_eq!(fs::read(&stored).expect("there"), b"first");

    server.kill();
    fs::write(&source, "second").expect("written");
    wait_for_line(&mut errors, "trying again until it works");
    let _server = place.serve_at(&url, &["--allow-write"]);
    wait_for(&stored, "second", &mut watching);

    fs::rename(place.path("src"), place.path("gone")).expect("renamed");
    fs::write(place.path("gone/f"), "elsewhere").expect("written");
    wait_for_line(&mut errors, "trying again until it works");
    fs::create_dir(place.path("src")).expect("made");
    fs::write(&source, "third").expect("written");
    wait_for(&stored, "third", &mut watching);
    // What is under the path now is watched.
    fs::write(&source, "fourth").expect("written");
    wait_for(&stored, "fourth", &mut watching);
    watching.kill().expect("killed");
    watching.wait().expect("ends");
    let more: Vec<_> = errors.map(|line| line.expect("readable")).collect();
    assert_eq!(more, Vec::<String>::new());
}

/// docs/wire D20: what somebody else receives is waited for, and that is said.
#[test]
fn a_file_that_somebody_else_receives_is_waited_for() {
    let place = Place::with_keys();
    fs::write(place.path("big"), noise(1 << 20)).expect("written");
    let server = place.serve(&["--allow-write", "--no-fsync"]);
    let partial = fs::File::create(place.path("srv/.big.tow-partial")).expect("made");
    partial.lock().expect("locked");
    let mut waiting = place
        .tow(&["sync", "big", &server.url])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("runs");
    let errors = waiting.stderr.take().expect("piped");
    let mut errors = BufReader::new(errors).lines();
    wait_for_line(&mut errors, "by somebody else; waiting until that ends");
    drop(partial);
    assert!(waiting.wait().expect("ends").success());
    assert!(fs::read(place.path("srv/big")).expect("there") == noise(1 << 20));
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
