//! The text of a known-keys file: what a line says, and how lines are added and taken away.

use std::collections::HashMap;

use super::error::KnownKeysProblem;
use crate::escape::is_hidden;
use crate::peer::Peer;
use crate::public_key::PublicKey;

const HEADER: &str = "# known_pub_keys file: address pubkey-identity-string";
const PREFIX: &str = "pubkey@edwardsRPC-ed25519-b58c-";
/// The most characters of a field that are written: address and e-mails inform, nothing more.
const FIELD_CHARS: usize = 320;

/// One key of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KnownKey {
    /// Where the key was first met, such as `127.0.0.1`. It informs; nobody is judged by it.
    pub address: String,
    /// The key's text (docs/wire I25), as it stands in the file: nobody has checked that it is one.
    pub key: String,
    /// The e-mail addresses of its certificate, joined by commas; empty if there were none.
    pub emails: String,
    /// Which line of the file, counted from 1.
    pub line: usize,
}

impl KnownKey {
    /// The key, if its text is one.
    pub fn public_key(&self) -> Option<PublicKey> {
        self.key.parse().ok()
    }

    /// The key of a peer that has proven it, as it will stand in a file (docs/wire I41). `None` for a
    /// peer that has proven none.
    pub fn of_peer(peer: &Peer) -> Option<Self> {
        Some(Self::new(
            peer.public_key()?,
            peer.address(),
            &peer.emails().join(","),
        ))
    }

    /// A key that an administrator names. `address` is where it is expected to come from, with or
    /// without a scheme and a port; `emails` may be empty.
    ///
    /// What cannot stand in a line becomes `?`: a certificate may hold any character.
    pub fn new(key: PublicKey, address: &str, emails: &str) -> Self {
        let host = host(address);
        Self {
            address: field(if host.is_empty() { "-" } else { host }),
            key: key.to_string(),
            // A second colon would end them.
            emails: field(emails).replace(':', "?"),
            line: 0,
        }
    }

    fn to_line(&self) -> String {
        format!("{} {PREFIX}{}:{}\n", self.address, self.key, self.emails)
    }
}

/// The text of a known-keys file, read line by line (docs/wire I40), and every byte of it kept.
///
/// ```
/// use towline_identity::{KnownKey, KnownKeyList, PublicKey};
///
/// let mut list = KnownKeyList::parse(b"# my friends\n")?;
/// let key = PublicKey::from([7; 32]);
/// assert!(list.insert(KnownKey::new(key, "10.1.2.3", "ada@example.com")));
/// assert!(list.find(&key).is_some());
/// assert!(list.text().starts_with(b"# my friends\n10.1.2.3 pubkey@"));
/// # Ok::<(), towline_identity::KnownKeysProblem>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct KnownKeyList {
    text: Vec<u8>,
    keys: Vec<KnownKey>,
    /// The first entry of each key text.
    index: HashMap<String, usize>,
}

impl KnownKeyList {
    /// Reads a text. Comments, empty lines and lines of one word are passed over, as the original
    /// does, and kept.
    ///
    /// # Errors
    ///
    /// [`KnownKeysProblem`] names the first line that is neither. Then the whole text counts for
    /// nothing: a list that is half understood admits or refuses the wrong peers.
    pub fn parse(text: &[u8]) -> Result<Self, KnownKeysProblem> {
        let mut list = Self {
            text: text.to_vec(),
            ..Self::default()
        };
        for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
            if let Some(key) = read_line(line, at + 1)? {
                list.push(key);
            }
        }
        Ok(list)
    }

    /// The text, byte for byte as it was read, with what was added and without what was removed.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Every key, in the order of the file.
    pub fn keys(&self) -> &[KnownKey] {
        &self.keys
    }

    /// Whether there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The first line with this key. Only the key decides, neither address nor e-mail.
    pub fn find(&self, key: &PublicKey) -> Option<&KnownKey> {
        self.index
            .get(&key.to_string())
            .and_then(|at| self.keys.get(*at))
    }

    /// The first other key that was met at the same address.
    pub(crate) fn other_at(&self, key: &KnownKey) -> Option<&KnownKey> {
        let same = |known: &&KnownKey| known.address == key.address && known.key != key.key;
        self.keys
            .iter()
            .find(same)
            .filter(|known| known.address != "-")
    }

    /// Appends a key, after the usual first line if the text was empty; false if it is there already.
    pub fn insert(&mut self, mut key: KnownKey) -> bool {
        if self.index.contains_key(&key.key) {
            return false;
        }
        if self.text.iter().all(u8::is_ascii_whitespace) {
            self.text = format!("{HEADER}\n").into_bytes();
        } else if !self.text.ends_with(b"\n") {
            self.text.push(b'\n');
        }
        key.line = self.text.iter().filter(|byte| **byte == b'\n').count() + 1;
        self.text.extend_from_slice(key.to_line().as_bytes());
        self.push(key);
        true
    }

    /// Takes every line with this key away, and returns how many there were. All other lines stay as
    /// they are.
    pub fn remove(&mut self, key: &PublicKey) -> usize {
        let wanted = key.to_string();
        let lines: Vec<usize> = self
            .keys
            .iter()
            .filter(|found| found.key == wanted)
            .map(|found| found.line)
            .collect();
        let kept: Vec<&[u8]> = self
            .text
            .split(|byte| *byte == b'\n')
            .enumerate()
            .filter(|(at, _)| !lines.contains(&(at + 1)))
            .map(|(_, line)| line)
            .collect();
        let text = kept.join(&b'\n');
        // What is left was read without a complaint before.
        if let Ok(rest) = Self::parse(&text) {
            *self = rest;
        }
        lines.len()
    }

    fn push(&mut self, key: KnownKey) {
        self.index.entry(key.key.clone()).or_insert(self.keys.len());
        self.keys.push(key);
    }
}

/// `None` for a line that says nothing.
fn read_line(line: &[u8], number: usize) -> Result<Option<KnownKey>, KnownKeysProblem> {
    let text = String::from_utf8_lossy(line);
    let text = text.trim();
    if text.starts_with('#') {
        return Ok(None);
    }
    let mut fields = text.split_whitespace();
    let (Some(address), Some(identity)) = (fields.next(), fields.next()) else {
        return Ok(None);
    };
    let Some(identity) = identity.strip_prefix(PREFIX) else {
        return Err(KnownKeysProblem::Prefix { line: number });
    };
    let Some((key, emails)) = identity.split_once(':') else {
        return Err(KnownKeysProblem::Colon { line: number });
    };
    Ok(Some(KnownKey {
        address: address.to_owned(),
        key: key.to_owned(),
        // Whatever follows a second colon is no e-mail address.
        emails: emails.split(':').next().unwrap_or_default().to_owned(),
        line: number,
    }))
}

/// The host of `tcp://1.2.3.4:5`, `[::1]:5`, `1.2.3.4` or `::1`.
fn host(address: &str) -> &str {
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    if let Some(rest) = address.strip_prefix('[') {
        return rest.split_once(']').map_or(rest, |(host, _)| host);
    }
    match address.rsplit_once(':') {
        Some((host, _)) if !host.contains(':') => host,
        _ => address,
    }
}

/// One field of a line: nothing in it ends the field, the line or the list of addresses.
fn field(text: &str) -> String {
    text.chars()
        .take(FIELD_CHARS)
        .map(|c| {
            // A `#` in front would make a comment of the line.
            if c.is_whitespace() || is_hidden(c) || c == '#' {
                '?'
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(byte: u8) -> PublicKey {
        PublicKey::from([byte; 32])
    }

    fn line(byte: u8) -> String {
        KnownKey::new(key(byte), "1.2.3.4", "a@b").to_line()
    }

    /// docs/wire I40
    #[test]
    fn lines_are_read_as_the_original_reads_them() {
        let text = format!(
            "# comment\r\n\n  # indented\nonefield\n\t{}  \r\n{}",
            line(1).trim(),
            line(2).trim()
        );
        let list = KnownKeyList::parse(text.as_bytes()).unwrap();
        assert_eq!(list.text(), text.as_bytes());
        let [one, two] = list.keys() else {
            panic!("{list:?}")
        };
        assert_eq!((one.line, two.line), (5, 6));
        assert_eq!(one.public_key(), Some(key(1)));
        assert_eq!(
            (one.address.as_str(), one.emails.as_str()),
            ("1.2.3.4", "a@b")
        );
        assert_eq!(list.find(&key(2)), Some(two));
        assert_eq!(list.find(&key(3)), None);
    }

    /// docs/wire I40: counted from 1, as editors count.
    #[test]
    fn the_first_bad_line_is_named() {
        let good = line(1);
        let bad = format!("{good}# fine\n1.2.3.4 nonsense\n5.6.7.8 worse\n");
        assert_eq!(
            KnownKeyList::parse(bad.as_bytes()).unwrap_err(),
            KnownKeysProblem::Prefix { line: 3 }
        );
        let bad = format!("{good}1.2.3.4 {PREFIX}9abc\n");
        assert_eq!(
            KnownKeyList::parse(bad.as_bytes()).unwrap_err(),
            KnownKeysProblem::Colon { line: 2 }
        );
    }

    /// docs/wire I41
    #[test]
    fn a_key_is_inserted_once_and_every_other_byte_stays() {
        let before = b"# \xff\xfe mine\n\nodd";
        let mut list = KnownKeyList::parse(before).unwrap();
        assert!(list.insert(KnownKey::new(key(1), "tcp://[::1]:5", "")));
        assert!(!list.insert(KnownKey::new(key(1), "9.9.9.9", "other")));
        let expected = [
            &before[..],
            b"\n",
            format!("::1 {PREFIX}{}:\n", key(1)).as_bytes(),
        ]
        .concat();
        assert_eq!(list.text(), expected);
        assert_eq!(list.find(&key(1)).unwrap().line, 4);
        assert_eq!(list.remove(&key(1)), 1);
        assert_eq!(list.text(), [&before[..], b"\n"].concat());
        assert_eq!(list.remove(&key(1)), 0);
    }

    #[test]
    fn an_empty_text_begins_with_the_usual_line() {
        for empty in ["", "\n", " \r\n"] {
            let mut list = KnownKeyList::parse(empty.as_bytes()).unwrap();
            list.insert(KnownKey::new(key(1), "127.0.0.1", "a@b"));
            assert_eq!(
                list.text(),
                format!("{HEADER}\n127.0.0.1 {PREFIX}{}:a@b\n", key(1)).as_bytes()
            );
        }
    }

    #[test]
    fn addresses_lose_their_scheme_and_port() {
        for (address, host) in [
            ("tcp://127.0.0.1:5000", "127.0.0.1"),
            ("[::1]:5000", "::1"),
            ("tcp://[fe80::1%eth0]:5000", "fe80::1%eth0"),
            ("::1", "::1"),
            ("10.1.2.3", "10.1.2.3"),
            ("mem://name", "name"),
            ("unix://", "-"),
            ("", "-"),
        ] {
            assert_eq!(KnownKey::new(key(1), address, "").address, host);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_kept(text in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(list) = KnownKeyList::parse(&text) {
                prop_assert_eq!(list.text(), &text[..]);
            }
        }

        /// A certificate's e-mail address must not forge another line.
        #[test]
        fn no_address_and_no_email_forges_a_line(address in "(?s).*", emails in "(?s).*", more in "(?s).*") {
            let mut list = KnownKeyList::default();
            let emails = format!("{emails}\n6.6.6.6 {PREFIX}{}:{more}", key(6));
            list.insert(KnownKey::new(key(1), &address, &emails));
            let again = KnownKeyList::parse(list.text()).unwrap();
            prop_assert_eq!(again.keys(), list.keys());
            prop_assert_eq!(again.keys().len(), 1);
            prop_assert!(again.find(&key(1)).is_some());
            prop_assert!(again.find(&key(6)).is_none());
        }
    }
}
