//! The walk through keys in `docs/walkthrough-keys.md`, command by command.

#![cfg(unix)]

#[expect(dead_code, reason = "shared with other tests, which use the rest")]
mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use support::{Place, Server, exit_code, stderr, stdout};

/// The commands of the page's blocks, in order: on which machine, and what.
fn commands() -> Vec<(String, String)> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/walkthrough-keys.md");
    fs::read_to_string(page)
        .expect("readable")
        .lines()
        .filter_map(|line| line.split_once("$ "))
        .filter(|(machine, _)| matches!(*machine, "a" | "b"))
        .map(|(machine, command)| (machine.to_owned(), command.to_owned()))
        .collect()
}

#[test]
fn four_commands_and_two_machines_trust_each_other() {
    let (a, b) = (Place::new(), Place::new());
    fs::create_dir(a.path("files")).expect("made");
    fs::write(a.path("files/report.txt"), "all is well\n").expect("written");
    let commands = commands();
    let serving = commands
        .iter()
        .position(|(_, command)| command.starts_with("tow serve"));
    assert_eq!(serving, Some(3), "four commands, the last of them serves");
    let mut server: Option<Server> = None;
    let mut seen = 0;
    for (machine, command) in &commands {
        let place = if machine == "a" { &a } else { &b };
        let words: Vec<&str> = command.split(' ').collect();
        match words[..] {
            // Port 8443 may be taken here, so any other stands in for it.
            ["tow", "serve", dir] => server = Some(place.serve_dir(dir)),
            ["scp", "-r", from, to] => copy(&["-r"], &a.path(from), &there(&b, to)),
            ["scp", from, to] => copy(&[], &a.path(from), &there(&b, to)),
            ["tow", ref args @ ..] => {
                let url = server.as_ref().map(|server| server.url.as_str());
                let args: Vec<String> = args
                    .iter()
                    .map(|arg| arg.replace("tls://a:8443", url.unwrap_or("nowhere")))
                    .collect();
                let args: Vec<&str> = args.iter().map(String::as_str).collect();
                let ended = place.tow(&args).output().expect("runs");
                assert_eq!(exit_code(&ended), 0, "{command}: {}", stderr(&ended));
                if let ["call", _, _, body] = args[..] {
                    assert!(stdout(&ended).starts_with(body), "{command}");
                    seen += 1;
                }
            }
            _ => panic!("the page has a command that nobody knows: {command}"),
        }
    }
    assert_eq!(seen, 2);
    let report = fs::read_to_string(b.path("report.txt")).expect("pulled");
    assert_eq!(report, "all is well\n");
    assert!(!b.path("my-keep-private-dir").exists());
    // Renewed, and the one before is kept.
    assert!(a.path("certs/node.crt.old").exists());

    // Nobody else gets in.
    let stranger = Place::with_keys();
    let url = server.as_ref().expect("served").url.clone();
    let args = ["call", url.as_str(), "customEcho", "let me in"];
    let refused = stranger.tow(&args).output().expect("runs");
    assert_eq!(exit_code(&refused), 6, "{}", stderr(&refused));
}

/// The path behind `b:`.
fn there(b: &Place, to: &str) -> PathBuf {
    b.path(to.strip_prefix("b:").expect("copied to b"))
}

/// As `scp` does it, but from one directory to another.
fn copy(options: &[&str], from: &Path, to: &Path) {
    let copied = Command::new("cp").args(options).arg(from).arg(to).status();
    assert!(copied.expect("runs").success());
}
