//! Journals of partial files: whatever is in one, its claims lie within the file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use towline_sync::fs::JournalReader;

fuzz_target!(|input: (u64, &[u8])| {
    let (size, bytes) = input;
    let reader = JournalReader::new(bytes);
    let _head = reader.head();
    for claim in reader.claims(size) {
        assert!(claim.length > 0);
        assert!(claim.offset.checked_add(claim.length).is_some_and(|end| end <= size));
    }
});
