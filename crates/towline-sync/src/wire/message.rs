//! Every message, there and back.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::types::PATH_MAX;
use super::{Chunking, Entry, FileTime, Meta, Reader, RelPath, WireError, Writer};

/// Longest text for people, in bytes.
const TEXT_MAX: usize = 4096;
/// Largest piece of a file in one message, in bytes.
pub(crate) const DATA_MAX: usize = 1 << 20;
/// Longest list of patterns, in bytes.
const PATTERNS_MAX: usize = 256 << 10;
/// Version of these messages.
const VERSION: u64 = 1;

/// The first 16 bytes of a BLAKE3 hash.
pub type Hash16 = [u8; 16];

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
    /// Most deletions; with more, nothing is deleted.
    pub max_delete: Option<u64>,
    /// Bytes a second that the other end may send.
    pub limit: Option<u64>,
    /// Patterns of what is left out, in the syntax of `.gitignore`, one a line.
    pub exclude: Bytes,
    /// Name of files with further such patterns, in each directory.
    pub ignore_file: Option<Bytes>,
}

/// A chunk in a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Bytes in it.
    pub length: u64,
    /// Its hash; `None` if all its bytes are zero.
    pub hash: Option<Hash16>,
}

/// A piece of a chunk, in the second level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubChunk {
    /// Bytes in it.
    pub length: u32,
    /// Its hash.
    pub hash: Hash16,
}

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
    /// Bytes taken from what was there already.
    pub reused: u64,
    /// Deleted entries.
    pub deleted: u64,
    /// Entries that failed.
    pub failed: u64,
    /// Bytes in files that were left alone as equal.
    pub unchanged: u64,
    /// The listing is complete.
    pub listed: bool,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message {
    /// Opens a sync (docs/wire D12).
    Hello(Hello),
    /// The other end agrees; `single` says that the path was a file, of this name.
    Welcome {
        /// The name of the only file, if it is one.
        single: Option<Bytes>,
    },
    /// Ends the sync with a text.
    Abort {
        /// Why.
        text: String,
    },
    /// Entries of directory `dir`, numbered from `first`.
    List {
        /// The number of the directory's own entry; 0 is the root.
        dir: u64,
        /// The number of the first entry.
        first: u64,
        /// No more follow of this directory.
        last: bool,
        /// The directory could not be read wholly: what is missing here may still be there.
        error: Option<String>,
        /// Patterns found in the directory.
        patterns: Bytes,
        /// In the order of their names.
        entries: Vec<Entry>,
    },
    /// The listing is complete.
    ListEnd,
    /// The content of a small file.
    Small {
        /// Its number.
        id: u64,
        /// What it is.
        meta: Meta,
        /// Its first 16 hash bytes.
        hash: Hash16,
        /// All of it.
        bytes: Bytes,
    },
    /// Chunks of a file, from the beginning, over as many messages as it takes.
    Manifest {
        /// The file's number.
        id: u64,
        /// The next chunks.
        chunks: Vec<Chunk>,
        /// With the last: what the file is, and its root hash (docs/wire D18).
        end: Option<(Meta, [u8; 32])>,
    },
    /// The second level of one chunk.
    Fine {
        /// The file's number.
        id: u64,
        /// Which chunk.
        chunk: u64,
        /// Its pieces.
        pieces: Vec<SubChunk>,
    },
    /// Bytes of a file.
    Data {
        /// The file's number.
        id: u64,
        /// Where they belong.
        offset: u64,
        /// The bytes.
        bytes: Bytes,
    },
    /// A run of zeros of a file that is sent from the beginning.
    Zeros {
        /// The file's number.
        id: u64,
        /// Where it begins.
        offset: u64,
        /// How long it is.
        length: u64,
    },
    /// A file that is sent from the beginning is complete.
    End {
        /// The file's number.
        id: u64,
        /// What it is.
        meta: Meta,
        /// Its root hash.
        root: [u8; 32],
    },
    /// A file cannot be sent.
    Fail {
        /// Its number.
        id: u64,
        /// It changed while it was read: worth another try.
        changed: bool,
        /// Why.
        text: String,
    },
    /// Files that are not wanted: from `.0`, so many.
    Drop(Vec<(u64, u64)>),
    /// Small files that are wanted.
    WantSmall(Vec<u64>),
    /// A file is wanted from the beginning.
    WantAll {
        /// Its number.
        id: u64,
    },
    /// The manifest of a file is wanted.
    WantManifest {
        /// Its number.
        id: u64,
        /// How it is to be cut.
        chunking: Chunking,
    },
    /// The second level of chunks is wanted.
    WantFine {
        /// The file's number.
        id: u64,
        /// Which chunks: number, offset and length.
        chunks: Vec<(u64, u64, u64)>,
    },
    /// Ranges of a file are wanted, in this order.
    Get {
        /// The file's number.
        id: u64,
        /// Offsets and lengths.
        ranges: Vec<(u64, u64)>,
    },
    /// The receiver is done with a file.
    Close {
        /// Its number.
        id: u64,
    },
    /// What became of entries.
    Report(Vec<Item>),
    /// How far the receiver is.
    Progress(Totals),
    /// All is done.
    Finish(Totals),
}

macro_rules! kinds {
    ($($name:ident = $number:literal,)*) => {
        mod kind { $( pub(super) const $name: u8 = $number; )* }
    };
}

kinds! {
    HELLO = 0x01, WELCOME = 0x02, ABORT = 0x03,
    LIST = 0x10, LIST_END = 0x11, SMALL = 0x12, MANIFEST = 0x13, FINE = 0x14, DATA = 0x15,
    ZEROS = 0x16, END = 0x17, FAIL = 0x18,
    DROP = 0x20, WANT_SMALL = 0x21, WANT_ALL = 0x22, WANT_MANIFEST = 0x23, WANT_FINE = 0x24,
    GET = 0x25, CLOSE = 0x26, REPORT = 0x27, PROGRESS = 0x28, FINISH = 0x29,
}

impl Message {
    /// Appends the message: its length, its kind, its fields (docs/wire D11).
    pub fn encode(&self, out: &mut BytesMut) {
        // Room for the length, which is known afterwards: five bytes of seven bits each.
        let start = out.len();
        out.put_bytes(0, 5);
        self.fields(&mut Writer(out));
        let length = out.len() - start - 5;
        for at in 0..5 {
            let more = if at < 4 { 0x80 } else { 0 };
            out[start + at] = (length >> (7 * at)) as u8 & 0x7F | more;
        }
    }

    fn fields(&self, out: &mut Writer<'_>) {
        match self {
            Self::Hello(hello) => {
                out.byte(kind::HELLO);
                hello.encode(out);
            }
            Self::Welcome { single } => {
                out.byte(kind::WELCOME);
                out.number(VERSION);
                option(single, out, |name, out| out.bytes(name));
            }
            Self::Abort { text } => {
                out.byte(kind::ABORT);
                put_text(text, out);
            }
            Self::List {
                dir,
                first,
                last,
                error,
                patterns,
                entries,
            } => {
                out.byte(kind::LIST);
                out.number(*dir);
                out.number(*first);
                out.byte(u8::from(*last));
                option(error, out, |text, out| put_text(text, out));
                out.bytes(patterns);
                out.number(entries.len() as u64);
                let mut before = FileTime::default();
                entries
                    .iter()
                    .for_each(|entry| entry.encode(&mut before, out));
            }
            Self::ListEnd => out.byte(kind::LIST_END),
            Self::Small {
                id,
                meta,
                hash,
                bytes,
            } => {
                out.byte(kind::SMALL);
                out.number(*id);
                meta.encode(out);
                out.raw(hash);
                out.raw(bytes);
            }
            Self::Manifest { id, chunks, end } => {
                out.byte(kind::MANIFEST);
                out.number(*id);
                out.number(chunks.len() as u64);
                for chunk in chunks {
                    // docs/wire D17: the lowest bit says that there is a hash.
                    out.number(chunk.length << 1 | u64::from(chunk.hash.is_some()));
                    out.raw(chunk.hash.as_ref().map_or(&[], |hash| hash));
                }
                option(end, out, |(meta, root), out| {
                    meta.encode(out);
                    out.raw(root);
                });
            }
            Self::Fine { id, chunk, pieces } => {
                out.byte(kind::FINE);
                out.number(*id);
                out.number(*chunk);
                out.number(pieces.len() as u64);
                for piece in pieces {
                    out.number(piece.length.into());
                    out.raw(&piece.hash);
                }
            }
            Self::Data { id, offset, bytes } => {
                out.byte(kind::DATA);
                out.number(*id);
                out.number(*offset);
                out.raw(bytes);
            }
            Self::Zeros { id, offset, length } => {
                out.byte(kind::ZEROS);
                out.number(*id);
                out.number(*offset);
                out.number(*length);
            }
            Self::End { id, meta, root } => {
                out.byte(kind::END);
                out.number(*id);
                meta.encode(out);
                out.raw(root);
            }
            Self::Fail { id, changed, text } => {
                out.byte(kind::FAIL);
                out.number(*id);
                out.byte(u8::from(*changed));
                put_text(text, out);
            }
            Self::Drop(runs) => {
                out.byte(kind::DROP);
                pairs(runs, out);
            }
            Self::WantSmall(ids) => {
                out.byte(kind::WANT_SMALL);
                out.number(ids.len() as u64);
                let mut before = 0;
                for id in ids {
                    out.signed(id.wrapping_sub(before) as i64);
                    before = *id;
                }
            }
            Self::WantAll { id } => {
                out.byte(kind::WANT_ALL);
                out.number(*id);
            }
            Self::WantManifest { id, chunking } => {
                out.byte(kind::WANT_MANIFEST);
                out.number(*id);
                out.byte(chunking.number());
            }
            Self::WantFine { id, chunks } => {
                out.byte(kind::WANT_FINE);
                out.number(*id);
                out.number(chunks.len() as u64);
                for (chunk, offset, length) in chunks {
                    out.number(*chunk);
                    out.number(*offset);
                    out.number(*length);
                }
            }
            Self::Get { id, ranges } => {
                out.byte(kind::GET);
                out.number(*id);
                pairs(ranges, out);
            }
            Self::Close { id } => {
                out.byte(kind::CLOSE);
                out.number(*id);
            }
            Self::Report(items) => {
                out.byte(kind::REPORT);
                out.number(items.len() as u64);
                items.iter().for_each(|item| item.encode(out));
            }
            Self::Progress(totals) => {
                out.byte(kind::PROGRESS);
                totals.encode(out);
            }
            Self::Finish(totals) => {
                out.byte(kind::FINISH);
                totals.encode(out);
            }
        }
    }

    /// Takes one message off the front of a part's body. Bytes in it share the input's memory.
    ///
    /// # Errors
    ///
    /// [`WireError`]; nothing was reserved for what is not there.
    pub fn decode(input: &mut Bytes) -> Result<Self, WireError> {
        let length = Reader(input).at_most(u32::MAX.into())? as usize;
        let mut message = Reader(input).split(length)?;
        let mut reader = Reader(&mut message);
        let decoded = Self::read(&mut reader)?;
        if !reader.is_empty() {
            return Err(WireError::Trailing);
        }
        Ok(decoded)
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(match input.byte()? {
            kind::HELLO => Self::Hello(Hello::decode(input)?),
            kind::WELCOME => {
                version(input)?;
                Self::Welcome {
                    single: optional(input, name)?,
                }
            }
            kind::ABORT => Self::Abort { text: text(input)? },
            kind::LIST => {
                let (dir, first) = (input.number()?, input.number()?);
                let last = flag(input)?;
                let error = optional(input, text)?;
                let patterns = input.bytes(PATTERNS_MAX)?;
                let count = input.count(6)?;
                let mut before = FileTime::default();
                let mut entries = Vec::with_capacity(count);
                for _ in 0..count {
                    entries.push(Entry::decode(&mut before, input)?);
                }
                Self::List {
                    dir,
                    first,
                    last,
                    error,
                    patterns,
                    entries,
                }
            }
            kind::LIST_END => Self::ListEnd,
            kind::SMALL => Self::Small {
                id: input.number()?,
                meta: Meta::decode(input)?,
                hash: input.array()?,
                bytes: data(input)?,
            },
            kind::MANIFEST => {
                let id = input.number()?;
                let count = input.count(1)?;
                let mut chunks = Vec::with_capacity(count.min(4096));
                for _ in 0..count {
                    let length = input.number()?;
                    let hash = match length & 1 {
                        0 => None,
                        _ => Some(input.array()?),
                    };
                    let length = length >> 1;
                    if length == 0 {
                        return Err(WireError::Value { value: 0 });
                    }
                    chunks.push(Chunk { length, hash });
                }
                let end = optional(input, |input| Ok((Meta::decode(input)?, input.array()?)))?;
                Self::Manifest { id, chunks, end }
            }
            kind::FINE => {
                let (id, chunk) = (input.number()?, input.number()?);
                let count = input.count(17)?;
                let mut pieces = Vec::with_capacity(count);
                for _ in 0..count {
                    let length = input.at_most(u32::MAX.into())? as u32;
                    let hash = input.array()?;
                    pieces.push(SubChunk { length, hash });
                }
                Self::Fine { id, chunk, pieces }
            }
            kind::DATA => Self::Data {
                id: input.number()?,
                offset: input.number()?,
                bytes: data(input)?,
            },
            kind::ZEROS => Self::Zeros {
                id: input.number()?,
                offset: input.number()?,
                length: input.number()?,
            },
            kind::END => Self::End {
                id: input.number()?,
                meta: Meta::decode(input)?,
                root: input.array()?,
            },
            kind::FAIL => Self::Fail {
                id: input.number()?,
                changed: flag(input)?,
                text: text(input)?,
            },
            kind::DROP => Self::Drop(take_pairs(input)?),
            kind::WANT_SMALL => {
                let count = input.count(1)?;
                let mut ids = Vec::with_capacity(count);
                let mut before = 0_u64;
                for _ in 0..count {
                    before = before.wrapping_add(input.signed()? as u64);
                    ids.push(before);
                }
                Self::WantSmall(ids)
            }
            kind::WANT_ALL => Self::WantAll {
                id: input.number()?,
            },
            kind::WANT_MANIFEST => {
                let id = input.number()?;
                let number = input.byte()?;
                let value = number.into();
                let chunking = Chunking::from_number(number).ok_or(WireError::Value { value })?;
                Self::WantManifest { id, chunking }
            }
            kind::WANT_FINE => {
                let id = input.number()?;
                let count = input.count(3)?;
                let mut chunks = Vec::with_capacity(count);
                for _ in 0..count {
                    chunks.push((input.number()?, input.number()?, input.number()?));
                }
                Self::WantFine { id, chunks }
            }
            kind::GET => Self::Get {
                id: input.number()?,
                ranges: take_pairs(input)?,
            },
            kind::CLOSE => Self::Close {
                id: input.number()?,
            },
            kind::REPORT => {
                let count = input.count(4)?;
                let mut items = Vec::with_capacity(count.min(1024));
                for _ in 0..count {
                    items.push(Item::decode(input)?);
                }
                Self::Report(items)
            }
            kind::PROGRESS => Self::Progress(Totals::decode(input)?),
            kind::FINISH => Self::Finish(Totals::decode(input)?),
            kind => return Err(WireError::Kind { kind }),
        })
    }

    /// Bytes of files in it.
    pub(crate) fn payload(&self) -> usize {
        match self {
            Self::Small { bytes, .. } | Self::Data { bytes, .. } => bytes.len(),
            _ => 0,
        }
    }
}

impl Hello {
    fn encode(&self, out: &mut Writer<'_>) {
        out.number(VERSION);
        out.byte(match self.role {
            Role::Push => 0,
            Role::Pull => 1,
        });
        out.bytes(&self.path);
        option(&self.single, out, |name, out| out.bytes(name));
        let flags = [self.delete, self.dry_run, self.checksum, self.no_fsync];
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

    fn decode(input: &mut Reader<'_>) -> Result<Self, WireError> {
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
        if flags > 0x0F {
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
            max_delete: optional(input, |input| input.number())?,
            limit: optional(input, |input| input.number())?,
            exclude: input.bytes(PATTERNS_MAX)?,
            ignore_file: optional(input, name)?,
        })
    }
}

impl Item {
    fn encode(&self, out: &mut Writer<'_>) {
        out.byte(match self.outcome {
            Outcome::Created => 0,
            Outcome::Updated => 1,
            Outcome::Touched => 2,
            Outcome::Deleted => 3,
            Outcome::Skipped => 4,
            Outcome::Failed => 5,
        });
        out.bytes(self.path.as_bytes());
        out.number(self.size);
        put_text(&self.text, out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, WireError> {
        let outcome = match input.byte()? {
            0 => Outcome::Created,
            1 => Outcome::Updated,
            2 => Outcome::Touched,
            3 => Outcome::Deleted,
            4 => Outcome::Skipped,
            5 => Outcome::Failed,
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
    fn encode(&self, out: &mut Writer<'_>) {
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
        ] {
            out.number(number);
        }
        out.byte(u8::from(self.listed));
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, WireError> {
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
            listed: flag(input)?,
        })
    }
}

fn version(input: &mut Reader<'_>) -> Result<(), WireError> {
    match input.number()? {
        VERSION => Ok(()),
        value => Err(WireError::Value { value }),
    }
}

fn option<T>(value: &Option<T>, out: &mut Writer<'_>, put: impl Fn(&T, &mut Writer<'_>)) {
    out.byte(u8::from(value.is_some()));
    if let Some(value) = value {
        put(value, out);
    }
}

fn optional<T>(
    input: &mut Reader<'_>,
    take: impl Fn(&mut Reader<'_>) -> Result<T, WireError>,
) -> Result<Option<T>, WireError> {
    Ok(if flag(input)? {
        Some(take(input)?)
    } else {
        None
    })
}

fn flag(input: &mut Reader<'_>) -> Result<bool, WireError> {
    match input.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(WireError::Value {
            value: other.into(),
        }),
    }
}

fn name(input: &mut Reader<'_>) -> Result<Bytes, WireError> {
    let name = input.bytes(super::types::NAME_MAX)?;
    super::types::check_name(&name)?;
    Ok(name)
}

fn put_text(text: &str, out: &mut Writer<'_>) {
    let mut end = text.len().min(TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    out.bytes(&text.as_bytes()[..end]);
}

fn text(input: &mut Reader<'_>) -> Result<String, WireError> {
    Ok(String::from_utf8_lossy(&input.bytes(TEXT_MAX)?).into_owned())
}

fn data(input: &mut Reader<'_>) -> Result<Bytes, WireError> {
    if input.left() > DATA_MAX {
        return Err(WireError::Length);
    }
    Ok(input.rest())
}

/// Pairs, the first number as the distance from where the pair before it ended.
fn pairs(pairs: &[(u64, u64)], out: &mut Writer<'_>) {
    out.number(pairs.len() as u64);
    let mut end = 0_u64;
    for (start, length) in pairs {
        out.signed(start.wrapping_sub(end) as i64);
        out.number(*length);
        end = start.wrapping_add(*length);
    }
}

fn take_pairs(input: &mut Reader<'_>) -> Result<Vec<(u64, u64)>, WireError> {
    let count = input.count(2)?;
    let mut pairs = Vec::with_capacity(count);
    let mut end = 0_u64;
    for _ in 0..count {
        let start = end.wrapping_add(input.signed()? as u64);
        let length = input.number()?;
        end = start.checked_add(length).ok_or(WireError::Number)?;
        pairs.push((start, length));
    }
    Ok(pairs)
}
