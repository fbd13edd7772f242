//! What the receiver tells of its work.

use super::{
    Reader, RelPath, WireError, Writer,
    fields::{flag, put_text, text},
    types::PATH_MAX,
};

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It is new.
    Created,
    /// Its content changed.
    Updated,
    /// Only its time or mode changed.
    Touched,
    /// It is gone.
    Deleted,
    /// It is of a kind that is not copied.
    Skipped,
    /// It could not be done.
    Failed,
    /// Somebody else is receiving it: it waits until that ends.
    Waiting,
}

/// What became of one entry, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What.
    pub outcome: Outcome,
    /// Which.
    pub path: RelPath,
    /// Bytes in it.
    pub size: u64,
    /// Why, if it failed.
    pub text: String,
}

/// How far the receiver is. Every number only grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Entries listed.
    pub entries: u64,
    /// Files whose content is, or was, to be brought over.
    pub files: u64,
    /// Of these, finished.
    pub files_done: u64,
    /// Bytes in these files.
    pub bytes: u64,
    /// Bytes that came over the connection.
    pub literal: u64,
    /// Bytes taken from what was there already. What is zero, or came before a file was begun again, is not
    /// counted.
    pub reused: u64,
    /// Deleted entries.
    pub deleted: u64,
    /// Entries that failed.
    pub failed: u64,
    /// Bytes in files that were left alone as equal.
    pub unchanged: u64,
    /// Bytes that are zero, and neither came nor were there.
    pub zeros: u64,
    /// The listing is complete.
    pub listed: bool,
}

impl Item {
    pub(super) fn encode(&self, out: &mut Writer<'_>) {
        out.byte(match self.outcome {
            Outcome::Created => 0,
            Outcome::Updated => 1,
            Outcome::Touched => 2,
            Outcome::Deleted => 3,
            Outcome::Skipped => 4,
            Outcome::Failed => 5,
            Outcome::Waiting => 6,
        });
        out.bytes(self.path.as_bytes());
        out.number(self.size);
        put_text(&self.text, out);
    }

    pub(super) fn decode(input: &mut Reader<'_>) -> Result<Self, WireError> {
        let outcome = match input.byte()? {
            0 => Outcome::Created,
            1 => Outcome::Updated,
            2 => Outcome::Touched,
            3 => Outcome::Deleted,
            4 => Outcome::Skipped,
            5 => Outcome::Failed,
            6 => Outcome::Waiting,
            other => {
                return Err(WireError::Value {
                    value: other.into(),
                });
            }
        };
        Ok(Self {
            outcome,
            path: RelPath::new(&input.bytes(PATH_MAX)?)?,
            size: input.number()?,
            text: text(input)?,
        })
    }
}

impl Totals {
    pub(super) fn encode(&self, out: &mut Writer<'_>) {
        for number in [
            self.entries,
            self.files,
            self.files_done,
            self.bytes,
            self.literal,
            self.reused,
            self.deleted,
            self.failed,
            self.unchanged,
            self.zeros,
        ] {
            out.number(number);
        }
        out.byte(u8::from(self.listed));
    }

    pub(super) fn decode(input: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            entries: input.number()?,
            files: input.number()?,
            files_done: input.number()?,
            bytes: input.number()?,
            literal: input.number()?,
            reused: input.number()?,
            deleted: input.number()?,
            failed: input.number()?,
            unchanged: input.number()?,
            zeros: input.number()?,
            listed: flag(input)?,
        })
    }
}
