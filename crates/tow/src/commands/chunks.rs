//! `tow chunks`: the hashes of a file's chunks, one a line, as the original's `binarydiff` prints them.

use std::{fs::File, io, path::Path};

use serde_json::json;
use towline::{
    codec::greenpack::Timestamp,
    sync::HashName,
    sync::{
        chunk::{self, ChunkParams, ChunkReader, FastCdc, UltraCdc},
        compat::RsyncHashes,
    },
};

use crate::{
    cli::{Chunker, Chunks},
    failure::{Exit, Failure, failed},
    output::Output,
};

pub(crate) fn run(args: &Chunks, output: Output) -> Result<(), Failure> {
    let params = params(&args.sizes)?;
    match args.chunker {
        Chunker::Fast => print(&FastCdc::new(params), args, output),
        Chunker::Ultra => print(&UltraCdc::new(params), args, output),
    }
}

fn params(sizes: &[usize]) -> Result<ChunkParams, Failure> {
    match *sizes {
        [] => Ok(ChunkParams::default()),
        [min, target, max] => ChunkParams::new(min, target, max)
            .map_err(|error| Failure::new(Exit::Usage, format!("--sizes: {error}"))),
        _ => Err(Failure::new(Exit::Usage, "--sizes takes three numbers")
            .hint("--sizes 2048,10240,65536")),
    }
}

fn print(chunker: &impl chunk::Chunker, args: &Chunks, output: Output) -> Result<(), Failure> {
    let file = File::open(&args.file).map_err(|error| about(&args.file, &error))?;
    if args.manifest {
        let mtime = file.metadata().ok().and_then(|meta| modified(&meta));
        let path = args.file.display().to_string();
        let hashes = RsyncHashes::of_reader(chunker, "localhost", &path, file, mtime)
            .map_err(|error| about(&args.file, &error))?;
        output.raw(hashes.to_json().as_bytes());
        output.raw(b"\n");
        return Ok(());
    }
    let mut reader = ChunkReader::new(chunker, file);
    loop {
        let next = reader
            .next_chunk()
            .map_err(|error| about(&args.file, &error))?;
        let Some(chunk) = next else {
            return Ok(());
        };
        let hash = HashName::of(chunk.bytes).to_string();
        let fields = json!({ "offset": chunk.offset, "bytes": chunk.bytes.len(), "blake3": hash });
        output.result("chunk", fields, &hash);
    }
}

fn modified(meta: &std::fs::Metadata) -> Option<Timestamp> {
    let since = meta
        .modified()
        .ok()?
        .duration_since(std::time::UNIX_EPOCH)
        .ok()?;
    let seconds = i64::try_from(since.as_secs()).ok()?;
    Some(Timestamp::new(seconds, since.subsec_nanos().into()))
}

fn about(file: &Path, error: &io::Error) -> Failure {
    failed(format_args!("`{}` cannot be read: {error}", file.display()))
}
