//! Looking into key and certificate files without using them.

use std::path::Path;

use crate::certificate;
use crate::describe::Description;
use crate::error::LoadError;
use crate::files;
use crate::passphrase::{NoPassphrase, PassphraseSource};
use crate::protected::ProtectedKey;
use crate::public_key::PublicKey;
use crate::secret::{SecretKey, is_protected};

/// What a PEM file holds, as far as it may be shown to anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Inspected {
    /// A certificate.
    Certificate(Box<Description>),
    /// A plain private key.
    PrivateKey {
        /// The public key that belongs to it. The private one is never shown.
        public_key: PublicKey,
    },
    /// A private key under a passphrase.
    ProtectedKey {
        /// The public key that belongs to it, if it was unlocked.
        public_key: Option<PublicKey>,
        /// Passes of Argon2id that each guess takes.
        iterations: u32,
        /// Memory that each guess takes, in KiB.
        memory_kib: u32,
    },
}

/// Looks into a PEM file: its certificates in order, or its private key. Validity is not judged. A
/// protected key stays locked.
///
/// # Errors
///
/// [`LoadError`]: unreadable or damaged files, a key that others may read, keys that are not Ed25519.
pub fn inspect(path: impl AsRef<Path>) -> Result<Vec<Inspected>, LoadError> {
    look(path.as_ref(), None)
}

/// [`inspect`], and unlocks a protected key to see whether its passphrase is right.
///
/// # Errors
///
/// As [`inspect`], and no or a wrong passphrase.
pub fn inspect_with(
    path: impl AsRef<Path>,
    passphrases: &mut dyn PassphraseSource,
) -> Result<Vec<Inspected>, LoadError> {
    look(path.as_ref(), Some(passphrases))
}

/// What the bytes of a PEM file hold; `name` is for errors. Nothing is unlocked.
///
/// # Errors
///
/// [`LoadError`]: damaged text, keys that are not Ed25519.
pub fn inspect_pem(text: &[u8], name: impl AsRef<Path>) -> Result<Vec<Inspected>, LoadError> {
    read(text, name.as_ref(), None)
}

fn look(
    path: &Path,
    passphrases: Option<&mut dyn PassphraseSource>,
) -> Result<Vec<Inspected>, LoadError> {
    read(&files::read_either(path, is_key)?, path, passphrases)
}

fn is_key(text: &[u8]) -> bool {
    text.windows(b"PRIVATE KEY-----".len())
        .any(|window| window == b"PRIVATE KEY-----")
}

fn read(
    text: &[u8],
    path: &Path,
    passphrases: Option<&mut dyn PassphraseSource>,
) -> Result<Vec<Inspected>, LoadError> {
    if !is_key(text) {
        return certificate::parse(text, path)?
            .iter()
            .map(|der| {
                Description::read(der)
                    .map(|description| Inspected::Certificate(Box::new(description)))
                    .map_err(|source| LoadError::Certificate {
                        path: path.to_owned(),
                        source,
                    })
            })
            .collect();
    }
    if std::str::from_utf8(text).is_ok_and(is_protected) {
        let cost = ProtectedKey::parse(text)
            .map_err(|source| LoadError::Protection {
                path: path.to_owned(),
                source,
            })?
            .cost();
        let public_key = match passphrases {
            Some(passphrases) => Some(SecretKey::from_pem(text, path, passphrases)?.public_key()),
            None => None,
        };
        return Ok(vec![Inspected::ProtectedKey {
            public_key,
            iterations: cost.iterations,
            memory_kib: cost.memory_kib,
        }]);
    }
    let key = SecretKey::from_pem(text, path, &mut NoPassphrase)?;
    Ok(vec![Inspected::PrivateKey {
        public_key: key.public_key(),
    }])
}

/// A moment as people read it, such as `Nov 20 08:47:08 2026 +00:00`.
pub fn format_date(time: std::time::SystemTime) -> String {
    certificate::date(time)
}

#[cfg(test)]
mod tests {
    use crate::{Authority, AuthorityOptions, LeafOptions, Passphrase, Protection, SaveOptions};

    use super::*;

    #[test]
    fn certificates_and_keys_are_told_apart_and_secrets_stay_inside() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::generate(&AuthorityOptions::new()).unwrap();
        let identity = authority
            .issue(&LeafOptions::new("node").email("a@b.example"))
            .unwrap();
        identity.save(dir.path(), "node", false).unwrap();

        let shown = inspect(dir.path().join("node.crt")).unwrap();
        let [Inspected::Certificate(leaf)] = &shown[..] else {
            panic!("{shown:?}");
        };
        assert_eq!(leaf.public_key, identity.public_key());
        assert_eq!(leaf.is_authority, None);
        let names = ["DNS:localhost", "email:a@b.example", "IP Address:127.0.0.1"];
        assert_eq!(leaf.names, names);

        let shown = inspect(dir.path().join("node.key")).unwrap();
        let public_key = identity.public_key();
        assert_eq!(shown, [Inspected::PrivateKey { public_key }]);
        let shown = inspect(dir.path().join("ca.crt")).unwrap();
        let [Inspected::Certificate(root)] = &shown[..] else {
            panic!("{shown:?}");
        };
        assert_eq!(root.is_authority, Some(true));
    }

    #[test]
    fn a_protected_key_is_recognised_without_its_passphrase() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::generate(&AuthorityOptions::new()).unwrap();
        let identity = authority.issue(&LeafOptions::new("node")).unwrap();
        let cheap = Protection::new(Passphrase::new("p"))
            .memory_kib(16)
            .iterations(2);
        let options = SaveOptions::new().protection(Some(cheap));
        identity.save_with(dir.path(), "node", &options).unwrap();
        let path = dir.path().join("node.key");
        let locked = |public_key| Inspected::ProtectedKey {
            public_key,
            iterations: 2,
            memory_kib: 16,
        };
        assert_eq!(inspect(&path).unwrap(), [locked(None)]);
        let shown = inspect_with(&path, &mut Passphrase::new("p")).unwrap();
        assert_eq!(shown, [locked(Some(identity.public_key()))]);
        let error = inspect_with(&path, &mut Passphrase::new("q")).unwrap_err();
        assert!(
            matches!(error, LoadError::WrongPassphrase { .. }),
            "{error}"
        );
    }
}
