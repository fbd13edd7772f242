//! How connections end.

/// How a connection ended, as its handler tells the server. A handler that returns `()` says that all
/// was well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// In order.
    #[default]
    Done,
    /// Not in order: whose connection it was, and why. It is logged as a warning; of many such
    /// connections one line a second is, with their number.
    Failed(String),
}

impl From<()> for Outcome {
    fn from((): ()) -> Self {
        Self::Done
    }
}
