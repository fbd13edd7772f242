//! `tow keys`, as a user who knows the original's `selfy` meets it.

mod passphrases;
mod renewing;
#[expect(dead_code, reason = "shared with other tests, which use the rest")]
#[path = "../support/mod.rs"]
mod support;
mod terminal;

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Output};

use serde_json::Value;
use support::{Place, exit_code, names, stderr, stdout};

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
