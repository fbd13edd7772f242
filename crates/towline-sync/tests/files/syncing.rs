//! Trees synced over a connection, as a library's user does it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use towline_rpc::{Client, Message as RpcMessage, Server};
use towline_sync::wire::{Hello, Message, Role, Totals};
use towline_sync::{
    Durability, Root, SYNC_SERVICE, ServeOptions, SyncError, SyncEvent, SyncOptions, offers_sync,
    pull_file, push_tree, serve_files,
};

use crate::inputs::splitmix64;
use crate::over_rpc::connect;

fn client(served: &Path) -> Client {
    let options = ServeOptions::default()
        .allow_write(true)
        .durability(Durability::None);
    let root = Root::open(served).unwrap();
    connect(serve_files(Server::builder(), root, options).build()).0
}

/// Syncs a directory; what was told on the way, and in the end.
async fn sync(client: &Client, from: &Path) -> (Vec<Totals>, Totals) {
    let mut told = Vec::new();
    let options = SyncOptions::default().no_fsync(true);
    let totals = push_tree(client, from, "", &options, |event| {
        if let SyncEvent::Progress(totals) = event {
            told.push(totals);
        }
    });
    let totals = totals.await.unwrap();
    (told, totals)
}

/// What no number may fall below from one word to the next.
const fn numbers(totals: &Totals) -> [u64; 9] {
    [
        totals.entries,
        totals.files,
        totals.files_done,
        totals.bytes,
        totals.literal,
        totals.reused,
        totals.deleted,
        totals.failed,
        totals.unchanged,
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_only_grows_and_adds_up_to_the_size() {
    let (from, served) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut large = splitmix64(1, 6 << 20);
    fs::write(served.path().join("large"), &large).unwrap();
    // Changed in the middle, and some more at the end.
    large[3 << 20..][..1000].fill(1);
    large.extend(splitmix64(2, 100_000));
    fs::write(from.path().join("large"), &large).unwrap();
    fs::write(from.path().join("fresh"), splitmix64(3, 3 << 20)).unwrap();
    for number in 0..200_usize {
        let path = from.path().join(format!("small{number}"));
        fs::write(path, splitmix64(4, number * 50)).unwrap();
    }
    let client = client(served.path());
    let (told, totals) = sync(&client, from.path()).await;
    assert!(told.len() > 1, "something is told on the way");
    for pair in told.windows(2) {
        let (before, after) = (numbers(&pair[0]), numbers(&pair[1]));
        let grows = before
            .iter()
            .zip(after)
            .all(|(before, after)| *before <= after);
        assert!(grows, "{before:?} {after:?}");
    }
    assert_eq!(told.last(), Some(&totals));
    assert_eq!(totals.failed, 0);
    assert_eq!(totals.literal + totals.reused + totals.zeros, totals.bytes);
    assert!(totals.reused > 5 << 20, "{totals:?}");
    assert_eq!(fs::read(served.path().join("large")).unwrap(), large);
}

/// Holes are neither read nor sent nor written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_gibibytes_of_zeros_cost_next_to_nothing() {
    const SIZE: u64 = 10 << 30;
    let (from, served) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let zeros = fs::File::create(from.path().join("zeros")).unwrap();
    zeros.set_len(SIZE).unwrap();
    let client = client(served.path());
    let (_, totals) = sync(&client, from.path()).await;
    assert_eq!((totals.failed, totals.literal, totals.bytes), (0, 0, SIZE));
    assert_eq!((totals.reused, totals.zeros), (0, SIZE));
    let arrived = fs::metadata(served.path().join("zeros")).unwrap();
    assert_eq!(arrived.len(), SIZE);
    assert!(arrived.blocks() < 100, "{} blocks", arrived.blocks());
}

/// docs/wire D12: a client of another version is told so, and that another attempt ends in the same way.
#[tokio::test]
async fn another_version_is_refused() {
    let served = tempfile::tempdir().unwrap();
    let client = client(served.path());
    // Length, kind, version.
    let hello = RpcMessage::request(SYNC_SERVICE, vec![3, 1, 2, 0]);
    let (sender, mut receiver) = client.bistream(hello).await.unwrap();
    assert!(receiver.next().await.is_none());
    drop(sender);
    let reply = receiver.finish().await.unwrap();
    assert_eq!(reply.arg("refused"), Some("yes"));
    let said = reply.into_result().unwrap_err().to_string();
    assert!(said.contains("version 2 of sync messages"), "{said}");
}

/// docs/wire D10: what a sync may hold is bounded for each, and how many a connection has is, too.
#[tokio::test]
async fn one_connection_has_so_many_syncs_at_a_time() {
    let served = tempfile::tempdir().unwrap();
    let client = client(served.path());
    let mut body = BytesMut::new();
    Message::Hello(Hello {
        role: Role::Push,
        path: Bytes::new(),
        single: None,
        delete: false,
        dry_run: false,
        checksum: false,
        no_fsync: true,
        owner: false,
        xattrs: false,
        max_delete: None,
        limit: None,
        exclude: Bytes::new(),
        ignore_file: None,
    })
    .encode(&mut body);
    let hello = || RpcMessage::request(SYNC_SERVICE, body.clone().freeze());
    let mut open = Vec::new();
    for _ in 0..8 {
        let (sender, mut receiver) = client.bistream(hello()).await.unwrap();
        assert!(receiver.next().await.is_some(), "not welcome");
        open.push((sender, receiver));
    }
    let (_sender, mut receiver) = client.bistream(hello()).await.unwrap();
    assert!(receiver.next().await.is_none());
    let reply = receiver.finish().await.unwrap();
    assert_eq!(reply.arg("refused"), Some("yes"));
    let said = reply.into_result().unwrap_err().to_string();
    assert!(said.contains("8 syncs under way"), "{said}");
}

#[tokio::test]
async fn who_does_not_sync_and_what_is_no_file_is_told_apart() {
    let (served, local) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir(served.path().join("dir")).unwrap();
    let options = SyncOptions::default();
    let client = client(served.path());
    let pulled = pull_file(&client, "dir", local.path(), &options, |_| {}).await;
    assert!(matches!(pulled, Err(SyncError::Directory(path)) if path == "dir"));
    assert_eq!(fs::read_dir(local.path()).unwrap().count(), 0);
    // docs/wire D23, T33: a server of the original's kind.
    assert!(offers_sync(&client).await.unwrap());
    let (client, _) = connect(Server::builder().build());
    assert!(!offers_sync(&client).await.unwrap());
    let pushed = push_tree(&client, local.path(), "", &options, |_| {}).await;
    assert!(
        matches!(pushed, Err(SyncError::Unsupported(_))),
        "{pushed:?}"
    );
}
