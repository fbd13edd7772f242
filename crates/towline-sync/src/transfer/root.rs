//! An open directory that no name, path or symlink can leave.

use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use rustix::fs::{Access, AtFlags};

use crate::transfer::incoming::{IncomingFile, IncomingOptions, StoreError};
use crate::transfer::source::{self, OpenError, SourceFile};
use crate::transfer::temporary;

/// Longest name of a file in bytes that the usual file systems accept.
pub(crate) const NAME_MAX: usize = 255;

/// A directory beneath which files are served and stored.
///
/// It is held open: what is mounted over its path or renamed later does not matter. Paths are
/// resolved by the system beneath it, so that neither `..` nor an absolute path nor a symlink leads
/// out, also when somebody changes the tree at the same moment (docs/wire T13). Symlinks that stay inside are
/// followed. Cloning is cheap and gives the same directory.
///
/// ```
/// use towline_sync::Root;
///
/// let dir = tempfile::tempdir()?;
/// let root = Root::open(dir.path())?;
/// assert!(root.target("report.pdf", None, None).is_ok());
/// assert!(root.target("../report.pdf", None, None).is_err());
/// assert!(root.open_for_read("/etc/hostname").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Root {
    dir: Arc<Dir>,
    path: Arc<Path>,
}

impl Root {
    /// Opens an existing directory.
    ///
    /// # Errors
    ///
    /// [`RootError`], naming the path.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, RootError> {
        let path = path.as_ref();
        let dir = Dir::open_ambient_dir(path, ambient_authority()).map_err(|source| RootError {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            dir: Arc::new(dir),
            path: path.into(),
        })
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open directory.
    pub(crate) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Checks that this process may read the directory, and with `write` create files in it: opening
    /// it tells neither.
    ///
    /// # Errors
    ///
    /// [`RootError`], naming the path.
    pub fn check_access(&self, write: bool) -> Result<(), RootError> {
        let mut access = Access::READ_OK | Access::EXEC_OK;
        if write {
            access |= Access::WRITE_OK;
        }
        rustix::fs::accessat(&*self.dir, ".", access, AtFlags::EACCESS).map_err(|error| {
            let error = io::Error::from(error);
            let what = if write {
                "reading and writing"
            } else {
                "reading"
            };
            RootError {
                path: self.path.to_path_buf(),
                source: io::Error::new(error.kind(), format!("{what} there fails: {error}")),
            }
        })
    }

    /// Removes what killed processes left of files they were receiving, in this directory and all
    /// beneath it on the same file system. Files that are being received stay, whichever process
    /// receives them. Returns how many were removed. Blocks, for as long as it takes to list the
    /// tree.
    ///
    /// Receiving a file removes what is left of the same file without being asked to.
    ///
    /// # Errors
    ///
    /// When the directory itself cannot be looked at; what lies beneath it and cannot is passed over.
    pub fn sweep_tree(&self) -> io::Result<u64> {
        temporary::sweep_all(&self.dir, true)
    }

    /// As [`sweep_tree`](Self::sweep_tree), for this directory alone.
    ///
    /// # Errors
    ///
    /// As [`sweep_tree`](Self::sweep_tree).
    pub fn sweep_top(&self) -> io::Result<u64> {
        temporary::sweep_all(&self.dir, false)
    }

    /// Opens a regular file by a relative path. It never waits: a pipe is refused, not opened.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; its texts hold the path as given, never where the root is.
    pub fn open_for_read(&self, path: &str) -> Result<SourceFile, OpenError> {
        let beneath = check_path(path)?;
        if beneath.as_os_str().is_empty() {
            return Err(OpenError::Directory {
                path: path.to_owned(),
            });
        }
        SourceFile::open_beneath(&self.dir, &beneath, path)
    }

    /// Resolves under which name beneath the root a file is to be stored: `name` in the directory
    /// `dir` (the root itself if `None`), with `.` and `suffix` appended if there is one.
    ///
    /// Nothing is created or looked at yet.
    ///
    /// # Errors
    ///
    /// [`NameError`] for a name that is empty, `.`, `..`, longer than 255 bytes, of the form of our
    /// temporary files, or holds a separator or NUL, and for a directory that is not a plain relative path.
    pub fn target(
        &self,
        name: &str,
        dir: Option<&str>,
        suffix: Option<&str>,
    ) -> Result<Target, NameError> {
        check_name(name)?;
        let name = match suffix.filter(|suffix| !suffix.is_empty()) {
            Some(suffix) => format!("{name}.{suffix}"),
            None => name.to_owned(),
        };
        check_name(&name)?;
        if temporary::is_temporary(&name) {
            return Err(NameError::Reserved { name });
        }
        // "The directory itself" may be said as `.` as well as by saying nothing.
        let dir = match dir {
            None => PathBuf::new(),
            Some(dir) => check_path(dir)?,
        };
        Ok(Target { dir, name })
    }

    /// Creates a file to receive into, beside `target` and under a temporary name. Directories that
    /// are missing on the way to it are made.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; nothing was created then.
    pub fn create_incoming(
        &self,
        target: &Target,
        options: &IncomingOptions,
    ) -> Result<IncomingFile, StoreError> {
        let shown = target.to_string();
        let dir = if target.dir.as_os_str().is_empty() {
            Arc::clone(&self.dir)
        } else {
            let opened = self.open_or_make(&target.dir).map_err(|error| {
                let dir = target.dir.display().to_string();
                match error.kind() {
                    io::ErrorKind::NotADirectory => StoreError::NoDirectory { dir },
                    _ if source::escaped(&error) => StoreError::Outside { dir },
                    _ => StoreError::Create {
                        name: shown.clone(),
                        source: error,
                    },
                }
            })?;
            Arc::new(opened)
        };
        IncomingFile::create(dir, target.name.clone(), shown, options)
    }

    fn open_or_make(&self, path: &Path) -> io::Result<Dir> {
        match self.dir.open_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.dir.create_dir_all(path)?;
                self.dir.open_dir(path)
            }
            opened => opened,
        }
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Root").field("path", &self.path).finish()
    }
}

/// A checked name beneath a [`Root`]; displayed as its path relative to the root.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    dir: PathBuf,
    name: String,
}

impl Target {
    /// The last component.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.dir.join(&self.name).display())
    }
}

/// A directory that cannot be used as a root.
#[derive(Debug, thiserror::Error)]
#[error("the directory {} cannot be used: {source}", path.display())]
pub struct RootError {
    /// The path as given.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// Why a name or path that a peer sent is not acceptable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing was given.
    #[error("the name is empty")]
    Empty,
    /// The name is `.` or `..`.
    #[error("`{name}` is not the name of a file")]
    Dots {
        /// The name as given.
        name: String,
    },
    /// A name holds a separator where a single component is wanted.
    #[error("the name `{name}` holds a separator; only the last component of a path is accepted")]
    Separator {
        /// The name as given.
        name: String,
    },
    /// A NUL byte, which no file name can hold.
    #[error("the name holds a NUL byte")]
    Nul,
    /// Longer than a file name can be.
    #[error("the name is {length} bytes long, at most {NAME_MAX} are possible")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// The name has the form of those under which files arrive.
    #[error("`{name}` is kept for files that are being received; use another name")]
    Reserved {
        /// The name as it would be stored.
        name: String,
    },
    /// A path begins at the root of the file system.
    #[error("`{path}` is absolute; name a path relative to the directory that is served")]
    Absolute {
        /// The path as given.
        path: String,
    },
    /// A path holds `..`.
    #[error("`{path}` holds `..`; name a path that goes only downwards")]
    Upwards {
        /// The path as given.
        path: String,
    },
}

/// docs/wire T12.
pub(crate) fn check_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.contains('\0') {
        return Err(NameError::Nul);
    }
    if name.contains(std::path::is_separator) {
        return Err(NameError::Separator {
            name: name.to_owned(),
        });
    }
    if name == "." || name == ".." {
        return Err(NameError::Dots {
            name: name.to_owned(),
        });
    }
    if name.len() > NAME_MAX {
        return Err(NameError::TooLong { length: name.len() });
    }
    Ok(())
}

/// A relative path that goes only downwards; `.` components and doubled separators vanish.
fn check_path(path: &str) -> Result<PathBuf, NameError> {
    if path.is_empty() {
        return Err(NameError::Empty);
    }
    if path.contains('\0') {
        return Err(NameError::Nul);
    }
    let mut checked = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => checked.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                return Err(NameError::Upwards {
                    path: path.to_owned(),
                });
            }
            Component::RootDir | Component::Prefix(_) => {
                return Err(NameError::Absolute {
                    path: path.to_owned(),
                });
            }
        }
    }
    Ok(checked)
}
