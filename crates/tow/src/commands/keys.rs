//! `tow keys`: authorities, keys, certificates.

use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use towline::identity::{
    Authority, AuthorityOptions, Inspected, IssueError, LeafOptions, LoadError, SaveError,
    format_date, inspect,
};

use super::known;
use crate::{
    cli::Keys,
    failure::{Exit, Failure, failed},
    output::Output,
};

pub(crate) fn run(command: Keys, output: Output) -> Result<(), Failure> {
    match command {
        Keys::Ca { dir, days, force } => make_authority(&dir, days, force, output).map(drop),
        Keys::New {
            name,
            email,
            ca_dir,
            out,
            days,
            force,
        } => {
            let authority = find_or_make_authority(&ca_dir, output)?;
            let email = email.unwrap_or_else(|| format!("{name}@{}", host_name()));
            let mut options = LeafOptions::new(&name).email(email);
            if let Some(days) = days {
                options = options.days(days);
            }
            let identity = authority.issue(&options).map_err(issue_failure)?;
            identity.save(&out, &name, force).map_err(save_failure)?;
            let fields = json!({
                "name": name, "dir": out.display().to_string(),
                "public_key": identity.public_key().to_string(), "emails": identity.emails(),
                "not_after": unix(identity.not_after()),
            });
            let line = format!(
                "made {}: {} ({}), valid until {}",
                out.join(format!("{name}.key")).display(),
                identity.public_key(),
                identity.emails().join(", "),
                format_date(identity.not_after()),
            );
            output.note("key", fields, &line);
            Ok(())
        }
        Keys::Known(command) => known::run(command, output),
        Keys::Show { files } => files.iter().try_for_each(|file| show(file, output)),
    }
}

fn find_or_make_authority(dir: &Path, output: Output) -> Result<Authority, Failure> {
    match Authority::load(dir) {
        Ok(authority) => Ok(authority),
        // Only if there is no trace of one: a half authority is a reason to stop.
        Err(LoadError::Read { .. })
            if !dir.join("ca.key").exists() && !dir.join("ca.crt").exists() =>
        {
            make_authority(dir, None, false, output)
        }
        Err(error) => Err(failed(error)),
    }
}

fn make_authority(
    dir: &Path,
    days: Option<u32>,
    force: bool,
    output: Output,
) -> Result<Authority, Failure> {
    let mut options = AuthorityOptions::new();
    if let Some(days) = days {
        options = options.days(days);
    }
    let authority = Authority::generate(&options).map_err(issue_failure)?;
    authority.save(dir, force).map_err(save_failure)?;
    let fields = json!({
        "dir": dir.display().to_string(), "public_key": authority.public_key().to_string(),
        "not_after": unix(authority.not_after()),
    });
    let line = format!(
        "made the authority in {}: {}, valid until {}; back it up, show it to nobody",
        dir.display(),
        authority.public_key(),
        format_date(authority.not_after()),
    );
    output.note("authority", fields, &line);
    Ok(authority)
}

fn show(file: &Path, output: Output) -> Result<(), Failure> {
    for inspected in inspect(file).map_err(failed)? {
        let (fields, line) = match &inspected {
            Inspected::Certificate {
                public_key,
                emails,
                not_before,
                not_after,
                is_authority,
            } => {
                let kind = if *is_authority {
                    "authority"
                } else {
                    "certificate"
                };
                let fields = json!({
                    "file": file.display().to_string(), "kind": kind, "public_key": public_key.to_string(),
                    "emails": emails, "not_before": unix(*not_before), "not_after": unix(*not_after),
                });
                let emails = if emails.is_empty() {
                    "none".to_owned()
                } else {
                    emails.join(", ")
                };
                let line = format!(
                    "{}: {kind}\n  public key  {public_key}\n  e-mail      {emails}\n  valid from  {}\n  valid until {}",
                    file.display(),
                    format_date(*not_before),
                    format_date(*not_after),
                );
                (fields, line)
            }
            Inspected::PrivateKey { public_key } => {
                let fields = json!({
                    "file": file.display().to_string(), "kind": "private key", "public_key": public_key.to_string(),
                });
                (
                    fields,
                    format!(
                        "{}: private key\n  public key  {public_key}",
                        file.display()
                    ),
                )
            }
            _ => (
                Value::Null,
                format!("{}: something this version does not know", file.display()),
            ),
        };
        output.result("shown", fields, &line);
    }
    Ok(())
}

fn issue_failure(error: IssueError) -> Failure {
    Failure::new(Exit::Usage, error.to_string())
}

fn save_failure(error: SaveError) -> Failure {
    failed(error)
}

/// Seconds since 1970.
fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// What this machine is called; for the default e-mail address, so an odd name is no obstacle.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())
        .or_else(|| std::env::var("COMPUTERNAME").ok())
        .unwrap_or_default();
    let name: String = name
        .trim()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "-.".contains(*c))
        .collect();
    if name.is_empty() {
        "localhost".to_owned()
    } else {
        name
    }
}
