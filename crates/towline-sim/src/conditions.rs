//! What a link does to bytes.

use std::time::Duration;

/// What a link does to the bytes that travel on it. The default is a perfect network: bytes arrive at
/// once, in the pieces in which they were sent.
///
/// ```
/// use std::time::Duration;
/// use towline_sim::Conditions;
///
/// let dreadful = Conditions::default()
///     .delay(Duration::from_millis(300))
///     .jitter(Duration::from_millis(200))
///     .chop(50)
///     .stall(100, Duration::from_secs(10))
///     .cut_after(1_000_000);
/// # let _ = dreadful;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conditions {
    pub(crate) delay: Duration,
    pub(crate) jitter: Duration,
    pub(crate) bandwidth: Option<u64>,
    pub(crate) chop: Option<usize>,
    pub(crate) stall: Option<(usize, Duration)>,
    pub(crate) buffer: usize,
    pub(crate) cut_after: Option<u64>,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            bandwidth: None,
            chop: None,
            stall: None,
            buffer: 256 << 10,
            cut_after: None,
        }
    }
}

impl Conditions {
    /// How long each piece travels at least. Default: no time.
    #[must_use]
    pub const fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// How much longer a piece may travel. A piece never overtakes the one before it. Default: not.
    #[must_use]
    pub const fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// How many bytes pass in a second: each piece leaves when those before it have left. The buffer has
    /// to hold what is on its way, or the sender waits for that. Default: no limit.
    #[must_use]
    pub const fn bandwidth(mut self, bytes_per_second: u64) -> Self {
        self.bandwidth = Some(if bytes_per_second == 0 {
            1
        } else {
            bytes_per_second
        });
        self
    }

    /// Cuts what is sent into pieces of 1 to `largest` bytes, and joins pieces again that are there at
    /// the same time, or does not. Default: pieces stay as they were sent.
    #[must_use]
    pub const fn chop(mut self, largest: usize) -> Self {
        self.chop = Some(if largest == 0 { 1 } else { largest });
        self
    }

    /// One piece in `pieces`, on average, holds up itself and all behind it for up to `longest`.
    /// Default: none does.
    #[must_use]
    pub const fn stall(mut self, pieces: usize, longest: Duration) -> Self {
        self.stall = Some((if pieces == 0 { 1 } else { pieces }, longest));
        self
    }

    /// How many bytes may be on their way, as in a socket's buffers; a sender must wait while there
    /// are as many. Default: 256 KiB.
    #[must_use]
    pub const fn buffer(mut self, bytes: usize) -> Self {
        self.buffer = if bytes == 0 { 1 } else { bytes };
        self
    }

    /// Cuts the link when so many bytes were sent on it: these still arrive, then the link ends.
    /// Default: never.
    #[must_use]
    pub const fn cut_after(mut self, bytes: u64) -> Self {
        self.cut_after = Some(bytes);
        self
    }
}
