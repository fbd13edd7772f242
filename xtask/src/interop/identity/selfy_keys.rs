//! Keys and certificates between towline and the original's key maker, `selfy`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::super::case::{Case, Outcome};
use super::super::child::{Ended, Program};
use super::super::lab::Lab;
use super::openssl_keys::tow_keys;
use super::terminal::Terminal;

/// The passphrases, and the files they stand in.
const OWN: (&str, &str) = ("pässword of a key", "own-word");
const AUTHORITY: (&str, &str) = ("of the authority", "ca-word");

pub(super) fn cases() -> Vec<Case> {
    let case = |name: &str, run: fn(&Lab) -> Result<Outcome>| Case::new(name.to_owned(), run);
    vec![
        case("tow, protected keys of selfy", protected_by_selfy),
        case("selfy, protected keys of tow", protected_by_tow),
        case("srv and cli, protected keys of tow", protected_at_work),
        case("selfy -v and tow keys show", shown_alike),
        case("selfy, certificates of tow in the selfy profile", profile),
        case("selfy -gensym and tow keys psk", pre_shared),
    ]
}

/// selfy makes a protected authority and keys; towline serves, calls and signs with them.
fn protected_by_selfy(lab: &Lab) -> Result<Outcome> {
    let room = lab.room()?;
    let folder = room.path();
    words(folder)?;
    let (own, ca) = (OWN.0, AUTHORITY.0);
    let args = ["-k", "node", "-e", "a@b.example"];
    selfy(lab, folder, &args, &[ca, ca, own, own])?.expect_code(0)?;
    let args = ["-k", "client", "-e", "a@b.example"];
    selfy(lab, folder, &args, &[own, own, ca])?.expect_code(0)?;
    for file in [
        "my-keep-private-dir/ca.key",
        "certs/node.key",
        "certs/client.key",
    ] {
        expect_protected(&folder.join(file))?;
    }
    let served = ["--passphrase-file", OWN.1];
    let (_server, url) = serve(lab, folder, &served)?;
    Program::start(lab.tow("call", folder).args([
        &url,
        "customEcho",
        "unlocked",
        "--passphrase-file",
        OWN.1,
    ]))?
    .end(lab.deadline())?
    .expect_code(0)?
    .expect_text("unlocked")?;
    let shown = ["show", "certs/node.key", "--passphrase-file", OWN.1];
    tow_keys(lab, folder, &shown)?.expect_text("Pass phrase successfully de-crypted")?;
    let new = ["new", "third", "--ca-passphrase-file", AUTHORITY.1];
    tow_keys(lab, folder, &new)?;
    let checked = selfy(lab, folder, &["-verify", "certs/third.crt"], &[])?;
    checked
        .expect_code(0)?
        .expect_text("was indeed signed by")?;
    Ok(Outcome::Pass)
}

/// towline makes them; selfy opens the keys and signs with the authority.
fn protected_by_tow(lab: &Lab) -> Result<Outcome> {
    let room = lab.room()?;
    let folder = room.path();
    words(folder)?;
    new_protected(lab, folder, "node")?;
    for (file, word) in [
        ("certs/node.key", OWN.0),
        ("my-keep-private-dir/ca.key", AUTHORITY.0),
    ] {
        expect_protected(&folder.join(file))?;
        let opened = selfy(lab, folder, &["-v", file], &[word])?.expect_code(0)?;
        let text = format!("Pass phrase successfully de-crypted private key '{file}'.");
        opened.expect_text(&text)?;
        let refused = selfy(lab, folder, &["-v", file], &["another word"])?;
        refused
            .expect_code(1)?
            .expect_text("message authentication failed")?;
    }
    let args = ["-k", "more", "-nopass", "-e", "a@b.example"];
    selfy(lab, folder, &args, &[AUTHORITY.0])?.expect_code(0)?;
    tow_keys(lab, folder, &["verify", "certs/more.crt", "certs/node.crt"])?;
    let checked = selfy(lab, folder, &["-verify", "certs/node.crt"], &[])?;
    checked
        .expect_code(0)?
        .expect_text("was indeed signed by")?;
    Ok(Outcome::Pass)
}

/// The original's server and client run with protected keys that towline made.
fn protected_at_work(lab: &Lab) -> Result<Outcome> {
    let room = lab.room()?;
    let folder = room.path();
    words(folder)?;
    new_protected(lab, folder, "node")?;
    new_protected(lab, folder, "client")?;
    let (terminal, stdin) = Terminal::typed(&[OWN.0])?;
    let mut command = Command::new(&lab.originals()?.srv);
    command
        .args(["-s", "127.0.0.1:0", "-press", "s2"])
        .current_dir(folder);
    let mut srv = Program::start_with(&mut command, stdin)?;
    let address = srv.line(lab.deadline(), |line| {
        let (_, address) = line.split_once("returned serverAddr = '")?;
        Some(address.split_once('\'')?.0.to_owned())
    })?;
    let url = format!("tls://{address}");
    Program::start(lab.tow("call", folder).args([
        &url,
        "customEcho",
        "to the original",
        "--passphrase-file",
        OWN.1,
    ]))?
    .end(lab.deadline())?
    .expect_code(0)?
    .expect_text("to the original\n with time customEcho sees this: '")?;
    drop((srv, terminal));

    let (_server, url) = serve(lab, folder, &["--passphrase-file", OWN.1])?;
    let address = url.trim_start_matches("tls://").to_owned();
    let (_terminal, stdin) = Terminal::typed(&[OWN.0])?;
    let mut command = Command::new(&lab.originals()?.cli);
    command
        .args(["-s", &address, "-press", "s2"])
        .current_dir(folder);
    Program::start_with(&mut command, stdin)?
        .end(lab.deadline())?
        .expect_code(0)?
        .expect_text("client says hello and requests this be echoed back")?;
    Ok(Outcome::Pass)
}

/// docs/wire I48: the two listings of one certificate, whoever made it.
fn shown_alike(lab: &Lab) -> Result<Outcome> {
    let room = lab.room()?;
    let folder = room.path();
    let args = ["-nopass", "-k", "node", "-e", "a@b.example"];
    selfy(lab, folder, &args, &[])?.expect_code(0)?;
    tow_keys(lab, folder, &["new", "client", "-e", "c@d.example"])?;
    tow_keys(lab, folder, &["ca", "--dir", "other"])?;
    for file in [
        "certs/node.crt",
        "certs/client.crt",
        "certs/ca.crt",
        "other/ca.crt",
    ] {
        let theirs = selfy(lab, folder, &["-v", file], &[])?.expect_code(0)?;
        let ours = tow_keys(lab, folder, &["show", file])?;
        ensure!(
            ours.text == theirs.text,
            "of {file} selfy prints\n{}\nand tow prints\n{}",
            theirs.text,
            ours.text
        );
    }
    Ok(Outcome::Pass)
}

/// docs/wire I35: the original takes them for its own, at both ends of a connection.
fn profile(lab: &Lab) -> Result<Outcome> {
    let room = lab.room()?;
    let folder = room.path();
    for name in ["node", "client"] {
        let args = ["new", name, "-e", "a@b.example", "--profile", "selfy"];
        tow_keys(lab, folder, &args)?;
        let file = format!("certs/{name}.crt");
        let checked = selfy(lab, folder, &["-verify", &file], &[])?;
        checked
            .expect_code(0)?
            .expect_text("was indeed signed by")?;
        let shown = selfy(lab, folder, &["-v", &file], &[])?.expect_code(0)?;
        shown
            .expect_text("Serial Number: 2 (0x2)")?
            .expect_text("Issuer: CN=localhost,OU=Org Unit,O=Organization")?;
    }
    let (_server, url) = serve(lab, folder, &[])?;
    let address = url.trim_start_matches("tls://").to_owned();
    Program::start(
        Command::new(&lab.originals()?.cli)
            .args(["-s", &address, "-press", "s2"])
            .current_dir(folder),
    )?
    .end(lab.deadline())?
    .expect_code(0)?
    .expect_text("client says hello and requests this be echoed back")?;
    Ok(Outcome::Pass)
}

/// docs/wire I32: neither writes over the other's.
fn pre_shared(lab: &Lab) -> Result<Outcome> {
    let room = lab.room()?;
    let folder = room.path();
    tow_keys(lab, folder, &["psk", "ours"])?;
    selfy(lab, folder, &["-gensym", "theirs"], &[])?.expect_code(0)?;
    let refused = selfy(lab, folder, &["-gensym", "ours"], &[])?;
    refused
        .expect_code(1)?
        .expect_text("refusing to overwrite")?;
    Program::start(lab.tow("keys", folder).args(["psk", "theirs"]))?
        .end(lab.deadline())?
        .expect_code(1)?
        .expect_text("is not overwritten")?;
    for name in ["ours", "theirs"] {
        let path = folder.join("my-keep-private-dir").join(name);
        let found = fs::metadata(&path).with_context(|| format!("no {}", path.display()))?;
        ensure!(found.len() == 32, "{name} has {} bytes", found.len());
        ensure!(
            found.permissions().mode() & 0o777 == 0o600,
            "mode of {name}"
        );
    }
    Ok(Outcome::Pass)
}

/// Runs `selfy` at a terminal on which these lines are typed.
fn selfy(lab: &Lab, folder: &Path, args: &[&str], typed: &[&str]) -> Result<Ended> {
    let (_terminal, stdin) = Terminal::typed(typed)?;
    let mut command = Command::new(&lab.originals()?.selfy);
    command.args(args).current_dir(folder);
    Program::start_with(&mut command, stdin)?.end(lab.deadline())
}

/// `tow keys new`, the key and an authority made on the way under their passphrases.
fn new_protected(lab: &Lab, folder: &Path, name: &str) -> Result<()> {
    let args = ["new", name, "-e", "a@b.example"];
    let words = [
        "--passphrase-file",
        OWN.1,
        "--ca-passphrase-file",
        AUTHORITY.1,
    ];
    tow_keys(lab, folder, &[&args[..], &words].concat())?;
    Ok(())
}

/// Starts `tow serve` with the keys of a folder.
fn serve(lab: &Lab, folder: &Path, args: &[&str]) -> Result<(Program, String)> {
    let mut command = lab.tow("serve", folder);
    command
        .args([".", "--listen", "tls://127.0.0.1:0"])
        .args(args);
    lab.serve(
        &mut command,
        |line| Some(line.strip_prefix("listening on ")?.trim().to_owned()),
        lab.deadline(),
    )
}

fn words(folder: &Path) -> Result<()> {
    for (word, file) in [OWN, AUTHORITY] {
        let path = folder.join(file);
        fs::write(&path, format!("{word}\n")).context("cannot write a passphrase")?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

fn expect_protected(path: &Path) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("no {}", path.display()))?;
    ensure!(
        text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAESGCM.Nonce: "),
        "{} is not protected",
        path.display()
    );
    ensure!(
        text.len() == 382,
        "{} has {} bytes",
        path.display(),
        text.len()
    );
    Ok(())
}
