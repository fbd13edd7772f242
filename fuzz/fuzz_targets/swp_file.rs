//! A file of the stream in pieces of any size: refused or read, alike however it is cut, and no byte behind it taken.

#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use towline_swp::proto::{BigFile, DecodeError, FileDecoder, FileProgress};

/// The largest file that is taken.
const LIMIT: u64 = 1 << 20;

/// What came of reading a file.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// What it says of itself, its data, whether they are what was sent, and what is left behind it.
    Whole(Box<BigFile>, Vec<u8>, bool, usize),
    CutShort,
    Refused(DecodeError),
}

fn read(wire: &Bytes, mut cuts: impl FnMut() -> usize) -> Outcome {
    let mut decoder = FileDecoder::new(LIMIT);
    let mut rest = wire.clone();
    let mut data = Vec::new();
    loop {
        // No more than it wants: then nothing behind the file is ever taken.
        let most = decoder.wants().min(rest.len()).min(cuts().max(1));
        let mut piece = rest.split_to(most);
        loop {
            match decoder.advance(&mut piece) {
                Ok(FileProgress::Data(part)) => {
                    assert!(!part.is_empty());
                    data.extend_from_slice(&part);
                }
                Ok(FileProgress::NeedsMore) => break,
                Ok(FileProgress::Done) => {
                    assert!(piece.is_empty(), "more was wanted than belongs to the file");
                    assert_eq!(decoder.wants(), 0);
                    let is_right = decoder.verify().is_ok();
                    return Outcome::Whole(
                        Box::new(decoder.file().clone()),
                        data,
                        is_right,
                        rest.len(),
                    );
                }
                Err(error) => return Outcome::Refused(error),
            }
        }
        assert!(piece.is_empty());
        assert!(data.len() as u64 <= LIMIT && decoder.data_len() == data.len() as u64);
        if rest.is_empty() {
            return Outcome::CutShort;
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((seed, wire)) = input.split_first() else {
        return;
    };
    let wire = Bytes::copy_from_slice(wire);
    let whole = read(&wire, || usize::MAX);
    let mut state = u32::from(*seed);
    let cut = read(&wire, || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as usize % 17
    });
    assert_eq!(whole, cut);
    if let Outcome::Whole(file, data, is_right, left) = whole {
        // What was read is written so that the other decoder reads the same.
        let file = BigFile {
            data: data.into(),
            ..*file
        };
        let mut again = BytesMut::new();
        file.encode(&mut again);
        assert_eq!(
            BigFile::decode(&again.freeze(), LIMIT as usize).as_ref(),
            Ok(&file)
        );
        let front = wire.slice(..wire.len() - left);
        assert_eq!(
            read(&front, || 1),
            Outcome::Whole(
                Box::new(BigFile {
                    data: Bytes::new(),
                    ..file.clone()
                }),
                file.data.to_vec(),
                is_right,
                0,
            )
        );
    }
});
