//! Known keys, allowed keys, pinned keys: the program as a user runs it.

#![cfg(unix)]

#[expect(dead_code, reason = "shared with other tests, which use the rest")]
mod support;

use std::{fs, os::unix::fs::PermissionsExt as _, process::Output};

use serde_json::Value;
use support::{Place, exit_code, stderr, stdout};

/// A place with a second client, `eve`, of the same authority.
fn place() -> Place {
    let place = Place::with_keys();
    run(&place, &["keys", "new", "eve"]);
    place
}

fn run(place: &Place, args: &[&str]) -> Output {
    let output = place.tow(args).output().expect("runs");
    assert_eq!(exit_code(&output), 0, "{args:?}: {}", stderr(&output));
    output
}

fn call(place: &Place, url: &str, more: &[&str]) -> Output {
    let mut args = vec!["call", url, "customEcho", "hello"];
    args.extend(more);
    place.tow(&args).output().expect("runs")
}

fn key(place: &Place, name: &str) -> String {
    let file = format!("certs/{name}.crt");
    let shown = run(place, &["keys", "show", &file, "--json"]);
    let event: Value = serde_json::from_str(stdout(&shown).trim()).expect("JSON");
    event["public_key"].as_str().expect("text").to_owned()
}

/// docs/wire I31, I41, I42, I46
#[test]
fn a_server_learns_is_locked_and_admits_by_the_command_in_its_log() {
    let place = place();
    fs::write(place.path("known_client_keys"), "").expect("written");
    let server = place.serve(&[]);
    let called = call(&place, &server.url, &[]);
    assert_eq!(exit_code(&called), 0, "{}", stderr(&called));
    drop(server);
    let list = fs::read_to_string(place.path("known_client_keys")).expect("readable");
    let client = key(&place, "client");
    assert!(list.starts_with("# known_pub_keys file: address pubkey-identity-string\n127.0.0.1 pubkey@edwardsRPC-ed25519-b58c-"), "{list}");
    assert!(list.contains(&client), "{list}");

    run(&place, &["keys", "known", "lock"]);
    let mut server = place.serve(&[]);
    let called = call(&place, &server.url, &["--key", "eve"]);
    assert_eq!(exit_code(&called), 6, "{}", stderr(&called));
    assert!(
        stderr(&called).contains("ask its operator to admit it"),
        "{}",
        stderr(&called)
    );
    let eve = key(&place, "eve");
    let line = server.wait_for_log("was refused");
    assert!(
        line.contains(&format!("its key {eve} (fingerprint ")),
        "{line}"
    );
    let (_, command) = line.split_once("to admit it: tow ").expect("a command");
    let args: Vec<_> = command.split_whitespace().collect();
    assert_eq!(
        args,
        ["keys", "known", "add", &eve, "--file", "known_client_keys"]
    );
    run(&place, &args);
    let called = call(&place, &server.url, &["--key", "eve"]);
    assert_eq!(exit_code(&called), 0, "{}", stderr(&called));
    let mode = fs::metadata(place.path("known_client_keys"))
        .expect("there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o222, 0, "it is still locked");
}

/// docs/wire I31, I46
#[test]
fn a_client_knows_its_servers() {
    let place = place();
    let server = place.serve(&[]);
    run(&place, &["keys", "known", "unlock", "--servers"]);
    let called = call(&place, &server.url, &[]);
    assert_eq!(exit_code(&called), 0, "{}", stderr(&called));
    let listed = run(&place, &["keys", "known", "list", "--servers"]);
    assert!(
        stdout(&listed).contains(&key(&place, "node")),
        "{}",
        stdout(&listed)
    );

    // Another server, of the same authority.
    run(&place, &["keys", "known", "lock", "--servers"]);
    let other = place.serve(&["--key", "eve"]);
    let called = call(&place, &other.url, &[]);
    assert_eq!(exit_code(&called), 6, "{}", stderr(&called));
    for part in [
        "is not trusted",
        &key(&place, "eve"),
        "known_server_keys",
        "compare the key",
    ] {
        assert!(stderr(&called).contains(part), "{}", stderr(&called));
    }
    assert_eq!(exit_code(&call(&place, &server.url, &[])), 0);
}

/// docs/wire I45
#[test]
fn only_allowed_keys_are_served() {
    let place = place();
    let mut server = place.serve(&["--allow", &key(&place, "client")]);
    assert_eq!(exit_code(&call(&place, &server.url, &[])), 0);
    let called = call(&place, &server.url, &["--key", "eve"]);
    assert_eq!(exit_code(&called), 6, "{}", stderr(&called));
    let line = server.wait_for_log("was refused");
    let eve = format!("its key {} (fingerprint ", key(&place, "eve"));
    assert!(line.contains(&eve), "{line}");
    let wrong = place
        .tow(&["serve", "srv", "--allow", "9abc"])
        .output()
        .expect("runs");
    assert_eq!(exit_code(&wrong), 2, "{}", stderr(&wrong));
}

/// docs/wire I47
#[test]
fn a_server_is_called_by_its_public_key() {
    let place = place();
    let server = place.serve(&[]);
    let called = call(&place, &server.url, &["--server-key", &key(&place, "node")]);
    assert_eq!(exit_code(&called), 0, "{}", stderr(&called));
    let called = call(&place, &server.url, &["--server-key", &key(&place, "eve")]);
    assert_eq!(exit_code(&called), 6, "{}", stderr(&called));
}

/// docs/wire I31, I43
#[test]
fn a_list_that_cannot_be_used_stops_the_start() {
    let place = place();
    let path = place.path("known_client_keys");
    let serve = || {
        let output = place
            .tow(&["serve", "srv", "--listen", "tls://127.0.0.1:0"])
            .output()
            .expect("runs");
        assert_eq!(exit_code(&output), 1, "{}", stderr(&output));
        stderr(&output)
    };
    fs::create_dir(&path).expect("made");
    assert!(serve().contains("is not a file"));
    fs::remove_dir(&path).expect("removed");
    fs::write(&path, "# mine\n1.2.3.4 nonsense\n").expect("written");
    assert!(serve().contains("known_client_keys, line 2"));
    fs::write(&path, "# mine\n").expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).expect("changed");
    let said = serve();
    assert!(
        said.contains("tow keys known add") && said.contains("tow keys known unlock"),
        "{said}"
    );
    let missing = place
        .tow(&["serve", "srv", "--known", "nowhere"])
        .output()
        .expect("runs");
    assert_eq!(exit_code(&missing), 1);
    assert!(
        stderr(&missing).contains("no known-keys file nowhere"),
        "{}",
        stderr(&missing)
    );
}

#[test]
fn the_list_is_kept_with_commands() {
    let place = place();
    let (client, eve) = (key(&place, "client"), key(&place, "eve"));
    run(
        &place,
        &[
            "keys",
            "known",
            "add",
            &client,
            "--email",
            "ada@example.com",
        ],
    );
    run(&place, &["keys", "known", "add", &eve]);
    let again = run(&place, &["keys", "known", "add", &eve, "--json"]);
    let event: Value = serde_json::from_str(stdout(&again).trim()).expect("JSON");
    assert_eq!(event["changed"], false);
    run(&place, &["keys", "known", "remove", &eve]);
    let gone = place
        .tow(&["keys", "known", "remove", &eve])
        .output()
        .expect("runs");
    assert_eq!(exit_code(&gone), 1);
    run(&place, &["keys", "known", "lock"]);
    let listed = run(&place, &["keys", "known", "list", "--json"]);
    let events: Vec<Value> = stdout(&listed)
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(events.len(), 2, "{events:?}");
    assert_eq!(events[0]["locked"], true);
    assert_eq!(events[1]["key"], client.as_str());
    assert_eq!(events[1]["emails"], "ada@example.com");
    let fingerprint = events[1]["fingerprint"].as_str().expect("text");
    assert_eq!(fingerprint.len(), 35, "{fingerprint}");
    let bad = place
        .tow(&["keys", "known", "add", "9abc"])
        .output()
        .expect("runs");
    assert_eq!(exit_code(&bad), 2);
    let missing = place
        .tow(&["keys", "known", "list", "--file", "nowhere"])
        .output()
        .expect("runs");
    assert_eq!(exit_code(&missing), 1);
}

/// How many strangers the next test sends.
const STRANGERS: usize = 10_000;

/// docs/wire I46: the original holds the descriptor of each.
#[cfg(target_os = "linux")]
#[test]
fn thousands_of_refusals_leave_no_descriptor_and_no_listener_stopped() {
    use std::sync::Arc;

    use tokio::io::AsyncReadExt as _;
    use towline::{
        identity::Identity,
        transport::{ConnectOptions, Endpoint, connect},
    };

    let place = place();
    run(&place, &["keys", "known", "add", &key(&place, "client")]);
    run(&place, &["keys", "known", "lock"]);
    let server = place.serve(&[]);
    assert_eq!(exit_code(&call(&place, &server.url, &[])), 0);
    let before = server.descriptors();
    let eve = Identity::load(place.path("certs"), "eve").expect("loads");
    let options = ConnectOptions::new().identity(Arc::new(eve));
    let endpoint: Endpoint = server.url.parse().expect("an endpoint");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let knock = || async {
            let mut connection = connect(&endpoint, &options).await.expect("connects");
            let mut nothing = Vec::new();
            let heard = connection.read_to_end(&mut nothing).await;
            assert!(heard.is_err() && nothing.is_empty(), "{nothing:?}");
        };
        for _ in 0..STRANGERS / 20 {
            futures_of(20, &knock).await;
        }
    });
    assert_eq!(exit_code(&call(&place, &server.url, &[])), 0);
    // Those that were refused last may still be closing: each call gives them time.
    let settled = (0..100).any(|_| {
        assert_eq!(exit_code(&call(&place, &server.url, &[])), 0);
        server.descriptors() <= before
    });
    assert!(
        settled,
        "{} descriptors, {before} before",
        server.descriptors()
    );
}

/// Runs so many at once.
#[cfg(target_os = "linux")]
async fn futures_of<F: Future<Output = ()>>(count: usize, make: impl Fn() -> F) {
    let mut all: Vec<_> = (0..count).map(|_| Box::pin(make())).collect();
    std::future::poll_fn(|cx| {
        all.retain_mut(|one| one.as_mut().poll(cx).is_pending());
        if all.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}

/// docs/wire I31, I43: where there is no list none is made; one that appears counts from then on, and
/// one that disappears refuses everybody.
#[test]
fn a_list_may_appear_while_the_server_runs() {
    let place = place();
    let server = place.serve(&[]);
    assert_eq!(exit_code(&call(&place, &server.url, &[])), 0);
    assert_eq!(exit_code(&call(&place, &server.url, &["--key", "eve"])), 0);
    let list = place.path("known_client_keys");
    assert!(!list.exists() && !place.path("known_server_keys").exists());

    fs::write(&list, "").expect("written");
    assert_eq!(exit_code(&call(&place, &server.url, &[])), 0);
    let text = fs::read_to_string(&list).expect("readable");
    assert!(text.contains(&key(&place, "client")), "{text}");
    fs::remove_file(&list).expect("removed");
    assert_eq!(exit_code(&call(&place, &server.url, &[])), 6);
    fs::write(&list, text).expect("written");
    assert_eq!(exit_code(&call(&place, &server.url, &[])), 0);
}

/// The demo has keys of its own: they do not belong into the user's list.
#[test]
fn the_demo_leaves_the_users_list_alone() {
    let place = Place::new();
    fs::write(place.path("known_client_keys"), "").expect("written");
    fs::write(place.path("small.bin"), "bytes").expect("written");
    run(&place, &["demo", "small.bin", "--calls", "10"]);
    let text = fs::read_to_string(place.path("known_client_keys")).expect("readable");
    assert_eq!(text, "");
}

/// docs/wire I43: a lock is not undone by losing the list.
#[test]
fn a_locked_list_that_is_gone_stops_the_start() {
    let place = place();
    run(&place, &["keys", "known", "add", &key(&place, "client")]);
    run(&place, &["keys", "known", "lock"]);
    let server = place.serve(&[]);
    assert_eq!(exit_code(&call(&place, &server.url, &["--key", "eve"])), 6);
    let list = place.path("known_client_keys");
    fs::remove_file(&list).expect("removed");
    assert_eq!(exit_code(&call(&place, &server.url, &["--key", "eve"])), 6);
    drop(server);
    for args in [
        &["serve", "srv", "--listen", "tls://127.0.0.1:0"][..],
        &["listen", "tls://127.0.0.1:0", "--echo"],
        &["keys", "known", "unlock"],
        &["keys", "known", "list"],
    ] {
        let output = place.tow(args).output().expect("runs");
        assert_eq!(exit_code(&output), 1, "{args:?}: {}", stderr(&output));
        let said = stderr(&output);
        assert!(said.contains("were locked, and the file is gone"), "{said}");
        assert!(!list.exists());
    }
    run(&place, &["keys", "known", "add", &key(&place, "client")]);
    let server = place.serve(&[]);
    assert_eq!(exit_code(&call(&place, &server.url, &[])), 0);
    assert_eq!(exit_code(&call(&place, &server.url, &["--key", "eve"])), 6);
    drop(server);
    fs::remove_file(&list).expect("removed");
    run(&place, &["keys", "known", "unlock", "--anew"]);
    let server = place.serve(&[]);
    assert_eq!(exit_code(&call(&place, &server.url, &["--key", "eve"])), 0);
}

/// docs/wire I46
#[test]
fn a_client_points_out_an_unknown_server_at_a_known_address() {
    let place = place();
    run(&place, &["keys", "known", "unlock", "--servers"]);
    let server = place.serve(&[]);
    assert_eq!(exit_code(&call(&place, &server.url, &[])), 0);
    drop(server);
    let other = place.serve(&["--key", "eve"]);
    let called = call(&place, &other.url, &[]);
    assert_eq!(exit_code(&called), 0, "{}", stderr(&called));
    let warning = format!(
        "127.0.0.1 was the address of another key, {}",
        key(&place, "node")
    );
    assert!(stderr(&called).contains(&warning), "{}", stderr(&called));
    let again = call(&place, &other.url, &[]);
    assert!(
        !stderr(&again).contains("another key"),
        "{}",
        stderr(&again)
    );
}
