//! Where passphrases come from, and what is done with them.

use std::{fs, path::PathBuf};

use serde_json::Value;

use crate::{
    fails, ok,
    support::{Place, exit_code, names, stderr, stdout},
    terminal::at_a_terminal,
    write_secret,
};

/// docs/wire I30: wherever a key is loaded a protected one will do, from a file or the environment.
#[test]
fn protected_keys_serve_and_call() {
    let place = Place::new();
    write_secret(&place.path("word"), "open sesame\n");
    write_secret(&place.path("ca-word"), "of the authority\n");
    let ca = ["--ca-passphrase-file", "ca-word"];
    let new = |name| {
        let args = ["keys", "new", name, "--passphrase-file", "word"];
        ok(&place, &[&args[..], &ca].concat())
    };
    new("node");
    new("client");
    for file in [
        "my-keep-private-dir/ca.key",
        "certs/node.key",
        "certs/client.key",
    ] {
        let text = fs::read_to_string(place.path(file)).expect("readable");
        assert!(
            text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"),
            "{file}"
        );
    }
    fs::create_dir(place.path("srv")).expect("made");
    let server = place.serve(&["--passphrase-file", "word"]);
    let call = ["call", server.url.as_str(), "customEcho", "hello"];
    let called = place
        .tow(&call)
        .env("TOW_PASSPHRASE", "open sesame")
        .output()
        .expect("runs");
    assert_eq!(exit_code(&called), 0, "{}", stderr(&called));
    assert!(stdout(&called).starts_with("hello"));

    let wrong = place
        .tow(&call)
        .env("TOW_PASSPHRASE", "open barley")
        .output()
        .expect("runs");
    assert_eq!(exit_code(&wrong), 1);
    assert!(
        stderr(&wrong).contains("wrong passphrase"),
        "{}",
        stderr(&wrong)
    );
    assert!(!stderr(&wrong).contains("barley"));
    // Standard input is no terminal here, so nobody is asked.
    let error = fails(&place, 1, &call);
    assert!(
        error.contains("TOW_PASSPHRASE") && error.contains("--passphrase-file"),
        "{error}"
    );
    let shown = ok(
        &place,
        &[
            "keys",
            "show",
            "certs/node.key",
            "--passphrase-file",
            "word",
        ],
    );
    let first = "Pass phrase successfully de-crypted private key 'certs/node.key'.\n";
    assert!(shown.starts_with(first), "{shown}");
}

#[test]
fn without_a_terminal_a_passphrase_is_not_asked_for() {
    let place = Place::new();
    let error = fails(&place, 1, &["keys", "new", "node", "--protect"]);
    assert!(
        error.contains("no terminal") && error.contains("TOW_CA_PASSPHRASE"),
        "{error}"
    );
    assert!(names(place.root()).is_empty());
    let empty = place
        .tow(&["keys", "ca", "--protect"])
        .env("TOW_CA_PASSPHRASE", "")
        .output()
        .expect("runs");
    assert_eq!(exit_code(&empty), 1);
    assert!(
        stderr(&empty).contains("empty passphrase"),
        "{}",
        stderr(&empty)
    );
    assert!(names(place.root()).is_empty());
}

#[test]
fn a_person_at_a_terminal_is_asked_twice_for_a_new_key_and_once_for_an_old_one() {
    const NEW: &str = "New passphrase for";
    const AGAIN: &str = "same passphrase again";
    let place = Place::new();
    let ca = ["keys", "ca", "--protect"];
    let Some(session) = at_a_terminal(&place, &ca, &[(NEW, "one"), (AGAIN, "two")]) else {
        return;
    };
    assert_eq!(session.code, 1, "{}", session.output);
    assert!(session.output.contains("differ"), "{}", session.output);
    assert!(names(place.root()).is_empty());

    let answers = [(NEW, "master word"), (AGAIN, "master word")];
    let session = at_a_terminal(&place, &ca, &answers).expect("setsid is there");
    assert_eq!(session.code, 0, "{}", session.output);

    let new = ["keys", "new", "node", "-e", "a@b.c", "--protect"];
    let answers = [
        ("Passphrase for my-keep-private-dir/ca.key", "master word"),
        ("New passphrase for node.key", "my own word"),
        (AGAIN, "my own word"),
    ];
    let session = at_a_terminal(&place, &new, &answers).expect("setsid is there");
    assert_eq!(session.code, 0, "{}", session.output);
    assert_eq!(session.screen.matches("assphrase").count(), 3);
    let shown = session.screen + &session.output;
    assert!(
        !shown.contains("word"),
        "what is typed is not shown: {shown}"
    );

    let show = ["keys", "show", "certs/node.key"];
    for (answer, code) in [("my own word", 0), ("another word", 1)] {
        let answers = [("Passphrase for certs/node.key", answer)];
        let session = at_a_terminal(&place, &show, &answers).expect("setsid is there");
        assert_eq!(session.code, code, "{}", session.output);
    }
}

/// Sends a text through a pipe, once, as a shell's `<(...)` does.
fn pipe(place: &Place, text: &'static str) -> PathBuf {
    let path = place.path("pipe");
    if !path.exists() {
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.expect("runs").success());
    }
    let writer = path.clone();
    std::thread::spawn(move || fs::write(writer, text));
    path
}

/// docs/wire I50: one order for keys that are made and keys that are opened.
#[test]
fn passphrases_come_from_the_same_places_for_old_keys_and_new_ones() {
    let place = Place::new();
    ok(&place, &["keys", "ca"]);
    write_secret(&place.path("by-flag"), "one\n");
    write_secret(&place.path("by-file"), "two\n");
    let run = |args: &[&str], env: &[(&str, &str)]| {
        let output = place.tow(args).envs(env.iter().copied()).output();
        exit_code(&output.expect("runs"))
    };
    let file = ("TOW_PASSPHRASE_FILE", "by-file");
    let value = ("TOW_PASSPHRASE", "three");
    let flag = ["--passphrase-file", "by-flag"];
    for (name, more, env) in [
        ("flag", &flag[..], &[file, value][..]),
        ("file", &["--protect"], &[file, value]),
        ("value", &["--protect"], &[value]),
    ] {
        let new = [&["keys", "new", name, "-e", "a@b.example"], more].concat();
        assert_eq!(run(&new, env), 0, "{name}");
        let key = format!("certs/{name}.key");
        let show = ["keys", "show", &key];
        let opens = |word: &str| run(&show, &[("TOW_PASSPHRASE", word)]) == 0;
        let word = match name {
            "flag" => "one",
            "file" => "two",
            _ => "three",
        };
        assert!(opens(word), "{name} is not under {word}");
        let more = if name == "flag" { &flag[..] } else { &[] };
        assert_eq!(run(&[&show[..], more].concat(), env), 0, "{name}");
    }
    // A variable alone protects nothing, and an empty one names no file.
    let new = ["keys", "new", "plain", "-e", "a@b.example"];
    assert_eq!(run(&new, &[file]), 0);
    let empty = [("TOW_PASSPHRASE_FILE", ""), value];
    assert_eq!(run(&["keys", "show", "certs/plain.key"], &[]), 0);
    assert_eq!(run(&["keys", "show", "certs/value.key"], &empty), 0);

    let ca = ["keys", "ca", "--dir", "locked", "--protect"];
    assert_eq!(run(&ca, &[("TOW_CA_PASSPHRASE_FILE", "by-file")]), 0);
    let issue = [
        "keys",
        "new",
        "x",
        "-e",
        "a@b.example",
        "--ca-dir",
        "locked",
        "-o",
        "x",
    ];
    assert_eq!(run(&issue, &[("TOW_CA_PASSPHRASE", "two")]), 0);
}

/// docs/wire I50
#[test]
fn a_passphrase_may_come_through_a_pipe() {
    let place = Place::new();
    ok(&place, &["keys", "ca"]);
    pipe(&place, "open sesame\n");
    let piped = ["--passphrase-file", "pipe"];
    let new = ["keys", "new", "node", "-e", "a@b.example"];
    ok(&place, &[&new[..], &piped].concat());
    pipe(&place, "open sesame\n");
    let show = ["keys", "show", "certs/node.key", "certs/node.key"];
    ok(&place, &[&show[..], &piped].concat());
    pipe(&place, "open sesame\n");
    let renew = ["keys", "renew", "node", "--new-key"];
    ok(&place, &[&renew[..], &piped].concat());
    write_secret(&place.path("word"), "open sesame\n");
    ok(
        &place,
        &[
            "keys",
            "show",
            "certs/node.key",
            "--passphrase-file",
            "word",
        ],
    );
    // An authority's, which is needed twice.
    let ca = ["keys", "ca", "--dir", "locked", "--passphrase-file", "word"];
    ok(&place, &ca);
    pipe(&place, "open sesame\n");
    let renew = [
        "keys",
        "renew",
        "--ca",
        "--ca-dir",
        "locked",
        "--new-key",
        "-o",
        "none",
    ];
    ok(
        &place,
        &[&renew[..], &["--ca-passphrase-file", "pipe"]].concat(),
    );
}

#[test]
fn the_passphrase_of_a_key_is_set_changed_and_taken_off() {
    let place = Place::new();
    ok(&place, &["keys", "new", "node", "-e", "a@b.example"]);
    let plain = fs::read(place.path("certs/node.key")).expect("readable");
    write_secret(&place.path("one"), "one\n");
    write_secret(&place.path("two"), "two\n");
    let command = ["keys", "passphrase", "node"];
    let set = [&command[..], &["--new-passphrase-file", "one"]].concat();
    let said = ok(&place, &set);
    assert!(
        said.contains("certs/node.key has a passphrase now"),
        "{said}"
    );
    let show = ["keys", "show", "certs/node.key", "--passphrase-file"];
    ok(&place, &[&show[..], &["one"]].concat());
    // Without the present one nothing changes.
    fails(
        &place,
        1,
        &[&command[..], &["--new-passphrase-file", "two"]].concat(),
    );
    fails(&place, 1, &[&command[..], &["--remove"]].concat());
    let wrong = ["--passphrase-file", "two", "--remove"];
    let said = fails(&place, 1, &[&command[..], &wrong].concat());
    assert!(said.contains("wrong passphrase"), "{said}");
    ok(&place, &[&show[..], &["one"]].concat());

    let change = ["--passphrase-file", "one", "--new-passphrase-file", "two"];
    ok(&place, &[&command[..], &change].concat());
    ok(&place, &[&show[..], &["two"]].concat());
    let remove = ["--passphrase-file", "two", "--remove", "--json"];
    let said = ok(&place, &[&command[..], &remove].concat());
    let event: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(event["protected"], false);
    assert_eq!(
        fs::read(place.path("certs/node.key")).expect("readable"),
        plain
    );
    fails(&place, 1, &[&command[..], &["--remove"]].concat());
    let nobody = place
        .tow(&["keys", "passphrase", "nobody", "--remove"])
        .output()
        .expect("runs");
    assert_eq!(exit_code(&nobody), 1);
    fails(&place, 2, &["keys", "passphrase"]);

    let ca = place
        .tow(&["keys", "passphrase", "--ca"])
        .env("TOW_NEW_PASSPHRASE", "master word")
        .output()
        .expect("runs");
    assert_eq!(exit_code(&ca), 0, "{}", stderr(&ca));
    let error = fails(&place, 1, &["keys", "renew", "node"]);
    assert!(error.contains("TOW_CA_PASSPHRASE_FILE"), "{error}");
    let renewed = place
        .tow(&["keys", "renew", "node"])
        .env("TOW_CA_PASSPHRASE", "master word")
        .output()
        .expect("runs");
    assert_eq!(exit_code(&renewed), 0, "{}", stderr(&renewed));
}

#[test]
fn a_hint_names_the_option_that_the_command_has() {
    let place = Place::new();
    let error = fails(&place, 1, &["keys", "ca", "--protect"]);
    assert!(error.contains("with --passphrase-file FILE"), "{error}");
    let error = fails(&place, 1, &["keys", "new", "node", "--protect"]);
    assert!(error.contains("with --ca-passphrase-file FILE"), "{error}");
}
