//! What certificates say: towline's own form, and the original's, byte for byte.

mod der;
mod selfy;
mod towline;

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use crate::certificate::date;
use crate::error::IssueError;
use crate::public_key::PublicKey;
use crate::secret::SecretKey;

/// No certificate of this program is older, and no clock that says so is right.
const EARLIEST: Duration = Duration::from_secs(1_577_836_800);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The form of new certificates. Every verifier of either form accepts the other's leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Profile {
    /// Random serial numbers, periods of years, and an authority that OpenSSL accepts
    /// (docs/wire I7, I9).
    #[default]
    Towline,
    /// What the original's `selfy` writes, byte for byte for the same key, moment and e-mail: one
    /// name for all, serial numbers 1 and 2, a hundred years (docs/wire I6, I8, I35).
    Selfy,
}

impl Profile {
    /// Every profile, the default first.
    pub const ALL: [Self; 2] = [Self::Towline, Self::Selfy];

    /// The name used on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Towline => "towline",
            Self::Selfy => "selfy",
        }
    }

    /// The profile that a certificate has, as far as its subject tells; the default for foreign ones.
    pub fn of_certificate(der: &[u8]) -> Self {
        if selfy::is_subject_of(der) {
            Self::Selfy
        } else {
            Self::Towline
        }
    }

    /// How long a new authority lasts unless told otherwise, in days.
    pub(crate) fn authority_days(self) -> u32 {
        match self {
            Self::Towline => crate::authority::DEFAULT_AUTHORITY_DAYS,
            Self::Selfy => selfy::DAYS,
        }
    }

    /// How long a new leaf lasts unless told otherwise, in days.
    pub(crate) fn leaf_days(self) -> u32 {
        match self {
            Self::Towline => crate::authority::DEFAULT_LEAF_DAYS,
            Self::Selfy => selfy::DAYS,
        }
    }

    /// The self-signed certificate of an authority.
    pub(crate) fn authority(
        self,
        key: &SecretKey,
        now: SystemTime,
        days: u32,
    ) -> Result<Vec<u8>, IssueError> {
        check_clock(now)?;
        let not_after = now + DAY * days;
        match self {
            Self::Towline => towline::authority(key, now, not_after),
            Self::Selfy => selfy::authority(key, now, not_after),
        }
    }

    /// The certificate of a leaf.
    pub(crate) fn leaf(self, leaf: &Leaf<'_>, issuer: &Issuer<'_>) -> Result<Vec<u8>, IssueError> {
        check_clock(leaf.now)?;
        match self {
            Self::Towline => {
                let not_after = (leaf.now + DAY * leaf.days).min(issuer.not_after);
                towline::leaf(leaf, not_after, issuer)
            }
            // The original's may outlive its authority: by the seconds between two commands.
            Self::Selfy => selfy::leaf(leaf, leaf.now + DAY * leaf.days, issuer),
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that names no profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a profile of certificates: use towline or selfy")]
pub struct ParseProfileError(String);

impl FromStr for Profile {
    type Err = ParseProfileError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|profile| profile.as_str() == text)
            .ok_or_else(|| ParseProfileError(text.to_owned()))
    }
}

/// Whom a leaf is for. The texts have been checked.
pub(crate) struct Leaf<'a> {
    pub(crate) public_key: PublicKey,
    pub(crate) name: &'a str,
    pub(crate) emails: &'a [String],
    pub(crate) now: SystemTime,
    pub(crate) days: u32,
}

/// Who signs it.
pub(crate) struct Issuer<'a> {
    pub(crate) key: &'a SecretKey,
    pub(crate) certificate: &'a [u8],
    pub(crate) not_after: SystemTime,
}

/// Whether a clock that says this can be right (docs/wire I38).
pub(crate) fn is_plausible(now: SystemTime) -> bool {
    now >= SystemTime::UNIX_EPOCH + EARLIEST
}

fn check_clock(now: SystemTime) -> Result<(), IssueError> {
    if is_plausible(now) {
        Ok(())
    } else {
        Err(IssueError::Clock { now: date(now) })
    }
}

fn build(error: impl fmt::Display) -> IssueError {
    IssueError::Build(error.to_string())
}

/// Seconds since 1970 of a moment that passed the check of the clock.
fn unix(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}
