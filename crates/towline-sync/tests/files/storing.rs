//! A received file is there whole or not at all.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use towline_sync::part::PART_SIZE;
use towline_sync::{
    Durability, Finish, HashName, InPart, IncomingOptions, IncomingSink, OutgoingFile,
    ReceiveError, Root, SinkError, SourceFile,
};

use crate::inputs::splitmix64;
use crate::listing::names;

fn part(number: i64, body: &[u8], last: bool) -> InPart {
    InPart {
        number,
        body: body.to_vec().into(),
        hash: Some(HashName::of(body)),
        last,
    }
}

fn sink(root: &Root, name: &str) -> IncomingSink {
    let target = root.target(name, None, None).unwrap();
    let options = IncomingOptions::default().durability(Durability::None);
    IncomingSink::start(root.create_incoming(&target, &options).unwrap()).unwrap()
}

#[tokio::test]
async fn the_file_appears_only_when_it_is_finished() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    let mut sink = sink(&root, "f");
    sink.push(part(0, b"abc", false)).await.unwrap();
    sink.push(part(1, b"", true)).await.unwrap();
    let before = names(dir.path());
    assert!(before.len() == 1 && before[0].starts_with(".f.") && before[0].ends_with(".tow-part"));
    let total = HashName::of(b"abc");
    let stored = sink
        .finish(Finish::default().expected_total(Some(total)))
        .await
        .unwrap();
    assert_eq!(
        (stored.path.as_str(), stored.bytes, stored.parts),
        ("f", 3, 2)
    );
    assert_eq!(stored.total, total);
    assert_eq!(names(dir.path()), ["f"]);
}

#[tokio::test]
async fn what_fails_leaves_the_target_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f"), "old").unwrap();
    let root = Root::open(dir.path()).unwrap();

    let mut cut = sink(&root, "f");
    cut.push(part(0, b"abc", false)).await.unwrap();
    let error = cut.finish(Finish::default()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "`f` was not stored: the stream ended after 1 parts, without the last one; 3 bytes \
         arrived, what was under that name is untouched"
    );

    let mut wrong_total = sink(&root, "f");
    wrong_total.push(part(0, b"abc", true)).await.unwrap();
    let finish = Finish::default().expected_total(Some(HashName::of(b"abd")));
    let error = wrong_total.finish(finish).await.unwrap_err();
    assert!(matches!(
        error,
        SinkError::Receive {
            source: ReceiveError::WrongTotal { .. },
            ..
        }
    ));

    let mut short = sink(&root, "f");
    short.push(part(0, b"abc", true)).await.unwrap();
    let finish = Finish::default().expected_size(Some(4));
    let error = short.finish(finish).await.unwrap_err();
    assert!(error.to_string().contains("announced 4 bytes, 3 came"));

    let mut aborted = sink(&root, "f");
    aborted.push(part(0, b"abc", false)).await.unwrap();
    aborted.abort().await;

    assert_eq!(names(dir.path()), ["f"]);
    assert_eq!(fs::read(dir.path().join("f")).unwrap(), b"old");
}

#[tokio::test]
async fn a_dropped_sink_removes_its_temporary_file() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    let mut dropped = sink(&root, "f");
    dropped.push(part(0, b"abc", false)).await.unwrap();
    drop(dropped);
    // At once: a program may end here.
    assert!(names(dir.path()).is_empty());
}

#[tokio::test]
async fn a_file_whose_finish_is_given_up_is_stored_whole_or_not_at_all() {
    for _ in 0..50 {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let mut sink = sink(&root, "f");
        sink.push(part(0, &[7; 100_000], true)).await.unwrap();
        let mut finish = Box::pin(sink.finish(Finish::default()));
        let given_up = tokio::select! {
            biased;
            stored = &mut finish => stored.is_err(),
            () = tokio::task::yield_now() => true,
        };
        drop(finish);
        let found = names(dir.path());
        assert!(
            found == ["f"] || (given_up && found.is_empty()),
            "{found:?}"
        );
        if let Ok(bytes) = fs::read(dir.path().join("f")) {
            assert!(bytes == [7; 100_000]);
        }
    }
}

#[tokio::test]
async fn an_error_of_the_thread_reaches_the_one_who_pushes() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    let mut sink = sink(&root, "f");
    sink.push(part(1, b"abc", false)).await.unwrap();
    let error = loop {
        if let Err(error) = sink.push(part(2, b"abc", false)).await {
            break error;
        }
    };
    assert!(matches!(
        error,
        SinkError::Receive {
            source: ReceiveError::OutOfSync {
                expected: 0,
                found: 1
            },
            ..
        }
    ));
    assert!(matches!(
        sink.push(part(0, b"", false)).await,
        Err(SinkError::Stopped)
    ));
    assert!(names(dir.path()).is_empty());
}

#[tokio::test]
async fn the_limit_of_a_file_holds() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    let target = root.target("f", None, None).unwrap();
    let file = root
        .create_incoming(&target, &IncomingOptions::default())
        .unwrap();
    let mut sink = IncomingSink::with_limit(file, 3).unwrap();
    sink.push(part(0, b"abcd", true)).await.unwrap();
    let error = sink.finish(Finish::default()).await.unwrap_err();
    assert!(error.to_string().contains("larger than the 3 bytes"));
    assert!(names(dir.path()).is_empty());
}

#[tokio::test]
async fn mode_and_time_are_given_and_the_mode_holds_from_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    let target = root.target("f", None, Some("servergot")).unwrap();
    let options = IncomingOptions::default().mode(Some(0o4600));
    let mut sink = IncomingSink::start(root.create_incoming(&target, &options).unwrap()).unwrap();
    let early = fs::metadata(dir.path().join(&names(dir.path())[0])).unwrap();
    assert_eq!(early.mode() & 0o7777, 0o600);
    sink.push(part(0, b"abc", true)).await.unwrap();
    let mtime = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789);
    let stored = sink
        .finish(Finish::default().mtime(Some(mtime)))
        .await
        .unwrap();
    assert_eq!(stored.path, "f.servergot");
    let metadata = fs::metadata(dir.path().join("f.servergot")).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
    assert_eq!(metadata.modified().unwrap(), mtime);
}

#[tokio::test]
async fn an_empty_file_of_the_original_is_stored_on_request_only() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    let mut strict = sink(&root, "strict");
    strict.push(part(0, b"", false)).await.unwrap();
    assert!(strict.finish(Finish::default()).await.is_err());
    let mut lenient = sink(&root, "lenient");
    lenient.push(part(0, b"", false)).await.unwrap();
    let finish = Finish::default().lone_begin(true);
    assert_eq!(lenient.finish(finish).await.unwrap().bytes, 0);
    assert_eq!(names(dir.path()), ["lenient"]);
}

#[tokio::test]
async fn a_name_of_the_greatest_length_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    let name = "é".repeat(127);
    let mut sink = sink(&root, &name);
    sink.push(part(0, b"abc", true)).await.unwrap();
    sink.finish(Finish::default()).await.unwrap();
    assert_eq!(names(dir.path()), [name]);
}

/// Sends `bytes` to `name` through both threads, as a connection would.
async fn transfer(from: &Path, root: &Root, name: &str) {
    let mut outgoing = OutgoingFile::start(SourceFile::open(from).unwrap()).unwrap();
    let mut sink = sink(root, name);
    while let Some(part) = outgoing.next_part().await.unwrap() {
        sink.push(part.into()).await.unwrap();
    }
    let finish = Finish::default().expected_total(outgoing.total());
    sink.finish(finish).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_never_sees_a_partial_file() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (vec![1; 2 * PART_SIZE + 1], vec![2; PART_SIZE / 2]);
    let sources = tempfile::tempdir().unwrap();
    fs::write(sources.path().join("one"), &one).unwrap();
    fs::write(sources.path().join("two"), &two).unwrap();
    fs::write(dir.path().join("f"), &one).unwrap();
    let root = Root::open(dir.path()).unwrap();

    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0;
            // At least one look after the last replacement.
            loop {
                let last = done.load(Ordering::Acquire);
                let seen = fs::read(dir.path().join("f")).unwrap();
                assert!(seen == one || seen == two, "{} bytes", seen.len());
                reads += 1;
                if last {
                    return reads;
                }
            }
        });
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                for round in 0..20 {
                    let name = if round % 2 == 0 { "two" } else { "one" };
                    transfer(&sources.path().join(name), &root, "f").await;
                }
            });
        });
        done.store(true, Ordering::Release);
        assert!(reader.join().unwrap() > 0);
    });
    assert_eq!(names(dir.path()), ["f"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_writers_of_one_name_one_complete_version_wins() {
    let sources = tempfile::tempdir().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    let (one, two) = (
        splitmix64(1, 3 * PART_SIZE + 7),
        splitmix64(2, 2 * PART_SIZE),
    );
    fs::write(sources.path().join("one"), &one).unwrap();
    fs::write(sources.path().join("two"), &two).unwrap();
    for _ in 0..10 {
        let (first, second) = (sources.path().join("one"), sources.path().join("two"));
        tokio::join!(transfer(&first, &root, "f"), transfer(&second, &root, "f"));
        let found = fs::read(dir.path().join("f")).unwrap();
        assert!(found == one || found == two);
        assert_eq!(names(dir.path()), ["f"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_files_at_once_arrive_whole() {
    let sources = tempfile::tempdir().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    let mut transfers = tokio::task::JoinSet::new();
    for number in 0..50_usize {
        let name = format!("f{number:02}");
        let path = sources.path().join(&name);
        fs::write(&path, splitmix64(number as u64, number * 50_000)).unwrap();
        let root = root.clone();
        transfers.spawn(async move { transfer(&path, &root, &name).await });
    }
    while let Some(done) = transfers.join_next().await {
        done.unwrap();
    }
    assert_eq!(names(dir.path()).len(), 50);
    for name in names(dir.path()) {
        let sent = fs::read(sources.path().join(&name)).unwrap();
        assert!(fs::read(dir.path().join(&name)).unwrap() == sent, "{name}");
    }
}
