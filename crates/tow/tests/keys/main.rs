//! `tow keys`, as a user who knows the original's `selfy` meets it.

#[expect(dead_code, reason = "shared with other tests, which use the rest")]
#[path = "../support/mod.rs"]
mod support;
mod terminal;

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Output};

use serde_json::Value;
use support::{Place, exit_code, names, stderr, stdout};
use terminal::at_a_terminal;

fn run(place: &Place, args: &[&str]) -> Output {
    place.tow(args).output().expect("runs")
}

fn ok(place: &Place, args: &[&str]) -> String {
    let output = run(place, args);
    assert_eq!(exit_code(&output), 0, "{args:?}: {}", stderr(&output));
    stdout(&output)
}

fn fails(place: &Place, code: i32, args: &[&str]) -> String {
    let output = run(place, args);
    assert_eq!(exit_code(&output), code, "{args:?}: {}", stderr(&output));
    stderr(&output)
}

fn write_secret(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("set");
}

/// The files of the vectors, in a place that looks as the original left it.
fn vectors(place: &Place) -> (Vec<Value>, Vec<Value>) {
    let read = |name: &str| -> Vec<Value> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../towline-identity/tests/vectors");
        serde_json::from_slice(&fs::read(dir.join(name)).expect("readable")).expect("JSON")
    };
    let files = read("certs_plain.json");
    for dir in ["certs", "my-keep-private-dir"] {
        fs::create_dir(place.path(dir)).expect("made");
    }
    for entry in &files {
        let pem = entry["decoded"]["pem"].as_str().expect("text");
        let name = entry["name"].as_str().expect("text");
        let path = if name.contains('/') {
            name.to_owned()
        } else {
            format!("certs/{name}")
        };
        write_secret(&place.path(&path), pem);
        if name == "certs/ca.crt" {
            write_secret(&place.path("my-keep-private-dir/ca.crt"), pem);
        }
    }
    (files, read("selfy_cli.json"))
}

/// docs/wire I48: line for line what the original prints, and whose a private key is.
#[test]
fn show_prints_what_the_original_prints() {
    let place = Place::new();
    let (_, printed) = vectors(&place);
    let mut seen = 0;
    for entry in printed {
        let Some(file) = entry["name"]
            .as_str()
            .expect("text")
            .strip_prefix("selfy -v ")
        else {
            continue;
        };
        let theirs = entry["decoded"]["stdout"].as_str().expect("text");
        let ours = ok(&place, &["keys", "show", file]);
        if file.ends_with(".key") {
            let rest = ours.strip_prefix(theirs).expect("begins as the original's");
            assert!(
                rest.contains("base58-check encoded public-key: 9"),
                "{rest}"
            );
            assert!(rest.contains("\nfingerprint:    "), "{rest}");
        } else {
            assert_eq!(ours, theirs);
        }
        seen += 1;
    }
    assert_eq!(seen, 4);
    let json = ok(&place, &["keys", "show", "certs/client.crt", "--json"]);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["emails"][0], "froggy@example.com");
    assert_eq!(json["serial"], "2");
    assert_eq!(json["is_authority"], Value::Null);
    assert_eq!(
        json["subject"],
        "CN=localhost,OU=MyOrgUnit,O=MyOrg,L=New York,ST=New York,C=US"
    );
}

/// docs/wire I39
#[test]
fn verify_says_what_the_original_says() {
    let place = Place::new();
    let (_, printed) = vectors(&place);
    // The vectors begin in November 2026; before that they are not valid yet.
    let first = run(&place, &["keys", "verify", "certs/client.crt"]);
    let has_begun = !stderr(&first).contains("not valid before");
    for (name, args) in [
        ("selfy -verify certs/client.crt", &["certs/client.crt"][..]),
        (
            "selfy -verify certs/client.crt -quiet",
            &["certs/client.crt", "--quiet"],
        ),
        ("selfy -verify certs/ca.crt", &["certs/ca.crt"]),
    ] {
        let entry = printed
            .iter()
            .find(|entry| entry["name"] == name)
            .expect("there");
        let theirs = entry["decoded"]["stdout"].as_str().expect("text");
        if has_begun {
            let ours = ok(&place, &[&["keys", "verify"][..], args].concat());
            assert_eq!(ours, theirs);
        }
    }
    let error = fails(&place, 1, &["keys", "verify", "certs/nope.crt"]);
    assert!(
        error.contains("path not found: 'certs/nope.crt'"),
        "{error}"
    );

    // Another authority of the same name, and what is no certificate at all.
    ok(
        &place,
        &["keys", "ca", "--dir", "other", "--profile", "selfy"],
    );
    for (file, ca_dir, why) in [
        ("certs/client.crt", "other", "another authority signed it"),
        ("other/ca.key", "other", "PRIVATE KEY"),
    ] {
        let output = run(&place, &["keys", "verify", file, "--ca-dir", ca_dir]);
        assert_eq!(exit_code(&output), 5, "{}", stderr(&output));
        assert_eq!(stdout(&output), "The certificate failed verification.\n");
        let said = stderr(&output);
        let start = format!("cert '{file}' was NOT signed by '{ca_dir}/ca.crt': '");
        assert!(said.contains(&start), "{said}");
        assert!(!has_begun || said.contains(why), "{said}");
    }
}

/// docs/wire I32
#[test]
fn a_pre_shared_key_is_made_once() {
    let place = Place::new();
    let said = ok(&place, &["keys", "psk", "psk.binary"]);
    let path = "my-keep-private-dir/psk.binary";
    assert!(said.contains(&format!(
        "wrote 32 cryptographically random bytes to {path}"
    )));
    let before = fs::read(place.path(path)).expect("readable");
    assert_eq!(before.len(), 32);
    let mode = |path: &str| {
        fs::metadata(place.path(path))
            .expect("there")
            .permissions()
            .mode()
    };
    assert_eq!(mode(path) & 0o777, 0o600);
    assert_eq!(mode("my-keep-private-dir") & 0o777, 0o700);
    let error = fails(&place, 1, &["keys", "psk", "psk.binary"]);
    assert!(
        error.contains("exists already and is not overwritten"),
        "{error}"
    );
    assert_eq!(fs::read(place.path(path)).expect("readable"), before);
}

#[test]
fn the_first_key_makes_the_authority_and_the_second_uses_it() {
    let place = Place::new();
    let output = run(&place, &["keys", "new", "node"]);
    assert_eq!(exit_code(&output), 0);
    assert!(stdout(&output).contains("made the authority"));
    // The original's complaint.
    assert!(
        stderr(&output).contains("no e-mail address"),
        "{}",
        stderr(&output)
    );
    assert!(stdout(&output).contains("(node@"), "{}", stdout(&output));
    let said = ok(&place, &["keys", "new", "client", "-e", "ada@example.com"]);
    assert!(
        !said.contains("authority") && said.contains("(ada@example.com)"),
        "{said}"
    );
    ok(
        &place,
        &["keys", "verify", "certs/node.crt", "certs/client.crt"],
    );
    let private = fs::read(place.path("my-keep-private-dir/ca.crt")).expect("readable");
    assert_eq!(
        fs::read(place.path("certs/ca.crt")).expect("readable"),
        private
    );
    assert_eq!(
        names(&place.path("certs")),
        ["ca.crt", "client.crt", "client.key", "node.crt", "node.key"]
    );
    assert_eq!(
        names(&place.path("my-keep-private-dir")),
        ["ca.crt", "ca.key"]
    );
}

/// docs/wire I3: what can be refused is refused before anything is written.
#[test]
fn a_refused_key_leaves_nothing_behind() {
    let place = Place::new();
    for args in [
        &["-e", "jürgen@example.com"][..],
        &["-e", "a b@example.com"],
        &["--days", "0"],
        &["--passphrase-file", "nowhere"],
    ] {
        let output = run(&place, &[&["keys", "new", "node"][..], args].concat());
        assert_ne!(exit_code(&output), 0, "{args:?}");
        assert!(
            names(place.root()).is_empty(),
            "{args:?}: {:?}",
            names(place.root())
        );
    }
    let error = fails(&place, 2, &["keys", "new", "sub/node"]);
    assert!(error.contains("path separator"), "{error}");
    assert!(names(place.root()).is_empty());
}

/// docs/wire I3: an authority of one's own beside another's certificate signs what nobody trusts.
#[test]
fn no_authority_is_made_beside_a_foreign_one() {
    let place = Place::new();
    ok(&place, &["keys", "ca", "--dir", "elsewhere"]);
    fs::create_dir(place.path("certs")).expect("made");
    fs::copy(place.path("elsewhere/ca.crt"), place.path("certs/ca.crt")).expect("copied");
    for force in [&[][..], &["--force"]] {
        let error = fails(&place, 1, &[&["keys", "new", "node"][..], force].concat());
        assert!(
            error.contains("--ca-dir") && error.contains("certs/ca.crt"),
            "{error}"
        );
        assert_eq!(names(&place.path("certs")), ["ca.crt"]);
        assert!(!place.path("my-keep-private-dir").exists());
    }
    ok(&place, &["keys", "new", "node", "--ca-dir", "elsewhere"]);
}

#[test]
fn a_key_that_others_may_read_is_refused_with_the_command_that_helps() {
    let place = Place::with_keys();
    let key = place.path("certs/node.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("set");
    let error = fails(
        &place,
        1,
        &["serve", "srv", "--listen", "tls://127.0.0.1:0"],
    );
    assert!(error.contains("chmod 600 certs/node.key"), "{error}");
    let listed = ok(&place, &["keys", "list"]);
    let line = listed
        .lines()
        .find(|line| line.starts_with("certs/node.crt"));
    assert!(
        line.is_some_and(|line| line.contains("readable by others")),
        "{listed}"
    );
}

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

/// docs/wire I36
#[test]
fn renewing_and_listing_tell_when_certificates_end() {
    let place = Place::new();
    ok(
        &place,
        &[
            "keys",
            "new",
            "node",
            "-e",
            "ada@example.com",
            "--days",
            "5",
        ],
    );
    let list = || -> Vec<Value> {
        ok(&place, &["keys", "list", "--json"])
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    };
    let of = |list: &[Value], file: &str| {
        list.iter()
            .find(|one| one["file"] == file)
            .expect("listed")
            .clone()
    };
    let before = of(&list(), "certs/node.crt");
    assert_eq!(before["state"], "expires soon");
    assert_eq!(before["emails"][0], "ada@example.com");
    assert_eq!(before["private_key"], "plain");
    let said = ok(&place, &["keys", "renew", "node"]);
    assert!(said.contains("certs/node.crt.old"), "{said}");
    let after = of(&list(), "certs/node.crt");
    assert_eq!(after["state"], "valid");
    assert_eq!(after["public_key"], before["public_key"]);
    assert_eq!(after["emails"], before["emails"]);
    ok(
        &place,
        &["keys", "verify", "certs/node.crt", "certs/node.crt.old"],
    );

    ok(&place, &["keys", "renew", "node", "--new-key"]);
    assert_ne!(
        of(&list(), "certs/node.crt")["public_key"],
        before["public_key"]
    );
    ok(&place, &["keys", "renew", "--ca", "--new-key"]);
    let authorities = list()
        .iter()
        .filter(|one| one["kind"] == "authority")
        .count();
    assert_eq!(authorities, 4, "two in either place");
    ok(&place, &["keys", "verify", "certs/node.crt"]);
    ok(&place, &["keys", "renew", "node"]);
    ok(&place, &["keys", "renew", "--ca", "--retire-old"]);
    assert_eq!(
        list()
            .iter()
            .filter(|one| one["kind"] == "authority")
            .count(),
        2
    );
    ok(&place, &["keys", "verify", "certs/node.crt"]);
    fails(&place, 2, &["keys", "renew"]);
    fails(&place, 2, &["keys", "renew", "node", "--protect"]);
    fails(&place, 2, &["keys", "renew", "--ca", "--protect"]);
    let wrong = ["--ca", "--new-key", "--passphrase-file", "word"];
    let said = fails(&place, 2, &[&["keys", "renew"], &wrong[..]].concat());
    assert!(said.contains("--ca-passphrase-file"), "{said}");
    fails(&place, 1, &["keys", "renew", "nobody"]);
}

/// docs/wire I36: it might be a protected key, and its successor must not be a plain one.
#[test]
fn a_key_that_cannot_be_read_is_not_replaced() {
    let place = Place::new();
    ok(&place, &["keys", "new", "node", "-e", "ada@example.com"]);
    let key = place.path("certs/node.key");
    let before = fs::read(&key).expect("a key");
    let mode = fs::Permissions::from_mode(0o640);
    fs::set_permissions(&key, mode).expect("our own file");
    let said = fails(&place, 1, &["keys", "renew", "node", "--new-key"]);
    assert!(said.contains("chmod 600"), "{said}");
    assert_eq!(fs::read(&key).expect("a key"), before);
}

/// docs/wire I37
#[test]
fn a_server_takes_a_renewed_key_without_a_restart() {
    let place = Place::with_keys();
    let mut server = place.serve(&["--verbose"]);
    let url = server.url.clone();
    let call = ["call", &url, "customEcho", "hello"];
    ok(&place, &call);
    ok(&place, &["keys", "ca", "--dir", "next"]);
    for name in ["node", "client"] {
        ok(
            &place,
            &["keys", "new", name, "--ca-dir", "next", "--force"],
        );
    }
    // Now the server has the old authority, and the client the new one.
    fails(&place, 6, &call);
    server.hang_up();
    server.wait_for_log("the key and certificate were loaded again");
    ok(&place, &call);

    fs::write(place.path("certs/node.crt"), "no certificate").expect("written");
    server.hang_up();
    server.wait_for_log("the old ones stay in use");
    ok(&place, &call);
}

/// Sends a text through a pipe, once, as a shell's `<(...)` does.
fn pipe(place: &Place, text: &'static str) -> std::path::PathBuf {
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

#[test]
fn names_are_no_paths_and_have_no_blanks() {
    let place = Place::new();
    for args in [
        ["psk", "../p1"],
        ["psk", "a b"],
        ["psk", "ca.key"],
        ["new", "a b"],
        ["new", "a/b"],
    ] {
        let error = fails(&place, 2, &[&["keys"][..], &args].concat());
        assert!(error.contains("cannot name a key"), "{error}");
    }
    assert!(names(place.root()).is_empty());
}

/// docs/wire I36: those who depend on an authority are named before it is retired.
#[test]
fn an_authority_is_retired_when_nothing_depends_on_it() {
    let place = Place::new();
    for (name, dir) in [("node", "certs"), ("client", "for-b")] {
        ok(
            &place,
            &["keys", "new", name, "-e", "a@b.example", "-o", dir],
        );
    }
    let also = ["--also", "for-b"];
    let said = ok(
        &place,
        &[&["keys", "renew", "--ca", "--new-key"][..], &also].concat(),
    );
    assert!(said.contains("for-b/ca.crt"), "{said}");
    ok(
        &place,
        &["keys", "verify", "for-b/client.crt", "--ca-dir", "certs"],
    );
    let retire = [&["keys", "renew", "--ca", "--retire-old"][..], &also].concat();
    let before = fs::read(place.path("my-keep-private-dir/ca.crt")).expect("readable");
    let error = fails(&place, 1, &retire);
    assert!(
        error.contains("certs/node.crt, for-b/client.crt") && error.contains("--force"),
        "{error}"
    );
    let after = fs::read(place.path("my-keep-private-dir/ca.crt")).expect("readable");
    assert_eq!(after, before);
    ok(&place, &["keys", "renew", "node"]);
    let error = fails(&place, 1, &retire);
    assert!(
        !error.contains("certs/node.crt") && error.contains("for-b/client.crt"),
        "{error}"
    );
    ok(&place, &["keys", "renew", "client", "-o", "for-b"]);
    ok(&place, &retire);
    ok(
        &place,
        &["keys", "verify", "for-b/client.crt", "--ca-dir", "for-b"],
    );
    fails(&place, 1, &["keys", "renew", "--ca", "--also", "nowhere"]);
    fails(&place, 2, &["keys", "renew", "--ca", "--force"]);
}

/// docs/wire I15
#[test]
fn a_server_does_not_start_with_a_certificate_that_its_authorities_do_not_know() {
    let place = Place::with_keys();
    ok(&place, &["keys", "ca", "--dir", "other"]);
    fs::copy(place.path("other/ca.crt"), place.path("certs/ca.crt")).expect("copied");
    let error = fails(
        &place,
        6,
        &["serve", "srv", "--listen", "tls://127.0.0.1:0"],
    );
    assert!(
        error.contains("certs/node.crt is not vouched for by certs/ca.crt"),
        "{error}"
    );
}

/// docs/wire I48: what a certificate says must not turn a line around.
#[test]
fn what_cannot_be_seen_is_escaped_in_what_is_shown() {
    let place = Place::new();
    ok(&place, &["keys", "new", "node", "-e", "a@b.example"]);
    let key = ok(&place, &["keys", "show", "certs/node.crt", "--json"]);
    let key: Value = serde_json::from_str(&key).expect("JSON");
    let key = key["public_key"].as_str().expect("text");
    let line = format!("1.2.3.4\u{202e} pubkey@edwardsRPC-ed25519-b58c-{key}:moc\u{202e}@eve\n");
    fs::write(place.path("known_client_keys"), line).expect("written");
    let shown = ok(&place, &["keys", "known", "list"]);
    assert!(
        !shown.contains('\u{202e}') && shown.contains("moc\\u{202e}@eve"),
        "{shown}"
    );
}
