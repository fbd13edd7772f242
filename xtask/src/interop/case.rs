//! What a case is, and the axes of the matrix.

use std::fmt;

use anyhow::Result;

use super::lab::Lab;

/// Plays one case to its end.
pub(super) type Play = Box<dyn FnOnce(&Lab) -> Result<Outcome> + Send>;

/// One conversation between towline and a peer.
pub(super) struct Case {
    pub(super) name: String,
    /// Waits for a time limit of the original's.
    pub(super) slow: bool,
    pub(super) run: Play,
}

impl Case {
    /// A case that waits for nobody.
    pub(super) fn new(
        name: String,
        run: impl FnOnce(&Lab) -> Result<Outcome> + Send + 'static,
    ) -> Self {
        Self {
            name,
            slow: false,
            run: Box::new(run),
        }
    }
}

/// How a case ended when towline did right.
pub(super) enum Outcome {
    Pass,
    /// The original failed on its own: the pitfall's number, and what was seen.
    Known(&'static str, &'static str),
}

/// How much of the matrix is played.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Scope {
    Quick,
    Whole,
}

/// Who made the keys and certificates of both ends.
#[derive(Clone, Copy)]
pub(super) enum Maker {
    Selfy,
    Tow,
}

/// One way to connect.
#[derive(Clone, Copy)]
pub(super) struct Link {
    pub(super) tls: bool,
    pub(super) compression: &'static str,
    pub(super) keys: Maker,
}

impl Link {
    /// The usual one, where a case is not about the link.
    pub(super) const TLS: Self = Self {
        tls: true,
        compression: "s2",
        keys: Maker::Tow,
    };

    /// The links that a scope plays with the originals for files and calls.
    pub(super) fn all(scope: Scope) -> Vec<Self> {
        let link = |tls, compression, keys| Self {
            tls,
            compression,
            keys,
        };
        match scope {
            Scope::Quick => vec![
                link(true, "s2", Maker::Selfy),
                link(true, "s2", Maker::Tow),
                link(false, "none", Maker::Selfy),
            ],
            Scope::Whole => vec![
                link(true, "s2", Maker::Selfy),
                link(true, "s2", Maker::Tow),
                link(true, "none", Maker::Selfy),
                link(false, "s2", Maker::Selfy),
                link(false, "none", Maker::Selfy),
                link(true, "lz4", Maker::Tow),
                link(true, "zstd:01", Maker::Tow),
                link(true, "zstd:03", Maker::Tow),
                link(true, "zstd:07", Maker::Tow),
                link(true, "zstd:11", Maker::Tow),
            ],
        }
    }

    /// The same with our Go peer, which makes no keys.
    pub(super) fn for_gopeer(scope: Scope) -> Vec<Self> {
        let link = |tls, compression| Self {
            tls,
            compression,
            ..Self::TLS
        };
        match scope {
            Scope::Quick => vec![link(true, "s2"), link(false, "none")],
            Scope::Whole => vec![
                link(true, "s2"),
                link(true, "none"),
                link(false, "s2"),
                link(false, "none"),
            ],
        }
    }

    pub(super) fn url(self, address: &str) -> String {
        format!("{}://{address}", if self.tls { "tls" } else { "tcp" })
    }

    /// The compression's name for `tow --compress` and `gopeer -press`.
    pub(super) const fn compress(self) -> &'static str {
        self.compression
    }

    /// The compression's name for the original's `-press`.
    pub(super) fn press(self) -> &'static str {
        match self.compression {
            "none" => "compression-none",
            name => name,
        }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = match self.keys {
            Maker::Selfy => "selfy",
            Maker::Tow => "tow",
        };
        let transport = if self.tls { "tls" } else { "tcp" };
        write!(f, "{transport} {} {keys}-keys", self.compress())
    }
}

/// The sizes of the files that travel over a link, in bytes.
pub(super) fn sizes(scope: Scope) -> &'static [u64] {
    const MIB: u64 = 1 << 20;
    match scope {
        // One more byte than a part holds.
        Scope::Quick => &[MIB + 1],
        Scope::Whole => &[0, 1, MIB, MIB + 1, 100 * MIB],
    }
}
