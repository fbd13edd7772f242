//! Looking into key and certificate files without using them.

use std::{path::Path, time::SystemTime};

use crate::certificate;
use crate::error::LoadError;
use crate::files;
use crate::public_key::PublicKey;
use crate::secret::SecretKey;

/// What a PEM file holds, as far as it may be shown to anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Inspected {
    /// A certificate.
    Certificate {
        /// Whose it is.
        public_key: PublicKey,
        /// The e-mail addresses in it.
        emails: Vec<String>,
        /// When it begins to be valid.
        not_before: SystemTime,
        /// When it ends to be valid.
        not_after: SystemTime,
        /// Whether it is an authority's.
        is_authority: bool,
    },
    /// A plain private key.
    PrivateKey {
        /// The public key that belongs to it. The private one is never shown.
        public_key: PublicKey,
    },
}

/// Looks into a PEM file: its certificates in order, or its private key. Validity is not judged.
///
/// # Errors
///
/// [`LoadError`]: unreadable or damaged files, a protected key, keys that are not Ed25519.
pub fn inspect(path: impl AsRef<Path>) -> Result<Vec<Inspected>, LoadError> {
    let path = path.as_ref();
    let text = files::read(path)?;
    if text
        .windows(b"PRIVATE KEY-----".len())
        .any(|window| window == b"PRIVATE KEY-----")
    {
        let key = SecretKey::from_pem(&text, path)?;
        return Ok(vec![Inspected::PrivateKey {
            public_key: key.public_key(),
        }]);
    }
    certificate::load(path)?
        .iter()
        .map(|der| {
            let facts = certificate::facts(der, path)?;
            Ok(Inspected::Certificate {
                public_key: facts.public_key,
                emails: facts.emails,
                not_before: facts.not_before,
                not_after: facts.not_after,
                is_authority: facts.is_authority,
            })
        })
        .collect()
}

/// A moment as people read it, such as `Nov 20 08:47:08 2026 +00:00`.
pub fn format_date(time: SystemTime) -> String {
    certificate::date(time)
}

#[cfg(test)]
mod tests {
    use crate::{Authority, AuthorityOptions, LeafOptions};

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
        let [
            Inspected::Certificate {
                public_key,
                emails,
                is_authority: false,
                ..
            },
        ] = &shown[..]
        else {
            panic!("{shown:?}");
        };
        assert_eq!(
            (*public_key, &emails[..]),
            (identity.public_key(), &["a@b.example".to_owned()][..])
        );

        let shown = inspect(dir.path().join("node.key")).unwrap();
        assert_eq!(
            shown,
            [Inspected::PrivateKey {
                public_key: identity.public_key()
            }]
        );
        let shown = inspect(dir.path().join("ca.crt")).unwrap();
        assert!(matches!(
            shown[..],
            [Inspected::Certificate {
                is_authority: true,
                ..
            }]
        ));
    }
}
