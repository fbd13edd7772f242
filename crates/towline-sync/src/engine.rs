//! The sync itself, as two state machines that do no I/O.
//!
//! A [`Sender`] has the tree that is copied, a [`Receiver`] the tree that becomes like it. Both are
//! driven alike: what came from the other end goes in by `handle_message`, what a [`Job`] brought by
//! `handle_done`; messages come out by `poll_message`, work for the file system by `poll_job`, what
//! people want to hear by `poll_event`. Which end opened the connection makes no difference to them.
//!
//! ```text
//!   Sender ──List──▶ Receiver          what is there
//!          ◀─Want──                    of what differs: all of it, or how it is cut
//!          ──Manifest──▶               chunks; of a chunk that differs its pieces
//!          ◀─Get──                     ranges that are nowhere at the receiver
//!          ──Data──▶                   checked, written beside the target, renamed
//! ```

mod budget;
mod filter;
mod first_names;
mod job;
mod receiver;
mod sender;

use std::time::Instant;

use crate::fs::Wanted;
use crate::wire::{Hello, Item, Message, RelPath, Totals};

pub use budget::Bucket;
pub use filter::{Filter, FilterError};
pub use job::{
    Beneath, Change, ChunkOp, Done, Expect, Failed, Ids, Job, Listing, Piece, SetAttributes,
    SmallFile, SmallRead, Source,
};
pub use receiver::Receiver;
pub use sender::Sender;

/// Largest file that is sent as a whole when anything of it changed, in bytes.
pub(crate) const SMALL: u64 = 32 << 10;
/// Most files that may wait for the end, since a directory is in their place (docs/wire D25).
pub(crate) const MOST_LATER: usize = 64 << 10;
/// Bytes that these may take at both ends.
pub(crate) const LATER_BYTES: usize = 16 << 20;

/// What a file takes that waits for the end.
pub(crate) fn later_weight(path: &RelPath) -> usize {
    path.as_bytes().len() + 64
}

/// How a sync is done.
#[derive(Debug, Clone)]
pub struct Options {
    /// Delete what the sender does not have.
    pub delete: bool,
    /// Change nothing.
    pub dry_run: bool,
    /// Compare contents even where size and time are equal.
    pub checksum: bool,
    /// Wait for the disk before anything counts as stored.
    pub durable: bool,
    /// Keep owners.
    pub owner: bool,
    /// Keep extended attributes.
    pub xattrs: bool,
    /// Most deletions; with more, nothing is deleted.
    pub max_delete: Option<u64>,
    /// Bytes of files a second that are sent.
    pub limit: Option<u64>,
    /// The receiver tells the sender what became of every entry.
    pub report: bool,
    /// Bytes that one file may have; without a limit by default.
    pub max_file: u64,
    /// Send this entry of the root alone.
    pub only: Option<bytes::Bytes>,
    /// Store the only entry under this name.
    pub rename: Option<bytes::Bytes>,
    /// The only entry must be a regular file.
    pub regular: bool,
    /// The receiver's root keeps its own time and mode.
    pub keep_root: bool,
    /// The receiver's root was made for this sync, or would have been.
    pub made: bool,
    /// The sender reads files of patterns.
    pub patterns: bool,
}

impl Options {
    /// What the end asks for that opened the sync.
    pub fn from_hello(hello: &Hello) -> Self {
        Self {
            delete: hello.delete,
            dry_run: hello.dry_run,
            checksum: hello.checksum,
            durable: !hello.no_fsync,
            owner: hello.owner,
            xattrs: hello.xattrs,
            max_delete: hello.max_delete,
            limit: hello.limit,
            report: true,
            max_file: u64::MAX,
            only: None,
            rename: None,
            regular: false,
            keep_root: false,
            made: false,
            patterns: hello.ignore_file.is_some(),
        }
    }

    /// What is to be read of entries beside size, time and mode.
    pub(crate) const fn wanted(&self) -> Wanted {
        Wanted {
            owner: self.owner,
            xattrs: self.xattrs,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            delete: false,
            dry_run: false,
            checksum: false,
            durable: false,
            owner: false,
            xattrs: false,
            max_delete: None,
            limit: None,
            report: false,
            max_file: u64::MAX,
            only: None,
            rename: None,
            regular: false,
            keep_root: false,
            made: false,
            patterns: false,
        }
    }
}

/// What an engine wants sent.
#[derive(Debug)]
pub enum Output {
    /// This message.
    Message(Message),
    /// Nothing before this moment, for the sake of the bandwidth limit.
    Wait(Instant),
    /// Nothing until something comes in.
    Idle,
    /// Nothing any more: a message that had waited breaks a rule.
    Broken(Violation),
}

/// What people want to hear.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// What became of an entry.
    Item(Item),
    /// All is done.
    Finished(Totals),
}

/// What a peer did that it must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A message that its role does not send.
    #[error("a sync message came from the wrong end")]
    WrongEnd,
    /// Entries of a directory that was not announced, or is complete.
    #[error("entries came for a directory that was not announced")]
    UnknownDir,
    /// Entries are not numbered on, or not in the order of their names.
    #[error("entries came out of order")]
    Order,
    /// More entries, directories or requests than may wait.
    #[error("more came than may wait at a time")]
    TooMuch,
    /// A path has more components or bytes than are taken.
    #[error("a path is too long")]
    TooLong,
    /// A file was named that was not offered or not asked for.
    #[error("a file was named that is not open")]
    UnknownFile,
    /// A range lies outside its file, or is not what was asked for.
    #[error("a range came that was not asked for")]
    Range,
    /// A manifest does not make up its file.
    #[error("a manifest contradicts itself")]
    Manifest,
}

/// Either end of a sync.
#[derive(Debug)]
pub enum Engine {
    /// The end that has what is copied.
    Sender(Box<Sender>),
    /// The end that becomes like it.
    Receiver(Box<Receiver>),
}

impl Engine {
    /// Takes in a message.
    ///
    /// # Errors
    ///
    /// [`Violation`]; the sync is over then.
    pub fn handle_message(&mut self, message: Message) -> Result<(), Violation> {
        match self {
            Self::Sender(sender) => sender.handle_message(message),
            Self::Receiver(receiver) => receiver.handle_message(message),
        }
    }

    /// Takes in what a job brought.
    ///
    /// # Errors
    ///
    /// [`Violation`] in a message that had waited for it; the sync is over then.
    pub fn handle_done(&mut self, done: Done) -> Result<(), Violation> {
        match self {
            Self::Sender(sender) => {
                sender.handle_done(done);
                Ok(())
            }
            Self::Receiver(receiver) => receiver.handle_done(done),
        }
    }

    /// The next message, if there is room for one.
    pub fn poll_message(&mut self, now: Instant) -> Output {
        match self {
            Self::Sender(sender) => sender.poll_message(now),
            Self::Receiver(receiver) => receiver.poll_message(),
        }
    }

    /// The next work, if there is a thread for it.
    pub fn poll_job(&mut self) -> Option<Job> {
        match self {
            Self::Sender(sender) => sender.poll_job(),
            Self::Receiver(receiver) => receiver.poll_job(),
        }
    }

    /// The next thing to tell.
    pub fn poll_event(&mut self) -> Option<Event> {
        match self {
            Self::Sender(sender) => sender.poll_event(),
            Self::Receiver(receiver) => receiver.poll_event(),
        }
    }

    /// False while more would be held than the memory budget allows: read nothing from the peer then.
    pub fn wants_input(&self) -> bool {
        match self {
            Self::Sender(sender) => sender.wants_input(),
            Self::Receiver(receiver) => receiver.wants_input(),
        }
    }

    /// How far the sync is.
    pub fn totals(&self) -> Totals {
        match self {
            Self::Sender(sender) => sender.totals(),
            Self::Receiver(receiver) => receiver.totals(),
        }
    }

    /// True if the sync does not set time and mode of the root here.
    pub fn keeps_root(&self) -> bool {
        match self {
            Self::Sender(_) => true,
            Self::Receiver(receiver) => receiver.keeps_root(),
        }
    }

    /// True when all is done and nothing waits to be sent.
    pub fn is_finished(&self) -> bool {
        match self {
            Self::Sender(sender) => sender.is_finished(),
            Self::Receiver(receiver) => receiver.is_finished(),
        }
    }
}
