//! `tow keys show`: certificates in full, and whose a private key is (docs/wire I48).

use std::path::Path;

use serde_json::{Value, json};
use towline::identity::{Description, Inspected, PublicKey, inspect_with};

use super::{load_failure, unix};
use crate::{cli::keys::Show, failure::Failure, output::Output, passphrase::Passphrases};

pub(super) fn run(args: &Show, output: Output) -> Result<(), Failure> {
    let mut passphrases = Passphrases::own(args.passphrase_file.clone());
    for file in &args.files {
        let hint = passphrases.hint();
        let found =
            inspect_with(file, &mut passphrases).map_err(|error| load_failure(error, hint))?;
        for inspected in found {
            let (fields, text) = shown(file, &inspected);
            output.result("shown", fields, &text);
        }
    }
    Ok(())
}

fn shown(file: &Path, inspected: &Inspected) -> (Value, String) {
    let path = file.display().to_string();
    match inspected {
        Inspected::Certificate(certificate) => (
            certificate_fields(&path, certificate),
            format!("{certificate}\n{}", key_text(certificate.public_key)),
        ),
        Inspected::PrivateKey { public_key } => {
            let fields = json!({
                "file": path, "kind": "private key", "protected": false,
                "public_key": public_key.to_string(),
                "fingerprint": public_key.fingerprint().to_string(),
            });
            let first = format!("Successfully loaded un-encrypted private key file '{path}'.");
            (fields, format!("{first}\n\n{}", own_key_text(*public_key)))
        }
        Inspected::ProtectedKey {
            public_key,
            iterations,
            memory_kib,
        } => {
            let fields = json!({
                "file": path, "kind": "private key", "protected": true,
                "public_key": public_key.map(|key| key.to_string()),
                "fingerprint": public_key.map(|key| key.fingerprint().to_string()),
                "iterations": iterations, "memory_kib": memory_kib,
            });
            let first = format!("Pass phrase successfully de-crypted private key '{path}'.");
            let text = match public_key {
                Some(key) => format!("{first}\n\n{}", own_key_text(*key)),
                None => format!("{path} is a protected private key"),
            };
            (fields, text)
        }
        _ => (
            json!({ "file": path }),
            format!("{path}: something this version does not know"),
        ),
    }
}

/// And in the form that two people compare.
fn own_key_text(key: PublicKey) -> String {
    let fingerprint = key.fingerprint();
    format!(
        "{}\n\nfingerprint:                     {fingerprint}",
        key_text(key)
    )
}

/// The public key in the two forms of the original.
fn key_text(key: PublicKey) -> String {
    let hex: String = key.as_bytes().iter().map(|b| format!("{b:02x}")).collect();
    format!(
        "the raw public key is 32 bytes, but to make it readable:\n\n\
         hex encoded public-key:          {hex} (64 bytes)\n\n\
         base58-check encoded public-key: {key} (51 bytes)"
    )
}

fn certificate_fields(path: &str, certificate: &Description) -> Value {
    let hex = |bytes: &Option<Vec<u8>>| {
        let bytes = bytes.as_ref()?;
        Some(bytes.iter().map(|b| format!("{b:02x}")).collect::<String>())
    };
    let emails: Vec<&str> = certificate
        .names
        .iter()
        .filter_map(|name| name.strip_prefix("email:"))
        .collect();
    let kind = if certificate.is_authority == Some(true) {
        "authority"
    } else {
        "certificate"
    };
    json!({
        "file": path, "kind": kind, "public_key": certificate.public_key.to_string(),
        "fingerprint": certificate.public_key.fingerprint().to_string(),
        "emails": emails, "names": certificate.names, "serial": certificate.serial_hex,
        "issuer": certificate.issuer, "subject": certificate.subject,
        "not_before": unix(certificate.not_before), "not_after": unix(certificate.not_after),
        "is_authority": certificate.is_authority, "key_usage": certificate.key_usage,
        "extended_key_usage": certificate.extended_key_usage,
        "subject_key_id": hex(&certificate.subject_key_id),
        "authority_key_id": hex(&certificate.authority_key_id),
        "signature": hex(&Some(certificate.signature.clone())),
    })
}
