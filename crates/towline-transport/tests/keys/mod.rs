//! Throw-away keys.

use std::sync::Arc;

use towline_identity::{Authority, AuthorityOptions, Identity, LeafOptions};

pub(crate) fn authority() -> Authority {
    Authority::generate(&AuthorityOptions::new()).unwrap()
}

pub(crate) fn identity(authority: &Authority, name: &str) -> Arc<Identity> {
    Arc::new(authority.issue(&LeafOptions::new(name)).unwrap())
}
