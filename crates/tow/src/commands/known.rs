//! `tow keys known`: the list of keys that were met before.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueHint};
use serde_json::json;
use towline::identity::{KNOWN_CLIENT_KEYS, KNOWN_SERVER_KEYS, KnownKey, KnownKeys, PublicKey};

use crate::{
    failure::{Exit, Failure, escape, failed},
    output::Output,
};

/// What to do with the list.
#[derive(Debug, Subcommand)]
pub(crate) enum Known {
    /// Show every key of the list, and whether it learns or is locked
    List {
        #[command(flatten)]
        file: ListFile,
    },
    /// Add a key; makes the list if there is none, and works on a locked one too
    Add {
        /// The public key, as `tow keys show` and the server's log show it
        key: PublicKey,
        /// Its owner's e-mail address, to inform readers of the list
        #[arg(long, short, value_name = "ADDRESS", default_value = "")]
        email: String,
        #[command(flatten)]
        file: ListFile,
    },
    /// Take a key out; its holder is unknown from the next connection on, and those that are open stay
    /// open: restart the server to end them
    Remove {
        /// The public key
        key: PublicKey,
        #[command(flatten)]
        file: ListFile,
    },
    /// Refuse unknown keys from now on: take every right to write from the list, and note in
    /// FILE.locked that it is locked, in case it gets lost
    Lock {
        #[command(flatten)]
        file: ListFile,
    },
    /// Learn unknown keys from now on; makes an empty list if there is none and none was locked
    Unlock {
        /// Also if a locked list is gone: whoever has a certificate of the authority is learned again
        #[arg(long)]
        anew: bool,
        #[command(flatten)]
        file: ListFile,
    },
}

/// Which list.
#[derive(Debug, Args)]
pub(crate) struct ListFile {
    /// The list [default: known_client_keys in this directory, which servers read]
    #[arg(long, value_name = "FILE", env = "TOW_KNOWN", value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,

    /// The list that clients read: known_server_keys in this directory
    #[arg(long, conflicts_with = "file")]
    servers: bool,
}

impl ListFile {
    fn path(&self) -> &Path {
        match &self.file {
            Some(file) => file,
            None if self.servers => Path::new(KNOWN_SERVER_KEYS),
            None => Path::new(KNOWN_CLIENT_KEYS),
        }
    }
}

pub(crate) fn run(command: Known, output: Output) -> Result<(), Failure> {
    match &command {
        Known::List { file } => list(file.path(), output),
        Known::Add { key, email, file } => {
            let path = file.path();
            let added = KnownKeys::add(path, KnownKey::new(*key, "-", email)).map_err(failed)?;
            let what = if added { "added to" } else { "is already in" };
            say(path, key, added, what, output);
            Ok(())
        }
        Known::Remove { key, file } => {
            let path = file.path();
            if KnownKeys::remove(path, key).map_err(failed)? == 0 {
                let text = format!("{key} is not in {}", path.display());
                return Err(Failure::new(Exit::Failed, text)
                    .hint("`tow keys known list` shows the keys that are there"));
            }
            say(path, key, true, "removed from", output);
            Ok(())
        }
        Known::Lock { file } => {
            KnownKeys::lock(file.path()).map_err(failed)?;
            mode(file.path(), true, output);
            Ok(())
        }
        Known::Unlock { anew, file } => {
            let path = file.path();
            let unlocked = if *anew {
                KnownKeys::unlock_anew(path)
            } else {
                KnownKeys::unlock(path)
            };
            unlocked.map_err(failed)?;
            mode(file.path(), false, output);
            Ok(())
        }
    }
}

fn list(path: &Path, output: Output) -> Result<(), Failure> {
    // A locked and empty list is worth looking at: it is why a server does not start.
    let known = KnownKeys::open_for_inspection(path);
    let list = known.list().map_err(failed)?;
    mode(path, known.is_locked().map_err(failed)?, output);
    for key in list.keys() {
        let fingerprint = key.public_key().map(|key| key.fingerprint().to_string());
        let line = format!(
            "{}\n  fingerprint {}\n  e-mail      {}\n  first seen  {}",
            escape(&key.key),
            fingerprint
                .as_deref()
                .unwrap_or("none: this is not a public key"),
            if key.emails.is_empty() {
                "none".to_owned()
            } else {
                escape(&key.emails)
            },
            escape(&key.address),
        );
        let fields = json!({
            "key": key.key, "fingerprint": fingerprint, "emails": key.emails, "address": key.address,
            "line": key.line,
        });
        output.result("known_key", fields, &line);
    }
    Ok(())
}

fn mode(path: &Path, locked: bool, output: Output) {
    let does = if locked {
        "locked: unknown keys are refused"
    } else {
        "learning: unknown keys of our authority are added"
    };
    let fields = json!({ "file": path.display().to_string(), "locked": locked });
    output.note(
        "known_keys",
        fields,
        &format!("{} is {does}", path.display()),
    );
}

fn say(path: &Path, key: &PublicKey, changed: bool, what: &str, output: Output) {
    let fields = json!({
        "file": path.display().to_string(), "key": key.to_string(),
        "fingerprint": key.fingerprint().to_string(), "changed": changed,
    });
    let line = format!(
        "{key} {what} {}\n  fingerprint {}",
        path.display(),
        key.fingerprint()
    );
    output.note("known_key", fields, &line);
}
