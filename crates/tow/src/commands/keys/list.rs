//! `tow keys list`: what is there, and until when.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::json;
use towline::identity::{Description, Inspected, format_date, inspect};

use super::unix;
use crate::{
    cli::keys::{LISTED, List},
    clock,
    failure::{Failure, escape, failed},
    output::Output,
};

const DAY: u64 = 24 * 3600;
/// From here on a certificate's end is pointed out.
const SOON_DAYS: u64 = 30;

pub(super) fn run(args: &List, output: Output) -> Result<(), Failure> {
    let dirs: Vec<PathBuf> = if args.dirs.is_empty() {
        LISTED
            .iter()
            .map(PathBuf::from)
            .filter(|dir| dir.is_dir())
            .collect()
    } else {
        args.dirs.clone()
    };
    if dirs.is_empty() {
        return Err(failed(format!(
            "there is neither {} nor {} here",
            LISTED[0], LISTED[1]
        ))
        .hint("name the directories, or make a key with `tow keys new NAME`"));
    }
    let now = clock::wall();
    for dir in &dirs {
        for path in certificates(dir)? {
            let key = key_state(&path);
            match inspect(&path) {
                Ok(found) => {
                    for inspected in found {
                        if let Inspected::Certificate(certificate) = inspected {
                            tell(&path, &certificate, key, now, output);
                        }
                    }
                }
                // One bad file does not hide the others.
                Err(error) => {
                    let fields =
                        json!({ "file": path.display().to_string(), "error": error.to_string() });
                    let line = format!("{}  cannot be read: {error}", path.display());
                    output.result("listed", fields, &escape(&line));
                }
            }
        }
    }
    Ok(())
}

/// The certificate files of a directory, in the order of their names.
fn certificates(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let unreadable = |error| failed(format!("cannot list {}: {error}", dir.display()));
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "crt") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// What the private key beside a certificate is like.
fn key_state(certificate: &Path) -> &'static str {
    let path = certificate.with_extension("key");
    if !path.exists() {
        return "absent";
    }
    match inspect(path).as_deref() {
        Ok([Inspected::PrivateKey { .. }]) => "plain",
        Ok([Inspected::ProtectedKey { .. }]) => "protected",
        Err(towline::identity::LoadError::Permissions { .. }) => "readable by others",
        _ => "damaged",
    }
}

fn tell(path: &Path, certificate: &Description, key: &str, now: SystemTime, output: Output) {
    let emails: Vec<&str> = certificate
        .names
        .iter()
        .filter_map(|name| name.strip_prefix("email:"))
        .collect();
    let kind = if certificate.is_authority == Some(true) {
        "authority"
    } else {
        "key"
    };
    let left = unix(certificate.not_after).checked_sub(unix(now));
    let state = match left {
        _ if certificate.not_before > now => "not valid yet",
        None => "expired",
        Some(left) if left < SOON_DAYS * DAY => "expires soon",
        Some(_) => "valid",
    };
    let days = left.map(|left| left / DAY);
    let fields = json!({
        "file": path.display().to_string(), "kind": kind,
        "public_key": certificate.public_key.to_string(), "emails": emails,
        "not_before": unix(certificate.not_before), "not_after": unix(certificate.not_after),
        "days_left": days, "state": state, "private_key": key,
    });
    let mut line = format!(
        "{}  {kind}  {}  {}  {state}, until {}",
        path.display(),
        certificate.public_key,
        if emails.is_empty() {
            "-".to_owned()
        } else {
            emails.join(",")
        },
        format_date(certificate.not_after),
    );
    if let Some(days) = days {
        line.push_str(&format!(" ({days} days)"));
    }
    line.push_str(&format!(", private key {key}"));
    output.result("listed", fields, &escape(&line));
}
