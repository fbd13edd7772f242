//! A private key's file, to protect it anew.

use std::path::{Path, PathBuf};

use crate::changes::Changes;
use crate::error::{LoadError, SaveError};
use crate::files;
use crate::passphrase::PassphraseSource;
use crate::protected::Protection;
use crate::public_key::PublicKey;
use crate::secret::{SecretKey, is_protected};

/// A private key that was read from its file, whose passphrase can be set, changed or taken off.
///
/// ```no_run
/// use towline_identity::{KeyFile, NoPassphrase, Passphrase, Protection};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let key = KeyFile::open("certs/node.key", &mut NoPassphrase)?;
/// key.rewrite(Some(&Protection::new(Passphrase::new("open sesame"))))?;
///
/// let mut passphrase = Passphrase::new("open sesame");
/// assert!(KeyFile::open("certs/node.key", &mut passphrase)?.is_protected());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct KeyFile {
    path: PathBuf,
    key: SecretKey,
    is_protected: bool,
}

impl KeyFile {
    /// Reads a key, asking for its passphrase if it has one.
    ///
    /// # Errors
    ///
    /// [`LoadError`]: an unreadable or damaged file, one that others may read, a key that is not
    /// Ed25519, no or a wrong passphrase.
    pub fn open(
        path: impl Into<PathBuf>,
        passphrases: &mut dyn PassphraseSource,
    ) -> Result<Self, LoadError> {
        let path = path.into();
        let text = files::read_secret(&path)?;
        let key = SecretKey::from_pem(&text, &path, passphrases)?;
        let is_protected = std::str::from_utf8(&text).is_ok_and(is_protected);
        Ok(Self {
            path,
            key,
            is_protected,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose key it is.
    pub fn public_key(&self) -> PublicKey {
        self.key.public_key()
    }

    /// Whether it had a passphrase when it was read.
    pub fn is_protected(&self) -> bool {
        self.is_protected
    }

    /// Writes the same key again, under this protection, or plain. The file is replaced in one step; a
    /// link stays one. No older version is kept: it would open with the passphrase that was changed.
    ///
    /// # Errors
    ///
    /// [`SaveError`]; then the file is as it was.
    pub fn rewrite(&self, protection: Option<&Protection>) -> Result<(), SaveError> {
        let bytes = self.key.to_file(protection, &self.path)?;
        let mut changes = Changes::default();
        changes.replace(&self.path, &bytes)?;
        changes.commit()
    }
}
