//! Files that change together: all of them are written beside their places before the first one
//! takes its place.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::error::SaveError;
use crate::files::{self, Staged};

/// How many versions of a file are kept before the oldest have to be moved away.
const OLD_VERSIONS: usize = 1000;

/// What will change. Dropped before [`commit`](Self::commit), nothing has.
#[derive(Default)]
pub(crate) struct Changes(Vec<Change>);

struct Change {
    file: Staged,
    how: How,
}

#[derive(Clone, PartialEq, Eq)]
enum How {
    /// Nothing may be there.
    Create,
    /// Nothing may be there but the same bytes, which another program may write meanwhile.
    Share(Vec<u8>),
    Replace,
}

impl Changes {
    /// A new file, or with `overwrite` one in place of whatever has its name.
    pub(crate) fn put(
        &mut self,
        path: &Path,
        bytes: &[u8],
        overwrite: bool,
    ) -> Result<(), SaveError> {
        let how = if overwrite { How::Replace } else { How::Create };
        self.stage(path, bytes, how)
    }

    /// A new file, which somebody else may make as well, with the same bytes.
    pub(crate) fn share(&mut self, path: &Path, bytes: &[u8]) -> Result<(), SaveError> {
        self.stage(path, bytes, How::Share(bytes.to_vec()))
    }

    /// Another content for a file. A link stays one: what it leads to is replaced.
    pub(crate) fn replace(&mut self, path: &Path, bytes: &[u8]) -> Result<(), SaveError> {
        match fs::canonicalize(path) {
            Ok(path) => self.stage(&path, bytes, How::Replace),
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && fs::symlink_metadata(path).is_err() =>
            {
                self.stage(path, bytes, How::Create)
            }
            Err(source) => Err(SaveError::Write {
                path: path.to_owned(),
                source,
            }),
        }
    }

    /// Keeps what a file holds as `FILE.old`, or as `FILE.old.2` and so on if that is taken: no copy
    /// replaces another (docs/wire I36). Returns where it will be; `None` if there is no file.
    pub(crate) fn keep(&mut self, path: &Path) -> Result<Option<PathBuf>, SaveError> {
        let failed = |source| SaveError::Write {
            path: path.to_owned(),
            source,
        };
        let bytes = match fs::read(path) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed(source)),
        };
        for old in old_versions(path) {
            match fs::read(&old).map(Zeroizing::new) {
                // Kept already, by a run that came no further.
                Ok(kept) if *kept == *bytes => return Ok(Some(old)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if fs::symlink_metadata(&old).is_ok() {
                        continue;
                    }
                    self.stage(&old, &bytes, How::Create)?;
                    return Ok(Some(old));
                }
                Err(_) => {}
            }
        }
        Err(SaveError::TooManyOld {
            path: path.to_owned(),
            limit: OLD_VERSIONS,
        })
    }

    fn stage(&mut self, path: &Path, bytes: &[u8], how: How) -> Result<(), SaveError> {
        if how == How::Create {
            files::check_absent(path)?;
        }
        let file = Staged::new(path, bytes)?;
        self.0.push(Change { file, how });
        Ok(())
    }

    /// Lets all files take their places, in the order in which they were named. If one cannot, those
    /// that are new are taken back, unless a file has been replaced by then: its older version is one
    /// of them.
    pub(crate) fn commit(self) -> Result<(), SaveError> {
        let (mut made, mut replaced) = (Vec::new(), false);
        for Change { file, how } in self.0 {
            let path = file.path().to_owned();
            let done = file.commit(how == How::Replace);
            match (done, how) {
                (Ok(()), How::Replace) => replaced = true,
                (Ok(()), _) => made.push(path),
                (Err(SaveError::Exists { .. }), How::Share(bytes))
                    if fs::read(&path).is_ok_and(|found| found == bytes) => {}
                (Err(error), _) => {
                    if !replaced {
                        made.iter().for_each(|path| files::remove(path));
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

/// Where the older versions of a file are kept, the first one first.
pub(crate) fn old_versions(path: &Path) -> impl Iterator<Item = PathBuf> {
    let path = path.as_os_str().to_owned();
    (1..=OLD_VERSIONS).map(move |number| {
        let mut name = path.clone();
        name.push(".old");
        if number > 1 {
            name.push(format!(".{number}"));
        }
        PathBuf::from(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_older_version_replaces_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let mut kept = Vec::new();
        for text in ["one", "two", "three", "three"] {
            fs::write(&path, text).unwrap();
            let mut changes = Changes::default();
            let old = changes.keep(&path).unwrap().unwrap();
            changes.commit().unwrap();
            assert_eq!(fs::read_to_string(&old).unwrap(), text);
            kept.push(old.file_name().unwrap().to_owned());
        }
        assert_eq!(kept, ["x.old", "x.old.2", "x.old.3", "x.old.3"]);
        assert_eq!(fs::read(dir.path().join("x.old")).unwrap(), b"one");
    }

    #[test]
    fn nothing_changes_before_all_of_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        fs::write(&one, "as it was").unwrap();
        fs::create_dir(&two).unwrap();
        let mut changes = Changes::default();
        changes.keep(&one).unwrap();
        changes.replace(&one, b"new").unwrap();
        changes.replace(&two, b"new").unwrap_err();
        drop(changes);
        assert_eq!(fs::read(&one).unwrap(), b"as it was");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_was_made_is_taken_back_if_the_rest_cannot_be() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        let mut changes = Changes::default();
        changes.put(&one, b"new", false).unwrap();
        changes.share(&two, b"ours").unwrap();
        fs::write(&two, "theirs").unwrap();
        let error = changes.commit().unwrap_err();
        assert!(matches!(error, SaveError::Exists { .. }), "{error}");
        assert!(!one.exists());

        let mut changes = Changes::default();
        changes.share(&two, b"theirs").unwrap();
        changes.put(&one, b"new", false).unwrap();
        changes.commit().unwrap();
        assert_eq!(fs::read(&one).unwrap(), b"new");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_one() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink("real", &link).unwrap();
        let mut changes = Changes::default();
        assert_eq!(
            changes.keep(&link).unwrap(),
            Some(dir.path().join("link.old"))
        );
        changes.replace(&link, b"new").unwrap();
        changes.commit().unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("real"));
        assert_eq!(fs::read(&real).unwrap(), b"new");
        fs::remove_file(&real).unwrap();
        Changes::default().replace(&link, b"new").unwrap_err();
    }
}
