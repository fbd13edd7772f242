//! `openssl s_client`, held open, against `tow serve`: whatever it lacks, it is the server that ends
//! the connection, with an alert that says why.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use super::super::case::{Case, Outcome};
use super::super::child::Program;
use super::super::lab::Lab;
use super::known_keys::Place;

/// The arguments that make it unwelcome, and the number of the alert that it hears.
const UNWELCOME: [(&str, &str, u8); 5] = [
    ("without a certificate", "-tls1_3", 116),
    ("with TLS 1.2 only", "-tls1_2", 70),
    (
        "with an unoffered suite only",
        "-tls1_3 -ciphersuites TLS_AES_256_GCM_SHA384",
        40,
    ),
    (
        "with a certificate of another authority",
        "-tls1_3 -cert other.crt -key other.key",
        48,
    ),
    (
        "with an unknown key",
        "-tls1_3 -cert certs/eve.crt -key certs/eve.key",
        49,
    ),
];

pub(super) fn cases() -> Vec<Case> {
    UNWELCOME
        .into_iter()
        .map(|(what, args, alert)| {
            Case::new(format!("openssl s_client {what}, tow serve"), move |lab| {
                refused(lab, args, alert)
            })
        })
        .collect()
}

fn refused(lab: &Lab, args: &str, alert: u8) -> Result<Outcome> {
    let place = Place::new(lab)?;
    let served = place.folder("served")?;
    let (root, certs) = (served.join(".."), place.certs());
    // Of all keys only the client's is known.
    place.know(&served, "client")?;
    let stranger = place.folder("stranger")?;
    Program::start(lab.tow("keys", &stranger).args(["new", "client"]))?
        .end(lab.deadline())?
        .expect_code(0)?;
    for kind in ["crt", "key"] {
        let from = stranger.join("certs").join(format!("client.{kind}"));
        fs::copy(from, root.join(format!("other.{kind}"))).context("cannot copy a key")?;
    }
    let server = place.tow_serve(&served, "node")?;
    // Its input ends at once, and it stays all the same: nobody but the server ends this.
    let mut command = Command::new("openssl");
    command
        .args(["s_client", "-ign_eof", "-CAfile"])
        .arg(certs.join("ca.crt"))
        .args(["-connect", &server.address])
        .args(args.split_whitespace())
        .current_dir(&root);
    Program::start(&mut command)?
        .end(lab.deadline())?
        .expect_text(&format!("SSL alert number {alert}"))?;
    // And it goes on to serve.
    place
        .tow_call(&served, &server.address, "client")?
        .expect_code(0)?;
    Ok(Outcome::Pass)
}
