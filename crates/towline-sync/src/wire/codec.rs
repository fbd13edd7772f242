//! Every message, there and back.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::{
    Chunk, Chunking, Entry, FileTime, Hello, Item, Message, Meta, Reader, SubChunk, Totals,
    WireError, Writer,
    fields::{
        VERSION, data, flag, name, option, optional, pairs, put_text, take_pairs, text, version,
    },
    hello::PATTERNS_MAX,
};

macro_rules! kinds {
    ($($name:ident = $number:literal,)*) => {
        mod kind { $( pub(super) const $name: u8 = $number; )* }
    };
}

kinds! {
    HELLO = 0x01, WELCOME = 0x02, ABORT = 0x03,
    LIST = 0x10, LIST_END = 0x11, SMALL = 0x12, MANIFEST = 0x13, FINE = 0x14, DATA = 0x15,
    ZEROS = 0x16, END = 0x17, FAIL = 0x18, ROOT = 0x19,
    DROP = 0x20, WANT_SMALL = 0x21, WANT_ALL = 0x22, WANT_MANIFEST = 0x23, WANT_FINE = 0x24,
    GET = 0x25, CLOSE = 0x26, REPORT = 0x27, PROGRESS = 0x28, FINISH = 0x29, LATER = 0x2A,
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
            Self::Root(meta) => {
                out.byte(kind::ROOT);
                meta.encode(out);
            }
            Self::Drop(runs) => {
                out.byte(kind::DROP);
                pairs(runs, out);
            }
            Self::Later(runs) => {
                out.byte(kind::LATER);
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
            kind::ROOT => Self::Root(Meta::decode(input)?),
            kind::DROP => Self::Drop(take_pairs(input)?),
            kind::LATER => Self::Later(take_pairs(input)?),
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
}
