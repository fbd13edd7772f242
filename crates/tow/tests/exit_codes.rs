//! Exit codes, and what a user reads beside them.

#[expect(dead_code, reason = "shared with other tests, which use the rest")]
mod support;

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt as _,
    time::{Duration, SystemTime},
};

use support::{Place, exit_code, names, stderr, stdout};
use towline::identity::{Authority, AuthorityOptions, LeafOptions};

/// Runs the program and looks at its exit code and at what it says; the name of what failed stands
/// there once.
fn check(place: &Place, args: &[&str], code: i32, says: &str, once: &str) {
    let output = place.tow(args).output().expect("runs");
    let text = stderr(&output);
    assert_eq!(exit_code(&output), code, "{args:?}: {text}");
    assert!(text.contains(says), "{args:?}: {text}");
    if !once.is_empty() {
        let line = text.lines().find(|line| line.starts_with("error: "));
        let line = line.unwrap_or_else(|| panic!("{args:?}: {text}"));
        assert_eq!(line.matches(once).count(), 1, "{args:?}: {line}");
    }
}

#[test]
fn exit_codes_and_hints_tell_what_to_do() {
    let place = Place::with_keys();
    fs::write(place.path("a.txt"), "hello").expect("written");
    fs::write(place.path("srv/there.txt"), "there").expect("written");
    fs::create_dir(place.path("srv/dir")).expect("made");
    let server = place.serve(&[]);
    let url = &server.url;
    let at = |path: &str| format!("{url}#{path}");
    let check = |args: &[&str], code, says: &str, once: &str| check(&place, args, code, says, once);
    check(&["push", "a.txt", url], 6, "--allow-write", "a.txt");
    check(
        &["push", "missing.txt", url],
        1,
        "no such file",
        "missing.txt",
    );
    check(&["push", "srv", url], 1, "is a directory", "srv");
    check(&["pull", &at("nope")], 1, "no such file `nope`", "nope");
    check(&["pull", &at("dir")], 1, "is a directory", "`dir`");
    check(&["pull", &at("../certs/node.key")], 6, "`..`", "node.key");
    check(&["pull", &at("/etc/hostname")], 6, "absolute", "hostname");
    check(&["pull", &at("..")], 6, "not the name of a file", "");
    // All of several for one reason, and for different ones.
    check(
        &["push", "a.txt", "a.txt", url],
        6,
        "2 of 2 files failed",
        "",
    );
    check(
        &["pull", &at("../a"), &at("/b")],
        6,
        "2 of 2 files failed",
        "",
    );
    check(
        &["pull", &at("../a"), &at("nope")],
        4,
        "2 of 2 files failed",
        "",
    );
    check(
        &["pull", &at("there.txt"), &at("nope")],
        4,
        "1 of 2 files failed",
        "",
    );
    assert_eq!(
        fs::read(place.path("there.txt")).expect("the other one arrived"),
        b"there"
    );
    check(
        &["call", url, "nobody"],
        1,
        "the server has no service `nobody`",
        "",
    );
    // The server's own words are for who asks for them.
    let quiet = place.tow(&["call", url, "nobody"]).output();
    assert!(!stderr(&quiet.expect("runs")).contains("ServiceName="));
    check(
        &["-v", "call", url, "nobody"],
        1,
        "ServiceName='nobody'",
        "nobody",
    );
    check(
        &["call", "tls://127.0.0.1:1", "customEcho"],
        3,
        "hint:",
        "127.0.0.1:1",
    );
    check(
        &["call", url, "customEcho", "--key", "nobody"],
        1,
        "tow keys new nobody",
        "",
    );
    // All that did not stop the server.
    check(&["call", url, "customEcho", "x"], 0, "", "");
}

#[test]
fn refused_uploads_are_told_apart_from_failed_ones() {
    let place = Place::with_keys();
    fs::write(place.path("a.txt"), "hello").expect("written");
    let server = place.serve(&["--allow-write", "--max-file", "4"]);
    let to = |dir: &str| format!("{}#{dir}", server.url);
    check(&place, &["push", "a.txt", &to("")], 6, "at most 4", "a.txt");
    fs::write(place.path("a.txt"), "hi").expect("written");
    check(
        &place,
        &["push", "a.txt", &to("../x")],
        6,
        "`../x`",
        "a.txt",
    );
    check(&place, &["push", "a.txt", &to("")], 0, "", "");
    check(
        &place,
        &["push", "a.txt", &to("a.txt")],
        1,
        "`a.txt` is not a directory",
        "a.txt",
    );
}

/// docs/wire D20
#[test]
fn a_name_that_a_sync_leaves_out_is_not_pushed_in_silence() {
    let place = Place::with_keys();
    fs::write(place.path(".f.tow-partial"), vec![7; 5 << 20]).expect("written");
    let server = place.serve(&["--allow-write"]);
    let push = ["push", ".f.tow-partial", &server.url];
    check(&place, &push, 1, "nothing was moved", ".f.tow-partial");
}

#[test]
fn tls_against_plain_text_is_no_connection_and_says_so() {
    let place = Place::with_keys();
    fs::write(place.path("a.txt"), "hello").expect("written");
    let tls = place.serve(&[]);
    let plain = place.serve_at("tcp://127.0.0.1:0", &["--insecure"]);
    // A plain client at a server that expects TLS.
    let url = tls.url.replace("tls://", "tcp://");
    check(
        &place,
        &["call", &url, "customEcho", "x"],
        3,
        "expects TLS",
        "",
    );
    check(
        &place,
        &["push", "a.txt", &url, "--insecure"],
        3,
        "expects TLS",
        "a.txt",
    );
    let path = format!("{url}#a");
    check(
        &place,
        &["pull", &path, "--insecure"],
        3,
        "expects TLS",
        "#a",
    );
    // A TLS client at a server that speaks plain text.
    let url = plain.url.replace("tcp://", "tls://");
    let path = format!("{url}#a");
    for args in [
        &["call", &url, "customEcho", "x"][..],
        &["push", "a.txt", &url],
        &["pull", &path],
    ] {
        check(&place, args, 3, "may speak plain text", &url);
        check(&place, args, 3, "use tcp://", "");
    }
    check(&place, &["call", &plain.url, "customEcho", "x"], 0, "", "");
}

#[test]
fn settings_that_can_never_work_are_wrong_usage() {
    let place = Place::with_keys();
    fs::write(place.path("a.txt"), "hello").expect("written");
    let usage = |args: &[&str], says: &str| check(&place, args, 2, says, "");
    let serve = |args: &[&str], says: &str| {
        let all = [&["serve", "srv", "--listen", "tls://127.0.0.1:0"], args].concat();
        usage(&all, says);
    };
    serve(&["--suffix", "a/b"], "holds a separator");
    serve(&["--suffix", ""], "is empty");
    serve(&["--suffix", "tow-part"], "being received");
    serve(&["--max-file", "0"], "--max-file");
    serve(&["--max-message", "0"], "--max-message");
    serve(&["--max-message", "1000000", "--allow-write"], "1 MiB");
    serve(&["--max-connections", "0"], "--max-connections");
    serve(&["--compress", "zstd:04"], "zstd:04");
    usage(&["serve", "nowhere"], "nowhere");
    usage(&["serve", "a.txt"], "a.txt");
    usage(
        &["serve", "srv", "--listen", "tls://127.0.0.1:0#x"],
        "`#x` means nothing",
    );
    usage(
        &["call", "tls://127.0.0.1:1#x", "echo"],
        "`#x` means nothing",
    );
    usage(
        &["call", "tls://127.0.0.1:1", "echo", "--timeout", "0s"],
        "above zero",
    );
    usage(&["call", "gopher://127.0.0.1:1", "echo"], "scheme");
    usage(&["pull", "tls://127.0.0.1:1"], "hint:");
    usage(&["pull", "tls://127.0.0.1:1#dir/"], "names a directory");
    usage(&["pull", "tls://127.0.0.1:1#caf%e9"], "not UTF-8");
    usage(
        &["push", "a.txt", "b.txt"],
        "the last argument is the server",
    );
    for args in [
        &["serve", "srv", "--listen", "mem://x"][..],
        &["push", "a.txt", "mem://x"],
        &["pull", "mem://x#a"],
        &["call", "mem://x", "echo"],
    ] {
        usage(args, "inside one process");
    }
    let output = place
        .tow(&["keys", "show", "certs/node.crt"])
        .env("TOW_LOG", "a=b=c")
        .output()
        .expect("runs");
    assert_eq!(exit_code(&output), 2, "{}", stderr(&output));
    assert!(stderr(&output).contains("TOW_LOG"), "{}", stderr(&output));
}

#[test]
fn files_over_plain_text_need_leave() {
    let place = Place::with_keys();
    fs::write(place.path("a.txt"), "hello").expect("written");
    let plain = "tcp://127.0.0.1:1";
    check(&place, &["push", "a.txt", plain], 6, "--insecure", plain);
    check(
        &place,
        &["serve", "srv", "--listen", plain],
        6,
        "--insecure",
        plain,
    );
}

#[test]
fn a_directory_that_may_not_be_used_is_wrong_usage() {
    use std::os::unix::{fs::PermissionsExt as _, process::CommandExt as _};

    let place = Place::with_keys();
    fs::set_permissions(place.root(), fs::Permissions::from_mode(0o755)).expect("set");
    let serve = |args: &[&str]| {
        let mut command = place.tow(&["serve", "srv", "--listen", "tcp://127.0.0.1:0"]);
        command.args(["--insecure"]).args(args);
        command
    };
    // Root may do everything, so somebody else tries, if root can be somebody else here.
    let nobody = 65534;
    if place.tow(&["--version"]).uid(nobody).output().is_err() {
        println!("skipped: the program cannot be run as another user");
        return;
    }
    let srv = place.path("srv");
    fs::set_permissions(&srv, fs::Permissions::from_mode(0o700)).expect("set");
    for (mode, args) in [(0o700, &[][..]), (0o755, &["--allow-write"])] {
        fs::set_permissions(&srv, fs::Permissions::from_mode(mode)).expect("set");
        let output = serve(args).uid(nobody).output().expect("runs");
        assert_eq!(exit_code(&output), 2, "{mode:o}: {}", stderr(&output));
        assert!(stderr(&output).contains("srv"), "{}", stderr(&output));
    }
}

/// docs/wire T12: names travel as text, and a name that is none is neither mangled nor guessed.
#[test]
fn a_name_that_is_not_utf8_is_named_and_not_sent() {
    let place = Place::with_keys();
    let odd = OsStr::from_bytes(b"caf\xe9.txt");
    fs::write(place.root().join(odd), "hello").expect("written");
    fs::write(place.path("good.txt"), "hello").expect("written");
    let server = place.serve(&["--allow-write"]);
    let pushed = place
        .tow(&["push", "good.txt"])
        .arg(odd)
        .arg(&server.url)
        .output()
        .expect("runs");
    assert_eq!(exit_code(&pushed), 4, "{}", stderr(&pushed));
    let text = stderr(&pushed);
    assert!(
        text.contains("the name of `caf\\xe9.txt` is not UTF-8"),
        "{text}"
    );
    assert_eq!(names(&place.path("srv")), ["good.txt"]);
}

#[test]
fn a_certificate_of_ours_that_has_expired_is_named_before_anybody_is_asked() {
    let place = Place::with_keys();
    #[expect(
        clippy::disallowed_methods,
        reason = "certificates are judged by this clock"
    )]
    let then = SystemTime::now() - Duration::from_secs(30 * 24 * 3600);
    let authority = Authority::generate(&AuthorityOptions::new().at(then)).expect("made");
    let old = authority.issue(&LeafOptions::new("old").days(1).at(then));
    let saved = old.expect("made").save(place.path("old"), "old", false);
    saved.expect("saved");
    for args in [
        &["call", "tls://127.0.0.1:1", "echo", "--key", "old"][..],
        &[
            "serve",
            "srv",
            "--listen",
            "tls://127.0.0.1:0",
            "--key",
            "old",
        ],
    ] {
        let args = &[args, &["--certs", "old"]].concat();
        check(&place, args, 6, "expired on", "old.crt");
        check(&place, args, 6, "tow keys new", "");
    }
}

#[test]
fn help_tells_exit_codes_and_environment() {
    let place = Place::new();
    let help = place.tow(&["--help"]).output().expect("runs");
    let text = stdout(&help);
    let readme = include_str!("../../../README.md");
    for code in 0..=6 {
        assert!(text.contains(&format!("\n  {code}  ")), "{text}");
        assert!(readme.contains(&format!("\n| {code} | ")), "README: {code}");
    }
    for name in [
        "TOW_CERTS",
        "TOW_KEY",
        "TOW_KNOWN",
        "TOW_PASSPHRASE",
        "TOW_PASSPHRASE_FILE",
        "TOW_CA_PASSPHRASE",
        "TOW_CA_PASSPHRASE_FILE",
        "TOW_NEW_PASSPHRASE",
        "TOW_NEW_PASSPHRASE_FILE",
        "TOW_LOG",
        "NO_COLOR",
    ] {
        assert!(text.contains(name), "{text}");
        assert!(readme.contains(&format!("| `{name}` |")), "README: {name}");
    }
}
