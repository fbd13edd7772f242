//! Cut points.

use std::io::Read;

use proptest::prelude::*;
use serde_json::Value;
use towline_sync::HashName;
use towline_sync::chunk::{
    ChunkParams, ChunkParamsError, ChunkReader, Chunker, FastCdc, UltraCdc, cut_points_parallel,
};

use crate::inputs::{entries, generate, splitmix64, unhex};

const FAST: &str = include_str!("../vectors/cdc_fastcdc.json");
const ULTRA: &str = include_str!("../vectors/cdc_ultracdc.json");
const GEAR: &str = include_str!("../vectors/gear64.json");

fn size(config: &Value, key: &str) -> usize {
    config[key].as_u64().unwrap().try_into().unwrap()
}

fn params(decoded: &Value) -> ChunkParams {
    let config = &decoded["config"];
    ChunkParams::unchecked(
        size(config, "MinSize"),
        size(config, "TargetSize"),
        size(config, "MaxSize"),
    )
}

/// Compares with every entry; returns how many there were.
fn compare<C: Chunker>(json: &str, new: impl Fn(ChunkParams) -> C) -> usize {
    let entries = entries(json);
    for entry in &entries {
        let decoded = &entry["decoded"];
        let name = entry["name"].as_str().unwrap();
        let chunker = new(params(decoded));
        assert_eq!(decoded["chunker"], chunker.name(), "{name}");
        let bytes = generate(&decoded["input"]);
        let cuts = chunker.cut_points(&bytes, None);
        if let Some(chunks) = decoded["chunks"].as_array() {
            assert_eq!(chunks.len(), cuts.len(), "{name}");
            for (chunk, end) in chunks.iter().zip(&cuts) {
                let start: usize = chunk["beg"].as_u64().unwrap().try_into().unwrap();
                assert_eq!(chunk["endx"].as_u64(), Some(*end as u64), "{name}");
                let hash = HashName::of(&bytes[start..*end]).to_string();
                assert_eq!(chunk["hash"], hash, "{name}");
            }
            continue;
        }
        assert_eq!(decoded["input_blake3"], HashName::of(&bytes).to_string());
        let expected: Vec<usize> = decoded["cuts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|cut| cut.as_u64().unwrap().try_into().unwrap())
            .collect();
        assert_eq!(cuts, expected, "{name}");
        // The original's tail defect is not repeated.
        if let Some(wrong) = decoded["v1_6_8_cutpoints_buggy"].as_array() {
            assert_ne!(
                wrong.last().unwrap().as_u64(),
                cuts.last().map(|cut| *cut as u64)
            );
        }
    }
    entries.len()
}

/// docs/wire D3
#[test]
fn fastcdc_cuts_where_the_original_does() {
    assert_eq!(compare(FAST, FastCdc::new), 304);
}

/// docs/wire D4
#[test]
fn ultracdc_cuts_where_the_original_does() {
    assert_eq!(compare(ULTRA, UltraCdc::new), 300);
}

/// docs/wire D3: the table is seen through the cuts; here word by word, through inputs of one byte
/// that differ in nothing else.
#[test]
fn the_gear_table_is_the_originals() {
    let table = &entries(GEAR)[0];
    let words = unhex(table["hex"].as_str().unwrap());
    let source = include_str!("../../src/chunk/gear.rs");
    let ours: Vec<u8> = source
        .split("0x")
        .skip(1)
        .flat_map(|word| unhex(&word[..19].replace('_', "")))
        .collect();
    assert_eq!(ours, words);
}

/// A source that returns at most so many bytes at a time.
struct Dribble<'a>(&'a [u8], Vec<usize>, usize);

impl Read for Dribble<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let most = self.1[self.2 % self.1.len()];
        self.2 += 1;
        let count = most.min(out.len()).min(self.0.len());
        let (now, later) = self.0.split_at(count);
        out[..count].copy_from_slice(now);
        self.0 = later;
        Ok(count)
    }
}

fn streamed(chunker: impl Chunker, bytes: &[u8], sizes: &[usize]) -> Vec<usize> {
    let mut reader = ChunkReader::new(chunker, Dribble(bytes, sizes.to_vec(), 0));
    let mut cuts = Vec::new();
    while let Some(chunk) = reader.next_chunk().unwrap() {
        let start = usize::try_from(chunk.offset).unwrap();
        assert_eq!(chunk.bytes, &bytes[start..start + chunk.bytes.len()]);
        cuts.push(start + chunk.bytes.len());
    }
    cuts
}

#[test]
fn whatever_is_read_at_a_time_the_cuts_are_the_same() {
    let mut bytes = splitmix64(3, 300_000);
    bytes.extend([0; 200_000]);
    for sizes in [&[1][..], &[7], &[4096], &[1 << 20], &[1, 100_000, 13, 2]] {
        let (fast, ultra) = (FastCdc::default(), UltraCdc::default());
        assert_eq!(streamed(fast, &bytes, sizes), fast.cut_points(&bytes, None));
        assert_eq!(
            streamed(ultra, &bytes, sizes),
            ultra.cut_points(&bytes, None)
        );
    }
}

#[test]
fn several_threads_cut_as_one_does() {
    let mut bytes = splitmix64(4, 12 << 20);
    // Parts never meet in zeros, whose cuts depend on where the run begins.
    bytes.extend(vec![0; 9 << 20]);
    bytes.extend(splitmix64(5, 3 << 20));
    for threads in [1, 2, 3, 8] {
        let (fast, ultra) = (FastCdc::default(), UltraCdc::default());
        assert_eq!(
            cut_points_parallel(&fast, &bytes, threads),
            fast.cut_points(&bytes, None)
        );
        assert_eq!(
            cut_points_parallel(&ultra, &bytes, threads),
            ultra.cut_points(&bytes, None)
        );
    }
}

#[test]
fn two_bytes_more_change_at_most_two_chunks() {
    let base = splitmix64(1, 1_000_000);
    let edits = [0, 500_000, 1_000_000].map(|at| {
        let mut edited = base.clone();
        edited.splice(at..at, [0x24, 0xFF]);
        edited
    });
    fn hashes(chunker: &impl Chunker, bytes: &[u8]) -> Vec<HashName> {
        let mut start = 0;
        let cuts = chunker.cut_points(bytes, None);
        cuts.iter()
            .map(|&end| HashName::of(&bytes[std::mem::replace(&mut start, end)..end]))
            .collect()
    }
    fn missing(chunker: &impl Chunker, base: &[u8], edited: &[u8]) -> usize {
        let old = hashes(chunker, base);
        hashes(chunker, edited)
            .iter()
            .filter(|hash| !old.contains(hash))
            .count()
    }
    for edited in &edits {
        assert!(missing(&FastCdc::default(), &base, edited) <= 2);
        assert!(missing(&UltraCdc::default(), &base, edited) <= 2);
    }
}

/// docs/wire D2
#[test]
fn sizes_that_make_no_sense_are_refused() {
    assert!(ChunkParams::new(64, 65, 66).is_ok());
    assert!(ChunkParams::new(2048, 10_240, 1 << 30).is_ok());
    for (min, target, max) in [(63, 100, 200), (100, 100, 200), (101, 100, 200)] {
        assert_eq!(
            ChunkParams::new(min, target, max),
            Err(ChunkParamsError::Min { min, target })
        );
    }
    for (min, target, max) in [(64, 100, 100), (64, 100, (1 << 30) + 1)] {
        assert_eq!(
            ChunkParams::new(min, target, max),
            Err(ChunkParamsError::Max { max, target })
        );
    }
    for target in [0, 63, (1 << 30) + 1] {
        assert_eq!(
            ChunkParams::new(64, target, 200),
            Err(ChunkParamsError::Target { target })
        );
    }
}

#[test]
fn the_number_of_cuts_can_be_bounded() {
    let bytes = splitmix64(2, 200_000);
    let all = UltraCdc::default().cut_points(&bytes, None);
    assert_eq!(UltraCdc::default().cut_points(&bytes, Some(3)), all[..3]);
    assert!(FastCdc::default().cut_points(&[], None).is_empty());
    assert!(UltraCdc::default().cut_points(&[], None).is_empty());
}

proptest! {
    /// Chunks make up the whole; all but the last are between the bounds.
    #[test]
    fn chunks_keep_their_bounds(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..6000),
            prop::collection::vec(0_u8..2, 0..6000),
        ],
        min in 0_usize..200, target in 0_usize..400, max in 0_usize..800,
    ) {
        let params = ChunkParams::unchecked(min, target, max);
        for cuts in [
            FastCdc::new(params).cut_points(&bytes, None),
            UltraCdc::new(params).cut_points(&bytes, None),
        ] {
            prop_assert_eq!(cuts.last().copied().unwrap_or(0), bytes.len());
            let mut start = 0;
            for (index, end) in cuts.iter().enumerate() {
                let length = end - start;
                prop_assert!(length > 0);
                if (64..target).contains(&min) && target < max {
                    prop_assert!(length <= max);
                    prop_assert!(length >= min || index + 1 == cuts.len());
                }
                start = *end;
            }
        }
    }
}
