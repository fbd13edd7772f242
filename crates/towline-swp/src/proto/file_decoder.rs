//! A file that comes in pieces (docs/wire W53).

use bytes::{Buf, Bytes};
use towline_codec::greenpack::{DecodeError as ValueError, Reader};

use super::{
    checksum::CHECKSUM_LEN,
    error::{DecodeError, FileMismatch},
    other::BigFile,
    value_header::ValueHeader,
    values::{self, MAX_TEXT},
};

const MAX_ENTRIES: u32 = 64;
/// The longest value that is collected: a text and its header.
const MAX_VALUE: usize = MAX_TEXT + 5;

/// Reads a [`BigFile`] from a stream of bytes, without holding its data: they are handed on as they come,
/// and hashed on the way (docs/wire W53).
///
/// Give it what came until it is done; it takes no byte beyond the file's end.
///
/// ```
/// use bytes::{Bytes, BytesMut};
/// use towline_swp::proto::{BigFile, FileDecoder, FileProgress, checksum};
///
/// let data = Bytes::from_static(b"hello");
/// let file = BigFile {
///     path: "a.txt".into(),
///     size: 5,
///     blake2b: Bytes::copy_from_slice(&checksum(&data)),
///     sent: None,
///     data,
/// };
/// let mut wire = BytesMut::new();
/// file.encode(&mut wire);
///
/// let mut input = wire.freeze();
/// let mut decoder = FileDecoder::new(1 << 20);
/// assert_eq!(decoder.advance(&mut input)?, FileProgress::Data(Bytes::from_static(b"hello")));
/// assert_eq!(decoder.advance(&mut input)?, FileProgress::Done);
/// assert_eq!(decoder.file().path.as_bytes(), b"a.txt");
/// assert_eq!(decoder.verify(), Ok(()));
/// # Ok::<(), towline_swp::proto::DecodeError>(())
/// ```
#[derive(Debug)]
pub struct FileDecoder {
    max_data: u64,
    /// Everything but the data.
    file: BigFile,
    data_len: u64,
    hash: blake2b_simd::State,
    has_data: bool,
    entries_left: u32,
    state: State,
    /// The value that is being collected.
    value: Vec<u8>,
    /// How many bytes it has, as far as that is known.
    wanted: usize,
}

/// How far a [`FileDecoder`] has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileProgress {
    /// These are the next bytes of the file.
    Data(Bytes),
    /// The input is used up; the file goes on.
    NeedsMore,
    /// The file is complete: [`FileDecoder::verify`] says whether it is what was sent.
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Map,
    Key,
    Value(Field),
    /// The header of the data.
    DataHeader,
    /// So many bytes of data are still to come.
    Data(u64),
    /// The header of a value that nobody wants, and how many values there are in and behind it.
    SkipHeader(u64),
    /// So many bytes of a value that nobody wants.
    Skip(u64, u64),
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Path,
    Size,
    Checksum,
    Sent,
}

impl FileDecoder {
    /// Reads a file of at most `max_data` bytes.
    pub fn new(max_data: u64) -> Self {
        Self {
            max_data,
            file: BigFile::default(),
            data_len: 0,
            hash: blake2b_simd::State::new(),
            has_data: false,
            entries_left: 0,
            state: State::Map,
            value: Vec::new(),
            wanted: 1,
        }
    }

    /// How many bytes it can use at most before it has to look at them: whoever hands in no more leaves
    /// what follows the file where it is. 0 when the file is complete.
    pub fn wants(&self) -> usize {
        match self.state {
            State::Done => 0,
            State::Data(left) | State::Skip(left, _) => usize::try_from(left).unwrap_or(usize::MAX),
            _ => self.wanted - self.value.len(),
        }
    }

    /// Goes on with what came, up to the next bytes of the file or its end. What is left in `input` when
    /// it is done belongs to what follows.
    ///
    /// # Errors
    ///
    /// What docs/wire W7 refuses, and [`DecodeError::DataTooLong`]; nothing is reserved for a length that
    /// is only announced. The stream is of no use behind an error.
    pub fn advance(&mut self, input: &mut Bytes) -> Result<FileProgress, DecodeError> {
        loop {
            match self.state {
                State::Done => return Ok(FileProgress::Done),
                State::Data(0) => self.next_entry(),
                State::Data(left) => {
                    if input.is_empty() {
                        return Ok(FileProgress::NeedsMore);
                    }
                    let len = input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    let data = input.split_to(len);
                    self.hash.update(&data);
                    self.data_len += len as u64;
                    self.state = State::Data(left - len as u64);
                    return Ok(FileProgress::Data(data));
                }
                State::Skip(0, 0) => self.next_entry(),
                State::Skip(0, values) => self.collect(State::SkipHeader(values)),
                State::Skip(left, values) => {
                    if input.is_empty() {
                        return Ok(FileProgress::NeedsMore);
                    }
                    let len = input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    input.advance(len);
                    self.state = State::Skip(left - len as u64, values);
                }
                _ => {
                    let len = input.len().min(self.wanted - self.value.len());
                    self.value.extend_from_slice(&input.split_to(len));
                    if self.value.len() < self.wanted {
                        return Ok(FileProgress::NeedsMore);
                    }
                    self.look()?;
                }
            }
        }
    }

    /// What is known of the file; its `data` stay empty.
    pub fn file(&self) -> &BigFile {
        &self.file
    }

    /// Bytes of data so far.
    pub fn data_len(&self) -> u64 {
        self.data_len
    }

    /// Whether the data that came are those that were sent.
    ///
    /// # Errors
    ///
    /// [`FileMismatch`].
    pub fn verify(&self) -> Result<(), FileMismatch> {
        if u64::try_from(self.file.size) != Ok(self.data_len) {
            return Err(FileMismatch::Size {
                got: self.data_len,
                said: self.file.size,
            });
        }
        if self.file.blake2b.is_empty() {
            return Err(FileMismatch::NoChecksum);
        }
        debug_assert_eq!(CHECKSUM_LEN, blake2b_simd::OUTBYTES);
        if self.hash.finalize().as_bytes() != &self.file.blake2b[..] {
            return Err(FileMismatch::Checksum);
        }
        Ok(())
    }

    /// Begins to collect a header or a value.
    fn collect(&mut self, state: State) {
        self.state = state;
        self.value.clear();
        self.wanted = 1;
    }

    fn next_entry(&mut self) {
        match self.entries_left.checked_sub(1) {
            Some(left) => {
                self.entries_left = left;
                self.collect(State::Key);
            }
            None => self.state = State::Done,
        }
    }

    /// As many bytes are here as were wanted: either more are wanted now, or a value is complete.
    fn look(&mut self) -> Result<(), DecodeError> {
        let header = ValueHeader::len_of(self.value[0])?;
        if self.value.len() < header {
            self.wanted = header;
            return Ok(());
        }
        let header = ValueHeader::read(&self.value);
        match self.state {
            State::DataHeader => return self.begin_data(header),
            State::SkipHeader(values) => {
                let values = values.saturating_sub(1).saturating_add(header.nested);
                self.state = State::Skip(header.body, values);
                return Ok(());
            }
            State::Map => {
                if !matches!(self.value[0], 0x80..=0x8f | 0xde | 0xdf) {
                    return Err(DecodeError::NoMap);
                }
                let entries = u32::try_from(header.nested / 2).unwrap_or(u32::MAX);
                if entries > MAX_ENTRIES {
                    return Err(DecodeError::TooManyEntries(entries));
                }
                self.entries_left = entries;
                self.next_entry();
                return Ok(());
            }
            _ => {}
        }
        if header.nested > 0 {
            // No key and no value of a file is a map or a list: the readers say what it is instead.
            self.take()?;
            return Err(ValueError::Truncated.into());
        }
        let whole = usize::try_from(header.body)
            .unwrap_or(usize::MAX)
            .saturating_add(header.len);
        if whole > MAX_VALUE {
            let len = u32::try_from(header.body).unwrap_or(u32::MAX);
            return Err(DecodeError::TextTooLong(len));
        }
        if self.value.len() < whole {
            self.wanted = whole;
            return Ok(());
        }
        self.take()
    }

    /// A key or a value is complete.
    fn take(&mut self) -> Result<(), DecodeError> {
        let value = Bytes::copy_from_slice(&self.value);
        let mut reader = Reader::new(&value);
        let State::Value(field) = self.state else {
            let key = reader.key()?.ok_or(DecodeError::EmptyKey)?;
            let next = match key {
                b"Filepath" => State::Value(Field::Path),
                b"SizeInBytes" => State::Value(Field::Size),
                b"Blake2b" => State::Value(Field::Checksum),
                b"SendTime" => State::Value(Field::Sent),
                b"Data" => State::DataHeader,
                _ => State::SkipHeader(1),
            };
            self.collect(next);
            return Ok(());
        };
        match field {
            Field::Path => self.file.path = values::text(&mut reader)?,
            Field::Size => self.file.size = values::int(&mut reader)?,
            Field::Checksum => {
                self.file.blake2b = values::data(&mut reader, &value, MAX_TEXT)?;
            }
            Field::Sent => self.file.sent = values::time(&mut reader)?,
        }
        self.next_entry();
        Ok(())
    }

    fn begin_data(&mut self, header: ValueHeader) -> Result<(), DecodeError> {
        if !header.is_bin {
            // Nil, a text, a number: the reader says what it is.
            let value = Bytes::copy_from_slice(&self.value);
            values::data(&mut Reader::new(&value), &value, MAX_TEXT)?;
            return Err(ValueError::Truncated.into());
        }
        if header.body > self.max_data {
            let len = u32::try_from(header.body).unwrap_or(u32::MAX);
            return Err(DecodeError::DataTooLong(len));
        }
        // Of a key that comes twice the last counts (docs/wire W6); but what was handed on is gone.
        if std::mem::replace(&mut self.has_data, true) {
            return Err(DecodeError::TwiceData);
        }
        self.state = State::Data(header.body);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::*;
    use towline_codec::greenpack::{Timestamp, write};

    use super::{super::checksum::checksum, *};

    fn file(data: &[u8]) -> BigFile {
        BigFile {
            path: "dir/a.bin".into(),
            size: data.len() as i64,
            blake2b: Bytes::copy_from_slice(&checksum(data)),
            sent: Some(Timestamp::new(1_700_000_000, 5)),
            data: Bytes::copy_from_slice(data),
        }
    }

    fn wire(file: &BigFile) -> Bytes {
        let mut wire = BytesMut::new();
        file.encode(&mut wire);
        wire.freeze()
    }

    /// Reads one file in pieces of `piece` bytes, but never more than is wanted.
    fn read(
        wire: &Bytes,
        piece: usize,
        max: u64,
    ) -> Result<(FileDecoder, Vec<u8>, usize), DecodeError> {
        let mut decoder = FileDecoder::new(max);
        let (mut at, mut data) = (0, Vec::new());
        loop {
            let end = wire.len().min(at + piece.min(decoder.wants()));
            let mut input = wire.slice(at..end);
            at = end;
            loop {
                match decoder.advance(&mut input)? {
                    FileProgress::Data(part) => data.extend_from_slice(&part),
                    FileProgress::NeedsMore => break,
                    FileProgress::Done => return Ok((decoder, data, at - input.len())),
                }
            }
            if at == wire.len() {
                return Err(ValueError::Truncated.into());
            }
        }
    }

    proptest! {
        /// docs/wire W53: in pieces of any size it is what it is in one, and nothing beyond its end is
        /// touched.
        #[test]
        fn pieces_make_the_same_file(
            data in proptest::collection::vec(any::<u8>(), 0..3000),
            piece in 1..200_usize,
        ) {
            let file = file(&data);
            let mut both = BytesMut::new();
            file.encode(&mut both);
            let len = both.len();
            file.encode(&mut both);
            let both = both.freeze();
            let (decoder, read_data, taken) = read(&both, piece, 3000).unwrap();
            prop_assert_eq!(taken, len);
            prop_assert_eq!(&read_data, &data);
            prop_assert_eq!(decoder.verify(), Ok(()));
            prop_assert_eq!(decoder.file(), &BigFile { data: Bytes::new(), ..file });
        }

        /// docs/wire W7: any bytes are read or refused, as the decoder of whole files does.
        #[test]
        fn any_bytes_are_read_as_the_whole_decoder_reads_them(
            bytes in proptest::collection::vec(any::<u8>(), 0..60),
            at in 0..200_usize,
            with in any::<u8>(),
        ) {
            read(&Bytes::from(bytes), 7, 100).ok();
            let mut changed = wire(&file(b"some data")).to_vec();
            let at = at % changed.len();
            changed[at] = with;
            let changed = Bytes::from(changed);
            if let Ok((decoder, data, _)) = read(&changed, 11, 100) {
                let whole = BigFile::decode(&changed, 100).unwrap();
                prop_assert_eq!(&whole.data[..], &data[..]);
                prop_assert_eq!(decoder.file(), &BigFile { data: Bytes::new(), ..whole });
            }
        }
    }

    /// docs/wire W6: other keys, other order, values within values.
    #[test]
    fn unknown_keys_are_skipped_and_the_order_is_free() {
        let sent = file(b"hello");
        let mut wire = BytesMut::new();
        write::map_header(&mut wire, 5);
        write::str(&mut wire, b"Data");
        write::bin(&mut wire, b"hello");
        write::str(&mut wire, b"Extra");
        write::map_header(&mut wire, 2);
        write::str(&mut wire, b"list");
        write::array_header(&mut wire, 3);
        write::int(&mut wire, 70_000);
        write::str(&mut wire, &[b'x'; 300]);
        write::time(&mut wire, Timestamp::new(1, 2));
        write::str(&mut wire, b"more");
        write::nil(&mut wire);
        write::str(&mut wire, b"SizeInBytes");
        write::int(&mut wire, 5);
        write::str(&mut wire, b"Blake2b");
        write::bin(&mut wire, &sent.blake2b);
        write::str(&mut wire, b"Filepath");
        write::str(&mut wire, b"p");
        wire.extend_from_slice(b"what follows");
        let (decoder, data, taken) = read(&wire.clone().freeze(), 3, 5).unwrap();
        assert_eq!(data, b"hello");
        assert_eq!(wire.len() - taken, "what follows".len());
        assert_eq!(decoder.verify(), Ok(()));
        assert_eq!(decoder.file().path.as_bytes(), b"p");
    }

    /// docs/wire W53: three kinds of corruption, told apart, in the original's order.
    #[test]
    fn what_is_not_as_it_was_sent_is_told() {
        let good = file(b"hello");
        let verify = |file: &BigFile| read(&wire(file), 100, 100).unwrap().0.verify();
        assert_eq!(verify(&good), Ok(()));
        let size = BigFile {
            size: 6,
            blake2b: Bytes::new(),
            ..good.clone()
        };
        assert_eq!(verify(&size), Err(FileMismatch::Size { got: 5, said: 6 }));
        let negative = BigFile {
            size: -1,
            ..good.clone()
        };
        assert_eq!(
            verify(&negative),
            Err(FileMismatch::Size { got: 5, said: -1 })
        );
        let bare = BigFile {
            blake2b: Bytes::new(),
            ..good.clone()
        };
        assert_eq!(verify(&bare), Err(FileMismatch::NoChecksum));
        let other = BigFile {
            blake2b: file(b"other").blake2b,
            ..good
        };
        assert_eq!(verify(&other), Err(FileMismatch::Checksum));
        assert_eq!(
            verify(&file(b"")),
            Ok(()),
            "an empty file has the checksum of nothing"
        );
    }

    /// docs/wire W7, W53: a length is refused before anything of it came.
    #[test]
    fn what_is_announced_too_large_is_refused_at_once() {
        let mut header = BytesMut::new();
        file(b"").encode_header(&mut header, u32::MAX as usize);
        let error = read(&header.freeze(), 100, 1 << 30).unwrap_err();
        assert_eq!(error, DecodeError::DataTooLong(u32::MAX));

        let twice = [&b"\x82\xa4Data\xc4\x01x\xa4Data\xc4\x01y"[..]].concat();
        assert_eq!(
            read(&twice.into(), 1, 9).unwrap_err(),
            DecodeError::TwiceData
        );
        for bad in [
            &b"\xc0"[..],
            b"\x90",
            b"\x81\xa0\x01",
            b"\x81\xa4Data\xc0",
            b"\x81\xa4Data\xa1x",
            b"\x81\xa8Filepath\xc0",
            b"\x81\xa8Filepath\x81\x01\x01",
            b"\x81\xa8Filepath\xdb\x7f\xff\xff\xff",
            b"\x81\xabSizeInBytes\xa1x",
            b"\xdf\xff\xff\xff\xff",
            b"\xc1",
        ] {
            assert!(read(&Bytes::from_static(bad), 1, 9).is_err(), "{bad:?}");
        }
    }
}
