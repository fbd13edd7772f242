//! The numbers of states, events and actions, and the original's transition table.

use std::fmt;

/// A number of the wire that has names for some of its values; the others are kept as they came.
macro_rules! open_enum {
    ($(#[$doc:meta])* $type:ident { $($(#[$item_doc:meta])* $name:ident = $number:literal as $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $type(pub i64);

        impl $type {
            $($(#[$item_doc])* pub const $name: Self = Self($number);)*
        }

        impl From<i64> for $type {
            fn from(number: i64) -> Self {
                Self(number)
            }
        }

        impl From<$type> for i64 {
            fn from(value: $type) -> Self {
                value.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.0 {
                    $($number => f.write_str($text),)*
                    other => write!(f, concat!(stringify!($type), "({})"), other),
                }
            }
        }
    };
}

open_enum! {
    /// The state of a session, by the original's number (docs/wire W13).
    TcpState {
        /// Nothing has happened yet; on the wire also "not told".
        FRESH = 0 as "Fresh",
        /// Over.
        CLOSED = 1 as "Closed",
        /// Waiting for a SYN; every session starts here.
        LISTEN = 2 as "Listen",
        /// A SYN came.
        SYN_RECEIVED = 3 as "SynReceived",
        /// A SYN was sent.
        SYN_SENT = 4 as "SynSent",
        /// Both ends know each other.
        ESTABLISHED = 5 as "Established",
        /// This end said that it is done.
        CLOSE_INITIATOR_HAS_SENT_FIN = 6 as "CloseInitiatorHasSentFin",
        /// The other end said that it is done.
        CLOSE_RESPONDER_GOT_FIN = 7 as "CloseResponderGotFin",
    }
}

open_enum! {
    /// What a packet is, by the original's number (docs/wire W13).
    TcpEvent {
        /// Nothing; towline's window updates are sent as this (docs/wire W36).
        NIL = 0 as "EventNil",
        /// Internal to the original.
        START_LISTEN = 1 as "EventStartListen",
        /// Internal to the original.
        START_CONNECT = 2 as "EventStartConnect",
        /// The first packet of an opener.
        SYN = 3 as "EventSyn",
        /// The listener's answer.
        SYN_ACK = 4 as "EventSynAck",
        /// The opener's answer to that, and both sides' answer in a simultaneous open.
        ESTAB_ACK = 5 as "EventEstabAck",
        /// Internal to the original.
        START_CLOSE = 6 as "EventStartClose",
        /// Internal to the original.
        APPLICATION_CLOSED = 7 as "EventApplicationClosed",
        /// The sender is done.
        FIN = 8 as "EventFin",
        /// The answer to a FIN.
        FIN_ACK = 9 as "EventFinAck",
        /// An acknowledgement.
        DATA_ACK = 10 as "EventDataAck",
        /// Data.
        DATA = 11 as "EventData",
        /// A sign of life that is answered with an acknowledgement.
        KEEP_ALIVE = 12 as "EventKeepAlive",
    }
}

open_enum! {
    /// What the original does at a transition, by its number (docs/wire W13).
    TcpAction {
        /// Nothing.
        NONE = 0 as "NoAction",
        /// Send a SYN.
        SEND_SYN = 1 as "SendSyn",
        /// Send a SYNACK.
        SEND_SYN_ACK = 2 as "SendSynAck",
        /// Send an ESTABACK.
        SEND_ESTAB_ACK = 3 as "SendEstabAck",
        /// Send a FIN.
        SEND_FIN = 4 as "SendFin",
        /// Send a FINACK.
        SEND_FIN_ACK = 5 as "SendFinAck",
        /// Tell the application, then close.
        DO_APP_CLOSE = 6 as "DoAppClose",
        /// Send an acknowledgement.
        SEND_DATA_ACK = 7 as "SendDataAck",
    }
}

impl TcpState {
    /// The original's transition (docs/wire W13): the state that follows, and what is done.
    /// `from` is the other end's own state, where the packet told it.
    ///
    /// towline's engine keeps to this table where the original's peer can see it, and repairs what
    /// the table loses (docs/wire W15, W16, W45).
    ///
    /// ```
    /// use towline_swp::proto::{TcpAction, TcpEvent, TcpState};
    ///
    /// assert_eq!(
    ///     TcpState::LISTEN.on_event(TcpEvent::SYN, TcpState::FRESH),
    ///     (TcpState::SYN_RECEIVED, TcpAction::SEND_SYN_ACK),
    /// );
    /// ```
    pub fn on_event(self, event: TcpEvent, from: Self) -> (Self, TcpAction) {
        match (self, event) {
            (Self::CLOSED, _) => (Self::CLOSED, TcpAction::SEND_FIN_ACK),
            (Self::FRESH, TcpEvent::START_LISTEN) => (Self::LISTEN, TcpAction::NONE),
            (Self::FRESH, TcpEvent::START_CONNECT) => (Self::SYN_SENT, TcpAction::SEND_SYN),
            (Self::LISTEN, TcpEvent::SYN) => (Self::SYN_RECEIVED, TcpAction::SEND_SYN_ACK),
            (Self::SYN_RECEIVED, TcpEvent::ESTAB_ACK) => (Self::ESTABLISHED, TcpAction::NONE),
            (Self::SYN_RECEIVED, TcpEvent::KEEP_ALIVE) if from == Self::ESTABLISHED => {
                (Self::ESTABLISHED, TcpAction::NONE)
            }
            (Self::SYN_SENT, TcpEvent::SYN_ACK) => (Self::ESTABLISHED, TcpAction::SEND_ESTAB_ACK),
            (Self::SYN_SENT, TcpEvent::SYN) => (Self::SYN_RECEIVED, TcpAction::SEND_ESTAB_ACK),
            (Self::ESTABLISHED, TcpEvent::KEEP_ALIVE) => (self, TcpAction::SEND_DATA_ACK),
            (Self::ESTABLISHED, TcpEvent::START_CLOSE) => {
                (Self::CLOSE_INITIATOR_HAS_SENT_FIN, TcpAction::SEND_FIN)
            }
            (
                Self::LISTEN | Self::SYN_RECEIVED | Self::SYN_SENT | Self::ESTABLISHED,
                TcpEvent::FIN,
            ) => (Self::CLOSE_RESPONDER_GOT_FIN, TcpAction::DO_APP_CLOSE),
            (Self::CLOSE_INITIATOR_HAS_SENT_FIN, TcpEvent::FIN_ACK | TcpEvent::FIN)
            | (Self::CLOSE_RESPONDER_GOT_FIN, TcpEvent::APPLICATION_CLOSED) => {
                (Self::CLOSED, TcpAction::NONE)
            }
            _ => (self, TcpAction::NONE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// docs/wire W13: every state, event and sender's state, unknown ones included.
    #[test]
    fn the_transition_table_is_the_originals() {
        // state, event, the sender's state if it matters, state that follows, action
        const TABLE: [(i64, i64, Option<i64>, i64, i64); 18] = [
            (0, 1, None, 2, 0),
            (0, 2, None, 4, 1),
            (2, 3, None, 3, 2),
            (2, 8, None, 7, 6),
            (3, 5, None, 5, 0),
            (3, 12, Some(5), 5, 0),
            (3, 8, None, 7, 6),
            (4, 4, None, 5, 3),
            (4, 3, None, 3, 3),
            (4, 8, None, 7, 6),
            (5, 12, None, 5, 7),
            (5, 6, None, 6, 4),
            (5, 8, None, 7, 6),
            (6, 9, None, 1, 0),
            (6, 8, None, 1, 0),
            (7, 7, None, 1, 0),
            (1, 99, None, 1, 5),
            (1, -3, None, 1, 5),
        ];
        for state in -1..=8 {
            for event in -3..=99 {
                for from in 0..=7 {
                    let expected = TABLE
                        .iter()
                        .find(|row| {
                            row.0 == state
                                && (row.1 == event || state == 1)
                                && row.2.is_none_or(|wanted| wanted == from)
                        })
                        .map_or((state, 0), |row| (row.3, row.4));
                    let (next, action) = TcpState(state).on_event(TcpEvent(event), TcpState(from));
                    assert_eq!((next.0, action.0), expected, "{state} {event} {from}");
                }
            }
        }
    }

    /// docs/wire W13
    #[test]
    fn names_are_the_originals_and_unknown_numbers_are_shown() {
        let states: Vec<String> = (0..9).map(|n| TcpState(n).to_string()).collect();
        assert_eq!(
            states.join(" "),
            "Fresh Closed Listen SynReceived SynSent Established CloseInitiatorHasSentFin \
             CloseResponderGotFin TcpState(8)"
        );
        let events: Vec<String> = (0..14).map(|n| TcpEvent(n).to_string()).collect();
        assert_eq!(
            events.join(" "),
            "EventNil EventStartListen EventStartConnect EventSyn EventSynAck EventEstabAck \
             EventStartClose EventApplicationClosed EventFin EventFinAck EventDataAck EventData \
             EventKeepAlive TcpEvent(13)"
        );
        let actions: Vec<String> = (-1..9).map(|n| TcpAction(n).to_string()).collect();
        assert_eq!(
            actions.join(" "),
            "TcpAction(-1) NoAction SendSyn SendSynAck SendEstabAck SendFin SendFinAck DoAppClose \
             SendDataAck TcpAction(8)"
        );
        assert_eq!(TcpEvent(99).to_string(), "TcpEvent(99)");
    }
}
