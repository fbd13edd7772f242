//! Keys and certificates between towline and plain openssl commands.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::super::case::{Case, Outcome};
use super::super::child::{Ended, Program};
use super::super::lab::Lab;

/// What a leaf of the openssl commands says: like the original's script, without key usages.
const LEAF_EXTENSIONS: &str = "subjectAltName=DNS:localhost,email:openssl@example.com\n";

pub(super) fn cases() -> Vec<Case> {
    let case = |name: &str, run: fn(&Lab) -> Result<Outcome>| Case::new(name.to_owned(), run);
    vec![
        case("openssl verify and x509, certificates of tow", accepted),
        case("openssl pkey, keys of tow", keys_agree),
        case(
            "tow serve and tow call, keys and certificates of openssl",
            used,
        ),
        case("tow keys new, authority of openssl", signs),
        case("tow refuses other kinds of keys of openssl", refused),
    ]
}

/// openssl's strictest reading of the `towline` profile, for both purposes.
fn accepted(lab: &Lab) -> Result<Outcome> {
    let room = lab.room()?;
    tow_keys(lab, room.path(), &["new", "node", "-e", "node@example.com"])?;
    let certs = room.path().join("certs");
    for purpose in ["sslserver", "sslclient"] {
        let command = format!(
            "verify -x509_strict -CAfile ca.crt -purpose {purpose} -verify_hostname localhost node.crt"
        );
        openssl(lab, &certs, &command)?.expect_text("node.crt: OK")?;
    }
    openssl(lab, &certs, "verify -x509_strict -CAfile ca.crt ca.crt")?.expect_text("OK")?;
    openssl(lab, &certs, "x509 -in node.crt -noout -text")?
        .expect_text("Public Key Algorithm: ED25519")?
        .expect_text("email:node@example.com")?;
    openssl(lab, &certs, "x509 -in ca.crt -noout -text")?.expect_text("CA:TRUE")?;
    Ok(Outcome::Pass)
}

fn keys_agree(lab: &Lab) -> Result<Outcome> {
    let room = lab.room()?;
    tow_keys(lab, room.path(), &["new", "node"])?;
    let certs = room.path().join("certs");
    let key = openssl(lab, &certs, "pkey -in node.key -pubout")?.text;
    openssl(lab, &certs, "x509 -in node.crt -noout -pubkey")?.expect_text(&key)?;
    Ok(Outcome::Pass)
}

/// Both ends of a connection of towline, with nothing but what openssl made.
fn used(lab: &Lab) -> Result<Outcome> {
    let room = lab.room()?;
    authority(lab, room.path())?;
    for name in ["node", "client"] {
        leaf(lab, room.path(), name)?;
    }
    let url = "tls://127.0.0.1:0";
    let mut command = lab.tow("serve", room.path());
    command.args([".", "--listen", url, "--certs", "."]);
    let (_server, address) = lab.serve(
        &mut command,
        |line| Some(line.strip_prefix("listening on ")?.trim().to_owned()),
        lab.deadline(),
    )?;
    let mut command = lab.tow("call", room.path());
    command.args(["--certs", ".", &address, "customEcho", "made by openssl"]);
    Program::start(&mut command)?
        .end(lab.deadline())?
        .expect_code(0)?
        .expect_text("made by openssl")?;
    Ok(Outcome::Pass)
}

/// An authority made by openssl signs a key of ours.
fn signs(lab: &Lab) -> Result<Outcome> {
    let room = lab.room()?;
    authority(lab, room.path())?;
    tow_keys(lab, room.path(), &["new", "node", "--ca-dir", "."])?;
    openssl(lab, room.path(), "verify -CAfile ca.crt certs/node.crt")?.expect_text("OK")?;
    Ok(Outcome::Pass)
}

/// docs/wire I5: another kind of key is named.
fn refused(lab: &Lab) -> Result<Outcome> {
    let room = lab.room()?;
    for (algorithm, kind) in [
        ("RSA", "RSA"),
        ("EC -pkeyopt ec_paramgen_curve:P-256", "ECDSA"),
        ("X25519", "X25519"),
        ("ED448", "Ed448"),
    ] {
        openssl(
            lab,
            room.path(),
            &format!("genpkey -algorithm {algorithm} -out other.key"),
        )?;
        Program::start(lab.tow("keys", room.path()).args(["show", "other.key"]))?
            .end(lab.deadline())?
            .expect_code(1)?
            .expect_text(kind)?
            .expect_text("Ed25519")?;
    }
    Ok(Outcome::Pass)
}

/// `ca.key` and `ca.crt`, self-signed, in this folder.
pub(super) fn authority(lab: &Lab, folder: &Path) -> Result<()> {
    openssl(lab, folder, "genpkey -algorithm ED25519 -out ca.key")?;
    let command = "req -x509 -new -key ca.key -subj /CN=openssl-authority -days 30 -out ca.crt \
                   -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign";
    openssl(lab, folder, command)?;
    Ok(())
}

/// `NAME.key` and `NAME.crt`, signed by the authority in this folder.
pub(super) fn leaf(lab: &Lab, folder: &Path, name: &str) -> Result<()> {
    let extensions = folder.join("leaf.ext");
    fs::write(&extensions, LEAF_EXTENSIONS).context("cannot write the extensions")?;
    for command in [
        format!("genpkey -algorithm ED25519 -out {name}.key"),
        format!("req -new -key {name}.key -subj /CN={name} -out {name}.csr"),
        format!(
            "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 \
             -extfile leaf.ext -out {name}.crt"
        ),
    ] {
        openssl(lab, folder, &command)?;
    }
    Ok(())
}

/// Runs one openssl command, its words separated by spaces, to success.
pub(super) fn openssl(lab: &Lab, folder: &Path, command: &str) -> Result<Ended> {
    Program::start(
        Command::new("openssl")
            .args(command.split_whitespace())
            .current_dir(folder),
    )?
    .end(lab.deadline())?
    .expect_code(0)
}

/// Runs one `tow keys` command to success.
pub(super) fn tow_keys(lab: &Lab, folder: &Path, args: &[&str]) -> Result<Ended> {
    Program::start(lab.tow("keys", folder).args(args))?
        .end(lab.deadline())?
        .expect_code(0)
}
