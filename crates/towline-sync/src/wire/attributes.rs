//! Owners and extended attributes, which are carried where they are asked for.

use bytes::Bytes;

use super::fields::{flag, option, optional};
use super::{Reader, WireError, Writer};

/// Longest name of an attribute, a user or a group, in bytes.
const NAME_MAX: usize = 255;
/// What names of attributes begin with.
const NAMESPACE: &[u8] = b"user.";
/// Largest number of a user or group: the one above it means none to the system.
const ID_MAX: u64 = u32::MAX as u64 - 1;

/// Whose a file is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owner {
    /// The number of its user.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
    /// The name of its user; empty if it has none.
    pub user: Bytes,
    /// The name of its group; empty if it has none.
    pub group: Bytes,
}

/// What of an entry is carried only where it is asked for (docs/wire D24).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Whose it is.
    pub owner: Option<Owner>,
    /// Extended attributes: names, ascending, and values.
    pub xattrs: Vec<(Bytes, Bytes)>,
    /// It has extended attributes that are not carried: there are too many, or they cannot be read.
    pub incomplete: bool,
}

impl Attributes {
    /// Most bytes of the extended attributes of one entry, names and values together.
    pub const MOST_BYTES: usize = 4096;

    /// Whether an extended attribute of this name is carried: only those that any program may set.
    pub fn carries(name: &[u8]) -> bool {
        name.len() > NAMESPACE.len()
            && name.len() <= NAME_MAX
            && name.starts_with(NAMESPACE)
            && !name.contains(&0)
    }

    /// Bytes of its names and values.
    pub fn weight(&self) -> usize {
        let owner = self.owner.as_ref();
        let names = owner.map_or(0, |owner| 10 + owner.user.len() + owner.group.len());
        let pairs = self.xattrs.iter();
        names
            + pairs
                .map(|(name, value)| name.len() + value.len())
                .sum::<usize>()
    }

    pub(super) fn encode(&self, out: &mut Writer<'_>) {
        option(&self.owner, out, |owner, out| {
            out.number(owner.uid.into());
            out.number(owner.gid.into());
            out.bytes(&owner.user);
            out.bytes(&owner.group);
        });
        out.byte(u8::from(self.incomplete));
        out.number(self.xattrs.len() as u64);
        for (name, value) in &self.xattrs {
            out.bytes(name);
            out.bytes(value);
        }
    }

    /// docs/wire D24: whatever it is that a peer wants set, it is a `user.` attribute, and little.
    pub(super) fn decode(input: &mut Reader<'_>) -> Result<Self, WireError> {
        let owner = optional(input, |input| {
            Ok(Owner {
                uid: input.at_most(ID_MAX)? as u32,
                gid: input.at_most(ID_MAX)? as u32,
                user: owner_name(input)?,
                group: owner_name(input)?,
            })
        })?;
        let incomplete = flag(input)?;
        let count = input.count(NAMESPACE.len() + 3)?;
        let mut xattrs: Vec<(Bytes, Bytes)> = Vec::new();
        let mut left = Self::MOST_BYTES;
        for _ in 0..count {
            let name = input.bytes(NAME_MAX.min(left))?;
            left -= name.len();
            let ascends = xattrs.last().is_none_or(|(before, _)| *before < name);
            if !ascends || !Self::carries(&name) {
                return Err(WireError::Name);
            }
            let value = input.bytes(left)?;
            left -= value.len();
            // Copies: they are remembered longer than the message that they came in.
            let copy = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
            xattrs.push((copy(&name), copy(&value)));
        }
        Ok(Self {
            owner,
            xattrs,
            incomplete,
        })
    }
}

fn owner_name(input: &mut Reader<'_>) -> Result<Bytes, WireError> {
    let name = input.bytes(NAME_MAX)?;
    if name.contains(&0) {
        return Err(WireError::Name);
    }
    Ok(Bytes::copy_from_slice(&name))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{Entry, Kind, Message, Meta};

    fn listed(attributes: Option<Attributes>) -> Message {
        let entry = |name: &'static [u8], attributes| Entry {
            name: Bytes::from_static(name),
            kind: Kind::Dir,
            meta: Meta::default(),
            target: None,
            link: None,
            leads: false,
            ends: false,
            attributes,
        };
        Message::List {
            dir: 0,
            first: 1,
            last: true,
            error: None,
            patterns: Bytes::new(),
            // What follows an entry with attributes is read as well.
            entries: vec![entry(b"a", attributes.map(Arc::new)), entry(b"b", None)],
        }
    }

    fn again(message: &Message) -> Result<Message, WireError> {
        let mut out = BytesMut::new();
        message.encode(&mut out);
        Message::decode(&mut out.freeze())
    }

    fn with(pairs: &[(&[u8], usize)]) -> Result<Message, WireError> {
        let pair = |(name, length): &(&[u8], usize)| {
            (Bytes::copy_from_slice(name), Bytes::from(vec![7; *length]))
        };
        again(&listed(Some(Attributes {
            xattrs: pairs.iter().map(pair).collect(),
            ..Attributes::default()
        })))
    }

    fn owned(uid: u32, user: &'static [u8]) -> Result<Message, WireError> {
        again(&listed(Some(Attributes {
            owner: Some(Owner {
                uid,
                user: Bytes::from_static(user),
                ..Owner::default()
            }),
            ..Attributes::default()
        })))
    }

    /// docs/wire D24: no attribute that means something to the system, none twice, and 4 KiB at most.
    #[test]
    fn what_a_peer_must_not_have_set_is_refused() {
        for name in [
            &b"security.capability"[..],
            b"system.posix_acl_access",
            b"trusted.overlay.opaque",
            b"User.x",
            b"user.",
            b"user.a\0",
        ] {
            assert_eq!(with(&[(name, 1)]), Err(WireError::Name), "{name:?}");
        }
        assert_eq!(
            with(&[(b"user.a", 1), (b"user.a", 1)]),
            Err(WireError::Name)
        );
        assert_eq!(
            with(&[(b"user.b", 1), (b"user.a", 1)]),
            Err(WireError::Name)
        );
        let long = [b"user.".as_slice(), &[b'x'; 251]].concat();
        assert_eq!(with(&[(&long, 1)]), Err(WireError::Length));
        assert!(with(&[(&long[..255], 1)]).is_ok());
        assert!(with(&[(b"user.a", 4090)]).is_ok());
        assert_eq!(with(&[(b"user.a", 4091)]), Err(WireError::Length));
        let two: [(&[u8], usize); 2] = [(b"user.a", 2042), (b"user.b", 2043)];
        assert_eq!(with(&two), Err(WireError::Length));
        // The number that means `leave it` to the system.
        assert_eq!(owned(u32::MAX, b""), Err(WireError::Length));
        assert_eq!(owned(0, b"a\0b"), Err(WireError::Name));
        assert!(owned(u32::MAX - 1, b"somebody").is_ok());
    }

    prop_compose! {
        fn attributes()(
            owner in proptest::option::of((0..u32::MAX, 0..u32::MAX, "[a-z]{0,9}", "\\PC{0,9}")),
            pairs in proptest::collection::btree_map("[a-z]{1,20}", any::<Vec<u8>>(), 0..9),
            incomplete in any::<bool>(),
        ) -> Attributes {
            Attributes {
                owner: owner.map(|(uid, gid, user, group)| Owner {
                    uid, gid, user: user.into(), group: group.into(),
                }),
                xattrs: pairs.into_iter()
                    .map(|(name, value)| (format!("user.{name}").into(), value.into()))
                    .collect(),
                incomplete,
            }
        }
    }

    proptest! {
        /// docs/wire D24.
        #[test]
        fn attributes_go_there_and_back(attributes in proptest::option::of(attributes())) {
            let message = listed(attributes);
            prop_assert_eq!(again(&message), Ok(message));
        }
    }
}
