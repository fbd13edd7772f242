//! What a store says of owners and extended attributes.

use std::io;

use bytes::Bytes;

use crate::engine::Ids;
use crate::wire::{Attributes, Kind, RelPath};

/// What is read of an entry beside size, time and mode.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Its owner.
    pub owner: bool,
    /// Its extended attributes.
    pub xattrs: bool,
}

/// Owners and extended attributes of a file system beneath one root, by paths as in
/// [`Store`](super::Store): no symlink is followed.
pub trait AttributeStore: Send + Sync + 'static {
    /// What is wanted of a file, directory or symlink. Symlinks have no extended attributes; only those
    /// that [`Attributes::carries`] are read.
    ///
    /// # Errors
    ///
    /// What the system says; so of every method.
    fn attributes(&self, path: &RelPath, kind: Kind, wanted: Wanted) -> io::Result<Attributes>;

    /// Gives a file, directory or symlink to others, if it is not theirs.
    fn set_owner(&self, path: &RelPath, owner: Ids) -> io::Result<()>;

    /// Gives a file or directory these extended attributes, and takes others away that
    /// [`Attributes::carries`].
    fn set_xattrs(&self, path: &RelPath, kind: Kind, xattrs: &[(Bytes, Bytes)]) -> io::Result<()>;

    /// The number of a user here, if the name is known.
    fn user_id(&self, name: &[u8]) -> Option<u32>;

    /// The number of a group here, if the name is known.
    fn group_id(&self, name: &[u8]) -> Option<u32>;
}
