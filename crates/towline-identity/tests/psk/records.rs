//! docs/wire R9 to R16

use towline_identity::psk::{
    BEFORE, BEHIND, MAX_RECORD, MIN_RECORD, Opener, RecordError, Role, SealError, Sealer,
    SessionKey,
};

use crate::{bytes, hex, vectors};

const START: [u8; 12] = [9; 12];

fn key() -> SessionKey {
    SessionKey::from([7; 32])
}

fn opener(sender: Role) -> Opener {
    Opener::new(&key(), sender, MAX_RECORD)
}

fn seal(sealer: &mut Sealer, text: &[u8]) -> Vec<u8> {
    let mut record = [&[0; BEFORE][..], text, &[0; BEHIND]].concat();
    sealer.seal(&mut record).unwrap();
    record
}

/// The text, or why there is none.
fn open(opener: &mut Opener, record: &[u8]) -> Result<Vec<u8>, RecordError> {
    let (length, rest) = record.split_first_chunk::<8>().unwrap();
    let mut rest = rest.to_vec();
    assert_eq!(opener.length(*length)?, rest.len());
    Ok(opener.open(&mut rest)?.to_vec())
}

/// docs/wire R9, R11, R13
#[test]
fn every_record_of_the_original_opens_and_is_made_alike() {
    let mut carried = Vec::new();
    for vector in vectors("psk-records.json") {
        let name = vector["name"].as_str().unwrap();
        let decoded = &vector["decoded"];
        let role = match decoded["direction"].as_str().unwrap() {
            "c2s" => Role::Client,
            _ => Role::Server,
        };
        let key = SessionKey::from(bytes::<32>(&decoded["key_hex"]));
        let (record, text) = (hex(&vector["hex"]), hex(&decoded["plaintext_hex"]));
        let mut sealer = Sealer::new(&key, role, bytes(&decoded["nonce_hex"]));
        assert_eq!(seal(&mut sealer, &text), record, "{name}");
        let mut opener = Opener::new(&key, role, MAX_RECORD);
        assert_eq!(open(&mut opener, &record), Ok(text), "{name}");
        if name.contains("nonce-carry") {
            carried.push((bytes::<12>(&decoded["nonce_hex"]), record));
        }
    }
    // Three in a row, by one sealer and for one opener.
    assert_eq!(carried.len(), 3);
    let key = SessionKey::from(std::array::from_fn(|at| at as u8));
    let mut sealer = Sealer::new(&key, Role::Server, carried[0].0);
    let mut opener = Opener::new(&key, Role::Server, MAX_RECORD);
    for (nonce, record) in &carried {
        let text = open(&mut opener, record).unwrap();
        let made = seal(&mut sealer, &text);
        assert_eq!(&made[8..BEFORE], nonce);
        assert_eq!(&made, record);
    }
}

/// docs/wire R12: whatever the random bytes are.
#[test]
fn nonces_say_whose_they_are() {
    for random in [[0; 12], [0xff; 12], [0xc0; 12]] {
        let record = seal(&mut Sealer::new(&key(), Role::Client, random), &[1; 8]);
        assert_eq!(record[BEFORE - 1] & 0xc0, 0);
        let record = seal(&mut Sealer::new(&key(), Role::Server, random), &[1; 8]);
        assert_eq!(record[BEFORE - 1], 0x7f);
    }
}

/// docs/wire R15: every byte of a record counts.
#[test]
fn a_change_anywhere_is_found() {
    let mut sealer = Sealer::new(&key(), Role::Client, START);
    let (first, second) = (
        seal(&mut sealer, b"sixteen bytes ok"),
        seal(&mut sealer, b"another text"),
    );
    for at in 8..first.len() {
        let mut changed = first.clone();
        changed[at] ^= 1;
        let found = open(&mut opener(Role::Client), &changed);
        assert_eq!(found, Err(RecordError::WrongKey), "byte {at}");
    }
    let mut opener = opener(Role::Client);
    open(&mut opener, &first).unwrap();
    let mut changed = second.clone();
    changed[BEFORE] ^= 0x80;
    assert_eq!(open(&mut opener, &changed), Err(RecordError::Forged));
    // The length is part of what is sealed: cut off, it opens no more.
    let mut rest = second[8..second.len() - 1].to_vec();
    assert_eq!(opener.open(&mut rest).map(drop), Err(RecordError::Forged));
    assert_eq!(open(&mut opener, &second), Ok(b"another text".to_vec()));
}

/// docs/wire R10
#[test]
fn lengths_out_of_bounds_are_refused_before_the_record_comes() {
    let opener = opener(Role::Client);
    for bad in [0_u64, 5, 15, 16, 27, 28, 35, 67_108_785, u64::MAX] {
        assert_eq!(
            opener.length(bad.to_be_bytes()),
            Err(RecordError::Length {
                found: bad,
                limit: MAX_RECORD
            })
        );
    }
    for good in [MIN_RECORD, MAX_RECORD] {
        assert_eq!(opener.length((good as u64).to_be_bytes()), Ok(good));
    }
    let mut short = [0; 35];
    let mut opener = opener;
    assert!(matches!(
        opener.open(&mut short),
        Err(RecordError::Length { found: 35, .. })
    ));
    assert!(matches!(
        opener.open(&mut []),
        Err(RecordError::Length { found: 0, .. })
    ));
    let mut sealer = Sealer::new(&key(), Role::Client, START);
    assert_eq!(sealer.seal(&mut [0; 43]), Err(SealError::Length(43)));
    assert_eq!(sealer.seal(&mut []), Err(SealError::Length(0)));
}

/// docs/wire R14
#[test]
fn replayed_reordered_and_reflected_records_are_refused() {
    let mut sealer = Sealer::new(&key(), Role::Client, START);
    let records: Vec<_> = (0..4).map(|text| seal(&mut sealer, &[text; 9])).collect();
    let mut opener = opener(Role::Client);
    open(&mut opener, &records[0]).unwrap();
    assert_eq!(open(&mut opener, &records[0]), Err(RecordError::OutOfOrder));
    assert_eq!(open(&mut opener, &records[2]), Err(RecordError::OutOfOrder));
    open(&mut opener, &records[1]).unwrap();
    open(&mut opener, &records[2]).unwrap();
    // The same record at its own sender, who expects the other role's.
    let mut own = Opener::new(&key(), Role::Server, MAX_RECORD);
    assert_eq!(open(&mut own, &records[3]), Err(RecordError::Reflected));
    let answer = seal(&mut Sealer::new(&key(), Role::Server, START), &[5; 9]);
    assert_eq!(open(&mut opener, &answer), Err(RecordError::Reflected));
}

/// docs/wire R14: the original's server has two encoders for one connection.
#[test]
fn two_interleaved_sequences_of_a_server_are_taken_and_no_third() {
    let mut replies = Sealer::new(&key(), Role::Server, [1; 12]);
    let mut pushes = Sealer::new(&key(), Role::Server, [99; 12]);
    let mut third = Sealer::new(&key(), Role::Server, [200; 12]);
    let mut opener = opener(Role::Server);
    let first = seal(&mut replies, b"reply 00");
    open(&mut opener, &first).unwrap();
    assert_eq!(open(&mut opener, &first), Err(RecordError::OutOfOrder));
    for _ in 0..3 {
        open(&mut opener, &seal(&mut pushes, b"push    ")).unwrap();
        open(&mut opener, &seal(&mut replies, b"reply   ")).unwrap();
    }
    let stray = seal(&mut third, b"who?    ");
    assert_eq!(open(&mut opener, &stray), Err(RecordError::OutOfOrder));
}

/// docs/wire R15: what a person sees who mixed up two key files.
#[test]
fn different_keys_show_with_the_first_record() {
    let record = seal(
        &mut Sealer::new(&SessionKey::from([8; 32]), Role::Client, START),
        b"anything",
    );
    let error = open(&mut opener(Role::Client), &record).unwrap_err();
    assert_eq!(error, RecordError::WrongKey);
    assert!(error.to_string().contains("different pre-shared keys"));
}
