//! Options of `tow bench`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueHint};
use towline::rpc::Compression;

use super::{ClientArgs, parse_duration};

#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// The server: tls://HOST:PORT; `tow serve`, or the original's `srv -echo`
    #[arg(value_hint = ValueHint::Url)]
    pub(crate) url: String,

    /// How long each measurement takes: there are ten for each compression, the first of which only
    /// warms up
    #[arg(long, default_value = "1s", value_parser = parse_duration, value_name = "TIME")]
    pub(crate) time: Duration,

    /// Compressions to measure, with commas between them [default: all]; --compress counts for nothing here
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub(crate) compressors: Vec<Compression>,

    /// Draw the results into this file, over what is there
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) svg: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) client: ClientArgs,
}
