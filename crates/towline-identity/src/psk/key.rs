//! Pre-shared keys: files of random bytes that two machines share (docs/wire I32).

use std::fmt;
use std::path::{Path, PathBuf};

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::authority::{CERTIFICATE_FILE, KEY_FILE};
use crate::error::{LoadError, SaveError};
use crate::files;
use crate::secret::random;

/// How long a new file is, and the least that is accepted.
pub const PSK_BYTES: usize = 32;

/// The original's salt: 43 and zeros.
const SALT: [u8; 32] = {
    let mut salt = [0; 32];
    salt[0] = 0x2b;
    salt
};

/// A key that both ends of a connection have beforehand, derived from a file.
///
/// Erased when dropped, never in `Debug` output.
///
/// ```
/// use towline_identity::PreSharedKey;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("psk.binary");
/// PreSharedKey::create(&path)?;
/// let key = PreSharedKey::load(&path)?;
/// assert_eq!(key.as_bytes().len(), 32);
/// assert!(PreSharedKey::load(dir.path().join("missing")).is_err());
/// # Ok(())
/// # }
/// ```
pub struct PreSharedKey(Box<Zeroizing<[u8; 32]>>);

impl PreSharedKey {
    /// [`create`](Self::create) for a file of this name in this directory, and nowhere else. Returns
    /// its path.
    ///
    /// # Errors
    ///
    /// [`SaveError::Name`] for a name with a separator or white space, or one of an authority's files;
    /// those of [`create`](Self::create).
    pub fn create_in(dir: impl AsRef<Path>, name: &str) -> Result<PathBuf, SaveError> {
        let refused = |why| SaveError::Name {
            name: name.to_owned(),
            why,
        };
        files::check_name(name).map_err(refused)?;
        if name.chars().any(char::is_whitespace) {
            return Err(refused("it contains a space"));
        }
        if [KEY_FILE, CERTIFICATE_FILE]
            .iter()
            .any(|file| name.eq_ignore_ascii_case(file))
        {
            return Err(refused("it is the name of an authority's file"));
        }
        let path = dir.as_ref().join(name);
        Self::create(&path)?;
        Ok(path)
    }

    /// Writes a new file of 32 random bytes, mode 0600, into a directory that is made (mode 0700) if
    /// missing. Of several callers at once exactly one succeeds.
    ///
    /// # Errors
    ///
    /// [`SaveError::Exists`] if there is anything of that name; there is no way to overwrite.
    pub fn create(path: impl AsRef<Path>) -> Result<(), SaveError> {
        let path = path.as_ref();
        if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            files::private_dir(dir)?;
        }
        let mut bytes = Zeroizing::new([0; PSK_BYTES]);
        random(&mut bytes[..]).map_err(|_| SaveError::Write {
            path: path.to_owned(),
            source: std::io::Error::other("the system's random number generator failed"),
        })?;
        files::write(path, &bytes[..], false)
    }

    /// Reads a file and derives the key from all of its bytes: 32 at least, a megabyte at most.
    ///
    /// # Errors
    ///
    /// [`LoadError`]: a missing, short or too large file, or one that other users may read. There is
    /// no key then, and nothing may be sent without one.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        let path = path.as_ref();
        let bytes = files::read_secret(path)?;
        if bytes.len() < PSK_BYTES {
            return Err(LoadError::ShortPreSharedKey {
                path: path.to_owned(),
                found: bytes.len(),
            });
        }
        let mut key = Box::new(Zeroizing::new([0; 32]));
        Hkdf::<Sha256>::new(Some(&SALT), &bytes)
            .expand(&[], &mut key[..])
            .map_err(|_| LoadError::ShortPreSharedKey {
                path: path.to_owned(),
                found: bytes.len(),
            })?;
        Ok(Self(key))
    }

    /// The derived key. Copies of it are the caller's to erase.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for PreSharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreSharedKey").finish_non_exhaustive()
    }
}
