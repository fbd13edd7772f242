//! Nonces: who may use which, and which may come next (docs/wire R12 to R14).

use super::Role;

pub(super) const NONCE_BYTES: usize = 12;

/// The last byte, the most significant one, says whose nonce it is.
const LAST: usize = NONCE_BYTES - 1;
const CLIENT_MASK: u8 = 0x3f;
const SERVER_LAST: u8 = 0x7f;

/// Two sequences that begin nearer to each other than this are one, of which something was left out
/// or repeated: random starts are further apart.
const APART: u128 = 1 << 48;

/// A nonce as the number it is on the wire: little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Nonce(u128);

impl Nonce {
    /// The first nonce of a sequence, made of random bytes.
    pub(super) fn first(role: Role, mut random: [u8; NONCE_BYTES]) -> Self {
        random[LAST] = match role {
            Role::Client => random[LAST] & CLIENT_MASK,
            Role::Server => SERVER_LAST,
        };
        Self::from_bytes(random)
    }

    pub(super) fn from_bytes(bytes: [u8; NONCE_BYTES]) -> Self {
        let mut wide = [0; 16];
        wide[..NONCE_BYTES].copy_from_slice(&bytes);
        Self(u128::from_le_bytes(wide))
    }

    pub(super) fn to_bytes(self) -> [u8; NONCE_BYTES] {
        let mut bytes = [0; NONCE_BYTES];
        bytes.copy_from_slice(&self.0.to_le_bytes()[..NONCE_BYTES]);
        bytes
    }

    pub(super) const fn next(self) -> Self {
        Self((self.0 + 1) & ((1 << (8 * NONCE_BYTES as u32)) - 1))
    }

    fn is_of(self, role: Role) -> bool {
        let last = self.to_bytes()[LAST];
        match role {
            Role::Client => last & !CLIENT_MASK == 0,
            Role::Server => last == SERVER_LAST,
        }
    }
}

/// What is wrong with a nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// The other role's: a record that was sent back to its sender.
    Reflected,
    /// Neither the next one of a sequence nor the first one of another.
    OutOfOrder,
}

/// The nonces that the other end has used.
#[derive(Debug)]
pub(super) struct Seen {
    sender: Role,
    /// The next nonce of each sequence. The original's servers have two: one for answers, one for
    /// what they say of their own accord.
    next: [Option<Nonce>; 2],
}

impl Seen {
    pub(super) const fn of(sender: Role) -> Self {
        Self {
            sender,
            next: [None, None],
        }
    }

    /// Which sequence a nonce belongs to. Nothing is noted before the record has proven genuine.
    pub(super) fn check(&self, nonce: Nonce) -> Result<Sequence, Wrong> {
        if !nonce.is_of(self.sender) {
            return Err(Wrong::Reflected);
        }
        let sequences = match self.sender {
            Role::Client => 1,
            Role::Server => 2,
        };
        for (at, next) in self.next[..sequences].iter().enumerate() {
            match *next {
                None => return Ok(Sequence(at)),
                Some(next) if next == nonce => return Ok(Sequence(at)),
                // A part of this one that came before, or comes too early.
                Some(next) if next.0.abs_diff(nonce.0) < APART => return Err(Wrong::OutOfOrder),
                Some(_) => {}
            }
        }
        // docs/wire R14: a third sequence, or a client's second.
        Err(Wrong::OutOfOrder)
    }

    pub(super) const fn note(&mut self, sequence: Sequence, nonce: Nonce) {
        self.next[sequence.0] = Some(nonce.next());
    }

    /// Whether no record has come yet.
    pub(super) const fn is_fresh(&self) -> bool {
        self.next[0].is_none()
    }
}

/// One of the sequences of [`Seen`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sequence(usize);

#[cfg(test)]
mod tests {
    use super::*;

    fn server(start: u8) -> Nonce {
        Nonce::first(Role::Server, [start; 12])
    }

    /// docs/wire R12, R13
    #[test]
    fn nonces_carry_the_role_and_count_from_the_left() {
        let bytes = Nonce::first(Role::Client, [0xff; 12]).to_bytes();
        assert_eq!(bytes[LAST], 0x3f);
        let bytes = Nonce::first(Role::Server, [0; 12]).to_bytes();
        assert_eq!(bytes[LAST], 0x7f);
        let nonce = Nonce::from_bytes([0xff, 0xff, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0x7f]);
        assert_eq!(
            nonce.next().to_bytes(),
            [0, 0, 3, 3, 4, 5, 6, 7, 8, 9, 10, 0x7f]
        );
    }

    /// docs/wire R14
    #[test]
    fn a_client_has_one_sequence() {
        let mut seen = Seen::of(Role::Client);
        let first = Nonce::first(Role::Client, [7; 12]);
        assert!(seen.is_fresh());
        let sequence = seen.check(first).unwrap();
        seen.note(sequence, first);
        assert!(!seen.is_fresh());
        assert_eq!(seen.check(first), Err(Wrong::OutOfOrder), "replayed");
        assert_eq!(
            seen.check(first.next().next()),
            Err(Wrong::OutOfOrder),
            "one left out"
        );
        assert_eq!(
            seen.check(Nonce::first(Role::Client, [9; 12])),
            Err(Wrong::OutOfOrder)
        );
        assert_eq!(seen.check(server(1)), Err(Wrong::Reflected));
        assert!(seen.check(first.next()).is_ok());
    }

    /// docs/wire R14: also, a sequence cannot be repeated as if it were the second one.
    #[test]
    fn a_server_has_two_sequences_that_interleave() {
        let mut seen = Seen::of(Role::Server);
        let (mut a, mut b) = (server(1), server(200));
        let take = |seen: &mut Seen, nonce: Nonce| {
            let sequence = seen.check(nonce)?;
            seen.note(sequence, nonce);
            Ok::<_, Wrong>(())
        };
        let first = a;
        take(&mut seen, a).unwrap();
        a = a.next();
        take(&mut seen, a).unwrap();
        assert_eq!(
            take(&mut seen, first),
            Err(Wrong::OutOfOrder),
            "not a second sequence"
        );
        let skipped = a.next().next();
        assert_eq!(
            take(&mut seen, skipped),
            Err(Wrong::OutOfOrder),
            "nor is this"
        );
        take(&mut seen, b).unwrap();
        for _ in 0..3 {
            a = a.next();
            take(&mut seen, a).unwrap();
            b = b.next();
            take(&mut seen, b).unwrap();
        }
        assert_eq!(
            take(&mut seen, server(90)),
            Err(Wrong::OutOfOrder),
            "a third"
        );
        assert_eq!(
            seen.check(Nonce::first(Role::Client, [0; 12])),
            Err(Wrong::Reflected)
        );
    }
}
