//! Options of the commands about changes of files.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use super::FileServerArgs;

#[derive(Debug, Args)]
pub(crate) struct Sync {
    #[command(flatten)]
    pub(crate) ends: Ends,

    /// Delete what SRC does not have, after everything else
    #[arg(long)]
    pub(crate) delete: bool,

    /// Most entries to delete, directories that give way to something else included: if there are more, none is,
    /// and the exit code is 4
    #[arg(long, value_name = "N", requires = "delete")]
    pub(crate) max_delete: Option<u64>,

    /// Change nothing; print what a run would do
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,

    /// Compare contents even where size and time are equal
    #[arg(long)]
    pub(crate) checksum: bool,

    /// Do not wait for the disk before a file counts as stored
    #[arg(long)]
    pub(crate) no_fsync: bool,

    /// Bytes of files a second, such as 500KiB or 5MiB
    #[arg(long, value_name = "RATE", value_parser = parse_bytes)]
    pub(crate) limit: Option<u64>,

    /// Go on: sync again whenever something in SRC changes
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) watch: bool,

    /// How often in a row to connect again after the connection was lost
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub(crate) retries: u32,

    #[command(flatten)]
    pub(crate) server: FileServerArgs,
}

/// What is compared.
#[derive(Debug, Args)]
pub(crate) struct Ends {
    /// A directory or file here, or at a server: tls://HOST:PORT#PATH
    #[arg(value_name = "SRC", value_hint = ValueHint::AnyPath)]
    pub(crate) source: String,

    /// Where it goes; one of the two is here, the other at a server
    #[arg(value_name = "DST", value_hint = ValueHint::AnyPath)]
    pub(crate) target: String,

    /// Leave out what matches, in the syntax of .gitignore; it is not deleted either. May be given
    /// several times
    #[arg(long, value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,

    /// Leave out what matches a line of this file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) exclude_from: Vec<PathBuf>,

    /// Leave out what files of this name in SRC say, such as .gitignore
    #[arg(long, value_name = "NAME")]
    pub(crate) ignore_file: Option<String>,

    /// Keep user and group: by name, or by number where the name is not known. DST must be root's to
    /// give files to others
    #[arg(long)]
    pub(crate) owner: bool,

    /// Keep extended attributes of users, up to 4 KiB of each entry
    #[arg(long)]
    pub(crate) xattrs: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) ends: Ends,

    /// Compare size and time only
    #[arg(long)]
    pub(crate) quick: bool,

    /// Pass over what only DST has
    #[arg(long)]
    pub(crate) ignore_extra: bool,

    #[command(flatten)]
    pub(crate) server: FileServerArgs,
}

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

/// A number of bytes such as `500KiB`, `5MiB` or `1000`.
pub(super) fn parse_bytes(text: &str) -> Result<u64, String> {
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit.trim_end_matches("/s") {
        "" | "B" => 1_u64,
        "k" | "K" | "KiB" => 1 << 10,
        "m" | "M" | "MiB" => 1 << 20,
        "g" | "G" | "GiB" => 1 << 30,
        "KB" | "kB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        other => return Err(format!("`{other}` is not a unit: use KiB, MiB or GiB")),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| format!("`{text}` is not a number of bytes: try 5MiB"))?;
    let bytes = number * factor as f64;
    if !(1.0..=1e18).contains(&bytes) {
        return Err(format!("`{text}` is not a number of bytes above zero"));
    }
    Ok(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_with_their_units() {
        assert_eq!(parse_bytes("5MiB"), Ok(5 << 20));
        assert_eq!(parse_bytes("1.5K"), Ok(1536));
        assert_eq!(parse_bytes("2MB/s"), Ok(2_000_000));
        assert!(parse_bytes("0").is_err() && parse_bytes("5 apples").is_err());
    }
}
