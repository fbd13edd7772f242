//! A peer that accepts, and reads nothing.

use std::{
    io,
    pin::{Pin, pin},
    task::{self, Poll, Wake, Waker},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};
use towline_codec::greenpack::Timestamp;
use towline_rpc::{Pool, VirtualWallClock, service::Caller};
use towline_transport::Connection;

use super::*;

/// A transport that takes nothing and brings nothing. Tells when it is dropped.
struct Unread(Arc<Notify>);

impl Drop for Unread {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl AsyncRead for Unread {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Unread {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
        _: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

/// More than an outbox holds.
fn large() -> Message {
    Message::request("x", vec![0; 3 << 20])
}

fn small() -> Message {
    Message::request("x", "y")
}

/// A client, and who hears when its transport is gone.
fn unread() -> (Client, Arc<Notify>) {
    let gone = Arc::new(Notify::new());
    let client = Client::builder().compression(Compression::None).from_io(
        Unread(Arc::clone(&gone)),
        Peer::unauthenticated("mem://server"),
        "mem://client",
        "mem://server",
    );
    (client, gone)
}

async fn fill(client: &Client) {
    client.send_one_way(large()).await.expect("queued");
}

const BEGIN: Timestamp = Timestamp::new(1_800_000_000, 0);

fn due_in(seconds: u64) -> Timestamp {
    BEGIN.saturating_add(Duration::from_secs(seconds))
}

/// That something fails for want of time, and after so much of it.
async fn times_out<T, E: std::fmt::Debug>(
    after: u64,
    what: &str,
    run: impl Future<Output = Result<T, E>>,
) {
    let start = Instant::now();
    let ended = tokio::time::timeout(Duration::from_secs(60), run).await;
    let error = ended
        .unwrap_or_else(|_| panic!("{what} ends"))
        .err()
        .unwrap_or_else(|| panic!("{what} fails"));
    let error = format!("{error:?}");
    assert!(error.contains("TimedOut"), "{what}: {error}");
    assert_eq!(start.elapsed().as_secs(), after, "{what}");
}

/// docs/wire C11
#[tokio::test(start_paused = true)]
async fn calls_end_in_time_that_find_no_room() {
    let (client, _gone) = unread();
    fill(&client).await;
    let _clock = VirtualWallClock::starting_at(BEGIN);
    let second = Some(Duration::from_secs(1));

    times_out(
        2,
        "a call with a deadline",
        client.call_with_timeout(small().with_deadline(due_in(2)), None),
    )
    .await;
    times_out(10, "a call", client.call(small())).await;
    times_out(
        1,
        "a call with a limit",
        client.call_with_timeout(small(), second),
    )
    .await;
    times_out(
        10,
        "a net/rpc call",
        client.net_rpc::<_, u64>("A.B", &1_u64),
    )
    .await;
    times_out(
        1,
        "a net/rpc call with a limit",
        client.net_rpc_message(small(), second),
    )
    .await;
    let typed = Caller::from(client.clone()).with_timeout(second);
    times_out(1, "a typed call", typed.unary::<_, u64, String>("A.b", &())).await;
    assert_eq!(client.in_flight(), 0);
}

/// docs/wire C11
#[tokio::test(start_paused = true)]
async fn calls_of_a_pool_end_in_time_that_find_no_room() {
    let gone = Arc::new(Notify::new());
    let pool = Pool::builder()
        .address("somewhere")
        .client(Client::builder().compression(Compression::None))
        .connect_by(move |address| {
            let io = Unread(Arc::clone(&gone));
            async move {
                let peer = Peer::unauthenticated(&*address);
                Ok(Connection::new(Box::new(io), peer, "here", &*address))
            }
        })
        .build()
        .expect("they fit");
    let client = pool.connection().await.expect("a connection");
    fill(&client).await;
    times_out(10, "a call", pool.call(small())).await;
    let limit = Some(Duration::from_secs(1));
    times_out(
        1,
        "a call with a limit",
        pool.call_with_timeout(small(), limit),
    )
    .await;
}

/// docs/wire C11
#[tokio::test(start_paused = true)]
async fn streams_end_in_time_that_find_no_room() {
    let (client, _gone) = unread();
    let _clock = VirtualWallClock::starting_at(BEGIN);
    // Begun while there was room.
    let first = || small().with_deadline(due_in(7));
    let mut upload = client.upload(first()).await.expect("begun");
    let (mut sender, receiver) = client.bistream(first()).await.expect("begun");
    fill(&client).await;

    let first = |seconds| small().with_deadline(due_in(seconds));
    times_out(1, "an upload", client.upload(first(1))).await;
    times_out(1, "a download", client.download(first(2))).await;
    times_out(1, "a bistream", client.bistream(first(3))).await;
    times_out(1, "a message", client.send_one_way(first(4))).await;
    let typed = Caller::from(client.clone()).with_timeout(Some(Duration::from_secs(1)));
    let items = futures_util::stream::pending::<u64>();
    times_out(
        1,
        "a typed upload",
        typed.upload::<_, _, u64, String>("A.b", &(), items),
    )
    .await;

    let sent = async {
        let part = || Message::from_body("z");
        tokio::join!(upload.send(part()), sender.send(part()))
    };
    let (upwards, both_ways) = tokio::time::timeout(Duration::from_secs(60), sent)
        .await
        .expect("they end");
    assert!(matches!(upwards, Err(SendError::Ended)), "{upwards:?}");
    assert!(matches!(both_ways, Err(SendError::Ended)), "{both_ways:?}");
    times_out(0, "an upload", upload.finish(Message::new())).await;
    times_out(0, "a bistream", receiver.finish()).await;
    assert_eq!(client.in_flight(), 0);
}

/// docs/wire C18
#[tokio::test(start_paused = true)]
async fn a_client_that_is_dropped_ends_within_its_grace_time() {
    let (client, gone) = unread();
    fill(&client).await;
    let start = Instant::now();
    drop(client);
    tokio::time::timeout(Duration::from_secs(60), gone.notified())
        .await
        .expect("the connection ends");
    assert_eq!(start.elapsed().as_secs(), 2);
}

/// Counts how often it is told, and by its owners who would tell it.
#[derive(Default)]
struct Told(AtomicUsize);

impl Wake for Told {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn poll<F: Future>(future: Pin<&mut F>, told: &Arc<Told>) -> Poll<F::Output> {
    future.poll(&mut task::Context::from_waker(&Waker::from(Arc::clone(
        told,
    ))))
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_waiting_is_forgotten() {
    let (client, _gone) = unread();
    fill(&client).await;
    let told = Arc::new(Told::default());
    for _ in 0..10 {
        let closed = pin!(client.closed());
        assert!(poll(closed, &told).is_pending());
        let call = pin!(client.call(small()));
        assert!(poll(call, &told).is_pending());
        let sent = pin!(client.send_one_way(small()));
        assert!(poll(sent, &told).is_pending());
    }
    assert_eq!(Arc::strong_count(&told), 1, "nothing would tell it");
}

#[tokio::test(start_paused = true)]
async fn room_goes_to_the_next_when_who_was_told_of_it_gives_up() {
    let (here, mut there) = tokio::io::duplex(64 << 10);
    let client = Client::builder().compression(Compression::None).from_io(
        here,
        Peer::unauthenticated("mem://server"),
        "mem://client",
        "mem://server",
    );
    fill(&client).await;
    let told = [Arc::new(Told::default()), Arc::new(Told::default())];
    let mut first = Box::pin(client.send_one_way(small()));
    let mut second = Box::pin(client.send_one_way(small()));
    assert!(poll(first.as_mut(), &told[0]).is_pending());
    assert!(poll(second.as_mut(), &told[1]).is_pending());
    // So much that there is room after the last piece that was written, and not before.
    let mut taken = vec![0; 1 << 20];
    there.read_exact(&mut taken).await.expect("it was sent");
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(told[0].0.load(Ordering::Relaxed) > 0, "the first is told");
    assert_eq!(told[1].0.load(Ordering::Relaxed), 0, "the first alone");
    drop(first);
    assert!(told[1].0.load(Ordering::Relaxed) > 0, "then the second");
    let sent = poll(second.as_mut(), &told[1]);
    assert!(matches!(sent, Poll::Ready(Ok(()))), "{sent:?}");
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_for_room_are_served_in_the_end() {
    let Served { client, .. } = serve(
        echo_server().limits(Limits::default().outbox_bytes(4 << 10)),
        &Client::builder()
            .compression(Compression::None)
            .limits(Limits::default().outbox_bytes(4 << 10)),
    );
    let calls: Vec<_> = (0..500)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move {
                let body = vec![b'z'; 1 + number * 10];
                let reply = client.call(Message::request("echo", body)).await;
                reply.expect("a reply").body.len()
            })
        })
        .collect();
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.expect("no panic"), 1 + number * 10);
    }
}
