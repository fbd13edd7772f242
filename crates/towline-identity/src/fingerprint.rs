//! A public key in a form that two people compare by eye or over the telephone.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::public_key::PublicKey;

const CONTEXT: &[u8] = b"towline fingerprint 1";
const GROUPS: usize = 6;
const BYTES_PER_GROUP: usize = 5;

/// Six groups of five digits that stand for a public key (docs/wire I44): about 99 bits of its hash.
///
/// It is for people: programs compare [`PublicKey`]s. Who wants another key with the same digits has
/// to try some 10^30 keys.
///
/// ```
/// use towline_identity::PublicKey;
///
/// let fingerprint = PublicKey::from([0; 32]).fingerprint();
/// assert_eq!(fingerprint.to_string(), "53081 18077 11046 31970 71010 17122");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u32; GROUPS]);

impl Fingerprint {
    pub(crate) fn of(key: &PublicKey) -> Self {
        let hash = Sha256::new()
            .chain_update(CONTEXT)
            .chain_update(key.as_bytes())
            .finalize();
        let mut groups = [0; GROUPS];
        for (group, bytes) in groups.iter_mut().zip(hash.chunks_exact(BYTES_PER_GROUP)) {
            let number = bytes
                .iter()
                .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
            *group = (number % 100_000) as u32;
        }
        Self(groups)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, group) in self.0.iter().enumerate() {
            let space = if at == 0 { "" } else { " " };
            write!(f, "{space}{group:05}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_six_groups_of_five_digits_and_tells_keys_apart() {
        let one = PublicKey::from([1; 32]).fingerprint();
        let text = one.to_string();
        assert_eq!(text.len(), 35);
        let groups: Vec<_> = text.split(' ').collect();
        assert_eq!(groups.len(), 6);
        assert!(
            groups
                .iter()
                .all(|group| group.len() == 5 && group.bytes().all(|b| b.is_ascii_digit()))
        );
        assert_ne!(one, PublicKey::from([2; 32]).fingerprint());
    }
}
