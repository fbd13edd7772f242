//! Options of the commands about changes of files.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

#[derive(Debug, Args)]
pub(crate) struct Chunks {
    /// The file
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,

    /// Where it is cut
    #[arg(long, value_enum, default_value_t)]
    pub(crate) chunker: Chunker,

    /// Smallest size, size aimed at and largest size of a chunk, in bytes [default: 2048,10240,65536]
    #[arg(
        long,
        value_name = "MIN,TARGET,MAX",
        value_delimiter = ',',
        num_args = 1
    )]
    pub(crate) sizes: Vec<usize>,

    /// Print the whole manifest, as JSON in the original's form
    #[arg(long)]
    pub(crate) manifest: bool,
}

/// A chunker of the original.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Chunker {
    /// The one of the original's delta sync
    Fast,
    /// The one of the original's `binarydiff`
    #[default]
    Ultra,
}
