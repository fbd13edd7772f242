//! The parts of a file that is sent.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use towline_sync::part::PART_SIZE;
use towline_sync::{HashName, OutPart, OutgoingFile, SendError, SourceFile};

use crate::inputs::splitmix64;

fn file(dir: &tempfile::TempDir, bytes: &[u8]) -> PathBuf {
    let path = dir.path().join("f.bin");
    fs::write(&path, bytes).unwrap();
    path
}

fn start(path: &Path) -> OutgoingFile {
    OutgoingFile::start(SourceFile::open(path).unwrap()).unwrap()
}

async fn all(outgoing: &mut OutgoingFile) -> Result<Vec<OutPart>, SendError> {
    let mut parts = Vec::new();
    while let Some(part) = outgoing.next_part().await? {
        parts.push(part);
    }
    Ok(parts)
}

#[tokio::test]
async fn a_file_makes_the_parts_the_original_makes() {
    let dir = tempfile::tempdir().unwrap();
    for (size, count) in [
        (0, 2),
        (1, 2),
        (PART_SIZE - 1, 2),
        (PART_SIZE, 2),
        (PART_SIZE + 1, 3),
        (3_145_733, 5),
        (9 * PART_SIZE, 10),
    ] {
        let bytes = splitmix64(size as u64, size);
        let mut outgoing = start(&file(&dir, &bytes));
        assert_eq!(
            (outgoing.name(), outgoing.meta().size),
            ("f.bin", Some(size as u64))
        );
        assert_eq!(outgoing.total(), None);
        let parts = all(&mut outgoing).await.unwrap();
        assert_eq!(parts.len(), count, "{size} bytes");
        let mut joined = Vec::new();
        for (number, part) in parts.iter().enumerate() {
            let last = number + 1 == count;
            assert_eq!((part.number, part.last), (number as u64, last));
            assert_eq!(part.hash, HashName::of(&part.body));
            assert_eq!(part.body.is_empty(), last || size == 0);
            assert!(last || number + 2 == count || part.body.len() == PART_SIZE);
            joined.extend_from_slice(&part.body);
        }
        assert!(joined == bytes, "{size} bytes");
        assert_eq!(outgoing.total(), Some(HashName::of(&bytes)));
        assert!(outgoing.next_part().await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_body_that_is_held_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = splitmix64(3, 20 * PART_SIZE);
    let mut outgoing = start(&file(&dir, &bytes));
    let mut held = Vec::new();
    for expected in bytes.chunks(PART_SIZE) {
        let part = outgoing.next_part().await.unwrap().unwrap();
        assert!(part.body == expected);
        // Every third body stays, by a slice of it.
        if part.number % 3 == 0 {
            held.push((part.body.slice(100..), &expected[100..]));
        }
    }
    assert!(held.iter().all(|(body, expected)| body == expected));
}

#[tokio::test]
async fn a_file_that_grows_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, &splitmix64(4, 8 * PART_SIZE));
    let mut outgoing = start(&path);
    // At most three parts are read before the first is taken, so this comes in time.
    let mut end = fs::OpenOptions::new().append(true).open(&path).unwrap();
    end.write_all(b"more").unwrap();
    let error = all(&mut outgoing).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "`{}` changed while it was read: it had 8388608 bytes and now has 8388612",
            path.display()
        )
    );
    assert!(outgoing.next_part().await.unwrap().is_none());
}

#[tokio::test]
async fn a_file_that_shrinks_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, &splitmix64(5, 8 * PART_SIZE));
    let mut outgoing = start(&path);
    let end = fs::OpenOptions::new().write(true).open(&path).unwrap();
    end.set_len(6 * PART_SIZE as u64).unwrap();
    let error = all(&mut outgoing).await.unwrap_err();
    assert!(matches!(
        error,
        SendError::Resized {
            before: 8_388_608,
            now: 6_291_456,
            ..
        }
    ));
}

#[tokio::test]
async fn a_file_that_is_written_to_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, &splitmix64(6, 8 * PART_SIZE));
    let mut outgoing = start(&path);
    let middle = fs::OpenOptions::new().write(true).open(&path).unwrap();
    // The time itself is set, since two writes can fall into one tick of the file system's clock.
    let later =
        fs::metadata(&path).unwrap().modified().unwrap() + std::time::Duration::from_secs(1);
    middle.set_modified(later).unwrap();
    let error = all(&mut outgoing).await.unwrap_err();
    assert!(matches!(error, SendError::Rewritten { .. }));
}

#[tokio::test]
async fn a_file_that_is_removed_or_replaced_is_sent_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = splitmix64(7, 8 * PART_SIZE);
    let path = file(&dir, &bytes);
    let mut outgoing = start(&path);
    fs::remove_file(&path).unwrap();
    file(&dir, b"another file");
    all(&mut outgoing).await.unwrap();
    assert_eq!(outgoing.total(), Some(HashName::of(&bytes)));
}

#[tokio::test]
async fn a_dropped_future_loses_no_part() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = splitmix64(8, 5 * PART_SIZE + 1);
    let mut outgoing = start(&file(&dir, &bytes));
    let mut joined = Vec::new();
    loop {
        let polled = tokio::select! {
            biased;
            part = outgoing.next_part() => part.unwrap(),
            // Ready at the second poll: the future above is dropped whenever it has to wait.
            () = tokio::task::yield_now() => continue,
        };
        match polled {
            Some(part) => joined.extend_from_slice(&part.body),
            None => break,
        }
    }
    assert!(joined == bytes);
}

#[tokio::test]
async fn a_dropped_sender_ends_its_thread() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, &splitmix64(9, 20 * PART_SIZE));
    let mut outgoing = start(&path);
    let first = outgoing.next_part().await.unwrap().unwrap();
    drop(outgoing);
    // The thread keeps the buffer of the part to fill it again; once it has ended nobody else has
    // a handle.
    while !first.body.is_unique() {
        tokio::task::yield_now().await;
    }
}
