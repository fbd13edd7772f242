//! A model of the original: what it sends, and what it dies of. Built from the public codec only.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use towline_codec::{Text, greenpack::Timestamp};
use towline_swp::proto::{
    Now, Packet, PeerRtt, RttEstimator, TcpAction, TcpEvent, TcpState, checksum,
};

use crate::world::{Node, Script};

/// The original's own repeats of control packets.
const CONTROL_REPEAT: Duration = Duration::from_secs(1);
const CONTROL_REPEATS: u32 = 10;

pub(crate) struct Go {
    pub(crate) script: Script,
    local: Text,
    dest: Text,
    nonce: Text,
    window: i64,
    window_bytes: i64,
    timeout: Duration,
    keep_alive: Duration,
    connect_timeout: Duration,
    /// Data may leave before the ESTABACK, without the peer's nonce.
    races: bool,

    state: TcpState,
    remote_nonce: Option<Text>,
    is_connecting: bool,
    connect_at: Option<Instant>,
    control: Option<(Instant, TcpAction, Packet, u32)>,
    pub(crate) stopped: Option<String>,

    next_expected: i64,
    largest: i64,
    most_bytes: i64,
    held: BTreeMap<i64, Packet>,
    ready: VecDeque<Packet>,
    last_consumed: i64,
    last_message: i64,
    last_byte: i64,
    published: i64,

    next_seq: i64,
    sent_bytes: i64,
    unacked: BTreeMap<i64, (Packet, Instant)>,
    sender_nonce: Text,
    cap_messages: i64,
    cap_bytes: i64,
    rtt: RttEstimator,
    peer_rtt: Option<PeerRtt>,
    tick_at: Instant,
    alive_at: Instant,
    last_sent: Instant,
    out: VecDeque<Packet>,
}

impl Go {
    pub(crate) fn new(
        local: &'static str,
        dest: &'static str,
        window: i64,
        races: bool,
        script: Script,
        now: Now,
    ) -> Self {
        let nonce = format!("{local:g>30}");
        Self {
            script,
            local: Text::from(local),
            dest: Text::from(dest),
            nonce: Text::from(nonce),
            window,
            window_bytes: window * 10_240,
            timeout: Duration::from_millis(100),
            keep_alive: Duration::from_millis(500),
            connect_timeout: Duration::from_secs(2),
            races,
            state: TcpState::LISTEN,
            remote_nonce: None,
            is_connecting: false,
            connect_at: None,
            control: None,
            stopped: None,
            next_expected: 0,
            largest: -1,
            most_bytes: 0,
            held: BTreeMap::new(),
            ready: VecDeque::new(),
            last_consumed: 0,
            last_message: -1,
            last_byte: -1,
            published: 0,
            next_seq: 0,
            sent_bytes: 0,
            unacked: BTreeMap::new(),
            sender_nonce: Text::default(),
            cap_messages: window,
            cap_bytes: 1 << 20,
            rtt: RttEstimator::default(),
            peer_rtt: None,
            tick_at: now.instant,
            alive_at: now.instant + Duration::from_millis(500),
            last_sent: now.instant,
            out: VecDeque::new(),
        }
    }

    fn die(&mut self, why: &str) {
        panic!("the original would have panicked: {why}");
    }

    fn caps(&self) -> (i64, i64) {
        (
            self.window - (self.largest - self.last_message),
            self.window_bytes - (self.most_bytes - (self.last_byte + 1)),
        )
    }

    fn blank(&self) -> Packet {
        let (messages, bytes) = self.caps();
        let nanos = |duration: Duration| duration.as_nanos() as i64;
        Packet {
            from: self.local.clone(),
            dest: self.dest.clone(),
            from_nonce: self.nonce.clone(),
            window_messages: messages,
            window_bytes: bytes,
            rtt_nanos: nanos(self.rtt.original_estimate()),
            rtt_deviation_nanos: nanos(self.rtt.original_deviation()),
            rtt_samples: self.rtt.samples() as i64,
            ..Packet::default()
        }
    }

    fn answer(&mut self, wall: Timestamp, event: TcpEvent, ack: i64, cause: &Packet) {
        let packet = Packet {
            seq: -99,
            retry: -99,
            ack,
            ack_retry: cause.retry,
            ack_sent: Some(wall),
            sent: cause.sent,
            event,
            dest_nonce: self.remote_nonce.clone().unwrap_or_default(),
            ..self.blank()
        };
        // The sending half learns the nonce from what it is asked to send.
        self.sender_nonce = packet.dest_nonce.clone();
        self.out.push_back(packet);
    }

    fn on_packet(&mut self, now: Now, packet: Packet) {
        if packet.event == TcpEvent::SYN
            && self.state == TcpState::LISTEN
            && self.remote_nonce.is_none()
        {
            // It locks onto the first SYN.
            if packet.from == self.dest {
                self.remote_nonce = Some(packet.from_nonce.clone());
            }
        }
        if packet.from != self.dest {
            return;
        }
        let must_name_us = !packet.dest_nonce.is_empty() || self.state >= TcpState::ESTABLISHED;
        if must_name_us && packet.dest_nonce != self.nonce {
            return;
        }
        if self
            .remote_nonce
            .as_ref()
            .is_some_and(|nonce| *nonce != packet.from_nonce)
        {
            return;
        }
        if !packet.data.is_empty() && packet.checksum[..] != checksum(&packet.data) {
            return;
        }
        if packet.seq > self.largest {
            if packet.cumulative_bytes < self.most_bytes {
                self.die("CumulBytesTransmitted went back");
            }
            self.largest = packet.seq;
            self.most_bytes = packet.cumulative_bytes;
        } else if packet.cumulative_bytes > self.most_bytes {
            self.die("CumulBytesTransmitted is larger than that of later packets");
        }
        self.on_header(now, &packet);
        if packet.event == TcpEvent::DATA {
            self.on_data(now, packet);
            return;
        }
        let before = self.state;
        let from = packet.from_state.unwrap_or(TcpState::FRESH);
        let (state, action) = self.state.on_event(packet.event, from);
        self.state = state;
        self.act(now, action, &packet);
        if self.state != before {
            let is_armed = matches!(
                self.state,
                TcpState::SYN_SENT
                    | TcpState::SYN_RECEIVED
                    | TcpState::CLOSE_INITIATOR_HAS_SENT_FIN
            );
            self.control = is_armed.then(|| (now.instant + CONTROL_REPEAT, action, packet, 0));
        }
    }

    fn act(&mut self, now: Now, action: TcpAction, cause: &Packet) {
        match action {
            TcpAction::SEND_SYN_ACK => {
                let known = self.remote_nonce.clone();
                if known.is_some_and(|nonce| nonce != cause.from_nonce) {
                    self.die("SendSynAck: another nonce is stored");
                }
                self.remote_nonce = Some(cause.from_nonce.clone());
                let ack = self.last_consumed;
                self.answer(now.wall, TcpEvent::SYN_ACK, ack, cause);
            }
            TcpAction::SEND_ESTAB_ACK => {
                if self.remote_nonce.is_some() {
                    self.die("SendEstabAck: a nonce is stored already");
                }
                if !self.is_connecting {
                    self.die("SendEstabAck: nobody connects");
                }
                self.remote_nonce = Some(cause.from_nonce.clone());
                self.is_connecting = false;
                self.connect_at = None;
                if self.races {
                    // Connect has returned; the application is quicker than the ESTABACK.
                    self.push_data(now);
                }
                let ack = self.last_consumed;
                self.answer(now.wall, TcpEvent::ESTAB_ACK, ack, cause);
            }
            TcpAction::SEND_DATA_ACK => {
                let ack = self.last_consumed;
                self.answer(now.wall, TcpEvent::DATA_ACK, ack, cause);
            }
            TcpAction::DO_APP_CLOSE => {
                let ack = self.last_consumed;
                // The answer races with the stop, and is lost half the time.
                if self.script.coin() {
                    self.answer(now.wall, TcpEvent::FIN_ACK, ack, cause);
                }
                self.state = TcpState::CLOSED;
                self.ready.clear();
                self.held.clear();
                self.stopped = Some("FIN".to_owned());
            }
            _ => {}
        }
    }

    /// What the sending half makes of every packet.
    fn on_header(&mut self, now: Now, packet: &Packet) {
        self.cap_messages = packet.window_messages;
        self.cap_bytes = packet.window_bytes;
        if packet.rtt_samples > self.peer_rtt.map_or(0, |peer| peer.samples as i64) {
            if packet.rtt_deviation_nanos == 0 && packet.rtt_samples >= 3 {
                self.die("not a panic, but every time-out is not a number from now on");
            }
            self.peer_rtt = Some(PeerRtt {
                estimate: Duration::from_nanos(packet.rtt_nanos as u64),
                deviation: Duration::from_nanos(packet.rtt_deviation_nanos as u64),
                samples: packet.rtt_samples as u64,
            });
        }
        if packet.event == TcpEvent::DATA_ACK
            && let Some(sent) = packet.sent
        {
            self.rtt.add(now.wall.saturating_since(sent));
        }
        let left = self.unacked.split_off(&(packet.ack.saturating_add(1)));
        self.script.acked += self.unacked.len();
        self.unacked = left;
    }

    fn on_data(&mut self, now: Now, packet: Packet) {
        if packet.seq < 0 {
            self.die("data with a negative number");
        }
        let outside =
            packet.seq < self.next_expected || packet.seq > self.next_expected + self.window - 1;
        if outside {
            let ack = self.last_consumed;
            self.answer(now.wall, TcpEvent::DATA_ACK, ack, &packet);
            return;
        }
        self.held.insert(packet.seq, packet);
        while let Some(next) = self.held.remove(&self.next_expected) {
            self.ready.push_back(next);
            self.next_expected += 1;
            self.published = self.last_consumed;
        }
    }

    fn push_data(&mut self, now: Now) {
        loop {
            let in_flight = self.unacked.len() as i64;
            let bytes: i64 = self
                .unacked
                .values()
                .map(|(packet, _)| packet.data.len() as i64)
                .sum();
            if self.cap_messages - in_flight <= 0 || self.cap_bytes - bytes <= 0 {
                return;
            }
            let Some(data) = self.script.next_to_send() else {
                return;
            };
            if self.unacked.contains_key(&(self.next_seq - self.window)) {
                self.die("lenBySeq and lenByDeadline differ: more in flight than slots");
            }
            self.sent_bytes += data.len() as i64;
            let mut packet = Packet {
                seq: self.next_seq,
                event: TcpEvent::DATA,
                cumulative_bytes: self.sent_bytes,
                dest_nonce: self.sender_nonce.clone(),
                ..self.blank()
            };
            packet.set_data(data);
            self.next_seq += 1;
            self.transmit(now, packet);
        }
    }

    fn transmit(&mut self, now: Now, mut packet: Packet) {
        packet.sent = Some(self.script.wall(now.wall));
        let (messages, bytes) = self.caps();
        packet.window_messages = messages.max(0);
        packet.window_bytes = bytes.max(0);
        packet.dest_nonce = self.sender_nonce.clone();
        let deadline = now.instant + self.rtt.original_timeout(self.peer_rtt);
        self.last_sent = now.instant;
        self.unacked.insert(packet.seq, (packet.clone(), deadline));
        self.out.push_back(packet);
    }

    fn syn(&mut self, now: Now) {
        let packet = Packet {
            from: self.local.clone(),
            dest: self.dest.clone(),
            from_nonce: self.nonce.clone(),
            seq: -98,
            retry: -98,
            event: TcpEvent::SYN,
            ..Packet::default()
        };
        self.out.push_back(packet);
        self.connect_at = Some(now.instant + self.connect_timeout);
    }

    /// The application takes all that is ready, and acknowledges it with that.
    fn consume(&mut self, now: Now) {
        let mut last = None;
        while let Some(packet) = self.ready.pop_front() {
            self.script.received(&packet.data);
            self.last_consumed = packet.seq;
            self.last_message = packet.seq;
            self.last_byte = packet.cumulative_bytes;
            last = Some(packet);
        }
        if let Some(packet) = last {
            self.answer(now.wall, TcpEvent::DATA_ACK, packet.seq, &packet);
        }
    }
}

impl Node for Go {
    fn open(&mut self, now: Now) {
        self.state = TcpState::SYN_SENT;
        self.is_connecting = true;
        self.syn(now);
    }

    fn handle(&mut self, now: Now, bytes: Bytes) {
        if self.stopped.is_some() {
            return;
        }
        match Packet::decode(&bytes, 1 << 20) {
            Ok(packet) => self.on_packet(now, packet),
            Err(error) => panic!("the original would have panicked: {error}"),
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        if self.stopped.is_some() {
            return;
        }
        if self.connect_at.is_some_and(|at| at <= now.instant) {
            if self.is_connecting && self.state == TcpState::SYN_SENT {
                self.syn(now);
            } else {
                self.connect_at = None;
            }
        }
        if let Some((at, action, cause, count)) = self.control.take() {
            if at > now.instant {
                self.control = Some((at, action, cause, count));
            } else if count == CONTROL_REPEATS {
                panic!("the original gave up: Closing up shop in {}", self.state);
            } else {
                self.act(now, action, &cause);
                self.control = Some((now.instant + CONTROL_REPEAT, action, cause, count + 1));
            }
        }
        if self.tick_at <= now.instant {
            self.tick_at = now.instant + self.timeout / 2;
            let overdue: Vec<i64> = self
                .unacked
                .iter()
                .filter(|(_, (_, deadline))| *deadline <= now.instant)
                .map(|(&seq, _)| seq)
                .collect();
            for seq in overdue {
                if let Some((mut packet, _)) = self.unacked.remove(&seq) {
                    packet.retry += 1;
                    self.transmit(now, packet);
                }
            }
        }
        if self.alive_at <= now.instant {
            self.alive_at = now.instant + self.keep_alive;
            if !self.sender_nonce.is_empty() && now.instant - self.last_sent >= self.keep_alive {
                self.last_sent = now.instant;
                let packet = Packet {
                    seq: -777,
                    retry: -777,
                    ack_retry: -777,
                    ack: self.published,
                    event: TcpEvent::KEEP_ALIVE,
                    sent: Some(self.script.wall(now.wall)),
                    dest_nonce: self.sender_nonce.clone(),
                    ..self.blank()
                };
                self.out.push_back(packet);
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        if self.stopped.is_some() {
            return None;
        }
        [
            Some(self.tick_at),
            Some(self.alive_at),
            self.connect_at,
            self.control.as_ref().map(|&(at, ..)| at),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn work(&mut self, now: Now) {
        if self.stopped.is_some() {
            return;
        }
        if self.script.may_read(now.instant) {
            self.consume(now);
        }
        if self.state == TcpState::ESTABLISHED {
            self.push_data(now);
        }
    }

    fn poll(&mut self, _now: Now) -> Option<Bytes> {
        let packet = self.out.pop_front()?;
        let mut bytes = BytesMut::new();
        packet.encode(&mut bytes);
        Some(bytes.freeze())
    }

    fn script(&self) -> &Script {
        &self.script
    }

    fn is_settled(&self) -> bool {
        self.script.is_complete() && self.unacked.is_empty()
    }

    /// The original does not wait for anything when it closes; here the other side closes.
    fn close(&mut self, _now: Now) {}

    fn is_closed(&self) -> bool {
        true
    }

    fn keeps_to_windows(&self) -> bool {
        false
    }

    fn check(&self) {}
}
