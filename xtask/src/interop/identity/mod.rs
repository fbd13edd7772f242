//! `cargo xtask interop identity`: keys, certificates and trust, with the original's programs and
//! with openssl.

mod known_keys;
mod openssl_keys;
mod s_client;
mod selfy_keys;
mod terminal;

use super::case::{Case, Scope};
use crate::tools;

/// The cases of this group. Those of the original's programs are there only with `originals`.
pub(super) fn cases(_scope: Scope, originals: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    if originals {
        cases.extend(selfy_keys::cases());
    }
    if tools::openssl_is_here() {
        cases.extend(openssl_keys::cases());
        cases.extend(s_client::cases());
    } else {
        println!("NOT RUN: openssl: it is missing; install it: apt-get install openssl");
    }
    if originals {
        cases.extend(known_keys::cases());
    }
    cases
}

/// The cases of this group with our Go peer.
pub(super) fn gopeer_cases() -> Vec<Case> {
    known_keys::gopeer_cases()
}
