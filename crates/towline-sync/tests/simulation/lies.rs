//! Peers that say what is not so.

use bytes::{Bytes, BytesMut};
use towline_sim::{Conditions, Rng};
use towline_sync::fs::Store as _;
use towline_sync::wire::Message;

use crate::for_seeds;
use crate::runs::{mirror, pair};
use crate::trees::{facts, later, tree};

/// Changes a message as a peer may that lies about hashes, bytes, sizes and ranges.
fn lie(rng: &mut Rng, message: Message) -> Message {
    if !rng.chance(1, 8) {
        return message;
    }
    match message {
        Message::Data { id, offset, bytes } if !bytes.is_empty() => {
            let mut changed = BytesMut::from(&*bytes);
            let at = rng.below(changed.len());
            changed[at] ^= 1;
            let bytes = changed.freeze();
            Message::Data { id, offset, bytes }
        }
        Message::Small {
            id,
            meta,
            hash,
            bytes,
        } if !bytes.is_empty() => {
            let mut changed = bytes.to_vec();
            let at = rng.below(changed.len());
            changed[at] ^= 1;
            let bytes = Bytes::from(changed);
            Message::Small {
                id,
                meta,
                hash,
                bytes,
            }
        }
        Message::Manifest {
            id,
            mut chunks,
            end,
        } if !chunks.is_empty() => {
            let at = rng.below(chunks.len());
            if let Some(hash) = &mut chunks[at].hash {
                hash[0] ^= 1;
            }
            Message::Manifest { id, chunks, end }
        }
        Message::Manifest {
            id,
            chunks,
            end: Some((meta, mut root)),
        } => {
            root[0] ^= 1;
            let end = Some((meta, root));
            Message::Manifest { id, chunks, end }
        }
        Message::End { id, meta, mut root } => {
            root[5] ^= 1;
            Message::End { id, meta, root }
        }
        Message::Fine {
            id,
            chunk,
            mut pieces,
        } if !pieces.is_empty() => {
            let at = rng.below(pieces.len());
            pieces[at].hash[3] ^= 1;
            Message::Fine { id, chunk, pieces }
        }
        other => other,
    }
}

/// docs/wire D19: whatever a sender says of its bytes, every file that users see is what was there, or
/// what its sender has; the rest fails, and the sync comes to its end.
#[test]
fn sim_lies_about_content_store_nothing_wrong() {
    for_seeds(|_, mut rng| {
        let old = tree(&mut rng);
        let new = later(&mut rng, &old);
        let before = facts(&old);
        let mut pair = pair(&mut rng, &Conditions::default(), &mirror(), (&new, &old));
        pair.a.lie = Some(lie);
        pair.drive_bounded(3_000_000).unwrap();
        assert!(pair.b.engine.is_finished() || pair.b.violation.is_some());
        let after = facts(&new);
        for (path, kind, bytes, ..) in facts(&old) {
            if path.name().windows(5).any(|part| part == b".tow-") {
                continue;
            }
            let known = before.iter().chain(&after).any(|fact| fact.2 == bytes);
            assert!(known, "{path} {kind:?} is neither old nor new");
        }
    });
}

/// docs/wire D12: any bytes end a sync or are read; nothing panics, and nothing outside is touched.
#[test]
fn sim_nonsense_ends_the_sync() {
    for_seeds(|_, mut rng| {
        let old = tree(&mut rng);
        let new = later(&mut rng, &old);
        let mut pair = pair(&mut rng, &Conditions::default(), &mirror(), (&new, &old));
        pair.a.lie = Some(|rng, message| {
            if !rng.chance(1, 10) {
                return message;
            }
            let mut bytes = BytesMut::new();
            message.encode(&mut bytes);
            // Behind the length, anything.
            for _ in 0..1 + rng.below(3) {
                let at = 5 + rng.below(bytes.len() - 5);
                bytes[at] = rng.any() as u8;
            }
            Message::decode(&mut bytes.freeze()).unwrap_or(Message::ListEnd)
        });
        pair.b.lie = pair.a.lie;
        pair.drive_bounded(3_000_000).unwrap();
        assert!(old.stat(&towline_sync::wire::RelPath::root()).is_ok());
    });
}
