//! What both dialects say, in words of neither.

use std::fmt;

/// Which of the two wire formats a session speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// The format of hashicorp/yamux and libp2p's go-yamux.
    Yamux,
    /// Version 2 of the format of inconshreveable/muxado.
    Muxado,
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Yamux => "yamux",
            Self::Muxado => "muxado",
        })
    }
}

/// Which end of the connection this is. It decides nothing but who gives which stream ids; the two
/// ends agree on it outside of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Gives odd stream ids.
    Client,
    /// Gives even stream ids.
    Server,
}

/// What kind of frame a [`FrameTap`] was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FrameKind {
    /// Payload, or the empty frame that opens or ends a stream.
    Data,
    /// Credit for a stream: WINDOW_UPDATE, WNDINC.
    Credit,
    /// The abrupt end of a stream. In yamux a window update with the RST flag.
    Reset,
    /// A ping.
    Ping,
    /// The answer to a ping.
    Pong,
    /// No more streams, or the end.
    GoAway,
    /// A type that this version does not know.
    Unknown,
}

/// One frame as it passed, without its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrameInfo {
    /// True if this side sent it.
    pub sent: bool,
    /// What it is.
    pub kind: FrameKind,
    /// The stream it is for; 0 for the session.
    pub stream: u32,
    /// The flag bits of the header.
    pub flags: u16,
    /// Payload bytes, credit, ping value or code, as the kind has it.
    pub length: u32,
}

impl fmt::Display for FrameInfo {
    /// One line, such as `write DATA stream 3 length 5 flags 0x2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.sent { "write" } else { "read" };
        let kind = match self.kind {
            FrameKind::Data => "DATA",
            FrameKind::Credit => "CREDIT",
            FrameKind::Reset => "RESET",
            FrameKind::Ping => "PING",
            FrameKind::Pong => "PONG",
            FrameKind::GoAway => "GO_AWAY",
            FrameKind::Unknown => "UNKNOWN",
        };
        write!(
            f,
            "{way} {kind} stream {} length {} flags {:#x}",
            self.stream, self.length, self.flags
        )
    }
}

/// Sees every frame of a session, as the original's `NewFramer` hook and debug framer do.
///
/// It is called with the session's lock held: it must be quick and must not use the session.
///
/// ```
/// use std::sync::Arc;
/// use towline_mux::{FrameInfo, proto::muxado::Config};
///
/// let config = Config::default().tap(Arc::new(|frame: &FrameInfo| eprintln!("{frame}")));
/// # let _ = config;
/// ```
pub trait FrameTap: Send + Sync {
    /// A frame was decoded, or is about to be written.
    fn frame(&self, frame: &FrameInfo);
}

impl<F: Fn(&FrameInfo) + Send + Sync> FrameTap for F {
    fn frame(&self, frame: &FrameInfo) {
        self(frame);
    }
}

/// A frame that came, as the engine takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inbound {
    Stream(StreamFrame),
    Ping {
        value: u32,
    },
    Pong {
        value: u32,
    },
    GoAway {
        last: u32,
        code: u32,
        /// Bytes of text that follow.
        debug: usize,
    },
    /// Bytes that mean nothing to us.
    Unknown {
        body: usize,
    },
}

/// A frame for one stream. Parts take effect in the order of the fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamFrame {
    pub(crate) id: u32,
    pub(crate) syn: bool,
    pub(crate) ack: bool,
    pub(crate) fin: bool,
    pub(crate) reset: Option<u32>,
    pub(crate) credit: u32,
    /// True for a DATA frame, also an empty one.
    pub(crate) data: bool,
    /// Payload bytes that follow.
    pub(crate) body: usize,
}

/// A frame to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outbound {
    /// The header of a payload of this length.
    Data {
        id: u32,
        syn: bool,
        fin: bool,
        len: u32,
    },
    /// yamux only: the window update that opens a stream.
    Open {
        id: u32,
        credit: u32,
    },
    /// yamux only: the window update that acknowledges a stream.
    Acknowledge {
        id: u32,
        credit: u32,
    },
    Credit {
        id: u32,
        credit: u32,
    },
    /// No more data.
    Fin {
        id: u32,
    },
    Reset {
        id: u32,
        code: u32,
    },
    Ping {
        value: u32,
    },
    Pong {
        value: u32,
    },
    GoAway {
        last: u32,
        code: u32,
        debug: u32,
    },
}
