//! What is left out.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::wire::RelPath;

/// Most directories with patterns of their own.
const MOST_DIRS: usize = 65_536;

/// Patterns in the syntax of `.gitignore`: of the whole tree, and of single directories, which win.
///
/// What is left out is neither sent nor deleted.
///
/// ```
/// use towline_sync::engine::Filter;
/// use towline_sync::wire::RelPath;
///
/// let filter = Filter::new(b"*.o\n/build/\n!keep.o\n")?;
/// let root = RelPath::root();
/// assert!(filter.excludes(&root.join(b"a.o"), false));
/// assert!(!filter.excludes(&root.join(b"keep.o"), false));
/// assert!(filter.excludes(&root.join(b"build"), true));
/// # Ok::<(), towline_sync::engine::FilterError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Filter {
    top: Option<Gitignore>,
    dirs: HashMap<RelPath, Gitignore>,
}

/// A pattern that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the pattern `{pattern}` cannot be read: {why}")]
pub struct FilterError {
    /// The line.
    pub pattern: String,
    /// What is wrong.
    pub why: String,
}

impl Filter {
    /// Patterns of the whole tree, one a line.
    ///
    /// # Errors
    ///
    /// [`FilterError`] for the first that cannot be read.
    pub fn new(patterns: &[u8]) -> Result<Self, FilterError> {
        Ok(Self {
            top: compile(patterns, true)?,
            dirs: HashMap::new(),
        })
    }

    /// Patterns found in a directory. Lines that cannot be read are passed over, as git does.
    pub(crate) fn add(&mut self, dir: &RelPath, patterns: &[u8]) {
        if self.dirs.len() < MOST_DIRS
            && let Ok(Some(compiled)) = compile(patterns, false)
        {
            self.dirs.insert(dir.clone(), compiled);
        }
    }

    /// Whether what is under `path`, whose directories are not left out themselves, is left out.
    pub fn excludes(&self, path: &RelPath, is_dir: bool) -> bool {
        if self.top.is_none() && self.dirs.is_empty() {
            return false;
        }
        let bytes = path.as_bytes();
        let mut dir = path.clone();
        while !dir.is_root() {
            dir = dir.parent();
            let Some(patterns) = self.dirs.get(&dir) else {
                continue;
            };
            let from = dir.as_bytes().len() + usize::from(!dir.is_root());
            match matched(patterns, &bytes[from..], is_dir) {
                Match::None => {}
                Match::Ignore(()) => return true,
                Match::Whitelist(()) => return false,
            }
        }
        let top = self.top.as_ref();
        top.is_some_and(|top| matches!(matched(top, bytes, is_dir), Match::Ignore(())))
    }
}

fn matched(patterns: &Gitignore, path: &[u8], is_dir: bool) -> Match<()> {
    patterns
        .matched(Path::new(OsStr::from_bytes(path)), is_dir)
        .map(|_| ())
}

fn compile(patterns: &[u8], strict: bool) -> Result<Option<Gitignore>, FilterError> {
    let mut builder = GitignoreBuilder::new("");
    let text = String::from_utf8_lossy(patterns);
    for line in text.lines() {
        if let Err(error) = builder.add_line(None, line)
            && strict
        {
            return Err(FilterError {
                pattern: line.to_owned(),
                why: error.to_string(),
            });
        }
    }
    let compiled = builder.build().map_err(|error| FilterError {
        pattern: text.into_owned(),
        why: error.to_string(),
    })?;
    Ok((!compiled.is_empty()).then_some(compiled))
}
