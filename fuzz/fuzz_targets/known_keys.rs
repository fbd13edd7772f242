//! Any text as a known-keys file: read or refused, and changed without a byte of others lost.

#![no_main]

use libfuzzer_sys::fuzz_target;
use towline_identity::{KnownKey, KnownKeyList, PublicKey};

fuzz_target!(|data: &[u8]| {
    // What follows the first zero byte is what a peer says of itself.
    let (text, said) = match data.iter().position(|byte| *byte == 0) {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &b""[..]),
    };
    let said = String::from_utf8_lossy(said);
    let (address, emails) = said.split_once('|').unwrap_or((&said, ""));
    let Ok(before) = KnownKeyList::parse(text) else {
        return;
    };
    assert_eq!(before.text(), text);
    let key = PublicKey::from([7; 32]);
    let known = before.find(&key).is_some();

    let mut list = before.clone();
    assert_eq!(list.insert(KnownKey::new(key, address, emails)), !known);
    assert!(!list.insert(KnownKey::new(key, "other", "")));
    if text.iter().any(|byte| !byte.is_ascii_whitespace()) {
        assert!(list.text().starts_with(text));
    }
    // What was written is read again: one key more, on the line it said.
    let again = KnownKeyList::parse(list.text()).expect("it was written by us");
    assert_eq!(again.keys(), list.keys());
    assert_eq!(
        again.keys().len(),
        before.keys().len() + usize::from(!known)
    );
    let found = again.find(&key).expect("it was inserted");
    assert_eq!(found.public_key(), Some(key));

    let lines = list.remove(&key);
    assert!(lines >= 1 && list.find(&key).is_none());
    assert_eq!(list.keys().len() + lines, again.keys().len());
    KnownKeyList::parse(list.text()).expect("lines were only taken away");
});
