//! Files pushed and pulled over a connection.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use towline_identity::Peer;
use towline_rpc::server::{DownloadSink, UploadParts};
use towline_rpc::{Client, CloseReason, Context, Message, Server};
use towline_sync::part::{self, PART_SIZE};
use towline_sync::{
    Durability, HashName, PullError, PullOptions, PushError, PushOptions, Pushed, Root,
    ServeOptions, SourceFile, Stored, pull, push, serve_echo, serve_files,
};

use crate::inputs::splitmix64;
use crate::listing::names;

/// A server with a directory, a client with another, and the connection between them.
struct Pair {
    served: tempfile::TempDir,
    local: tempfile::TempDir,
    client: Client,
    serving: JoinHandle<CloseReason>,
}

pub(crate) fn connect(server: Server) -> (Client, JoinHandle<CloseReason>) {
    let (here, there) = tokio::io::duplex(64 << 10);
    let peer = Peer::unauthenticated("mem://test");
    let at_server = peer.clone();
    let serving = tokio::spawn(async move {
        let shutdown = CancellationToken::new();
        server
            .serve_io(there, at_server, "mem://b", "mem://a", shutdown)
            .await
    });
    let client = Client::builder().from_io(here, peer, "mem://a", "mem://b");
    (client, serving)
}

fn pair(options: ServeOptions) -> Pair {
    let served = tempfile::tempdir().unwrap();
    let root = Root::open(served.path()).unwrap();
    let builder = serve_files(
        Server::builder(),
        root,
        options.durability(Durability::None),
    );
    let (client, serving) = connect(serve_echo(builder).build());
    Pair {
        served,
        local: tempfile::tempdir().unwrap(),
        client,
        serving,
    }
}

fn writable() -> Pair {
    pair(ServeOptions::default().allow_write(true))
}

impl Pair {
    fn local(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.local.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    async fn push(&self, path: &Path, options: &PushOptions) -> Result<Pushed, PushError> {
        let source = SourceFile::open(path).unwrap();
        push(&self.client, source, options, |_| {}).await
    }

    async fn pull(&self, path: &str, name: &str) -> Result<Stored, PullError> {
        let root = Root::open(self.local.path()).unwrap();
        let target = root.target(name, None, None).unwrap();
        let options = PullOptions::default().durability(Durability::None);
        pull(&self.client, path, &root, &target, &options, |_| {}).await
    }

    /// The server answers, so what came before has not ended it.
    async fn assert_alive(&self) {
        let request = Message::request(part::ECHO_CALL_SERVICE, "hello");
        let reply = self.client.call(request).await.unwrap();
        assert!(reply.into_result().unwrap().body.starts_with(b"hello\n"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_all_sizes_go_there_and_back() {
    let pair = writable();
    for size in [0, 1, PART_SIZE - 1, PART_SIZE, PART_SIZE + 1, 3_145_733] {
        let bytes = splitmix64(size as u64, size);
        let path = pair.local("there", &bytes);
        let mut seen = Vec::new();
        let source = SourceFile::open(&path).unwrap();
        let pushed = push(&pair.client, source, &PushOptions::default(), |now| {
            seen.push((now.bytes, now.part, now.total));
        })
        .await
        .unwrap();
        let total = HashName::of(&bytes);
        assert_eq!((pushed.bytes, pushed.total), (size as u64, total));
        assert_eq!(pushed.parts, (size.div_ceil(PART_SIZE) + 1).max(2) as u64);
        assert_eq!(pushed.stored.as_deref(), Some("there"));
        assert!(seen.iter().all(|(_, _, total)| *total == Some(size as u64)));
        assert!(seen.is_sorted());
        assert!(fs::read(pair.served.path().join("there")).unwrap() == bytes);

        let stored = pair.pull("there", "back").await.unwrap();
        assert_eq!((stored.parts, stored.total), (pushed.parts, total));
        assert!(fs::read(pair.local.path().join("back")).unwrap() == bytes);
    }
    assert_eq!(names(pair.served.path()), ["there"]);
}

#[tokio::test]
async fn mode_and_time_travel_with_the_file() {
    let pair = writable();
    let path = pair.local("f", b"abc");
    let mtime = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789);
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(mtime)
        .unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    pair.push(&path, &PushOptions::default()).await.unwrap();
    pair.pull("f", "g").await.unwrap();
    for path in [pair.served.path().join("f"), pair.local.path().join("g")] {
        let metadata = fs::metadata(path).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o640);
        assert_eq!(metadata.modified().unwrap(), mtime);
    }
}

#[tokio::test]
async fn a_server_that_is_only_read_from_takes_nothing() {
    let pair = pair(ServeOptions::default());
    for size in [0, 3, 5 * PART_SIZE] {
        let path = pair.local("f", &splitmix64(1, size));
        let error = pair.push(&path, &PushOptions::default()).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the server refused the file: this server does not take files; it has to be started \
             with --allow-write"
        );
        pair.assert_alive().await;
    }
    assert!(names(pair.served.path()).is_empty());
}

#[tokio::test]
async fn names_that_lead_elsewhere_are_refused_by_the_server() {
    let pair = writable();
    let path = pair.local("f", b"abc");
    let temporary = ".f.0123456789abcdef.tow-part";
    for name in ["", ".", "..", "../x", "/x", "a/b", "a\0b", temporary] {
        let options = PushOptions::default().name(name);
        let error = pair.push(&path, &options).await.unwrap_err();
        assert!(matches!(error, PushError::Refused(_)), "{name}: {error}");
        pair.assert_alive().await;
    }
    fs::write(pair.served.path().join("plain"), "").unwrap();
    for (dir, refused) in [("..", true), ("/tmp", true), ("plain", false)] {
        let options = PushOptions::default().dir(dir);
        let error = pair.push(&path, &options).await.unwrap_err();
        assert_eq!(
            matches!(error, PushError::Refused(_)),
            refused,
            "{dir}: {error}"
        );
        assert_eq!(
            matches!(error, PushError::Failed(_)),
            !refused,
            "{dir}: {error}"
        );
    }
    assert_eq!(names(pair.served.path()), ["plain"]);
    pair.assert_alive().await;
}

#[tokio::test]
async fn a_directory_and_a_suffix_are_honoured() {
    let options = ServeOptions::default()
        .allow_write(true)
        .suffix(Some("servergot".to_owned()));
    let pair = pair(options);
    fs::create_dir(pair.served.path().join("in")).unwrap();
    let path = pair.local("f", b"abc");
    let options = PushOptions::default()
        .dir("in")
        .name("g")
        .uncompressed(true);
    let pushed = pair.push(&path, &options).await.unwrap();
    assert_eq!(pushed.stored.as_deref(), Some("in/g.servergot"));
    let stored = fs::read(pair.served.path().join("in/g.servergot")).unwrap();
    assert_eq!(stored, b"abc");
}

#[tokio::test]
async fn what_cannot_be_sent_is_said_and_leaves_the_local_file() {
    let pair = writable();
    let served = pair.served.path();
    fs::create_dir(served.join("dir")).unwrap();
    fs::write(pair.local.path().join("secret"), "secret").unwrap();
    symlink(pair.local.path().join("secret"), served.join("out")).unwrap();
    let kept = pair.local("kept", b"old");
    for (path, refused, says) in [
        ("missing", false, "no such file `missing`"),
        ("dir", false, "`dir` is a directory"),
        (
            "out",
            true,
            "`out` leads out of the directory that is served",
        ),
        ("../secret", true, "`../secret` holds `..`"),
        ("/etc/hostname", true, "`/etc/hostname` is absolute"),
        ("", true, "the name is empty"),
    ] {
        let error = pair.pull(path, "kept").await.unwrap_err();
        let text = error.to_string();
        // docs/wire T31
        assert_eq!(
            matches!(error, PullError::Refused(_)),
            refused,
            "{path}: {text}"
        );
        assert_eq!(
            matches!(error, PullError::Failed(_)),
            !refused,
            "{path}: {text}"
        );
        assert!(text.contains(says), "{path}: {text}");
        assert!(!text.contains(served.to_str().unwrap()), "{path}: {text}");
        assert_eq!(fs::read(&kept).unwrap(), b"old");
    }
    assert_eq!(names(pair.local.path()), ["kept", "secret"]);
    pair.assert_alive().await;
}

#[tokio::test]
async fn an_upload_that_breaks_the_rules_gets_an_error_reply() {
    let pair = writable();
    fs::write(pair.served.path().join("f"), "old").unwrap();
    let hash = |body: &[u8]| HashName::of(body).to_string();
    let begin = || Message::request(part::UPLOAD_SERVICE, "aaa");
    let last = || Message::from_body("bb");
    for (first, last, says) in [
        (begin(), last(), "the argument `readFile` is missing"),
        (
            begin()
                .with_arg(part::READ_FILE, "f")
                .with_arg(part::BLAKE3, hash(b"aab")),
            last().with_arg(part::BLAKE3, hash(b"bb")),
            "part 0 was damaged on its way",
        ),
        (
            begin().with_arg(part::READ_FILE, "f"),
            last(),
            "part 1 came without its hash",
        ),
        (
            begin().with_arg(part::READ_FILE, "f"),
            last().with_arg(part::BLAKE3, hash(b"bc")),
            "part 1 was damaged on its way",
        ),
        (
            begin().with_arg(part::READ_FILE, "f"),
            last().with_arg(part::BLAKE3, "blake3.32B-"),
            "the hash that came with the part cannot be read",
        ),
        (
            begin()
                .with_arg(part::READ_FILE, "f")
                .with_arg(part::PATH_SIZE, "6"),
            last().with_arg(part::BLAKE3, hash(b"bb")),
            "announced 6 bytes, 5 came",
        ),
        (
            begin()
                .with_arg(part::READ_FILE, "f")
                .with_arg(part::MTIME, "today"),
            last().with_arg(part::BLAKE3, hash(b"bb")),
            "the argument `mtime`",
        ),
    ] {
        let upload = pair.client.upload(first).await.unwrap();
        let reply = upload.finish(last).await.unwrap();
        let text = reply.into_result().unwrap_err().to_string();
        assert!(text.contains(says), "{text}");
        pair.assert_alive().await;
    }
    while names(pair.served.path()) != ["f"] {
        tokio::task::yield_now().await;
    }
    assert_eq!(fs::read(pair.served.path().join("f")).unwrap(), b"old");
}

#[tokio::test]
async fn a_connection_that_is_lost_leaves_nothing_at_the_server() {
    let Pair {
        served,
        local: _local,
        client,
        serving,
    } = writable();
    fs::write(served.path().join("f"), "old").unwrap();
    let first =
        Message::request(part::UPLOAD_SERVICE, "half a file").with_arg(part::READ_FILE, "f");
    let upload = client.upload(first).await.unwrap();
    while names(served.path()).len() < 2 {
        tokio::task::yield_now().await;
    }
    serving.abort();
    drop((upload, client));
    while names(served.path()) != ["f"] {
        tokio::task::yield_now().await;
    }
    assert_eq!(fs::read(served.path().join("f")).unwrap(), b"old");
}

#[tokio::test]
async fn a_cancelled_upload_leaves_nothing_and_the_connection_goes_on() {
    let pair = writable();
    let first = Message::request(part::UPLOAD_SERVICE, "half").with_arg(part::READ_FILE, "f");
    let upload = pair.client.upload(first).await.unwrap();
    while names(pair.served.path()).is_empty() {
        tokio::task::yield_now().await;
    }
    drop(upload);
    while !names(pair.served.path()).is_empty() {
        tokio::task::yield_now().await;
    }
    pair.assert_alive().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_changes_on_its_way_is_not_stored() {
    let pair = writable();
    let path = pair.local("f", &splitmix64(2, 30 * PART_SIZE));
    let source = SourceFile::open(&path).unwrap();
    let result = push(&pair.client, source, &PushOptions::default(), |now| {
        if now.part == 0 {
            let end = fs::File::options().write(true).open(&path).unwrap();
            end.set_len(29 * PART_SIZE as u64).unwrap();
        }
    })
    .await;
    assert!(matches!(result, Err(PushError::Read(_))), "{result:?}");
    while !names(pair.served.path()).is_empty() {
        tokio::task::yield_now().await;
    }
    pair.assert_alive().await;
}

#[tokio::test]
async fn a_file_over_the_servers_limit_is_not_stored() {
    let pair = pair(ServeOptions::default().allow_write(true).max_bytes(10));
    let path = pair.local("f", b"0123456789a");
    let error = pair.push(&path, &PushOptions::default()).await.unwrap_err();
    assert!(error.to_string().contains("this server takes at most 10"));
    // Without its size announced, the limit is met on the way.
    let first =
        Message::request(part::UPLOAD_SERVICE, "0123456789a").with_arg(part::READ_FILE, "f");
    let upload = pair.client.upload(first).await.unwrap();
    let last = Message::new().with_arg(part::BLAKE3, HashName::of(b"").to_string());
    let reply = upload.finish(last).await.unwrap().into_result();
    assert!(
        reply
            .unwrap_err()
            .to_string()
            .contains("larger than the 10 bytes")
    );
    assert!(names(pair.served.path()).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_files_share_one_connection() {
    let pair = writable();
    let mut pushes = tokio::task::JoinSet::new();
    for number in 0..50_usize {
        let name = format!("f{number:02}");
        let path = pair.local(&name, &splitmix64(number as u64, number * 30_000));
        let client = pair.client.clone();
        pushes.spawn(async move {
            let source = SourceFile::open(path).unwrap();
            push(&client, source, &PushOptions::default(), |_| {}).await
        });
    }
    while let Some(pushed) = pushes.join_next().await {
        pushed.unwrap().unwrap();
    }
    assert_eq!(names(pair.served.path()), names(pair.local.path()));
    for name in names(pair.served.path()) {
        let sent = fs::read(pair.local.path().join(&name)).unwrap();
        assert!(
            fs::read(pair.served.path().join(&name)).unwrap() == sent,
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_pushes_of_one_name_one_complete_version_wins() {
    let pair = writable();
    let (one, two) = (
        splitmix64(1, 2 * PART_SIZE + 9),
        splitmix64(2, 3 * PART_SIZE),
    );
    let (first, second) = (pair.local("one", &one), pair.local("two", &two));
    let options = PushOptions::default().name("f");
    for _ in 0..5 {
        let (a, b) = tokio::join!(pair.push(&first, &options), pair.push(&second, &options));
        a.unwrap();
        b.unwrap();
        let found = fs::read(pair.served.path().join("f")).unwrap();
        assert!(found == one || found == two);
        assert_eq!(names(pair.served.path()), ["f"]);
    }
}

/// A client of a server that sends downloads in a way of its own.
fn pulling<F, Fut>(handler: F) -> Pair
where
    F: Fn(Context, Message, DownloadSink) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Message, towline_rpc::SendError>> + Send + 'static,
{
    let server = Server::builder().download(part::DOWNLOAD_SERVICE, handler);
    let (client, serving) = connect(server.build());
    Pair {
        served: tempfile::tempdir().unwrap(),
        local: tempfile::tempdir().unwrap(),
        client,
        serving,
    }
}

fn sent(body: &'static str) -> Message {
    Message::from_body(body).with_arg(part::BLAKE3, HashName::of(body.as_bytes()).to_string())
}

#[tokio::test]
async fn the_originals_download_is_understood() {
    let pair = pulling(|_, request: Message, mut sink| async move {
        let path = request
            .arg(part::REQUESTED_PATH)
            .unwrap_or_default()
            .to_owned();
        let args = |message: Message| {
            message
                .with_arg(part::PATH, path.clone())
                .with_arg(part::PATH_SIZE, "5")
                .with_arg(part::FILE_NAME, "f")
        };
        sink.send(args(sent("aaa"))).await?;
        sink.send(args(sent("bb"))).await?;
        sink.send_last(args(sent(""))).await?;
        Ok(Message::new())
    });
    let stored = pair.pull("a/f", "f").await.unwrap();
    assert_eq!((stored.bytes, stored.parts), (5, 3));
    assert_eq!(fs::read(pair.local.path().join("f")).unwrap(), b"aaabb");
}

#[tokio::test]
async fn the_originals_empty_file_is_completed_by_its_reply() {
    // docs/wire T18
    let pair = pulling(|_, _, mut sink| async move {
        sink.send(sent("").with_arg(part::PATH_SIZE, "0")).await?;
        Ok(Message::new())
    });
    assert_eq!(pair.pull("f", "f").await.unwrap().bytes, 0);
    assert_eq!(fs::read(pair.local.path().join("f")).unwrap(), b"");
}

#[tokio::test]
async fn a_download_that_is_not_what_was_said_leaves_the_target() {
    let pair = pulling(|_, request: Message, mut sink| async move {
        let total = |body: &str| HashName::of(body.as_bytes()).to_string();
        let mut reply = Message::new();
        match request.arg(part::REQUESTED_PATH).unwrap_or_default() {
            "total" => {
                sink.send(sent("abc")).await?;
                sink.send_last(sent("")).await?;
                reply = reply.with_arg(part::SERVER_TOTAL, total("abd"));
            }
            "size" => {
                sink.send(sent("abc").with_arg(part::PATH_SIZE, "4"))
                    .await?;
                sink.send_last(sent("")).await?;
            }
            "hash" => {
                sink.send(sent("abc")).await?;
                sink.send_last(Message::from_body("d").with_arg(part::BLAKE3, total("e")))
                    .await?;
            }
            "end" => sink.send(sent("abc")).await?,
            _ => {}
        }
        Ok(reply)
    });
    let kept = pair.local("kept", b"old");
    for (path, wrong) in [
        ("total", true),
        ("size", true),
        ("hash", true),
        ("end", false),
        ("none", false),
    ] {
        let error = pair.pull(path, "kept").await.unwrap_err();
        assert_eq!(error.is_verification_failure(), wrong, "{path}: {error}");
        while names(pair.local.path()) != ["kept"] {
            tokio::task::yield_now().await;
        }
        assert_eq!(fs::read(&kept).unwrap(), b"old");
    }
}

#[tokio::test]
async fn a_server_that_stored_something_else_is_noticed() {
    let handler = |_, _, mut parts: UploadParts| async move {
        while parts.next().await?.is_some() {}
        let other = HashName::of(b"something else").to_string();
        Ok::<_, towline_rpc::StreamError>(Message::new().with_arg(part::SERVER_TOTAL, other))
    };
    let server = Server::builder().upload(part::UPLOAD_SERVICE, handler);
    let (client, _serving) = connect(server.build());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    fs::write(&path, "abc").unwrap();
    let source = SourceFile::open(path).unwrap();
    let error = push(&client, source, &PushOptions::default(), |_| {})
        .await
        .unwrap_err();
    assert!(error.is_verification_failure());
}

#[tokio::test]
async fn a_lost_connection_is_told_apart_from_a_refusal() {
    let pair = pulling(|_, _, mut sink| async move {
        sink.send(sent("abc")).await?;
        std::future::pending().await
    });
    let kept = pair.local("kept", b"old");
    let root = Root::open(pair.local.path()).unwrap();
    let target = root.target("kept", None, None).unwrap();
    let serving = &pair.serving;
    let options = PullOptions::default();
    let error = pull(&pair.client, "f", &root, &target, &options, |_| {
        serving.abort()
    })
    .await
    .unwrap_err();
    assert!(error.close_reason().is_some());
    assert!(
        error
            .to_string()
            .ends_with("3 bytes arrived, nothing was stored"),
        "{error}"
    );
    assert_eq!(names(pair.local.path()), ["kept"]);
    assert_eq!(fs::read(kept).unwrap(), b"old");
}
