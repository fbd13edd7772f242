//! How sessions on tokio end, over the simulated network on a paused clock.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    sync::Arc,
    task::{Context, Wake, Waker},
    time::Duration,
};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use towline_swp::{
    Session,
    network::sim::{PacketConditions, SimNet},
    proto::{CloseReason, Config},
};

async fn pair(net: &SimNet, a: Config, b: Config) -> (Session, Session) {
    let listening = tokio::spawn(Session::accept(Arc::new(net.clone()), b));
    let opened = Session::connect(Arc::new(net.clone()), a).await.unwrap();
    (opened, listening.await.unwrap().unwrap())
}

fn names() -> (Config, Config) {
    (Config::new("A", "B"), Config::new("B", "A"))
}

fn net() -> SimNet {
    SimNet::new(
        PacketConditions::default().delay(Duration::from_millis(1)),
        1,
    )
}

/// docs/wire W51: the answer to the end of the data is all that is waited for.
#[tokio::test(start_paused = true)]
async fn shutting_down_an_idle_session_completes_with_the_answer() {
    let (a, b) = names();
    let (mut a, _b) = pair(&net(), a, b).await;
    a.write_all(b"x").await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    tokio::select! {
        // First, since a shutdown that nobody woke would complete once it is looked at.
        biased;
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("nobody was woken"),
        shut = a.shutdown() => shut.unwrap(),
    }
    assert_eq!(a.close_reason(), None, "the other direction goes on");
}

/// docs/wire W45, W51: who reads to the end and then closes has lost nothing, in either format.
#[tokio::test(start_paused = true)]
async fn closing_after_the_peer_has_closed_is_no_error() {
    for extension in [true, false] {
        let (a, b) = names();
        let (a, b) = pair(&net(), a.extension(extension), b).await;
        a.push("hello").await.unwrap();
        b.push("there").await.unwrap();
        let reading = tokio::spawn(async move {
            let mut count = 0;
            while b.recv().await.unwrap().is_some() {
                count += 1;
            }
            (count, b.close().await, b.close().await)
        });
        assert_eq!(a.close().await, Ok(()), "{extension}");
        assert_eq!(reading.await.unwrap(), (1, Ok(()), Ok(())), "{extension}");
    }
}

#[tokio::test(start_paused = true)]
async fn shutting_down_after_the_peer_has_closed_is_no_error() {
    for extension in [true, false] {
        let (a, b) = names();
        let (a, mut b) = pair(&net(), a.extension(extension), b).await;
        a.send("abc").await.unwrap();
        let reading = tokio::spawn(async move {
            let mut read = Vec::new();
            b.read_to_end(&mut read).await.unwrap();
            b.shutdown().await.unwrap();
            read
        });
        assert_eq!(a.close().await, Ok(()), "{extension}");
        assert_eq!(reading.await.unwrap(), b"abc", "{extension}");
    }
}

/// docs/wire W51: what the peer threw away was lost, and every way to end says so.
#[tokio::test(start_paused = true)]
async fn what_a_closing_peer_has_not_taken_is_lost() {
    for shuts_down in [true, false] {
        let (a, b) = names();
        // No more than one message fits into the peer's window.
        let (a, mut b) = pair(&net(), a.window(1, 10_000), b).await;
        for _ in 0..3 {
            b.send("never read").await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let ending = tokio::spawn(async move {
            if shuts_down {
                let error = b.shutdown().await.unwrap_err();
                assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
            }
            b.close().await
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(a.close().await, Ok(()));
        let closed = ending.await.unwrap();
        // Who closes without shutting down first delivers to a peer that throws away.
        assert!(
            matches!(closed, Err(CloseReason::RemoteClosed)),
            "{shuts_down}: {closed:?}"
        );
    }
}

/// Settings that mean "never" do that.
#[tokio::test(start_paused = true)]
async fn the_longest_durations_are_never_over() {
    let never = Duration::MAX;
    for settings in 0..6 {
        let (a, b) = names();
        let with = |config: Config| match settings {
            0 => config.connect_timeout(never, 1),
            1 => config.linger(never),
            2 => config.keep_alive(never, None),
            3 => config.keep_alive(never, Some(2)),
            4 => config.ack_delay(never),
            _ => config.retransmission_timeouts(Duration::from_secs(u64::MAX / 2), never),
        };
        let (a, b) = (with(a), with(b));
        a.validate().unwrap();
        let (a, b) = pair(&net(), a, b).await;
        a.send("one").await.unwrap();
        a.send("two").await.unwrap();
        assert_eq!(b.recv().await.unwrap().unwrap(), "one", "{settings}");
        assert_eq!(b.recv().await.unwrap().unwrap(), "two", "{settings}");
        assert_eq!(a.close().await, Ok(()), "{settings}");
    }
}

struct Nothing;

impl Wake for Nothing {
    fn wake(self: Arc<Self>) {}
}

/// Whoever gives up waiting is forgotten at once, also in a session in which nothing happens.
#[tokio::test(start_paused = true)]
async fn futures_that_are_dropped_leave_nothing_behind() {
    let (a, b) = names();
    let (a, _b) = pair(&net(), a, b).await;
    for _ in 0..100 {
        let waiting = Arc::new(Nothing);
        let waker = Waker::from(Arc::clone(&waiting));
        let mut recv = Box::pin(a.recv());
        let mut ended = Box::pin(a.task_ended());
        for _ in 0..2 {
            let mut context = Context::from_waker(&waker);
            assert!(recv.as_mut().poll(&mut context).is_pending());
            assert!(ended.as_mut().poll(&mut context).is_pending());
        }
        drop((recv, ended, waker));
        assert_eq!(Arc::strong_count(&waiting), 1);
    }
}
