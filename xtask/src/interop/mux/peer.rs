//! Who is met, and what each of them can do.

use super::{End, Play};

/// A wire format.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Yamux,
    Muxado,
}

/// Where a peer's program comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// A Go module of `interop/mux`, built as this program, with this module file if it is not `go.mod`.
    Go {
        module: &'static str,
        program: &'static str,
        modfile: Option<&'static str>,
    },
    /// The crate of `interop/muxrust`.
    Rust,
}

/// Another multiplexer.
pub(super) struct Peer {
    pub(super) name: &'static str,
    pub(super) source: Source,
    /// Its name for the flag `--mux`.
    pub(super) mux: &'static str,
    pub(super) dialect: Dialect,
    /// A stream goes on in the other direction when one has ended.
    half_closes: bool,
    resets: Resets,
    /// Its session goes on when the other end resets a stream.
    survives_resets: bool,
    /// It can measure the way to its peer and back.
    pings: bool,
    /// It can say that it takes no more streams, and go on with those that are there.
    goes_away: bool,
    /// Another's go-away leaves the streams that are there alone.
    survives_go_away: bool,
    /// It has a bounded backlog and refuses what does not fit.
    refuses: bool,
    /// What its reader is told when a stream is reset.
    pub(super) sees_a_reset_as: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Resets {
    Yes,
    /// It can only forget a stream and reset what still arrives for it.
    WhatArrivesLate,
    No,
}

/// What most of them can do.
const USUAL: Peer = Peer {
    name: "",
    source: Source::Rust,
    mux: "",
    dialect: Dialect::Yamux,
    half_closes: true,
    resets: Resets::Yes,
    survives_resets: true,
    pings: true,
    goes_away: true,
    survives_go_away: true,
    refuses: true,
    sees_a_reset_as: "reset",
};

const LIBP2P: Source = Source::Go {
    module: "libp2p",
    program: "libp2p",
    modfile: None,
};

const MUXADO: Source = Source::Go {
    module: "muxado",
    program: "muxado",
    modfile: None,
};

pub(super) const PEERS: [Peer; 10] = [
    Peer {
        name: "hashicorp/yamux v0.1.2",
        source: Source::Go {
            module: "hashicorp",
            program: "hashicorp",
            modfile: None,
        },
        mux: "hashicorp",
        resets: Resets::No,
        ..USUAL
    },
    Peer {
        name: "hashicorp/yamux v0.1.1",
        source: Source::Go {
            module: "hashicorp",
            program: "hashicorp-v0.1.1",
            modfile: Some("v0.1.1.mod"),
        },
        mux: "hashicorp",
        half_closes: false,
        resets: Resets::No,
        ..USUAL
    },
    Peer {
        name: "libp2p/go-yamux v3.1.2",
        source: LIBP2P,
        mux: "v3",
        ..USUAL
    },
    Peer {
        name: "libp2p/go-yamux v4.0.2",
        source: LIBP2P,
        mux: "v4",
        ..USUAL
    },
    Peer {
        name: "libp2p/go-yamux v5.1.0",
        source: LIBP2P,
        mux: "v5",
        goes_away: false,
        survives_go_away: false,
        ..USUAL
    },
    Peer {
        name: "inconshreveable/muxado fc182d9",
        source: MUXADO,
        mux: "muxado",
        dialect: Dialect::Muxado,
        resets: Resets::WhatArrivesLate,
        ..USUAL
    },
    Peer {
        name: "ngrok/muxado-go v2.0.2",
        source: MUXADO,
        mux: "ngrok",
        dialect: Dialect::Muxado,
        resets: Resets::WhatArrivesLate,
        ..USUAL
    },
    Peer {
        name: "crate yamux 0.14",
        mux: "yamux",
        pings: false,
        goes_away: false,
        survives_go_away: false,
        refuses: false,
        sees_a_reset_as: "eof",
        ..USUAL
    },
    Peer {
        name: "crate tokio-yamux 0.3.20",
        mux: "tokio-yamux",
        half_closes: false,
        pings: false,
        goes_away: false,
        survives_go_away: false,
        refuses: false,
        ..USUAL
    },
    Peer {
        name: "crate muxado 0.5.4",
        mux: "muxado",
        dialect: Dialect::Muxado,
        resets: Resets::No,
        survives_resets: false,
        goes_away: false,
        survives_go_away: false,
        refuses: false,
        ..USUAL
    },
];

const ENDED_BY_RESETS: &str = "a reset can end its whole session, with Go's multiplexers too";

impl Peer {
    /// Why this play has no meaning with this peer at this end.
    pub(super) fn cannot(&self, play: Play, end: End) -> Option<&'static str> {
        let connects = end == End::Connects;
        match play {
            Play::HalfClose if connects && self.is_deaf_after_close() => {
                Some("its stream reads its end as soon as it has closed its own direction")
            }
            Play::Reset if connects && self.resets != Resets::Yes => {
                Some("it has no call that resets a stream")
            }
            Play::ResetByPeer if !connects && self.resets == Resets::No => {
                Some("it has no call that resets a stream")
            }
            Play::Reset if !self.survives_resets => Some(ENDED_BY_RESETS),
            Play::ResetByPeer | Play::Refused if connects && !self.survives_resets => {
                Some(ENDED_BY_RESETS)
            }
            Play::Ping if connects && !self.pings => Some("it has no ping"),
            Play::PingByPeer if !connects && !self.pings => Some("it has no ping"),
            Play::GoAway | Play::GoAwayByPeer => {
                let its_own = connects == (play == Play::GoAway);
                match (its_own, self.goes_away, self.survives_go_away) {
                    (true, false, _) => Some("it cannot go away without closing the session"),
                    (false, _, false) => Some("it closes the session when the other end goes away"),
                    _ => None,
                }
            }
            Play::Refused if !connects && !self.refuses => {
                Some("it has no backlog that refuses streams")
            }
            _ => None,
        }
    }

    /// Whether this play needs muxado's heartbeats: the format itself has no ping.
    pub(super) fn heartbeat(&self, play: Play) -> bool {
        self.dialect == Dialect::Muxado && matches!(play, Play::Ping | Play::PingByPeer)
    }

    /// Whether streams of this play must end only when all of their echo is there.
    pub(super) fn close_late(&self, play: Play) -> bool {
        !self.half_closes && play != Play::HalfClose
    }

    /// Only as the opener: what has ended there is a stream's own direction.
    fn is_deaf_after_close(&self) -> bool {
        !self.half_closes && self.source != Source::Rust
    }
}
