//! `tow keys`: authorities, keys, certificates.

mod list;
mod make;
mod passphrase;
mod renew;
mod show;

use std::time::{SystemTime, UNIX_EPOCH};

use towline::identity::{
    Authority, IssueError, LoadError, PreSharedKey, RenewError, SaveError, VerifyError,
    verify_certificate,
};

use super::known;
use crate::{
    cli::keys::{AuthorityArgs, Keys, Psk, Verify},
    failure::{Exit, Failure, failed},
    output::Output,
    passphrase::Passphrases,
};

pub(crate) fn run(command: Keys, output: Output) -> Result<(), Failure> {
    match command {
        Keys::Ca(args) => make::authority(&args, output),
        Keys::New(args) => make::identity(&args, output),
        Keys::Show(args) => show::run(&args, output),
        Keys::Verify(args) => verify(&args, output),
        Keys::Psk(args) => psk(&args, output),
        Keys::List(args) => list::run(&args, output),
        Keys::Renew(args) => renew::run(&args, output),
        Keys::Passphrase(args) => passphrase::run(&args, output),
        Keys::Known(command) => known::run(command, output),
    }
}

/// docs/wire I39: the original's texts.
fn verify(args: &Verify, output: Output) -> Result<(), Failure> {
    let authority = args.ca_dir.join("ca.crt");
    for file in &args.files {
        let (shown, ca) = (file.display().to_string(), authority.display().to_string());
        let fields =
            |valid: bool| serde_json::json!({ "file": shown, "authority": ca, "valid": valid });
        if !file.exists() {
            return Err(failed(format!("path not found: '{shown}'")));
        }
        match verify_certificate(file, &authority) {
            Ok(()) => {
                if !output.is_json() {
                    let line = "The certificate is valid and signed by the CA.";
                    output.note("verified", (), line);
                }
                let line = format!("cert '{shown}' was indeed signed by '{ca}'.");
                output.result("verified", fields(true), &line);
            }
            Err(error) => {
                let line = "The certificate failed verification.";
                output.result("verified", fields(false), line);
                let why = match error {
                    VerifyError::NotSigned { why, .. } => why,
                    error => error.to_string(),
                };
                let text = format!("cert '{shown}' was NOT signed by '{ca}': '{why}'");
                return Err(Failure::new(Exit::Verification, text));
            }
        }
    }
    Ok(())
}

fn psk(args: &Psk, output: Output) -> Result<(), Failure> {
    let path = PreSharedKey::create_in(&args.dir, &args.name).map_err(|error| match error {
        SaveError::Exists { path } => failed(format!(
            "{} exists already and is not overwritten: choose another name, or remove it",
            path.display()
        )),
        error @ SaveError::Name { .. } => Failure::new(Exit::Usage, error.to_string()),
        error => failed(error),
    })?;
    let shown = path.display().to_string();
    let line = format!("wrote 32 cryptographically random bytes to {shown}");
    output.note("psk", serde_json::json!({ "file": shown }), &line);
    Ok(())
}

/// The authority that is there.
fn load_authority(args: &AuthorityArgs) -> Result<Authority, Failure> {
    let mut passphrases = Passphrases::authority(args.ca_passphrase_file.clone());
    let hint = passphrases.hint();
    Authority::load_with(&args.ca_dir, &mut passphrases).map_err(|error| load_failure(error, hint))
}

fn load_failure(error: LoadError, hint: String) -> Failure {
    let failure = failed(&error);
    match error {
        LoadError::Passphrase { .. } => failure.hint(hint),
        _ => failure,
    }
}

fn issue_failure(error: IssueError) -> Failure {
    Failure::new(Exit::Usage, error.to_string())
}

fn renew_failure(error: RenewError) -> Failure {
    match error {
        RenewError::Issue(error) => issue_failure(error),
        error => failed(error),
    }
}

/// Seconds since 1970.
fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
