//! Identities of calls and streams.

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use rand_chacha::ChaCha12Rng;
use rand_core::{Rng as _, SeedableRng as _};
use towline_codec::Text;

/// Random bytes in a CallID.
const RANDOM_LEN: usize = 20;
/// Characters of their text, padding included.
const TEXT_LEN: usize = 28;

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
        let mut text = [0; TEXT_LEN];
        match URL_SAFE
            .encode_slice(random, &mut text)
            .map(|len| std::str::from_utf8(&text[..len]))
        {
            Ok(Ok(text)) => Text::from(text),
            // Never taken: 20 bytes are 28 characters. A longer way to the same text beats a panic.
            _ => Text::from(URL_SAFE.encode(random)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

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
