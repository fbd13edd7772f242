//! What the driver promises while it sleeps, and when others panic, fail or race with it.

#![cfg(feature = "tokio")]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and measure virtual time"
)]

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, sleep, timeout},
};
use towline_mux::{
    CloseOutcome, Dialect, FrameInfo, PingError, Session, WriteError, muxado, yamux,
};

const DIALECTS: [Dialect; 2] = [Dialect::Yamux, Dialect::Muxado];
const HOUR: Duration = Duration::from_secs(3600);

fn client(dialect: Dialect, io: tokio::io::DuplexStream) -> Session {
    match dialect {
        Dialect::Yamux => yamux::client(io, yamux::Config::default().keep_alive(None)).unwrap(),
        Dialect::Muxado => muxado::client(io, muxado::Config::default()).unwrap(),
    }
}

fn server(dialect: Dialect, io: tokio::io::DuplexStream) -> Session {
    match dialect {
        Dialect::Yamux => yamux::server(io, yamux::Config::default().keep_alive(None)).unwrap(),
        Dialect::Muxado => muxado::server(io, muxado::Config::default()).unwrap(),
    }
}

fn pair(dialect: Dialect, capacity: usize) -> (Session, Session) {
    let (here, there) = tokio::io::duplex(capacity);
    (client(dialect, here), server(dialect, there))
}

/// One message there and back; then everybody has time to fall asleep.
async fn warm_up(client: &Session, server: &Session) {
    let mut stream = client.open().await.unwrap();
    stream.write_all(b"?").await.unwrap();
    let mut accepted = server.accept().await.unwrap().unwrap();
    assert_eq!(accepted.read_u8().await.unwrap(), b'?');
    accepted.write_all(b"!").await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'!');
    stream.shutdown().await.unwrap();
    accepted.shutdown().await.unwrap();
    sleep(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_session_at_rest_closes_at_once() {
    for dialect in DIALECTS {
        let (client, server) = pair(dialect, 1 << 16);
        warm_up(&client, &server).await;
        let start = Instant::now();
        let outcome = client.close().await.unwrap();
        assert_ne!(outcome, CloseOutcome::TimedOut, "{dialect}");
        assert!(start.elapsed() < Duration::from_secs(1), "{dialect}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_of_a_session_at_rest_ends_it_at_once() {
    for dialect in DIALECTS {
        let (client, server) = pair(dialect, 1 << 16);
        warm_up(&client, &server).await;
        let start = Instant::now();
        drop(client);
        server.closed().await;
        assert!(start.elapsed() < Duration::from_secs(1), "{dialect}");
    }
}

/// docs/wire Y9: everybody who waits to accept is told, one stream at a time.
#[tokio::test(start_paused = true)]
async fn every_one_of_several_acceptors_is_told() {
    for dialect in DIALECTS {
        let (client, server) = pair(dialect, 1 << 16);
        let mut waiting = Vec::new();
        for _ in 0..3 {
            let server = server.clone();
            waiting.push(tokio::spawn(async move { server.accept().await }));
        }
        sleep(Duration::from_secs(1)).await;
        let mut open = Vec::new();
        for _ in 0..3 {
            open.push(client.open_eager().await.unwrap());
            sleep(Duration::from_secs(1)).await;
        }
        for task in waiting {
            timeout(HOUR, task)
                .await
                .unwrap()
                .unwrap()
                .unwrap()
                .unwrap();
        }
    }
}

/// As above, when one of them goes away in between.
#[tokio::test(start_paused = true)]
async fn an_acceptor_that_gives_up_passes_its_turn_on() {
    let (client, server) = pair(Dialect::Yamux, 1 << 16);
    let first = {
        let server = server.clone();
        tokio::spawn(async move { server.accept().await })
    };
    sleep(Duration::from_secs(1)).await;
    let second = {
        let server = server.clone();
        tokio::spawn(async move { server.accept().await })
    };
    sleep(Duration::from_secs(1)).await;
    first.abort();
    let _open = client.open_eager().await.unwrap();
    timeout(HOUR, second)
        .await
        .unwrap()
        .unwrap()
        .unwrap()
        .unwrap();
}

/// docs/wire Y64, U79.
#[tokio::test(start_paused = true)]
async fn a_peer_that_stops_reading_ends_the_session_though_the_driver_slept() {
    for dialect in DIALECTS {
        let (here, _there) = tokio::io::duplex(1 << 10);
        let session = client(dialect, here);
        let mut stream = session.open_eager().await.unwrap();
        sleep(Duration::from_secs(1)).await;
        let start = Instant::now();
        let written = timeout(HOUR, stream.write_all(&vec![1; 1 << 21])).await;
        written.unwrap().unwrap_err();
        assert!(start.elapsed() < Duration::from_secs(12), "{dialect}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_ping_of_a_mute_peer_times_out_though_nothing_else_is_timed() {
    for keep_alive in [None, Some(Duration::from_secs(300))] {
        let (here, _there) = tokio::io::duplex(1 << 16);
        let session = yamux::client(here, yamux::Config::default().keep_alive(keep_alive)).unwrap();
        sleep(Duration::from_secs(20)).await;
        let start = Instant::now();
        let result = timeout(HOUR, session.ping()).await.unwrap();
        assert!(
            matches!(result, Err(PingError::TimedOut | PingError::Session(_))),
            "{result:?}"
        );
        assert!(start.elapsed() < Duration::from_secs(12));
    }
}

/// docs/wire Y75: a stream whose peer never ends is given up.
#[tokio::test(start_paused = true)]
async fn a_dropped_stream_is_given_up_in_time() {
    for dialect in DIALECTS {
        let (client, server) = pair(dialect, 1 << 16);
        let mut stream = client.open().await.unwrap();
        stream.write_all(b"x").await.unwrap();
        stream.shutdown().await.unwrap();
        stream.flush().await.unwrap();
        let _kept = server.accept().await.unwrap().unwrap();
        sleep(Duration::from_secs(1)).await;
        drop(stream);
        sleep(Duration::from_secs(60)).await;
        assert_eq!(client.stream_count(), 0, "{dialect}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_peer_sent_before_a_write_failed_is_read() {
    const EACH: usize = 256 << 10;
    let (here, mut there) = tokio::io::duplex(8 << 20);
    let session = yamux::client(here, yamux::Config::default().rtt_interval(None)).unwrap();
    let mut streams = Vec::new();
    for _ in 0..16 {
        let mut stream = session.open().await.unwrap();
        stream.write_all(b"q").await.unwrap();
        streams.push(stream);
    }
    sleep(Duration::from_secs(1)).await;
    let mut all = Vec::new();
    for number in 0..16_u32 {
        let id = (1 + 2 * number).to_be_bytes();
        for _ in 0..EACH >> 16 {
            all.extend([0, 0, 0, 0]);
            all.extend(id);
            all.extend((1_u32 << 16).to_be_bytes());
            all.extend(vec![number as u8; 1 << 16]);
        }
        all.extend([0, 1, 0, 4 | 2]);
        all.extend(id);
        all.extend([0; 4]);
    }
    there.write_all(&all).await.unwrap();
    drop(there);
    let mut readers = Vec::new();
    for mut stream in streams {
        readers.push(tokio::spawn(async move {
            let mut got = Vec::new();
            stream.read_to_end(&mut got).await.map(|_| got.len())
        }));
    }
    for reader in readers {
        assert_eq!(reader.await.unwrap().unwrap(), EACH);
    }
}

#[tokio::test(start_paused = true)]
async fn flushing_waits_for_the_transport() {
    for dialect in DIALECTS {
        let (here, mut there) = tokio::io::duplex(64);
        let session = client(dialect, here);
        let mut stream = session.open().await.unwrap();
        stream.write_all(&[7; 50_000]).await.unwrap();
        let early = timeout(Duration::from_secs(5), stream.flush()).await;
        assert!(early.is_err(), "{dialect}: only 64 bytes were taken");
        let reader = tokio::spawn(async move {
            let (mut taken, mut buffer) = (0, [0; 1000]);
            while taken < 50_000 {
                taken += there.read(&mut buffer).await.unwrap();
            }
            there
        });
        timeout(HOUR, stream.flush()).await.unwrap().unwrap();
        // All but what is on its way.
        let _open = timeout(HOUR, reader).await.unwrap().unwrap();
    }
}

/// docs/wire Y69.
#[tokio::test(start_paused = true)]
async fn nobody_is_remembered_who_waits_for_the_end_no_more() {
    struct Counted;
    impl Wake for Counted {
        fn wake(self: Arc<Self>) {}
    }
    let (client, _server) = pair(Dialect::Yamux, 1 << 16);
    let counted = Arc::new(Counted);
    for _ in 0..100 {
        let waker = Waker::from(Arc::clone(&counted));
        let mut closed = pin!(client.closed());
        assert!(
            closed
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
    }
    assert_eq!(Arc::strong_count(&counted), 1);
}

#[tokio::test(start_paused = true)]
async fn a_tap_that_panics_ends_the_session() {
    for own_task in [false, true] {
        let tap = Arc::new(|frame: &FrameInfo| {
            assert!(!(frame.sent && frame.length == 300), "the tap panics");
        });
        let (here, there) = tokio::io::duplex(1 << 16);
        let client = yamux::client(here, yamux::Config::default().tap(tap)).unwrap();
        let server = yamux::server(there, yamux::Config::default()).unwrap();
        warm_up(&client, &server).await;
        let mut other = client.open_eager().await.unwrap();
        let mut accepted = server.accept().await.unwrap().unwrap();
        let session = client.clone();
        let panics = tokio::spawn(async move {
            let mut stream = session.open_eager().await.unwrap();
            if own_task {
                sleep(Duration::from_secs(1)).await;
            }
            stream.write_all(&[b'A'; 300]).await.unwrap();
            stream.flush().await.unwrap();
            sleep(HOUR).await;
        });
        timeout(HOUR / 2, client.closed()).await.unwrap();
        timeout(HOUR / 2, server.closed()).await.unwrap();
        other.write_all(b"x").await.unwrap_err();
        // Nothing of anybody's frames is read as this stream's data.
        assert!(accepted.read_chunk().await.is_err());
        panics.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn the_longest_duration_is_never() {
    let config = yamux::Config::default()
        .connection_write_timeout(Duration::MAX)
        .keep_alive(Some(Duration::MAX))
        .rtt_interval(Some(Duration::MAX))
        .close_timeout(Duration::MAX)
        .stream_open_timeout(Some(Duration::MAX))
        .linger(Duration::MAX);
    let (here, there) = tokio::io::duplex(1 << 16);
    let client = yamux::client(here, config.clone()).unwrap();
    let server = yamux::server(there, config).unwrap();
    warm_up(&client, &server).await;
    drop(client.open().await.unwrap());
    client.ping().await.unwrap();
    client.close().await.unwrap();
}

/// A write that fails holds the writer for a moment; what others queue meanwhile must not be left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_write_leaves_nobody_elses_bytes_behind() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (here, there) = tokio::join!(tokio::net::TcpStream::connect(address), listener.accept());
    let client = muxado::client(here.unwrap(), muxado::Config::default()).unwrap();
    let server = muxado::server(there.unwrap().0, muxado::Config::default()).unwrap();
    tokio::spawn(async move {
        while let Ok(Some(mut stream)) = server.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 64];
                while stream.read_exact(&mut buffer).await.is_ok()
                    && stream.write_all(&buffer).await.is_ok()
                {}
            });
        }
    });
    let mut dead = client.open().await.unwrap();
    dead.reset(1);
    let stop = Arc::new(AtomicBool::new(false));
    let failing = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || {
            let mut cx = Context::from_waker(Waker::noop());
            while !stop.load(Ordering::Relaxed) {
                let written = pin!(&mut dead).poll_write(&mut cx, &[0; 600]);
                assert!(!matches!(written, std::task::Poll::Ready(Ok(_))));
            }
        })
    };
    let (mut read, mut write) = client.open().await.unwrap().into_split();
    let (sender, mut receiver) = tokio::sync::mpsc::channel(10);
    tokio::spawn(async move {
        let mut buffer = [0; 64];
        while read.read_exact(&mut buffer).await.is_ok() && sender.send(()).await.is_ok() {}
    });
    for _ in 0..500 {
        // The driver falls asleep: it would else send what is left behind.
        sleep(Duration::from_millis(1)).await;
        write.write_all(&[1; 64]).await.unwrap();
        // Far longer than any round trip: what is left behind is left for ever.
        timeout(Duration::from_secs(60), receiver.recv())
            .await
            .unwrap()
            .unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    failing.join().unwrap();
    let gone: Result<(), WriteError> = write.close_write();
    gone.unwrap();
}
