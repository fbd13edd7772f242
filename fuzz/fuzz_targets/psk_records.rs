//! Records of the pre-shared-key layer in any order, changed in any way: only those that were sealed by the
//! other end, unchanged and in the order of their sealing, are opened.

#![no_main]

use libfuzzer_sys::fuzz_target;
use towline_identity::psk::{BEFORE, BEHIND, Hello, MAX_RECORD, Opener, Role, Sealer, SessionKey};

/// What a direction has sealed, and how far its opener is.
struct Direction {
    sealer: Sealer,
    opener: Opener,
    sealed: Vec<Vec<u8>>,
    /// The place of the record that is due.
    opened: usize,
    begun: bool,
}

impl Direction {
    fn new(role: Role, random: u8) -> Self {
        let key = || SessionKey::from([7; 32]);
        Self {
            sealer: Sealer::new(&key(), role, [random; 12]),
            opener: Opener::new(&key(), role, MAX_RECORD),
            sealed: Vec::new(),
            opened: 0,
            begun: false,
        }
    }

    fn seal(&mut self, text: u8) {
        let mut record = vec![0; BEFORE];
        record.extend(std::iter::repeat_n(text, 8 + usize::from(text)));
        record.extend([0; BEHIND]);
        self.sealer.seal(&mut record).expect("room for all of it");
        self.sealed.push(record);
    }

    /// Gives the opener bytes that came. False if the connection is over.
    fn open(&mut self, mut record: Vec<u8>) -> bool {
        if !self.begun {
            // docs/wire R14: a sequence begins where it likes.
            self.opened = self
                .sealed
                .iter()
                .position(|sealed| *sealed == record)
                .unwrap_or(0);
        }
        let due = self.sealed.get(self.opened) == Some(&record);
        let Some((length, rest)) = record.split_first_chunk_mut::<8>() else {
            return true;
        };
        let whole = self
            .opener
            .length(*length)
            .is_ok_and(|length| length == rest.len());
        if !whole {
            assert!(!due, "a record that is due was refused by its length");
            return false;
        }
        match self.opener.open(rest) {
            Ok(text) => {
                assert!(due, "a record that was not due was opened");
                assert!(text.windows(2).all(|pair| pair[0] == pair[1]));
                self.opened += 1;
                self.begun = true;
                true
            }
            Err(error) => {
                assert!(!due, "a record that is due was refused: {error}");
                assert!(!error.to_string().is_empty());
                false
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    if let Some(field) = data.first_chunk::<8>() {
        // What a hello announces is believed up to its bound alone.
        assert!(Hello::length(*field).is_ok() <= (u64::from_be_bytes(*field) <= 4096));
    }
    let mut bytes = data.iter().copied();
    // A sequence that begins within a few records of the largest nonce would run into the role's bits: one in
    // 2^46 for all records that a key is good for (docs/wire R16).
    let random = bytes.next().unwrap_or(0) & 0x3f;
    let mut directions = [
        Direction::new(Role::Client, random),
        Direction::new(Role::Server, random.wrapping_add(1)),
    ];
    while let (Some(operation), Some(a), Some(b)) = (bytes.next(), bytes.next(), bytes.next()) {
        let to = usize::from(a & 1);
        if operation & 3 == 0 {
            directions[to].seal(b);
            continue;
        }
        // Whatever was sealed by anybody, the one that is due as often as the others together.
        let from = if operation & 4 == 0 { to } else { 1 - to };
        let sealed = &directions[from].sealed;
        let at = if operation & 8 == 0 {
            directions[from].opened
        } else {
            usize::from(a >> 1) % sealed.len().max(1)
        };
        let Some(mut record) = sealed.get(at).cloned() else {
            continue;
        };
        match operation & 3 {
            1 => {}
            2 => {
                let at = usize::from(b) % record.len();
                record[at] ^= operation >> 4;
            }
            _ => record.truncate(usize::from(b)),
        }
        if !directions[to].open(record) {
            break;
        }
    }
});
