//! The keys that every peer uses.

use std::path::Path;

use towline::identity::{Authority, AuthorityOptions, LeafOptions};

/// Makes an authority and the keys of a server, `node`, and of a client, `client`.
pub(crate) fn make(dir: &Path) -> anyhow::Result<()> {
    let authority = Authority::generate(&AuthorityOptions::new().days(1))?;
    for name in ["node", "client"] {
        let options = LeafOptions::new(name)
            .email(format!("{name}@bench.example"))
            .days(1);
        authority.issue(&options)?.save(dir, name, false)?;
    }
    Ok(())
}
