//! `tow bench`: how fast a server answers, for every compression.

mod measure;
mod plot;

use std::{
    fs::OpenOptions,
    io,
    path::{Path, PathBuf},
};

use serde_json::json;
use towline::rpc::Compression;

use self::measure::{CALLS, Cell, Row};
use crate::{
    cli::Bench,
    connection::{Purpose, builder, endpoint_without_path},
    failure::{Failure, failed},
    output::Output,
};

/// All that there are, in the order in which they take more time and less room.
const ALL: [Compression; 7] = [
    Compression::None,
    Compression::S2,
    Compression::Lz4,
    Compression::Zstd01,
    Compression::Zstd03,
    Compression::Zstd07,
    Compression::Zstd11,
];

pub(crate) async fn run(args: Bench, output: Output) -> Result<(), Failure> {
    let endpoint = endpoint_without_path(&args.url)?;
    // What cannot be written is told before minutes are spent on it.
    if let Some(file) = &args.svg {
        let open = |path| OpenOptions::new().create(true).append(true).open(path);
        on_file(file, move |path| open(path).map(drop)).await?;
    }
    let builder = builder(&endpoint, &args.client, Purpose::Calls).await?;
    let compressors = match args.compressors.is_empty() {
        true => ALL.to_vec(),
        false => args.compressors.clone(),
    };
    let name_of = |cell: &Cell| format!("{} B x{}", cell.bytes, cell.in_flight);
    let mut header = format!("{:>10} {:>12}", "", "connect us");
    for (bytes, in_flight) in CALLS {
        let cell = format!("{bytes} B x{in_flight}");
        header += &format!(" {cell:>12}");
    }
    header += &format!(" {:>12} {:>12}", "stream MB/s", "bulk MB/s");
    if !output.is_json() {
        let text = "calls a second, of a size and so many in flight; bytes one way; connecting with the first call, \
                    as half of the attempts took less";
        output.note("heading", json!({}), text);
        output.result("heading", json!({}), &header);
    }
    let mut rows = Vec::new();
    for compression in compressors {
        let measuring = measure::Measuring {
            builder: builder.clone().compression(compression),
            endpoint: &endpoint,
            time: args.time,
            patience: args.client.timeout,
        };
        let row = measuring.row(compression).await?;
        tell(&row, output);
        rows.push(row);
    }
    if !output.is_json() {
        let text = "half of the calls and 99 of 100 took less than, in us:";
        output.note("heading", json!({}), text);
        for row in &rows {
            let mut line = format!("{:>10} {:>12}", row.compression.to_string(), "");
            for cell in &row.calls {
                line += &format!(" {:>12}", format!("{} {}", cell.p50_us, cell.p99_us));
            }
            output.note("latency", json!({}), &line);
        }
        if let Some(why) = rows.iter().find_map(|row| row.stream.as_ref().err()) {
            output.note(
                "stream",
                json!({}),
                &format!("streams were not measured: {why}"),
            );
        }
    }
    if let Some(file) = &args.svg {
        let drawn = plot::draw(&endpoint.without_fragment().to_string(), &rows, name_of)?;
        let text = format!("drawn into {}", file.display());
        let fields = json!({ "file": file.display().to_string() });
        on_file(file, move |path| std::fs::write(path, drawn)).await?;
        output.note("svg", fields, &text);
    }
    Ok(())
}

async fn on_file(
    file: &Path,
    work: impl FnOnce(PathBuf) -> io::Result<()> + Send + 'static,
) -> Result<(), Failure> {
    let path = file.to_owned();
    tokio::task::spawn_blocking(move || work(path))
        .await
        .map_err(failed)?
        .map_err(|error| failed(format_args!("--svg {}: {error}", file.display())))
}

fn tell(row: &Row, output: Output) {
    let cells: Vec<_> = row.calls.iter().map(Cell::to_json).collect();
    let fields = json!({
        "compression": row.compression.to_string(),
        "connect": {
            "count": row.connect.count, "p50_us": row.connect.p50_us, "p99_us": row.connect.p99_us,
        },
        "calls": cells,
        "stream_bytes_per_second": row.stream.as_ref().ok(),
        "stream_error": row.stream.as_ref().err(),
        "bulk_bytes_per_second": row.bulk,
    });
    let mut line = format!(
        "{:>10} {:>12}",
        row.compression.to_string(),
        row.connect.p50_us
    );
    for cell in &row.calls {
        line += &format!(" {:>12.0}", cell.per_second);
    }
    let stream = match &row.stream {
        Ok(bytes) => format!("{:.1}", bytes / 1e6),
        Err(_) => "-".to_owned(),
    };
    line += &format!(" {stream:>12} {:>12.1}", row.bulk / 1e6);
    output.result("bench", fields, &line);
}
