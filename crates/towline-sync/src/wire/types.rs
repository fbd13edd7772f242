//! What messages speak of: paths, entries of directories, what is known of a file.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::{Attributes, Reader, WireError, Writer};
use crate::chunk::ChunkParams;

/// Longest name, in bytes.
pub(crate) const NAME_MAX: usize = 255;
/// Longest path and longest target of a symlink, in bytes.
pub(crate) const PATH_MAX: usize = 4096;
/// Most bits of a mode: permissions, set-user-id, set-group-id, sticky.
const MODE_MASK: u32 = 0o7777;

/// A path beneath the root of a sync: components joined by `/`, none of them empty, `.` or `..`. The
/// root itself is empty. Bytes, as names are on Unix.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelPath(Arc<[u8]>);

impl RelPath {
    /// The root.
    pub fn root() -> Self {
        Self(Arc::from([]))
    }

    /// Checks a path (docs/wire D13).
    ///
    /// # Errors
    ///
    /// [`WireError::Name`] for a component that no file can have, and for more than 4,096 bytes.
    pub fn new(path: &[u8]) -> Result<Self, WireError> {
        if path.len() > PATH_MAX {
            return Err(WireError::Name);
        }
        if !path.is_empty() {
            path.split(|byte| *byte == b'/').try_for_each(check_name)?;
        }
        Ok(Self(path.into()))
    }

    /// The path of `name` in this directory. The name must have been checked.
    #[must_use]
    pub fn join(&self, name: &[u8]) -> Self {
        if self.0.is_empty() {
            return Self(name.into());
        }
        let mut path = Vec::with_capacity(self.0.len() + 1 + name.len());
        path.extend_from_slice(&self.0);
        path.push(b'/');
        path.extend_from_slice(name);
        Self(path.into())
    }

    /// The directory that it is in, and its name there; `None` for the root.
    pub fn split(&self) -> Option<(&[u8], &[u8])> {
        if self.0.is_empty() {
            return None;
        }
        Some(match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (&self.0[..at], &self.0[at + 1..]),
            None => (&[], &self.0),
        })
    }

    /// The directory that it is in; the root for the root.
    #[must_use]
    pub fn parent(&self) -> Self {
        Self(self.split().map_or(&[][..], |(parent, _)| parent).into())
    }

    /// The last component; empty for the root.
    pub fn name(&self) -> &[u8] {
        self.split().map_or(&[], |(_, name)| name)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// How many bytes these are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// True for the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// How many components it has.
    pub fn depth(&self) -> usize {
        if self.0.is_empty() {
            return 0;
        }
        1 + self.0.iter().filter(|byte| **byte == b'/').count()
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(".");
        }
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelPath({self})")
    }
}

/// docs/wire D13: what can be the name of a file.
pub(crate) fn check_name(name: &[u8]) -> Result<(), WireError> {
    let wrong = name.is_empty()
        || name.len() > NAME_MAX
        || name == b"."
        || name == b".."
        || name.iter().any(|byte| matches!(byte, b'/' | 0));
    if wrong {
        return Err(WireError::Name);
    }
    Ok(())
}

/// When a file was changed: seconds since 1970 and nanoseconds after them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileTime {
    /// Whole seconds, negative before 1970.
    pub seconds: i64,
    /// Nanoseconds after them, below 1,000,000,000.
    pub nanos: u32,
}

impl FileTime {
    pub(crate) fn encode(self, out: &mut Writer<'_>) {
        out.signed(self.seconds);
        out.number(self.nanos.into());
    }

    pub(crate) fn decode(input: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            seconds: input.signed()?,
            nanos: input.at_most(999_999_999)? as u32,
        })
    }
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A socket, pipe or device: never copied.
    Other,
}

/// What of a file is kept beside its content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Meta {
    /// Bytes in it.
    pub size: u64,
    /// When it was last changed.
    pub mtime: FileTime,
    /// Permissions, set-user-id, set-group-id and sticky bits.
    pub mode: u32,
}

impl Meta {
    pub(crate) fn encode(&self, out: &mut Writer<'_>) {
        out.number(self.size);
        self.mtime.encode(out);
        out.number(self.mode.into());
    }

    pub(crate) fn decode(input: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            size: input.at_most(i64::MAX as u64)?,
            mtime: FileTime::decode(input)?,
            mode: input.at_most(MODE_MASK.into())? as u32,
        })
    }
}

/// An entry of a directory, as its sender lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name, one checked component.
    pub name: Bytes,
    /// What it is.
    pub kind: Kind,
    /// Size, time and mode.
    pub meta: Meta,
    /// Where a symlink leads.
    pub target: Option<Bytes>,
    /// The number of the entry whose content this one shares, by a hard link.
    pub link: Option<u64>,
    /// Later entries may share this one's content.
    pub leads: bool,
    /// No later entry shares the content that this link leads to.
    pub ends: bool,
    /// Its owner and extended attributes, where they are asked for.
    pub attributes: Option<Arc<Attributes>>,
}

const HAS_LINK: u8 = 0x10;
const LEADS: u8 = 0x20;
const HAS_ATTRIBUTES: u8 = 0x40;
const ENDS: u8 = 0x80;

impl Entry {
    /// docs/wire D14: times as differences to the entry before, which are short.
    pub(crate) fn encode(&self, before: &mut FileTime, out: &mut Writer<'_>) {
        let kind = match self.kind {
            Kind::File => 0,
            Kind::Dir => 1,
            Kind::Symlink => 2,
            Kind::Other => 3,
        };
        let link = if self.link.is_some() { HAS_LINK } else { 0 };
        let leads = if self.leads { LEADS } else { 0 };
        let ends = if self.ends { ENDS } else { 0 };
        let attributes = match &self.attributes {
            Some(_) => HAS_ATTRIBUTES,
            None => 0,
        };
        out.byte(kind | link | leads | ends | attributes);
        out.bytes(&self.name);
        if self.kind == Kind::File {
            out.number(self.meta.size);
        }
        out.signed(self.meta.mtime.seconds.wrapping_sub(before.seconds));
        out.number(self.meta.mtime.nanos.into());
        out.number(self.meta.mode.into());
        *before = self.meta.mtime;
        if self.kind == Kind::Symlink {
            out.bytes(self.target.as_deref().unwrap_or_default());
        }
        if let Some(link) = self.link {
            out.number(link);
        }
        if let Some(attributes) = &self.attributes {
            attributes.encode(out);
        }
    }

    pub(crate) fn decode(before: &mut FileTime, input: &mut Reader<'_>) -> Result<Self, WireError> {
        let flags = input.byte()?;
        let kind = match flags & 0x0F {
            0 => Kind::File,
            1 => Kind::Dir,
            2 => Kind::Symlink,
            3 => Kind::Other,
            other => {
                return Err(WireError::Value {
                    value: other.into(),
                });
            }
        };
        // docs/wire D14: what ends is the row of links to one entry.
        if flags & ENDS != 0 && flags & HAS_LINK == 0 {
            return Err(WireError::Value {
                value: flags.into(),
            });
        }
        let name = input.bytes(NAME_MAX)?;
        check_name(&name)?;
        let size = match kind {
            Kind::File => input.at_most(i64::MAX as u64)?,
            _ => 0,
        };
        let mtime = FileTime {
            seconds: before.seconds.wrapping_add(input.signed()?),
            nanos: input.at_most(999_999_999)? as u32,
        };
        *before = mtime;
        let mode = input.at_most(MODE_MASK.into())? as u32;
        let target = match kind {
            Kind::Symlink => Some(input.bytes(PATH_MAX)?),
            _ => None,
        };
        if target
            .as_ref()
            .is_some_and(|target| target.is_empty() || target.contains(&0))
        {
            return Err(WireError::Name);
        }
        let link = match flags & HAS_LINK {
            0 => None,
            _ => Some(input.number()?),
        };
        let attributes = match flags & HAS_ATTRIBUTES {
            0 => None,
            _ => Some(Arc::new(Attributes::decode(input)?)),
        };
        Ok(Self {
            name,
            kind,
            meta: Meta { size, mtime, mode },
            target,
            link,
            leads: flags & LEADS != 0,
            ends: flags & ENDS != 0,
            attributes,
        })
    }

    /// Roughly how many bytes it takes on the wire.
    pub(crate) fn weight(&self) -> usize {
        let attributes = self.attributes.as_ref();
        self.name.len()
            + self.target.as_ref().map_or(0, Bytes::len)
            + attributes.map_or(0, |attributes| attributes.weight())
            + 24
    }
}

/// How a file is cut for its manifest (docs/wire D17).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Chunking {
    /// By content: finds what was moved.
    Content,
    /// At multiples of one size: for files that were sent from the beginning.
    Blocks,
}

impl Chunking {
    /// Size of a block of a file of this size, in bytes.
    pub const fn block(size: u64) -> u64 {
        if size <= 16 << 30 { 256 << 10 } else { 1 << 20 }
    }

    /// Sizes of the chunks of a file of this size. Small files are cut finely at once; the chunks of
    /// larger ones are cut again where they differ.
    pub const fn params(size: u64) -> ChunkParams {
        if size <= 256 << 10 {
            return ChunkParams::unchecked(512, 2048, 8192);
        }
        let mut target = 64 << 10;
        while target < 1 << 20 && size > (target as u64) << 16 {
            target *= 2;
        }
        ChunkParams::unchecked(target / 4, target, target * 4)
    }

    /// Sizes of the pieces of a chunk that differs.
    pub const FINE: ChunkParams = ChunkParams::unchecked(256, 1024, 4096);

    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Content => 0,
            Self::Blocks => 1,
        }
    }

    pub(crate) const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Content),
            1 => Some(Self::Blocks),
            _ => None,
        }
    }
}
