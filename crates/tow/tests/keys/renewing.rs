//! Certificates and authorities that take the place of others.

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::Value;

use crate::{fails, ok, support::Place};

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
