//! Servers that fall silent, in virtual time.

use std::time::Duration;

use tokio::time::sleep;
use towline_rpc::proto::Limits;
use towline_rpc::server::UploadParts;
use towline_rpc::{Client, Context, Message, Server, StreamError};
use towline_sync::part::{self, PART_SIZE};
use towline_sync::{HashName, PushError, PushOptions, Pushed, SourceFile, push};

use crate::over_rpc::connect;

const BEFORE: Duration = Duration::from_secs(8);

/// A server that waits for `before` ahead of taking the parts, and for `after` behind the last one.
fn slow(before: Duration, after: Duration) -> Client {
    let store = move |_: Context, first: Message, mut parts: UploadParts| async move {
        let mut all = first.body.to_vec();
        sleep(before).await;
        while let Some(part) = parts.next().await? {
            all.extend_from_slice(&part.body);
        }
        sleep(after).await;
        let total = HashName::of(&all).to_string();
        Ok::<_, StreamError>(Message::new().with_arg(part::SERVER_TOTAL, total))
    };
    // One part in the queue is enough, and nobody gives credit, as the original does not: the others wait to be written.
    let limits = Limits::default().queue_parts(1).credit(false);
    let server = Server::builder()
        .limits(limits)
        .upload(part::UPLOAD_SERVICE, store)
        .build();
    connect(server).0
}

async fn push_to(client: &Client, size: usize, limit: Duration) -> Result<Pushed, PushError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    std::fs::write(&path, vec![7; size]).unwrap();
    // Uncompressed, so that a part that the server does not read is not hidden in a buffer.
    let options = PushOptions::default()
        .uncompressed(true)
        .reply_timeout(Some(limit));
    push(client, SourceFile::open(path).unwrap(), &options, |_| {}).await
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_says_what_became_of_the_file_is_given_up_on() {
    let client = slow(Duration::ZERO, Duration::from_secs(1 << 30));
    let error = push_to(&client, 5, BEFORE).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the server took all 5 bytes and then said nothing for 8s; whether it stored the file is \
         not known"
    );
    assert!(matches!(error, PushError::NoReply { .. }));
    assert_eq!(client.in_flight(), 0, "the upload was cancelled");
}

#[tokio::test(start_paused = true)]
async fn a_large_file_gives_the_servers_disk_more_time() {
    // Three seconds more for 3 MiB.
    let size = 3 * PART_SIZE;
    let client = slow(Duration::ZERO, BEFORE + Duration::from_secs(2));
    push_to(&client, size, BEFORE).await.unwrap();
    let client = slow(Duration::ZERO, BEFORE + Duration::from_secs(5));
    let error = push_to(&client, size, BEFORE).await.unwrap_err();
    assert!(matches!(error, PushError::NoReply { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_time_does_not_run_while_bytes_wait_to_be_written() {
    let client = slow(Duration::from_secs(1000), BEFORE - Duration::from_secs(1));
    push_to(&client, 3 * PART_SIZE, BEFORE).await.unwrap();
}
