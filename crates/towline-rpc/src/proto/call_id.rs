//! Identities of calls and streams.

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng as _, SeedableRng as _};
use towline_codec::Text;

/// Random bytes in a CallID.
const RANDOM_LEN: usize = 20;
/// Characters of their text, padding included.
const TEXT_LEN: usize = 28;
/// Of base64url.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Makes CallIDs: 20 random bytes as padded base64url, 28 characters (docs/wire M7).
#[derive(Debug)]
pub(crate) struct CallIds {
    random: ChaCha12Rng,
}

impl CallIds {
    /// A generator whose whole output follows from `seed`.
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self {
            random: ChaCha12Rng::from_seed(seed),
        }
    }

    pub(crate) fn next(&mut self) -> Text {
        let mut random = [0; RANDOM_LEN];
        self.random.fill_bytes(&mut random);
        let mut text = [b'='; TEXT_LEN];
        // Without a general encoder's cases: three bytes make four characters, the last two make three.
        for (four, three) in text.chunks_exact_mut(4).zip(random.chunks(3)) {
            let bits = match *three {
                [a, b, c] => u32::from_be_bytes([0, a, b, c]),
                [a, b] => u32::from_be_bytes([0, a, b, 0]),
                _ => 0,
            };
            for (at, character) in four.iter_mut().take(three.len() + 1).enumerate() {
                *character = ALPHABET[(bits >> (18 - 6 * at)) as usize & 63];
            }
        }
        Text::from(&text[..])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use base64::{Engine as _, engine::general_purpose::URL_SAFE};

    use super::*;

    #[test]
    fn call_ids_are_what_an_encoder_makes_of_the_random_bytes() {
        let mut ids = CallIds::new([9; 32]);
        let mut random = ChaCha12Rng::from_seed([9; 32]);
        for _ in 0..1000 {
            let mut bytes = [0; RANDOM_LEN];
            random.fill_bytes(&mut bytes);
            assert_eq!(ids.next(), URL_SAFE.encode(bytes).as_str());
        }
    }

    #[test]
    fn call_ids_have_the_form_of_the_original_and_differ() {
        let mut ids = CallIds::new([7; 32]);
        let many: BTreeSet<Text> = (0..1000).map(|_| ids.next()).collect();
        assert_eq!(many.len(), 1000);
        assert!(
            many.iter()
                .all(|id| id.len() == 28 && id.as_bytes().ends_with(b"="))
        );
        assert_eq!(CallIds::new([7; 32]).next(), CallIds::new([7; 32]).next());
    }
}
