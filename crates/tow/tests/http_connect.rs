//! Calls and files behind an HTTP CONNECT, by real processes (docs/wire F35).

#[expect(dead_code, reason = "shared with other tests, which use the rest")]
mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
};

use support::{Place, exit_code, noise, stderr, stdout};

/// docs/wire F35
#[test]
fn calls_and_files_pass_behind_an_http_connect() {
    let place = Place::with_keys();
    let server = place.serve_at(
        "connect+tcp://127.0.0.1:0",
        &["--allow-write", "--insecure"],
    );
    let url = server.url.as_str();
    assert!(url.starts_with("connect+tcp://127.0.0.1:"), "{url}");

    let called = place
        .tow(&["call", url, "customEcho", "hello"])
        .output()
        .expect("runs");
    assert_eq!(exit_code(&called), 0, "{}", stderr(&called));
    assert!(stdout(&called).starts_with("hello"), "{}", stdout(&called));

    let bytes = noise(3_000_000);
    fs::write(place.path("file"), &bytes).expect("written");
    let pushed = place
        .tow(&["push", "file", url, "--insecure"])
        .output()
        .expect("runs");
    assert_eq!(exit_code(&pushed), 0, "{}", stderr(&pushed));
    assert!(fs::read(place.path("srv/file")).expect("there") == bytes);

    // What is no such client is told so, and what is no such server is named.
    let address = url.strip_prefix("connect+tcp://").expect("its scheme");
    let mut browser = TcpStream::connect(address).expect("connected");
    browser
        .write_all(b"GET / HTTP/1.0\r\n\r\n")
        .expect("written");
    let mut page = String::new();
    browser.read_to_string(&mut page).expect("read");
    assert!(page.starts_with("HTTP/1.0 404 Not Found"), "{page}");

    let plain = place.serve_at("tcp://127.0.0.1:0", &["--insecure"]);
    let wrong = plain.url.replace("tcp://", "connect+tcp://");
    let called = place
        .tow(&["call", &wrong, "customEcho", "hello"])
        .output()
        .expect("runs");
    assert_eq!(exit_code(&called), 3, "{}", stderr(&called));
    assert!(
        stderr(&called).contains("HTTP CONNECT") && stderr(&called).contains("use tcp://"),
        "{}",
        stderr(&called)
    );
}
