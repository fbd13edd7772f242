//! What two manifests have in common.

use std::collections::HashMap;

use super::{MatchHashPair, RsyncChunk, RsyncDiff, RsyncHashes};

impl RsyncHashes {
    /// Compares with a newer version `b`. Every chunk of `b` whose bytes are in this one is in
    /// `both`, however often; `only_a` are the chunks that `b` has nowhere.
    #[must_use]
    pub fn diff(&self, b: &Self) -> RsyncDiff {
        self.compare(b, false)
    }

    /// As [`diff`](Self::diff), by the original's rule: a chunk of this version is matched once
    /// only, so that repeated content counts as missing (docs/wire D9).
    #[must_use]
    pub fn diff_compat(&self, b: &Self) -> RsyncDiff {
        self.compare(b, true)
    }

    fn compare(&self, b: &Self, once: bool) -> RsyncDiff {
        let mut diff = RsyncDiff {
            host_a: self.host.clone(),
            path_a: self.path.clone(),
            hashes_a: Some(Box::new(self.clone())),
            host_b: b.host.clone(),
            path_b: b.path.clone(),
            hashes_b: Some(Box::new(b.clone())),
            ..RsyncDiff::default()
        };
        // Of equal chunks the last one counts.
        let mut of_a: HashMap<&str, (&RsyncChunk, bool)> = self
            .chunks
            .iter()
            .map(|chunk| (chunk.hash.as_str(), (chunk, false)))
            .collect();
        for chunk in &b.chunks {
            match of_a.get_mut(chunk.hash.as_str()) {
                Some((old, used)) if !(once && *used) => {
                    *used = true;
                    diff.both.push(MatchHashPair {
                        a: Some(Box::new((*old).clone())),
                        b: Some(Box::new(chunk.clone())),
                    });
                }
                _ => diff.only_b.push(chunk.clone()),
            }
        }
        diff.only_a = self
            .chunks
            .iter()
            .filter(|chunk| !of_a.get(chunk.hash.as_str()).is_some_and(|(_, used)| *used))
            .cloned()
            .collect();
        diff
    }
}
