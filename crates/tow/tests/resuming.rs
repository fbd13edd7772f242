//! `tow push` and `tow pull` of large files: killed on the way, begun again, and changed a little.

#![cfg(unix)]

#[expect(dead_code, reason = "shared with other tests, which use the rest")]
mod support;

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use support::{Place, exit_code, noise, stderr, stdout};

const SIZE: usize = 24 << 20;

/// Waits until so much of a file has come into a directory, beside what has its name already.
fn wait_for(dir: &Path, bytes: u64, child: &mut Child) {
    let arrived = || {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let partial = entries.filter(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .ends_with(".tow-partial")
        });

        // A partial file has its whole length from the first: what counts is what is there of it.
        let blocks = partial.filter_map(|entry| entry.metadata().ok().map(|meta| meta.blocks()));
        blocks.sum::<u64>() * 512
    };
    while arrived() < bytes {
        assert!(
            child.try_wait().expect("known").is_none(),
            "it ended too early"
        );
        std::thread::yield_now();
    }
}

/// Begins a transfer slowly, and kills it when 8 MiB of its file have come into a directory.
fn cut_short(mut transfer: Command, dir: &Path) {
    let mut killed = transfer
        .args(["--limit", "16MiB"])
        .stderr(Stdio::null())
        .spawn()
        .expect("runs");
    wait_for(dir, 8 << 20, &mut killed);
    killed.kill().expect("killed");
    killed.wait().expect("ends");
}

/// What a command said of its file with `--json`.
fn told(output: &std::process::Output, event: &str) -> Value {
    assert_eq!(exit_code(output), 0, "{}", stderr(output));
    let line = stdout(output)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|line| line["event"] == event);
    line.expect("told")
}

/// docs/wire T33.
#[test]
fn a_push_goes_on_where_a_killed_one_was() {
    let place = Place::with_keys();
    fs::write(place.path("big.bin"), noise(SIZE)).expect("written");
    let server = place.serve(&["--allow-write", "--no-fsync"]);
    let srv = place.path("srv");
    cut_short(place.tow(&["push", "big.bin", &server.url]), &srv);

    let push = || {
        let args = ["push", "big.bin", &server.url, "--json"];
        told(&place.tow(&args).output().expect("runs"), "pushed")
    };
    let pushed = push();
    assert_eq!(pushed["bytes"], SIZE);
    let sent = pushed["sent"].as_u64().expect("a number");
    assert!(sent < SIZE as u64 - (4 << 20), "{sent} bytes were sent");
    assert_eq!(
        fs::read(srv.join("big.bin")).expect("there"),
        noise(SIZE),
        "what arrived differs"
    );
    assert_eq!(fs::read_dir(&srv).expect("readable").count(), 1);

    // A small change of it costs little, even if size and time tell of none.
    let time = fs::metadata(place.path("big.bin"))
        .and_then(|meta| meta.modified())
        .expect("known");
    let mut bytes = noise(SIZE);
    bytes[SIZE / 2] ^= 1;
    fs::write(place.path("big.bin"), &bytes).expect("written");
    fs::File::options()
        .write(true)
        .open(place.path("big.bin"))
        .and_then(|file| file.set_modified(time))
        .expect("set");
    let changed = push()["sent"].as_u64().expect("a number");
    assert!((1..1 << 20).contains(&changed), "{changed} bytes were sent");
    assert_eq!(fs::read(srv.join("big.bin")).expect("there"), bytes);
}

/// docs/wire T33.
#[test]
fn a_pull_goes_on_where_a_killed_one_was() {
    let place = Place::with_keys();
    fs::write(place.path("srv/big.bin"), noise(SIZE)).expect("written");
    let server = place.serve(&[]);
    let url = format!("{}#big.bin", server.url);
    let out = place.path("out");
    cut_short(place.tow(&["pull", &url, "-o", "out"]), &out);

    let args = ["pull", &url, "-o", "out", "--json"];
    let pulled = told(&place.tow(&args).output().expect("runs"), "pulled");
    assert_eq!(pulled["bytes"], SIZE);
    let sent = pulled["sent"].as_u64().expect("a number");
    assert!(sent < SIZE as u64 - (4 << 20), "{sent} bytes were sent");
    assert_eq!(fs::read(out.join("big.bin")).expect("there"), noise(SIZE));
    assert_eq!(fs::read_dir(&out).expect("readable").count(), 1);
}

/// docs/wire T21, T33: a server that gives files other names takes them whole.
/// A sync that ends in order is no failure to its server either.
#[test]
fn what_went_well_leaves_no_warning_at_the_server() {
    let place = Place::with_keys();
    fs::write(place.path("srv/down"), noise(SIZE)).expect("written");
    fs::write(place.path("up"), noise(SIZE)).expect("written");
    let server = place.serve(&["--allow-write"]);
    for args in [
        &["pull", &format!("{}#down", server.url)],
        &["push", "up", &server.url][..],
        &["sync", "up", &format!("{}#again", server.url)],
        &["sync", &format!("{}#down", server.url), "again"],
        &["check", "up", &format!("{}#again", server.url)],
    ] {
        let output = place.tow(args).output().expect("runs");
        assert_eq!(exit_code(&output), 0, "{args:?}: {}", stderr(&output));
    }
    assert_eq!(server.stop(), "");
}

#[test]
fn a_server_that_changes_names_takes_large_files_too() {
    let place = Place::with_keys();
    fs::write(place.path("big.bin"), noise(5 << 20)).expect("written");
    let server = place.serve(&["--allow-write", "--suffix", "servergot"]);
    let args = ["push", "big.bin", &server.url, "--json"];
    let pushed = told(&place.tow(&args).output().expect("runs"), "pushed");
    assert_eq!(pushed["stored"], "big.bin.servergot");
}

/// docs/wire T33: who wants a rate does not get a whole file at full speed instead.
#[test]
fn a_rate_that_cannot_be_kept_is_refused() {
    let place = Place::with_keys();
    fs::write(place.path("big.bin"), noise(5 << 20)).expect("written");
    let server = place.serve(&["--allow-write", "--suffix", "servergot"]);
    let args = ["push", "big.bin", &server.url, "--limit", "16MiB"];
    let output = place.tow(&args).output().expect("runs");
    assert_ne!(exit_code(&output), 0);
    let said = stderr(&output);
    assert!(said.contains("gives files other names"), "{said}");
    assert!(said.contains("leave --limit out"), "{said}");
    assert_eq!(
        fs::read_dir(place.path("srv")).expect("readable").count(),
        0
    );
}

/// docs/wire D20: a push of one file leaves what is left of others, and trusts nothing that is on the disk.
#[test]
fn what_is_left_of_a_push_is_checked_and_kept() {
    let place = Place::with_keys();
    fs::write(place.path("big.bin"), noise(SIZE)).expect("written");
    fs::write(place.path("other.bin"), noise(5 << 20)).expect("written");
    let server = place.serve(&["--allow-write", "--no-fsync"]);
    let srv = place.path("srv");
    cut_short(place.tow(&["push", "big.bin", &server.url]), &srv);
    let push = |name: &str| {
        let args = ["push", name, &server.url, "--json"];
        told(&place.tow(&args).output().expect("runs"), "pushed")
    };

    push("other.bin");
    let partial = srv.join(".big.bin.tow-partial");
    let mut bytes = fs::read(&partial).expect("it is still there");
    bytes[1_000_000] ^= 1;
    let file = fs::File::options().write(true).open(&partial);
    file.and_then(|file| std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0))
        .expect("written");

    push("big.bin");
    let stored = fs::read(srv.join("big.bin")).expect("there");
    assert!(stored == noise(SIZE), "what arrived differs");
}

/// docs/wire D22: a pull takes a regular file, and follows no link in the place of it.
#[test]
fn a_pull_neither_follows_nor_plants_links() {
    let place = Place::with_keys();
    let (srv, out, elsewhere) = (
        place.path("srv"),
        place.path("out"),
        place.path("elsewhere"),
    );
    fs::create_dir(&out).expect("made");
    fs::create_dir(&elsewhere).expect("made");
    fs::write(srv.join("a"), noise(5 << 20)).expect("written");
    std::os::unix::fs::symlink(&elsewhere, out.join("a")).expect("made");
    std::os::unix::fs::symlink("a", srv.join("link")).expect("made");
    let server = place.serve(&[]);
    let pull = |name: &str| {
        let url = format!("{}#{name}", server.url);
        place
            .tow(&["pull", &url, "-o", "out"])
            .output()
            .expect("runs")
    };

    let output = pull("a");
    assert_eq!(exit_code(&output), 0, "{}", stderr(&output));
    assert_eq!(fs::read_dir(&elsewhere).expect("readable").count(), 0);
    assert!(
        fs::symlink_metadata(out.join("a"))
            .expect("there")
            .is_file()
    );

    let output = pull("link");
    assert_ne!(exit_code(&output), 0);
    assert!(
        stderr(&output).contains("no regular file"),
        "{}",
        stderr(&output)
    );
    assert!(fs::symlink_metadata(out.join("link")).is_err());
}

/// Readers of the events find the same fields whichever way a file went.
#[test]
fn every_event_says_whether_the_whole_was_hashed() {
    let place = Place::with_keys();
    let server = place.serve(&["--allow-write", "--no-fsync"]);
    for (name, size) in [("small", 1000), ("large", 5 << 20)] {
        fs::write(place.path(name), noise(size)).expect("written");
        let from = format!("{}#{name}", server.url);
        for whole in [false, true] {
            let run = |args: &[&str]| {
                let more: &[&str] = if whole { &["--whole"] } else { &[] };
                place.tow(&[args, more].concat()).output().expect("runs")
            };
            let pushed = told(&run(&["push", "--json", name, &server.url]), "pushed");
            let went_whole = whole || size < 4 << 20;
            for field in ["blake3", "parts"] {
                let value = pushed.get(field).expect("there");
                assert_eq!(!value.is_null(), went_whole, "{pushed}");
            }
            let pulled = told(&run(&["pull", "--json", &from, "-oout"]), "pulled");
            let hash = pulled.get("blake3").expect("there");
            assert_eq!(!hash.is_null(), whole, "{pulled}");
        }
    }
}
