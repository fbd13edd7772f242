//! What a muxado session allows itself and its peer.

use crate::proto::{
    Dialect,
    settings::{Settings, shared_setters},
};

/// What a session allows itself and its peer. The defaults are the original's, except where a setter
/// says otherwise.
///
/// ```
/// use towline_mux::proto::muxado::Config;
///
/// let config = Config::default().max_window_size(1 << 20);
/// config.validate()?;
/// # Ok::<(), towline_mux::proto::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Config(Settings);

impl Default for Config {
    fn default() -> Self {
        Self(Settings::new(Dialect::Muxado))
    }
}

impl Config {
    /// The window of every stream, in both directions, in bytes. **Both ends must be set alike**: nothing
    /// is said about it on the wire, and a stream whose peer has a larger one is reset. Default: 256 KiB.
    /// A stream carries at most this much in a round trip.
    #[must_use]
    pub const fn max_window_size(mut self, bytes: u32) -> Self {
        self.0.initial_window = bytes;
        self.0.max_window = bytes;
        self
    }

    /// The longest payload of a frame that is sent, up to 16777215 bytes. Default: 64 KiB. While several
    /// streams have something to send, frames are shorter.
    #[must_use]
    pub const fn max_frame_payload(mut self, bytes: u32) -> Self {
        self.0.max_payload = bytes;
        self
    }

    /// Streams that the peer opened and nobody has accepted yet. Above that they are refused with code 9.
    /// Each may hold a window of data. Default: 128.
    #[must_use]
    pub const fn accept_backlog(mut self, streams: usize) -> Self {
        self.0.accept_backlog = streams;
        self
    }

    shared_setters!();
}
