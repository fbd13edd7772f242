//! `tow keys ca` and `tow keys new`.

use std::path::Path;

use serde_json::json;
use towline::identity::{
    Authority, AuthorityOptions, LeafOptions, Profile, Protection, SaveError, SaveOptions,
    format_date,
};

use super::{issue_failure, load_authority, unix};
use crate::{
    cli::keys::{Ca, CertificateArgs, New},
    failure::{Exit, Failure, failed},
    output::Output,
    passphrase::Passphrases,
};

pub(super) fn authority(args: &Ca, output: Output) -> Result<(), Failure> {
    let options = authority_options(&args.certificate, None);
    options.validate().map_err(issue_failure)?;
    let protection = if args.protect || args.passphrase_file.is_some() {
        let passphrases = Passphrases::of_the_authority_alone(args.passphrase_file.clone());
        Some(passphrases.protection("the authority's key")?)
    } else {
        None
    };
    let authority = Authority::generate(&options).map_err(issue_failure)?;
    save_authority(&authority, &args.dir, protection, args.force, output)
}

pub(super) fn identity(args: &New, output: Output) -> Result<(), Failure> {
    if args.name.chars().any(char::is_whitespace) {
        let text = format!("{:?} cannot name a key: it contains a space", args.name);
        return Err(Failure::new(Exit::Usage, text));
    }
    let email = match &args.email {
        Some(email) => email.clone(),
        None => {
            let email = format!("{}@{}", args.name, host_name());
            tracing::warn!(%email, "no e-mail address was given with -e; the certificate gets this one");
            email
        }
    };
    let mut options = LeafOptions::new(&args.name)
        .email(email)
        .profile(args.certificate.profile.unwrap_or_default());
    if let Some(days) = args.certificate.days {
        options = options.days(days);
    }
    // Before anybody types a passphrase or anything is written (docs/wire I3).
    options.validate().map_err(issue_failure)?;
    let (authority, is_new) = find_or_make(args)?;
    let save = SaveOptions::new().overwrite(args.force);
    let identity = authority.issue(&options).map_err(issue_failure)?;
    identity
        .check_save(&args.out, &args.name, &save)
        .map_err(|error| save_failure(error, args))?;
    // Everything that can be refused has been; now people are asked.
    let own = Passphrases::own(args.protect.passphrase_file.clone());
    let wanted = args.protect.is_wanted();
    if is_new {
        let protection = if wanted {
            let passphrases = Passphrases::authority(args.authority.ca_passphrase_file.clone());
            Some(passphrases.protection("the new authority's key")?)
        } else {
            None
        };
        save_authority(
            &authority,
            &args.authority.ca_dir,
            protection,
            false,
            output,
        )?;
    }
    let protection = if wanted {
        Some(own.protection(&format!("{}.key", args.name))?)
    } else {
        None
    };
    identity
        .save_with(&args.out, &args.name, &save.protection(protection))
        .map_err(|error| save_failure(error, args))?;
    let fields = json!({
        "name": args.name, "dir": args.out.display().to_string(),
        "public_key": identity.public_key().to_string(), "emails": identity.emails(),
        "not_after": unix(identity.not_after()), "protected": wanted,
    });
    let line = format!(
        "made {}: {} ({}), valid until {}",
        args.out.join(format!("{}.key", args.name)).display(),
        identity.public_key(),
        identity.emails().join(", "),
        format_date(identity.not_after()),
    );
    output.note("key", fields, &line);
    Ok(())
}

/// The authority that is there, or a new one, not written yet, if there is no trace of any.
fn find_or_make(args: &New) -> Result<(Authority, bool), Failure> {
    let dir = &args.authority.ca_dir;
    let is_there = |name| dir.join(name).symlink_metadata().is_ok();
    if is_there("ca.key") || is_there("ca.crt") {
        return Ok((load_authority(&args.authority)?, false));
    }
    // docs/wire I3: a second authority beside the first would sign keys that nobody trusts.
    let foreign = args.out.join("ca.crt");
    if foreign.symlink_metadata().is_ok() {
        let error = SaveError::OtherAuthority { path: foreign };
        return Err(save_failure(error, args));
    }
    // Its days are not the leaf's.
    let certificate = CertificateArgs {
        days: None,
        profile: args.certificate.profile,
    };
    let options = authority_options(&certificate, None);
    let authority = Authority::generate(&options).map_err(issue_failure)?;
    Ok((authority, true))
}

/// What a new authority's certificate says; `before` is the profile of the one it renews.
pub(super) fn authority_options(
    args: &CertificateArgs,
    before: Option<Profile>,
) -> AuthorityOptions {
    let profile = args.profile.or(before).unwrap_or_default();
    let options = AuthorityOptions::new().profile(profile);
    match args.days {
        Some(days) => options.days(days),
        None => options,
    }
}

fn save_authority(
    authority: &Authority,
    dir: &Path,
    protection: Option<Protection>,
    force: bool,
    output: Output,
) -> Result<(), Failure> {
    let protected = protection.is_some();
    let options = SaveOptions::new().overwrite(force).protection(protection);
    authority.save_with(dir, &options).map_err(failed)?;
    let fields = json!({
        "dir": dir.display().to_string(), "public_key": authority.public_key().to_string(),
        "not_after": unix(authority.not_after()), "protected": protected,
    });
    let line = format!(
        "made the authority in {}: {}, valid until {}; back it up, show it to nobody",
        dir.display(),
        authority.public_key(),
        format_date(authority.not_after()),
    );
    output.note("authority", fields, &line);
    Ok(())
}

fn save_failure(error: SaveError, args: &New) -> Failure {
    let failure = Failure::new(Exit::Failed, error.to_string());
    match error {
        SaveError::OtherAuthority { path } => failure.hint(format!(
            "the authority of {} is not in {}: make the key on the machine where it is and copy it here, \
             name its directory with --ca-dir, or choose another place with -o",
            path.display(),
            args.authority.ca_dir.display(),
        )),
        _ => failure,
    }
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
