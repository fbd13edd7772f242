//! Closing in the original's format (docs/wire W44 to W46).

use towline_swp::proto::{CloseReason, Packet, ReadState, TcpEvent, TcpState};

use crate::{End, FIN, config, events, millis};

/// docs/wire W44
#[test]
fn a_fin_leaves_when_everything_is_acknowledged() {
    let mut end = End::opened(config(), 10);
    end.sends(b"x");
    let sent = end.sent_one();
    end.engine.close(end.now);
    assert!(end.sent().is_empty());
    end.hears(&end.acknowledgement(&sent, 0));
    let fin = end.sent_one();
    assert_eq!(
        (fin.event, fin.seq, fin.ack_retry),
        (TcpEvent::FIN, FIN, FIN)
    );
    end.hears(&end.control(TcpEvent::FIN_ACK, FIN));
    assert_eq!(end.engine.close_reason(), Some(CloseReason::Finished));
    assert_eq!(end.engine.state(), TcpState::CLOSED);
    end.engine.close(end.now);
    assert!(end.passes(millis(5000)).is_empty(), "closing twice is once");
    assert!(end.engine.is_done());
}

/// docs/wire W44, W45: what came is acknowledged before the end, and again if it comes again after it.
#[test]
fn what_came_is_acknowledged_before_the_end_and_after_it() {
    let mut end = End::opened(config(), 10);
    end.hears(&end.data(0, b"one"));
    end.engine.close(end.now);
    let sent = end.sent();
    assert_eq!(events(&sent), [TcpEvent::DATA_ACK, TcpEvent::FIN]);
    assert_eq!((sent[0].ack, sent[1].ack), (0, 0));
    end.hears(&end.control(TcpEvent::FIN_ACK, FIN));
    assert_eq!(end.engine.close_reason(), Some(CloseReason::Finished));
    for _ in 0..3 {
        end.hears(&end.data(0, b"one"));
        let again = end.sent_one();
        assert_eq!((again.event, again.ack), (TcpEvent::DATA_ACK, 0));
    }
    // What came later never arrived.
    end.hears(&end.data(1, b"two"));
    assert!(end.sent().is_empty());
    end.passes(millis(2001));
    end.hears(&end.data(0, b"one"));
    assert!(end.sent().is_empty(), "two seconds are over");
    assert!(end.engine.is_done());
}

/// docs/wire W28, W45: the last acknowledgement may be lost; a FIN says the same, but for the original's 0.
#[test]
fn a_fin_acknowledges_what_it_says() {
    for (ack, is_known, reason) in [
        (1, false, CloseReason::Finished),
        (0, false, CloseReason::RemoteClosed),
        (0, true, CloseReason::RemoteClosed),
        (1, true, CloseReason::Finished),
    ] {
        let mut end = End::opened(config(), 10);
        if is_known {
            let nothing = end.control(TcpEvent::NIL, 0);
            end.hears(&Packet { ack: -1, ..nothing });
        }
        end.sends(b"one");
        end.sends(b"two");
        assert_eq!(end.sent().len(), 2);
        let fin = end.packet(TcpEvent::FIN, FIN);
        end.hears(&Packet { ack, ..fin });
        assert_eq!(end.engine.close_reason(), Some(reason), "{ack} {is_known}");
    }
}

/// docs/wire W44: half of the original's answers never leave.
#[test]
fn a_fin_that_nobody_answers_is_repeated_a_few_times_and_is_enough() {
    let mut end = End::opened(config(), 10);
    end.engine.close(end.now);
    let sent = end.passes(millis(10_000));
    assert_eq!(events(&sent), [TcpEvent::FIN; 4]);
    assert_eq!(end.engine.close_reason(), Some(CloseReason::Finished));
}

/// docs/wire W44
#[test]
fn what_is_not_acknowledged_in_time_is_an_error() {
    let mut end = End::opened(config(), 10);
    end.sends(b"x");
    end.engine.close(end.now);
    end.passes(millis(9_999));
    assert_eq!(end.engine.close_reason(), None);
    end.passes(millis(2));
    let reason = end.engine.close_reason().unwrap();
    assert_eq!(
        reason.to_string(),
        "timed-out after 10 seconds waiting to get Close() message through."
    );
}

/// docs/wire W45
#[test]
fn a_fin_is_answered_each_time_and_what_came_can_be_read() {
    let mut end = End::opened(config(), 10);
    end.hears(&end.data(0, b"one"));
    end.hears(&end.data(1, b"two"));
    end.sent();
    for _ in 0..100 {
        end.hears(&end.packet(TcpEvent::FIN, FIN));
        let answer = end.sent_one();
        assert_eq!((answer.event, answer.ack_retry), (TcpEvent::FIN_ACK, FIN));
    }
    assert_eq!(end.engine.read_state(), ReadState::Open);
    assert_eq!(end.received(), ["one", "two"]);
    assert_eq!(end.engine.read_state(), ReadState::End);
    end.passes(millis(2001));
    assert!(end.engine.is_done());
    end.hears(&end.packet(TcpEvent::FIN, FIN));
    assert!(end.sent().is_empty(), "two seconds are over");
}

/// docs/wire W45
#[test]
fn a_fin_in_front_of_a_gap_is_an_error_behind_what_came() {
    let mut end = End::opened(config(), 10);
    end.hears(&end.data(0, b"one"));
    end.hears(&end.data(2, b"three"));
    end.hears(&end.packet(TcpEvent::FIN, FIN));
    assert_eq!(end.received(), ["one"]);
    let cut = ReadState::Failed(CloseReason::RemoteClosed);
    assert_eq!(end.engine.read_state(), cut);
}

/// docs/wire W44, W45: both at once.
#[test]
fn fins_that_cross_end_both_sides() {
    let mut end = End::opened(config(), 10);
    end.engine.close(end.now);
    assert_eq!(end.sent_one().event, TcpEvent::FIN);
    end.hears(&end.packet(TcpEvent::FIN, FIN));
    assert_eq!(end.sent_one().event, TcpEvent::FIN_ACK);
    assert_eq!(end.engine.close_reason(), Some(CloseReason::Finished));
}

/// docs/wire W46
#[test]
fn who_abandons_a_session_says_so_once() {
    let mut end = End::opened(config(), 10);
    end.sends(b"never sent");
    end.engine.abort(end.now);
    assert_eq!(end.sent_one().event, TcpEvent::FIN);
    assert!(end.passes(millis(10_000)).is_empty());
    assert!(end.engine.is_done());
}
