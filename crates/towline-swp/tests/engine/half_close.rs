//! The end of one direction, between two towlines (docs/wire W51).

use bytes::Bytes;
use towline_swp::proto::{
    CloseReason, Config, Engine, Incoming, Now, SendError, TcpEvent, Transmit,
};

use crate::{End, config, millis};

fn deliver(to: &mut Engine, now: Now, packet: &Transmit) {
    to.handle(now, Incoming::decode(&packet.bytes, 1 << 20).unwrap());
}

/// Both ends of an open session with the extension, with nothing left to send.
fn pair() -> (End, Engine) {
    let mut a = End::new(config());
    let mut b = Engine::new(Config::new("B", "A"), [9; 32], a.now).unwrap();
    a.engine.open(a.now).unwrap();
    settle(&mut a.engine, &mut b, a.now);
    assert!(a.engine.is_extended() && b.is_extended());
    (a, b)
}

fn settle(a: &mut Engine, b: &mut Engine, now: Now) {
    loop {
        if let Some(packet) = a.poll_transmit(now) {
            deliver(b, now, &packet);
        } else if let Some(packet) = b.poll_transmit(now) {
            deliver(a, now, &packet);
        } else {
            return;
        }
    }
}

/// docs/wire W49, W51: what a network repeats is no answer to what came later.
#[test]
fn an_answer_that_comes_twice_ends_no_later_close() {
    let (mut a, mut b) = pair();
    let now = a.now;
    a.engine.finish(now);
    let fin = a.engine.poll_transmit(now).unwrap();
    assert_eq!(fin.event, TcpEvent::FIN);
    deliver(&mut b, now, &fin);
    let answer = b.poll_transmit(now).unwrap();
    assert_eq!(answer.event, TcpEvent::FIN_ACK);
    deliver(&mut a.engine, now, &answer);
    assert!(a.engine.is_finished());

    a.engine.close(now);
    let lost = a.engine.poll_transmit(now).unwrap();
    assert_eq!(lost.event, TcpEvent::FIN);
    deliver(&mut a.engine, now, &answer);
    assert_eq!(
        a.engine.close_reason(),
        None,
        "nobody has heard of the close"
    );
    assert_eq!(b.send(now, Bytes::from_static(b"more")), Ok(0));

    // It is repeated, and answered as what it is.
    let mut again = None;
    for _ in 0..20 {
        a.goes_to(a.now.instant + millis(100));
        a.engine.handle_timeout(a.now);
        while let Some(packet) = a.engine.poll_transmit(a.now) {
            if packet.event == TcpEvent::FIN {
                again = Some(packet);
            }
        }
    }
    deliver(&mut b, a.now, &again.unwrap());
    let refused = b.send(a.now, Bytes::from_static(b"too late"));
    assert_eq!(refused, Err(SendError::Closed(CloseReason::RemoteClosed)));
    let now = a.now;
    settle(&mut a.engine, &mut b, now);
    assert_eq!(a.engine.close_reason(), Some(CloseReason::Finished));
    assert!(b.close_reason().is_some());
}

/// docs/wire W51: where both have sent everything, who reads no more tells nobody anything.
#[test]
fn any_answer_ends_a_close_when_the_other_end_has_finished_too() {
    let (mut a, mut b) = pair();
    let now = a.now;
    b.finish(now);
    settle(&mut a.engine, &mut b, now);
    a.engine.finish(now);
    let fin = a.engine.poll_transmit(now).unwrap();
    deliver(&mut b, now, &fin);
    let answer = std::iter::from_fn(|| b.poll_transmit(now)).last().unwrap();
    assert_eq!(answer.event, TcpEvent::FIN_ACK);
    a.engine.close(now);
    deliver(&mut a.engine, now, &answer);
    a.engine.poll_transmit(now).unwrap();
    deliver(&mut a.engine, now, &answer);
    assert_eq!(a.engine.close_reason(), Some(CloseReason::Finished));
}
