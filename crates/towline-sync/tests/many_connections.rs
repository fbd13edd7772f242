//! Files pushed at the same time over several connections to one server.

use std::{collections::BTreeMap, fs, sync::Arc};

use tokio::{sync::Barrier, task::JoinSet};
use tokio_util::sync::CancellationToken;
use towline_identity::Peer;
use towline_rpc::{Client, Server};
use towline_sync::{
    Durability, HashName, PushOptions, Root, ServeOptions, SourceFile, part::PART_SIZE, push,
    serve_files,
};

const CONNECTIONS: usize = 5;
const FILES: usize = 50;

fn connect(server: &Server) -> Client {
    let (here, there) = tokio::io::duplex(64 << 10);
    let peer = Peer::unauthenticated("mem://test");
    let (server, at_server) = (server.clone(), peer.clone());
    tokio::spawn(async move {
        let shutdown = CancellationToken::new();
        server
            .serve_io(there, at_server, "mem://b", "mem://a", shutdown)
            .await
    });
    Client::builder().from_io(here, peer, "mem://a", "mem://b")
}

/// Bytes that differ from file to file, from part to part and within a part.
fn contents(file: usize) -> Vec<u8> {
    let len = PART_SIZE + file * 1_009;
    (0..len)
        .map(|at| (at % 251) as u8 ^ (at / PART_SIZE) as u8 ^ file as u8)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_files_over_five_connections_all_arrive() {
    let (served, local) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options = ServeOptions::default()
        .allow_write(true)
        .durability(Durability::None);
    let root = Root::open(served.path()).unwrap();
    let server = serve_files(Server::builder(), root, options).build();
    let clients: Vec<_> = (0..CONNECTIONS).map(|_| connect(&server)).collect();

    let start = Arc::new(Barrier::new(FILES));
    let mut pushes = JoinSet::new();
    for file in 0..FILES {
        let path = local.path().join(format!("f{file}"));
        fs::write(&path, contents(file)).unwrap();
        let client = clients[file % CONNECTIONS].clone();
        let start = Arc::clone(&start);
        pushes.spawn(async move {
            let source = SourceFile::open(path).unwrap();
            start.wait().await;
            let pushed = push(&client, source, &PushOptions::default(), |_| {}).await;
            (file, pushed.unwrap())
        });
    }
    while let Some(pushed) = pushes.join_next().await {
        let (file, pushed) = pushed.unwrap();
        assert_eq!(pushed.total, HashName::of(&contents(file)), "file {file}");
    }

    let mut stored: BTreeMap<String, Vec<u8>> = fs::read_dir(served.path())
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let bytes = fs::read(entry.path()).unwrap();
            (entry.file_name().into_string().unwrap(), bytes)
        })
        .collect();
    for file in 0..FILES {
        let bytes = stored.remove(&format!("f{file}"));
        assert!(bytes.unwrap() == contents(file), "file {file}");
    }
    assert!(stored.is_empty(), "also there: {:?}", stored.keys());
}
