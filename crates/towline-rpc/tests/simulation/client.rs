//! The calling end: the core, and an application that keeps a ledger.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use towline_rpc::proto::{
    Client, ClientEvent, EncodedFrame, FrameReader, Message, Received, Taken,
};
use towline_sim::{Node, Rng};

use crate::{
    plan::{Kind, Operation, Plan, content},
    pushes::Hearer,
    support::{at, peer, start},
};

/// How far an operation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum State {
    Planned,
    Open,
    /// It ended by an answer, a refusal or its time limit.
    Ended(&'static str),
    /// The caller left.
    Left,
    /// The connection was lost.
    Lost,
}

#[derive(Debug)]
struct Progress {
    state: State,
    seqno: u64,
    begun: Instant,
    /// Parts sent or taken.
    parts: usize,
    /// When the application sends or takes the next part.
    wakes: Option<Instant>,
}

pub(crate) struct ClientNode {
    pub(crate) core: Client<usize>,
    pub(crate) hearer: Hearer,
    reader: FrameReader,
    input: BytesMut,
    rng: Rng,
    operations: Vec<Operation>,
    progress: Vec<Progress>,
    by_seqno: BTreeMap<u64, usize>,
    queue_parts: usize,
    /// Parts that the core holds for each download.
    queued: BTreeMap<u64, usize>,
    /// A net/rpc call has not been answered, whether its caller waits or not (docs/wire X16).
    net_rpc_turn_taken: bool,
    /// How often a sender had to wait for credit.
    pub(crate) held_by_credit: usize,
    pub(crate) closing: bool,
    pub(crate) over: bool,
}

impl ClientNode {
    pub(crate) fn new(plan: &Plan, mut rng: Rng) -> Self {
        let epoch = start().instant;
        let planned = |operation: &Operation| Progress {
            state: State::Planned,
            seqno: 0,
            begun: epoch,
            parts: 0,
            wakes: Some(epoch + operation.begins),
        };
        let mut core = Client::new(
            plan.client_limits.clone(),
            plan.compressions[0],
            peer::CLIENT_ADDRESS,
            peer::SERVER_ADDRESS,
            rng.seed(),
            start(),
        );
        Self {
            hearer: Hearer::new(plan.pushes.clone(), &mut core),
            core,
            reader: FrameReader::new(),
            input: BytesMut::new(),
            rng,
            progress: plan.operations.iter().map(planned).collect(),
            operations: plan.operations.clone(),
            by_seqno: BTreeMap::new(),
            queue_parts: plan.queue_parts[0],
            queued: BTreeMap::new(),
            net_rpc_turn_taken: false,
            held_by_credit: 0,
            closing: false,
            over: false,
        }
    }

    /// Whether every operation has come to its end.
    pub(crate) fn is_done(&self) -> bool {
        self.states()
            .all(|state| !matches!(state, State::Planned | State::Open))
    }

    pub(crate) fn states(&self) -> impl Iterator<Item = State> + '_ {
        self.progress.iter().map(|progress| progress.state)
    }

    /// The one-way messages to a service that exists which were sent.
    pub(crate) fn notes_sent(&self) -> usize {
        let is_note = |operation: &Operation| operation.service == "note";
        let sent = |state| matches!(state, State::Ended(_));
        self.operations
            .iter()
            .zip(self.states())
            .filter(|&(operation, state)| is_note(operation) && sent(state))
            .count()
    }

    fn pump(&mut self, now: Instant) {
        let moment = at(now - start().instant);
        while !self.over
            && self.core.wants_input()
            && let Some(received) = self
                .reader
                .handle_input(&mut self.input)
                .expect("the peer is no enemy")
        {
            self.count(&received);
            self.core
                .handle_message(moment, received)
                .expect("the peer is no enemy");
            self.handle_events(now);
        }
        self.core
            .note_input(moment, self.reader.is_inside_frame(&self.input));
    }

    fn count(&mut self, received: &Received) {
        let hdr = &received.message.hdr;
        if hdr.typ.is_download_part()
            && self.by_seqno.contains_key(&hdr.seqno)
            // Behind a deadline nothing is queued.
            && !self.core.has_ended(hdr.seqno)
        {
            let queued = self.queued.entry(hdr.seqno).or_default();
            *queued += 1;
            assert!(
                *queued <= self.queue_parts,
                "{queued} parts lie in a queue of {}",
                self.queue_parts
            );
        }
    }

    fn handle_events(&mut self, now: Instant) {
        while let Some(event) = self.core.poll_event() {
            match event {
                ClientEvent::Ended { waiter, result } => {
                    let how = self.operations[waiter].check_call(waiter, result);
                    self.end(waiter, State::Ended(how));
                }
                ClientEvent::NetRpcAnswered => {
                    assert!(
                        std::mem::take(&mut self.net_rpc_turn_taken),
                        "answered twice"
                    );
                }
                // docs/wire E5
                ClientEvent::ServerLeaves => panic!("a server of ours stays"),
                // poll_bytes comes back to whoever waits.
                ClientEvent::MaySend { seqno } => assert!(
                    self.core.may_send(seqno),
                    "told to go on, and not allowed to"
                ),
                ClientEvent::MessageReady { listener } => self.hearer.is_ready(now, listener),
                ClientEvent::StreamReady { seqno } => {
                    let index = self.by_seqno[&seqno];
                    if self.operations[index].kind == Kind::Upload {
                        self.take(now, index);
                    } else {
                        let pace = self.operations[index].pace;
                        self.progress[index].wakes.get_or_insert(now + pace);
                    }
                }
            }
        }
    }

    fn end(&mut self, index: usize, state: State) {
        let progress = &mut self.progress[index];
        assert_eq!(
            progress.state,
            State::Open,
            "operation {index} ended again: {state:?}"
        );
        progress.state = state;
        progress.wakes = None;
        self.by_seqno.remove(&progress.seqno);
        self.queued.remove(&progress.seqno);
    }

    /// Takes one part of a download, or the end of a stream.
    fn take(&mut self, now: Instant, index: usize) {
        let (operation, seqno) = (&self.operations[index], self.progress[index].seqno);
        match self.core.take_part(at(now - start().instant), seqno) {
            Taken::Part(part) => {
                let number = self.progress[index].parts;
                assert_eq!(part.hdr.stream_part, number as i64);
                assert_eq!(part.body, content(index, number, operation.sizes[number]));
                *self.queued.get_mut(&seqno).expect("it was counted") -= 1;
                self.progress[index].parts += 1;
                self.progress[index].wakes = Some(now + operation.pace);
            }
            Taken::Nothing => self.progress[index].wakes = None,
            Taken::End(end) => {
                let how =
                    self.operations[index].check_stream(index, self.progress[index].parts, end);
                self.end(index, State::Ended(how));
            }
        }
    }

    /// Does what an operation has to do now.
    fn run(&mut self, now: Instant, index: usize) {
        let operation = self.operations[index].clone();
        let leaves = operation
            .leaves
            .map(|leaves| self.progress[index].begun + leaves);
        match self.progress[index].state {
            State::Planned if self.core.has_room() && self.has_turn(index) => {
                self.begin(now, index, &operation)
            }
            // A sender waits for room, or its turn; poll_bytes comes back to it.
            State::Planned => self.progress[index].wakes = None,
            State::Open if leaves.is_some_and(|leaves| leaves <= now) => {
                self.core
                    .cancel(at(now - start().instant), self.progress[index].seqno);
                self.end(index, State::Left);
            }
            State::Open if operation.kind == Kind::Upload => self.send_part(now, index, &operation),
            State::Open if operation.kind == Kind::Download => self.take(now, index),
            _ => self.progress[index].wakes = None,
        }
        // The next time it has something to do: its own, or when it leaves.
        let progress = &mut self.progress[index];
        if progress.state == State::Open
            && let Some(leaves) = operation.leaves.map(|leaves| progress.begun + leaves)
        {
            progress.wakes = Some(progress.wakes.map_or(leaves, |wakes| wakes.min(leaves)));
        }
        self.pump(now);
    }

    fn begin(&mut self, now: Instant, index: usize, operation: &Operation) {
        let moment = at(now - start().instant);
        let sizes: String = operation
            .sizes
            .iter()
            .map(|size| format!("{size},"))
            .collect();
        let body = match operation.kind {
            Kind::Download => Bytes::new(),
            _ => content(index, 0, operation.sizes[0]),
        };
        let mut message =
            Message::request(operation.service, body).with_arg("op", index.to_string());
        if operation.kind == Kind::Download {
            message = message.with_arg("sizes", sizes);
        }
        message.hdr.no_system_compression = operation.uncompressed;
        if matches!(operation.kind, Kind::Upload | Kind::Download) {
            let deadline = |limit| moment.wall.saturating_add(limit);
            message.hdr.deadline = operation.timeout.map(deadline);
        }
        let seqno = match operation.kind {
            Kind::Call => self
                .core
                .begin_call(moment, &mut message, operation.timeout, index),
            Kind::NetRpc => {
                self.net_rpc_turn_taken = true;
                self.core
                    .begin_net_rpc(moment, &mut message, operation.timeout, true, index)
            }
            Kind::Upload => self.core.begin_upload(moment, &mut message),
            Kind::Download => self.core.begin_download(moment, &mut message),
            Kind::OneWay => {
                self.core.stamp_one_way(moment, &mut message);
                message.hdr.seqno
            }
        };
        self.enqueue(now, &message);
        let progress = &mut self.progress[index];
        *progress = Progress {
            state: State::Open,
            seqno,
            begun: now,
            parts: 0,
            wakes: None,
        };
        match operation.kind {
            Kind::OneWay => {
                progress.state = State::Ended("sent");
                return;
            }
            Kind::Upload => {
                progress.parts = 1;
                progress.wakes = Some(now + operation.pace);
            }
            Kind::Call | Kind::Download | Kind::NetRpc => {}
        }
        assert!(
            self.by_seqno.insert(seqno, index).is_none(),
            "a sequence number was used twice"
        );
        if operation.leaves == Some(Duration::ZERO) {
            self.core.cancel(moment, seqno);
            self.end(index, State::Left);
        }
    }

    fn send_part(&mut self, now: Instant, index: usize, operation: &Operation) {
        let Progress { seqno, parts, .. } = self.progress[index];
        self.progress[index].wakes = None;
        if parts == operation.sizes.len() || self.core.has_ended(seqno) || !self.core.has_room() {
            return;
        }
        if !self.core.may_send(seqno) {
            self.held_by_credit += 1;
            return;
        }
        let mut part = Message::from_body(content(index, parts, operation.sizes[parts]));
        part.hdr.no_system_compression = operation.uncompressed;
        let last = parts + 1 == operation.sizes.len();
        assert!(
            self.core
                .stamp_part(at(now - start().instant), seqno, &mut part, last)
        );
        self.enqueue(now, &part);
        self.progress[index].parts += 1;
        self.progress[index].wakes = Some(now + operation.pace);
    }

    fn enqueue(&mut self, now: Instant, message: &Message) {
        let now = at(now - start().instant);
        if self.rng.chance(1, 2) {
            let frame = EncodedFrame::new(message, self.core.compression()).expect("small enough");
            self.core.enqueue_encoded(now, frame);
        } else {
            self.core.enqueue(now, message).expect("small enough");
        }
    }

    /// False for a net/rpc call while another has not been answered.
    fn has_turn(&self, index: usize) -> bool {
        self.operations[index].kind != Kind::NetRpc || !self.net_rpc_turn_taken
    }

    /// Whether an operation could go on if it may write.
    fn waits_for_room(&self, index: usize, now: Instant) -> bool {
        let (operation, progress) = (&self.operations[index], &self.progress[index]);
        match progress.state {
            State::Planned => {
                self.has_turn(index) && progress.wakes.is_none_or(|wakes| wakes <= now)
            }
            State::Open => {
                operation.kind == Kind::Upload
                    && progress.parts < operation.sizes.len()
                    && !self.core.has_ended(progress.seqno)
                    && self.core.may_send(progress.seqno)
                    // Without a time of its own it stopped for want of room.
                    && (progress.wakes.is_none() || operation.leaves.is_some())
            }
            _ => false,
        }
    }
}

impl Node for ClientNode {
    fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.pump(now);
    }

    fn handle_end(&mut self, now: Instant) {
        self.over = true;
        self.hearer.drain(at(now - start().instant), &mut self.core);
        for waiter in self.core.close() {
            self.end(waiter, State::Lost);
        }
        for index in 0..self.progress.len() {
            match self.progress[index].state {
                // What has come is still there to be taken.
                State::Open => {
                    while self.progress[index].state == State::Open {
                        self.take(now, index);
                        if self.progress[index].wakes.is_none()
                            && self.progress[index].state == State::Open
                        {
                            self.core
                                .cancel(at(now - start().instant), self.progress[index].seqno);
                            self.end(index, State::Lost);
                        }
                    }
                }
                State::Planned => self.progress[index].state = State::Lost,
                _ => {}
            }
        }
    }

    fn wants_bytes(&self) -> bool {
        !self.over && self.core.wants_input()
    }

    fn poll_bytes(&mut self, now: Instant) -> Option<Bytes> {
        if self.over {
            return None;
        }
        for index in 0..self.progress.len() {
            if self.core.has_room() && self.waits_for_room(index, now) {
                self.run(now, index);
            }
        }
        let piece = self.core.poll_transmit()?;
        self.core.written(piece.len());
        Some(piece)
    }

    fn deadline(&self) -> Option<Instant> {
        if self.over {
            return None;
        }
        if self.closing {
            // A refusal on its way may fill the listener, and behind it comes the end.
            return self.hearer.deadline();
        }
        self.progress
            .iter()
            .filter_map(|progress| progress.wakes)
            .chain(self.hearer.deadline())
            .chain(self.core.deadline())
            .min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.closing {
            self.hearer.run(at(now - start().instant), &mut self.core);
            return self.pump(now);
        }
        self.core
            .handle_timeout(at(now - start().instant))
            .expect("the peer keeps talking");
        self.handle_events(now);
        self.hearer.run(at(now - start().instant), &mut self.core);
        self.pump(now);
        for index in 0..self.progress.len() {
            if self.progress[index].wakes.is_some_and(|wakes| wakes <= now) {
                self.run(now, index);
            }
        }
    }

    fn is_closed(&self) -> bool {
        self.over || (self.closing && self.core.unsent() == 0)
    }
}
