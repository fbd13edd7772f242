//! What the opener of a sync asks for.

use bytes::Bytes;

use super::{
    Reader, WireError, Writer,
    fields::{VERSION, name, option, optional, version},
    types::PATH_MAX,
};

/// Longest list of patterns, in bytes.
pub(super) const PATTERNS_MAX: usize = 256 << 10;

/// Who sends files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Whoever opened the stream: a push.
    Push,
    /// The other end: a pull.
    Pull,
}

/// What the opener asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Who sends.
    pub role: Role,
    /// The path at the other end: a directory, or a file.
    pub path: Bytes,
    /// A push of one file, which has this name.
    pub single: Option<Bytes>,
    /// Delete what the sender does not have.
    pub delete: bool,
    /// Change nothing, and say what would be.
    pub dry_run: bool,
    /// Compare contents even where size and time are equal.
    pub checksum: bool,
    /// Do not wait for the disk.
    pub no_fsync: bool,
    /// Carry owners.
    pub owner: bool,
    /// Carry extended attributes.
    pub xattrs: bool,
    /// Most deletions; with more, nothing is deleted.
    pub max_delete: Option<u64>,
    /// Bytes a second that the other end may send.
    pub limit: Option<u64>,
    /// Patterns of what is left out, in the syntax of `.gitignore`, one a line.
    pub exclude: Bytes,
    /// Name of files with further such patterns, in each directory.
    pub ignore_file: Option<Bytes>,
}

impl Hello {
    pub(super) fn encode(&self, out: &mut Writer<'_>) {
        out.number(VERSION);
        out.byte(match self.role {
            Role::Push => 0,
            Role::Pull => 1,
        });
        out.bytes(&self.path);
        option(&self.single, out, |name, out| out.bytes(name));
        let flags = [
            self.delete,
            self.dry_run,
            self.checksum,
            self.no_fsync,
            self.owner,
            self.xattrs,
        ];
        let bits = flags
            .iter()
            .enumerate()
            .map(|(bit, set)| u8::from(*set) << bit);
        out.byte(bits.sum());
        option(&self.max_delete, out, |most, out| out.number(*most));
        option(&self.limit, out, |limit, out| out.number(*limit));
        out.bytes(&self.exclude);
        option(&self.ignore_file, out, |name, out| out.bytes(name));
    }

    pub(super) fn decode(input: &mut Reader<'_>) -> Result<Self, WireError> {
        version(input)?;
        let role = match input.byte()? {
            0 => Role::Push,
            1 => Role::Pull,
            other => {
                return Err(WireError::Value {
                    value: other.into(),
                });
            }
        };
        let path = input.bytes(PATH_MAX)?;
        let single = optional(input, name)?;
        let flags = input.byte()?;
        if flags > 0x3F {
            return Err(WireError::Value {
                value: flags.into(),
            });
        }
        Ok(Self {
            role,
            path,
            single,
            delete: flags & 1 != 0,
            dry_run: flags & 2 != 0,
            checksum: flags & 4 != 0,
            no_fsync: flags & 8 != 0,
            owner: flags & 0x10 != 0,
            xattrs: flags & 0x20 != 0,
            max_delete: optional(input, |input| input.number())?,
            limit: optional(input, |input| input.number())?,
            exclude: input.bytes(PATTERNS_MAX)?,
            ignore_file: optional(input, name)?,
        })
    }
}
