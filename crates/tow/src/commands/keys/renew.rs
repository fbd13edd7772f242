//! `tow keys renew`: new certificates beside old ones (docs/wire I36).

use std::path::{Path, PathBuf};

use serde_json::json;
use towline::identity::{
    Authority, Inspected, LeafOptions, Profile, Protection, Renewed, SaveOptions, format_date,
    inspect, renew_certificate, renew_key,
};

use super::{issue_failure, load_failure, make::authority_options, renew_failure, unix};
use crate::{
    cli::keys::Renew,
    failure::{Exit, Failure, failed},
    output::Output,
    passphrase::Passphrases,
};

pub(super) fn run(args: &Renew, output: Output) -> Result<(), Failure> {
    match &args.name {
        Some(name) => leaf(args, name, output),
        None => authority(args, output),
    }
}

fn leaf(args: &Renew, name: &str, output: Output) -> Result<(), Failure> {
    let path = args.out.join(format!("{name}.crt"));
    let before = first_profile(&path)?;
    let mut options = LeafOptions::new(name).profile(args.certificate.profile.unwrap_or(before));
    if let Some(days) = args.certificate.days {
        options = options.days(days);
    }
    options.validate().map_err(issue_failure)?;
    let authority = super::load_authority(&args.authority)?;
    let renewed = if args.new_key {
        let key = args.out.join(format!("{name}.key"));
        let protection = protection(args, &key)?;
        let save = SaveOptions::new().protection(protection);
        renew_key(&args.out, name, &authority, options, save)
    } else {
        if args.protect.is_wanted() {
            return Err(Failure::new(
                Exit::Usage,
                "the private key stays as it is: a passphrase goes with --new-key",
            ));
        }
        renew_certificate(&args.out, name, &authority, &options)
    }
    .map_err(renew_failure)?;
    tell(&path, &renewed, output);
    Ok(())
}

/// A key that was protected does not become a plain one.
fn protection(args: &Renew, old: &Path) -> Result<Option<Protection>, Failure> {
    let was_protected = is_protected(old)?;
    if !was_protected && !args.protect.is_wanted() {
        return Ok(None);
    }
    let passphrases = Passphrases::own(args.protect.passphrase_file.clone());
    passphrases
        .protection(&format!("the new {}", old.display()))
        .map(Some)
}

fn authority(args: &Renew, output: Output) -> Result<(), Failure> {
    if args.protect.passphrase_file.is_some() {
        return Err(Failure::new(
            Exit::Usage,
            "--passphrase-file is for a key of yours: an authority's goes by --ca-passphrase-file",
        ));
    }
    if args.protect.is_wanted() && !args.new_key {
        return Err(Failure::new(
            Exit::Usage,
            "the authority's private key stays as it is: a passphrase goes with --new-key",
        ));
    }
    let dir = &args.authority.ca_dir;
    let certs_dirs = certs_dirs(args)?;
    let mut passphrases = Passphrases::authority(args.authority.ca_passphrase_file.clone());
    let hint = passphrases.hint();
    let old =
        Authority::load_with(dir, &mut passphrases).map_err(|error| load_failure(error, hint))?;
    let before = Profile::of_certificate(old.certificate_der());
    let options = authority_options(&args.certificate, Some(before));
    let overlap_until = old.not_after();
    let (new, save) = if args.retire_old {
        (old.without_predecessors(), SaveOptions::new())
    } else if args.new_key {
        let protected = is_protected(&dir.join("ca.key"))? || args.protect.is_wanted();
        let protection = if protected {
            Some(passphrases.protection("the new authority's key")?)
        } else {
            None
        };
        let new = old.succeed(&options).map_err(issue_failure)?;
        (new, SaveOptions::new().protection(protection))
    } else {
        let new = old.renew(&options).map_err(issue_failure)?;
        (new, SaveOptions::new())
    };
    let published = new
        .save_over(dir, &certs_dirs, &save.overwrite(args.force))
        .map_err(renew_failure)?;
    let published: Vec<_> = published
        .iter()
        .map(|dir| dir.join("ca.crt").display().to_string())
        .collect();
    let fields = json!({
        "dir": dir.display().to_string(), "public_key": new.public_key().to_string(),
        "not_after": unix(new.not_after()), "new_key": args.new_key, "published": published,
    });
    let mut line = if args.retire_old {
        format!(
            "{} trusts {}, and no predecessor any more",
            dir.display(),
            new.public_key()
        )
    } else {
        format!(
            "renewed the authority in {}: {}, valid until {}",
            dir.display(),
            new.public_key(),
            format_date(new.not_after())
        )
    };
    if !published.is_empty() {
        line.push_str("; changed ");
        line.push_str(&published.join(", "));
    }
    output.note("authority", fields, &line);
    if args.new_key && !output.is_json() {
        let end = format_date(overlap_until);
        let line = format!(
            "next: copy ca.crt to every machine, then renew each key with `tow keys renew NAME`, then end the \
             overlap with `tow keys renew --ca --retire-old`; the old authority ends on {end} at the latest"
        );
        output.note("next", (), &line);
    }
    Ok(())
}

/// The directories of keys whose `ca.crt` is to be brought up to date: that of -o if it has one, and
/// those that were named.
fn certs_dirs(args: &Renew) -> Result<Vec<PathBuf>, Failure> {
    let mut dirs = Vec::new();
    if args.out.join("ca.crt").symlink_metadata().is_ok() {
        dirs.push(args.out.clone());
    }
    for dir in &args.also {
        if !dir.is_dir() {
            return Err(failed(format!("{} is not a directory", dir.display())));
        }
        dirs.push(dir.clone());
    }
    Ok(dirs)
}

fn tell(path: &Path, renewed: &Renewed, output: Output) {
    let fields = json!({
        "file": path.display().to_string(), "public_key": renewed.public_key.to_string(),
        "emails": renewed.emails, "not_after": unix(renewed.not_after),
        "overlap_until": unix(renewed.overlap_until), "kept": renewed.kept.display().to_string(),
    });
    let line = format!(
        "renewed {}: {} ({}), valid until {}; the one before, valid until {}, is in {}",
        path.display(),
        renewed.public_key,
        renewed.emails.join(", "),
        format_date(renewed.not_after),
        format_date(renewed.overlap_until),
        renewed.kept.display(),
    );
    output.note("renewed", fields, &line);
}

fn first_profile(path: &Path) -> Result<Profile, Failure> {
    match inspect(path).map_err(failed)?.first() {
        Some(Inspected::Certificate(certificate)) => Ok(certificate.profile),
        _ => Err(failed(format!("{} is not a certificate", path.display()))),
    }
}

/// A key that cannot be read is an error: taken for a plain one, it would be replaced by a plain one.
fn is_protected(key: &Path) -> Result<bool, Failure> {
    if !key.exists() {
        return Ok(false);
    }
    let found = inspect(key).map_err(failed)?;
    Ok(matches!(found[..], [Inspected::ProtectedKey { .. }]))
}
