//! `tow keys passphrase`: the protection of a private key set, changed or taken off.

use serde_json::json;
use towline::identity::KeyFile;

use super::load_failure;
use crate::{
    cli::keys::Passphrase,
    failure::{Exit, Failure, failed},
    output::Output,
    passphrase::Passphrases,
};

pub(super) fn run(args: &Passphrase, output: Output) -> Result<(), Failure> {
    let path = match &args.name {
        Some(name) => args.out.join(format!("{name}.key")),
        None => args.ca_dir.join("ca.key"),
    };
    let file = args.passphrase_file.clone();
    let mut present = if args.ca {
        Passphrases::of_the_authority_alone(file)
    } else {
        Passphrases::own(file)
    };
    let hint = present.hint();
    let key = KeyFile::open(&path, &mut present).map_err(|error| load_failure(error, hint))?;
    let shown = path.display().to_string();
    let protection = if args.remove {
        if !key.is_protected() {
            let text = format!("{shown} has no passphrase");
            return Err(Failure::new(Exit::Failed, text));
        }
        None
    } else {
        let new = Passphrases::new_one(args.new_passphrase_file.clone());
        Some(new.protection(&shown)?)
    };
    key.rewrite(protection.as_ref()).map_err(failed)?;
    let what = match (key.is_protected(), args.remove) {
        (_, true) => "has no passphrase any more: its mode alone guards it",
        (true, _) => "has a new passphrase",
        (false, _) => "has a passphrase now",
    };
    let fields = json!({
        "file": shown, "public_key": key.public_key().to_string(), "protected": !args.remove,
    });
    output.note("passphrase", fields, &format!("{shown} {what}"));
    Ok(())
}
