//! What can be wrong with a known-keys file.

use std::io;
use std::path::PathBuf;

/// Which line of a known-keys text cannot be understood. Lines are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KnownKeysProblem {
    /// The second word is no identity.
    #[error("line {line}: the second word does not begin with `pubkey@edwardsRPC-ed25519-b58c-`")]
    Prefix {
        /// The line.
        line: usize,
    },
    /// The identity has no end.
    #[error("line {line}: there is no colon behind the key")]
    Colon {
        /// The line.
        line: usize,
    },
}

/// Why a known-keys file cannot be used, or not be changed. Each sentence names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KnownKeysError {
    /// There is no such file, or no longer.
    #[error(
        "there is no known-keys file {}: make it with `tow keys known unlock --file {}`, or start without known keys",
        path.display(), path.display()
    )]
    NotFound {
        /// The file.
        path: PathBuf,
    },
    /// It was locked, and is gone: whom it refused is not known any more, so nobody is admitted.
    #[error(
        "the known keys in {} were locked, and the file is gone: restore it (perhaps from {}.old), name the keys \
         again with `tow keys known add KEY --file {}`, or begin with an empty list that learns with \
         `tow keys known unlock --anew --file {}`",
        path.display(), path.display(), path.display(), path.display()
    )]
    LockedGone {
        /// The file.
        path: PathBuf,
    },
    /// Another process holds the file.
    #[error(
        "another process has held {} for {seconds} seconds and not let go of it: see which one it is with `fuser {}`",
        path.display(), path.display()
    )]
    Busy {
        /// The file.
        path: PathBuf,
        /// For how long it was tried.
        seconds: u64,
    },
    /// A directory, a device, a pipe.
    #[error("{} is not a file, and cannot hold known keys: move it away", path.display())]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// The system refused to read it.
    #[error("cannot read the known keys in {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Too large.
    #[error("{} is too large for a known-keys file (more than {limit} bytes)", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The largest size that is read or written.
        limit: u64,
    },
    /// A line that is neither key nor comment.
    #[error("{}, {problem}: nobody is admitted until the line is mended or removed", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Which line, and what is wrong with it.
        problem: KnownKeysProblem,
    },
    /// Locked, and without a single key: it would refuse everybody.
    #[error(
        "{} is locked and holds no key, so nobody could connect: add a key with `tow keys known add KEY --file {}`, \
         or let it learn with `tow keys known unlock --file {}`",
        path.display(), path.display(), path.display()
    )]
    LockedEmpty {
        /// The file.
        path: PathBuf,
    },
    /// It was locked before the key could be recorded.
    #[error("{} was locked meanwhile: the key is not recorded", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The system refused to write it.
    #[error("cannot update the known keys in {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
