//! Who waits for a session is woken, outside its lock, and forgotten.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use futures_util::Stream;
use tokio::io::{AsyncRead, ReadBuf};
use towline_swp::{
    Listener, Session,
    network::sim::{PacketConditions, SimNet},
    proto::Config,
};

/// Uses the session when it is woken and when it is dropped, which would wait for ever under its lock.
struct Curious {
    session: Arc<Session>,
    woken: Arc<AtomicU64>,
}

impl Wake for Curious {
    fn wake(self: Arc<Self>) {
        self.session.stats();
        self.woken.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Curious {
    fn drop(&mut self) {
        self.session.stats();
    }
}

fn kept(wakers: &[Weak<Curious>]) -> usize {
    wakers.iter().filter(|it| it.strong_count() > 0).count()
}

async fn pair() -> (Arc<Session>, Session) {
    let net = SimNet::new(PacketConditions::default(), 1);
    let accepting = tokio::spawn(Session::accept(
        Arc::new(net.clone()),
        Config::new("B", "A"),
    ));
    let opened = Session::connect(Arc::new(net), Config::new("A", "B")).await;
    let accepted = accepting.await.unwrap().unwrap();
    (Arc::new(opened.unwrap()), accepted)
}

/// A future may be polled by another task each time: only the last of them matters.
#[tokio::test(start_paused = true)]
async fn wakers_of_readers_do_not_pile_up() {
    let (a, b) = pair().await;
    let woken = Arc::new(AtomicU64::new(0));
    let mut wakers = Vec::new();
    let curious = |wakers: &mut Vec<_>| {
        let curious = Arc::new(Curious {
            session: Arc::clone(&a),
            woken: Arc::clone(&woken),
        });
        wakers.push(Arc::downgrade(&curious));
        Waker::from(curious)
    };
    let mut memory = [0; 10];
    for _ in 0..1000 {
        let waker = curious(&mut wakers);
        let mut buffer = ReadBuf::new(&mut memory);
        let cx = &mut Context::from_waker(&waker);
        assert!(Pin::new(&mut &*a).poll_read(cx, &mut buffer).is_pending());
        let waker = curious(&mut wakers);
        let cx = &mut Context::from_waker(&waker);
        assert!(Pin::new(&mut a.messages()).poll_next(cx).is_pending());
    }
    assert_eq!(kept(&wakers), 16);
    assert_eq!(
        woken.load(Ordering::Relaxed),
        2000 - 16,
        "none is forgotten unwoken"
    );
    b.push("hello").await.unwrap();
    while kept(&wakers) > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(woken.load(Ordering::Relaxed), 2000);
    let mut buffer = ReadBuf::new(&mut memory);
    let cx = &mut Context::from_waker(Waker::noop());
    let read = Pin::new(&mut &*a).poll_read(cx, &mut buffer);
    assert!(matches!(read, Poll::Ready(Ok(()))));
    assert_eq!(buffer.filled(), b"hello");
}

/// A future that waits keeps the waker of its last poll alone, and none once it is dropped.
#[tokio::test(start_paused = true)]
async fn wakers_of_futures_are_exchanged_and_dropped() {
    let (a, b) = pair().await;
    let woken = Arc::new(AtomicU64::new(0));
    let polls = |future: &mut dyn FnMut(&mut Context<'_>) -> bool| {
        let mut wakers = Vec::new();
        for _ in 0..100 {
            let curious = Arc::new(Curious {
                session: Arc::clone(&a),
                woken: Arc::clone(&woken),
            });
            wakers.push(Arc::downgrade(&curious));
            let waker = Waker::from(curious);
            assert!(future(&mut Context::from_waker(&waker)));
        }
        assert_eq!(kept(&wakers), 1);
        wakers
    };
    // Nobody takes anything at the other end.
    while a.try_send(vec![0; 100_000]).is_ok() {}
    let push_wakers = {
        let mut push = pin!(a.push("waits for room"));
        polls(&mut |cx| push.as_mut().poll(cx).is_pending())
    };
    assert_eq!(kept(&push_wakers), 0);
    let recv_wakers = {
        let mut recv = pin!(a.recv());
        polls(&mut |cx| recv.as_mut().poll(cx).is_pending())
    };
    assert_eq!(kept(&recv_wakers), 0);

    let net = SimNet::new(PacketConditions::default(), 2);
    let listener = Listener::bind(Arc::new(net), Config::new("L", "")).await;
    let listener = listener.unwrap();
    let accept_wakers = {
        let mut accept = pin!(listener.accept());
        polls(&mut |cx| accept.as_mut().poll(cx).is_pending())
    };
    // A listener keeps the waker of whoever looked last, until somebody looks again.
    assert_eq!(kept(&accept_wakers), 1);
    drop(listener);
    assert_eq!(kept(&accept_wakers), 0);
    assert_eq!(woken.load(Ordering::Relaxed), 0);
    drop(b);
}
