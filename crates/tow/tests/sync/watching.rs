//! Syncs that go on as files change.

use std::{
    fs,
    io::{BufRead as _, BufReader, Lines},
    path::Path,
    process::{Child, ChildStderr, ChildStdout, Stdio},
};

use crate::{support::Place, wait_for_line};

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

/// A sync that watches, and what it says.
struct Watching {
    child: Child,
    output: Lines<BufReader<ChildStdout>>,
    errors: Lines<BufReader<ChildStderr>>,
}

impl Watching {
    /// Begins, and waits until the first run is through.
    fn start(place: &Place, source: &str, there: &str) -> Self {
        let mut child = place
            .tow(&["sync", "--watch", source, there])
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("runs");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let errors = BufReader::new(child.stderr.take().expect("piped"));
        let mut watching = Self {
            child,
            output: output.lines(),
            errors: errors.lines(),
        };
        wait_for_line(&mut watching.output, "synced");
        watching
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Removed and made again at once, a tree has the number that it had: only what the system tells of it shows
/// that it is another.
#[test]
fn a_tree_that_is_made_again_is_watched() {
    let place = Place::with_keys();
    let (tree, source) = (place.path("src"), place.path("src/f"));
    fs::create_dir(&tree).expect("made");
    fs::write(&source, "first").expect("written");
    let server = place.serve(&["--allow-write", "--no-fsync"]);
    let stored = place.path("srv/d/f");
    let mut watching = Watching::start(&place, "src", &format!("{}#d", server.url));
    for round in 0..3 {
        fs::remove_dir_all(&tree).expect("removed");
        fs::create_dir(&tree).expect("made");
        for text in ["made again", "written afterwards"] {
            let text = format!("{text} {round}");
            fs::write(&source, &text).expect("written");
            wait_for(&stored, &text, &mut watching.child);
        }
    }
}

/// Of a directory above the tree that is replaced the system tells nothing.
#[test]
fn a_tree_whose_parent_is_replaced_is_found() {
    let place = Place::with_keys();
    fs::create_dir_all(place.path("above/src")).expect("made");
    fs::write(place.path("above/src/f"), "first").expect("written");
    let server = place.serve(&["--allow-write", "--no-fsync"]);
    let stored = place.path("srv/d/f");
    let mut watching = Watching::start(&place, "above/src", &format!("{}#d", server.url));
    fs::create_dir_all(place.path("next/src")).expect("made");
    fs::write(place.path("next/src/f"), "second").expect("written");
    fs::rename(place.path("above"), place.path("before")).expect("renamed");
    fs::rename(place.path("next"), place.path("above")).expect("renamed");
    wait_for(&stored, "second", &mut watching.child);
}

/// What no other attempt would mend is not tried again.
#[test]
fn watching_ends_where_waiting_is_of_no_use() {
    let place = Place::with_keys();
    fs::create_dir(place.path("src")).expect("made");
    let server = place.serve(&["--allow-write", "--no-fsync"]);
    let mut watching = Watching::start(&place, "src", &format!("{}#d", server.url));
    fs::rename(place.path("certs"), place.path("elsewhere")).expect("renamed");
    fs::write(place.path("src/f"), "content").expect("written");
    wait_for_line(&mut watching.errors, "error: no key named");
    assert_eq!(watching.child.wait().expect("ends").code(), Some(1));
}
