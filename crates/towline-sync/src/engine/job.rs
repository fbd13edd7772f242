//! What an engine asks of the file system beside it, and what it hears back.

use std::sync::Arc;

use bytes::Bytes;

use crate::fs::{Claim, Found, Manifest, Span, Stat, Wanted};
use crate::wire::{Attributes, Chunking, Hash16, Kind, Meta, RelPath, SubChunk};

/// Work on a file system. It may be done on any thread, in any order, beside other work.
#[derive(Debug)]
#[non_exhaustive]
pub enum Job {
    /// List a directory to be sent.
    List {
        /// Its number.
        dir: u64,
        /// Where it is.
        path: RelPath,
        /// Name of a file with patterns in it.
        ignore_file: Option<Bytes>,
        /// What to read of entries beside size, time and mode.
        wanted: Wanted,
    },
    /// Read small files whole.
    ReadSmall(Vec<(u64, RelPath)>),
    /// Cut a file, and keep it open under this key.
    Manifest {
        /// The key.
        key: u64,
        /// Where it is.
        path: RelPath,
        /// How to cut it.
        chunking: Chunking,
    },
    /// Cut chunks of a file again, finely.
    Fine {
        /// Its key.
        key: u64,
        /// Number, offset and length of each.
        chunks: Vec<(u64, u64, u64)>,
    },
    /// Open a file under this key.
    Open {
        /// The key.
        key: u64,
        /// Where it is.
        path: RelPath,
    },
    /// Read from an open file.
    Read {
        /// Its key.
        key: u64,
        /// Counts the reads of this file.
        turn: u64,
        /// Offsets and lengths, together at most 1 MiB.
        ranges: Vec<(u64, u64)>,
        /// The size of the blocks to hash, if any.
        block: Option<u64>,
    },
    /// Close an open file.
    Close {
        /// Its key.
        key: u64,
    },
    /// Make a directory if it is not there, and list it.
    Prepare {
        /// Its number.
        dir: u64,
        /// Where it is.
        path: RelPath,
        /// Make it; a file that is in its place is removed first.
        make: bool,
        /// Leave what killed processes left there.
        dry_run: bool,
        /// What to read of entries beside size, time and mode.
        wanted: Wanted,
    },
    /// Tell which numbers these names have here.
    Resolve {
        /// Names of users.
        users: Vec<Bytes>,
        /// Names of groups.
        groups: Vec<Bytes>,
    },
    /// Store small files.
    StoreSmall {
        /// The files.
        files: Vec<SmallFile>,
        /// Wait for the disk.
        durable: bool,
    },
    /// Open or create the partial file of a target.
    BeginPart {
        /// The target's number.
        id: u64,
        /// Where it is.
        path: RelPath,
        /// How long it becomes.
        size: u64,
        /// How it is cut if it is new.
        chunking: Chunking,
        /// Somebody else held it a moment ago: to be done after a moment.
        again: bool,
    },
    /// Write chunks to a partial file.
    Apply {
        /// The target's number.
        id: u64,
        /// The chunks.
        ops: Vec<ChunkOp>,
    },
    /// Give a partial file its name.
    FinishPart {
        /// The target's number.
        id: u64,
        /// Time and mode.
        meta: Meta,
        /// Wait for the disk.
        durable: bool,
    },
    /// Close a partial file; remove it if it is of no more use.
    LeavePart {
        /// The target's number.
        id: u64,
        /// Keep it for another time.
        keep: bool,
    },
    /// Change something small.
    Change {
        /// A number of the engine's.
        token: u64,
        /// What.
        change: Change,
    },
    /// List what is in a directory of which something is to be deleted.
    Walk {
        /// A number of the engine's.
        token: u64,
        /// Where it is.
        path: RelPath,
        /// Of its own entries only those whose names have these hashes, sorted, and nothing beneath them;
        /// without this all, and all beneath if it is not much.
        among: Option<Arc<Vec<Hash16>>>,
        /// Open nothing up for it.
        dry_run: bool,
    },
    /// Give directories that had to be opened up for their owner their modes back.
    CloseUp {
        /// A number of the engine's.
        token: u64,
    },
    /// Write everything out.
    SyncAll {
        /// A number of the engine's.
        token: u64,
    },
}

/// A small change of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Make a symlink, in place of what is there.
    Symlink {
        /// Where.
        path: RelPath,
        /// Where it leads.
        target: Bytes,
        /// Its time.
        meta: Meta,
        /// Whose it becomes.
        owner: Option<Ids>,
    },
    /// Give files second names, in place of what is there: which file, and the name.
    Links(Vec<(RelPath, RelPath)>),
    /// Set time and mode of these.
    Meta(Vec<(RelPath, Kind, Meta)>),
    /// Set owners and extended attributes of these, and time and mode again.
    Attributes(Vec<SetAttributes>),
    /// Remove files, symlinks and empty directories, in this order.
    Remove(Vec<(RelPath, Kind)>),
    /// Remove what is left of a target that nobody receives any more.
    Discard {
        /// The directory.
        dir: RelPath,
        /// What the names of its partial file and journal are made of.
        stem: Bytes,
    },
}

/// The numbers of a user and of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    /// The user's.
    pub user: u32,
    /// The group's.
    pub group: u32,
}

/// What is to be set of a file or directory that is in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAttributes {
    /// Where it is.
    pub path: RelPath,
    /// What it is.
    pub kind: Kind,
    /// The time and mode that a file has in the end; those of directories are set later.
    pub meta: Meta,
    /// Whose it becomes.
    pub owner: Option<Ids>,
    /// Its extended attributes, in place of those that it has.
    pub xattrs: Option<Arc<Attributes>>,
}

/// A small file to store.
#[derive(Debug)]
pub struct SmallFile {
    /// Its number.
    pub id: u64,
    /// Where it goes.
    pub path: RelPath,
    /// Time and mode.
    pub meta: Meta,
    /// All of it.
    pub bytes: Bytes,
    /// What its hash begins with.
    pub hash: Hash16,
    /// Nothing was in its place when the directory was listed.
    pub new: bool,
}

/// A small file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmallRead {
    /// What it is.
    pub meta: Meta,
    /// What its hash begins with.
    pub hash: Hash16,
    /// All of it.
    pub bytes: Bytes,
}

/// A chunk to put together, check and write.
#[derive(Debug)]
pub struct ChunkOp {
    /// Which chunk of its file.
    pub index: usize,
    /// Where it goes.
    pub offset: u64,
    /// How long it is.
    pub length: u64,
    /// What it is.
    pub expect: Expect,
    /// Its bytes, in order.
    pub pieces: Vec<Piece>,
}

/// What a chunk must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Zeros.
    Zeros,
    /// Bytes with this hash.
    Hash(Hash16),
    /// The file's root hash will tell.
    Anything,
}

/// Bytes of a chunk.
#[derive(Debug)]
pub enum Piece {
    /// As they came.
    Bytes(Bytes),
    /// From a file that is there.
    Copy {
        /// Which.
        source: Arc<Source>,
        /// Where in it.
        offset: u64,
        /// How many.
        length: u64,
    },
}

/// A file that is there and has chunks of use.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// Under which it may be open.
    pub key: u64,
    /// Where it is.
    pub path: RelPath,
}

/// What a job brought.
#[derive(Debug)]
#[non_exhaustive]
pub enum Done {
    /// Of [`Job::List`] and [`Job::Prepare`].
    Listed {
        /// The directory's number.
        dir: u64,
        /// What is in it.
        result: Result<Listing, Failed>,
    },
    /// Of [`Job::ReadSmall`].
    Small(Vec<(u64, Result<SmallRead, Failed>)>),
    /// Of [`Job::Manifest`].
    Manifest {
        /// The key.
        key: u64,
        /// The chunks.
        result: Result<Arc<Manifest>, Failed>,
    },
    /// Of [`Job::Fine`].
    Fine {
        /// The key.
        key: u64,
        /// Number and pieces of each chunk.
        result: Result<Vec<(u64, Vec<SubChunk>)>, Failed>,
    },
    /// Of [`Job::Open`].
    Opened {
        /// The key.
        key: u64,
        /// What was opened.
        result: Result<Stat, Failed>,
    },
    /// Of [`Job::Read`].
    Read {
        /// The key.
        key: u64,
        /// Which read.
        turn: u64,
        /// Bytes that were asked for.
        asked: u64,
        /// Blocks, or the ranges as they were asked for; a block of zeros has no bytes.
        result: Result<Vec<(Span, Bytes)>, Failed>,
    },
    /// Of [`Job::StoreSmall`].
    Stored(Vec<(u64, Result<(), Failed>)>),
    /// Of [`Job::BeginPart`].
    Begun {
        /// The target's number.
        id: u64,
        /// What it holds already, and how that is cut.
        result: Result<(Chunking, Vec<Claim>), Failed>,
    },
    /// Of [`Job::Apply`].
    Applied {
        /// The target's number.
        id: u64,
        /// Bytes of these chunks that came over the connection.
        received: usize,
        /// Of each chunk its number, its span (`None` if it is not what it must be), and how much of it
        /// came over the connection.
        result: Result<Vec<(usize, Option<Span>, usize)>, Failed>,
    },
    /// Of [`Job::LeavePart`].
    Left {
        /// The target's number.
        id: u64,
    },
    /// Of [`Job::FinishPart`].
    Finished {
        /// The target's number.
        id: u64,
        /// Whether it has its name.
        result: Result<(), Failed>,
    },
    /// Of [`Job::Change`], [`Job::CloseUp`] and [`Job::SyncAll`].
    Changed {
        /// The engine's number.
        token: u64,
        /// What of it could not be done, by its place in the change.
        failures: Vec<(usize, Failed)>,
    },
    /// Of [`Job::Resolve`]: numbers of those names that are known here.
    Resolved {
        /// Users.
        users: Vec<(Bytes, Option<u32>)>,
        /// Groups.
        groups: Vec<(Bytes, Option<u32>)>,
    },
    /// Of [`Job::Walk`].
    Walked {
        /// The engine's number.
        token: u64,
        /// What is there.
        result: Result<Beneath, Failed>,
    },
    /// Nobody waits for this one.
    Nothing,
}

/// What is in a directory of which something is to be deleted.
#[derive(Debug, Default)]
pub struct Beneath {
    /// Paths as they are beneath it, and kinds; deepest first if it is all.
    pub found: Vec<(RelPath, Kind)>,
    /// Everything beneath; otherwise its own entries alone.
    pub whole: bool,
}

/// What is in a directory.
#[derive(Debug, Default)]
pub struct Listing {
    /// Its entries, sorted by name, without what a sync keeps there of its own.
    pub found: Vec<Found>,
    /// Patterns found in it.
    pub patterns: Bytes,
    /// It was made just now.
    pub created: bool,
    /// What is left there of files that were being received.
    pub partial: Vec<Bytes>,
    /// Something of ours was removed just now.
    pub swept: bool,
    /// Of the root, its own time and mode.
    pub root: Option<Meta>,
}

/// Why work was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// For people.
    pub text: String,
    /// The file changed meanwhile: worth another try.
    pub changed: bool,
    /// There is no room: what came of it is not kept.
    pub full: bool,
}
