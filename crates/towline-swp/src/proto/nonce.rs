//! Names of sessions.

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng as _, SeedableRng as _};
use towline_codec::Text;

/// Digits, lower case, upper case, in the original's order.
const ALPHABET: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// Characters of a nonce.
pub const NONCE_LEN: usize = 30;

/// The nonce that follows from a seed: 30 characters, each as likely as the others (docs/wire W10).
pub fn session_nonce(seed: [u8; 32]) -> Text {
    let mut random = ChaCha12Rng::from_seed(seed);
    let mut text = [0; NONCE_LEN];
    for character in &mut text {
        // 248 is the largest multiple of 62 below 256: what lies above would favour some characters.
        let index = loop {
            let [byte, ..] = random.next_u32().to_le_bytes();
            if byte < 248 {
                break usize::from(byte % 62);
            }
        };
        *character = ALPHABET[index];
    }
    Text::from(&text[..])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// docs/wire W10
    #[test]
    fn nonces_have_the_originals_form_and_differ() {
        let nonces: Vec<Text> = (0..200_u8).map(|seed| session_nonce([seed; 32])).collect();
        let mut characters: BTreeSet<u8> = BTreeSet::new();
        for nonce in &nonces {
            assert_eq!(nonce.len(), 30);
            characters.extend(nonce.as_bytes().iter().copied());
        }
        assert!(characters.iter().all(|byte| byte.is_ascii_alphanumeric()));
        assert_eq!(characters.len(), 62);
        assert_eq!(nonces.iter().collect::<BTreeSet<_>>().len(), 200);
    }
}
