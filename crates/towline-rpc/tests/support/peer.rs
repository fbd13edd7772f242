//! A core and its frame reader as one end of a connection without a network.

use bytes::{Bytes, BytesMut};
use towline_codec::Text;
use towline_rpc::proto::{
    Client, ClientEvent, Compression, Concurrency, EncodedFrame, FrameReader, Limits, Message, Now,
    Received, Server, ServerEvent, Violation,
};

use super::{start, vectors::read_frames};

pub(crate) const CLIENT_ADDRESS: Text = Text::from_static("mem://client");
pub(crate) const SERVER_ADDRESS: Text = Text::from_static("mem://server");

/// A frame that holds `message` as it is.
pub(crate) fn frame(message: &Message) -> Bytes {
    EncodedFrame::new(message, Compression::None)
        .expect("small enough")
        .bytes()
        .clone()
}

/// A server under test; the test is its client and its handlers. One that is `new` makes no more of a
/// connection than the original does.
pub(crate) struct ServerPeer {
    pub(crate) core: Server,
    reader: FrameReader,
    input: BytesMut,
}

impl ServerPeer {
    pub(crate) fn new() -> Self {
        Self::with(Limits::default().credit(false), Concurrency::default())
    }

    pub(crate) fn with(limits: Limits, concurrency: Concurrency) -> Self {
        Self::from(Server::new(
            limits,
            concurrency,
            Compression::None,
            true,
            SERVER_ADDRESS,
            CLIENT_ADDRESS,
            start(),
        ))
    }

    /// Gives bytes to the server.
    pub(crate) fn feed(&mut self, now: Now, bytes: &[u8]) -> Result<(), Violation> {
        self.input.extend_from_slice(bytes);
        self.core
            .note_input(now, self.reader.is_inside_frame(&self.input));
        while let Some(received) = self.reader.handle_input(&mut self.input)? {
            self.core.handle_message(now, received)?;
        }
        self.core
            .note_input(now, self.reader.is_inside_frame(&self.input));
        Ok(())
    }

    /// Gives a message to the server.
    pub(crate) fn send(&mut self, now: Now, message: &Message) {
        self.feed(now, &frame(message)).expect("legal");
    }

    /// Queues a message that the server has stamped.
    pub(crate) fn enqueue(&mut self, now: Now, message: &Message) {
        self.core.enqueue(now, message).expect("small enough");
    }

    pub(crate) fn events(&mut self) -> Vec<ServerEvent> {
        std::iter::from_fn(|| self.core.poll_event()).collect()
    }

    /// What the server has sent since the last call.
    pub(crate) fn sent(&mut self) -> Vec<Received> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.core.poll_transmit() {
            bytes.extend_from_slice(&piece);
            self.core.written(piece.len());
        }
        assert_eq!(self.core.unsent(), 0);
        read_frames(&bytes).expect("a core writes whole frames")
    }

    /// The messages of [`sent`](Self::sent).
    pub(crate) fn messages(&mut self) -> Vec<Message> {
        self.sent()
            .into_iter()
            .map(|received| received.message)
            .collect()
    }

    /// The one message that was sent.
    pub(crate) fn message(&mut self) -> Message {
        let mut messages = self.messages();
        assert_eq!(messages.len(), 1, "{messages:?}");
        messages.remove(0)
    }
}

impl From<Server> for ServerPeer {
    fn from(core: Server) -> Self {
        Self {
            core,
            reader: FrameReader::new(),
            input: BytesMut::new(),
        }
    }
}

/// A client under test; the test is its callers and its server.
pub(crate) struct ClientPeer {
    pub(crate) core: Client<u32>,
    reader: FrameReader,
    input: BytesMut,
}

impl ClientPeer {
    pub(crate) fn new() -> Self {
        Self::with(Limits::default().credit(false), Compression::None)
    }

    pub(crate) fn with(limits: Limits, compression: Compression) -> Self {
        Self::from(Client::new(
            limits,
            compression,
            CLIENT_ADDRESS,
            SERVER_ADDRESS,
            [7; 32],
            start(),
        ))
    }

    /// Gives bytes to the client.
    pub(crate) fn feed(&mut self, now: Now, bytes: &[u8]) -> Result<(), Violation> {
        self.input.extend_from_slice(bytes);
        self.core
            .note_input(now, self.reader.is_inside_frame(&self.input));
        while let Some(received) = self.reader.handle_input(&mut self.input)? {
            self.core.handle_message(now, received)?;
        }
        self.core
            .note_input(now, self.reader.is_inside_frame(&self.input));
        Ok(())
    }

    /// Gives a message to the client.
    pub(crate) fn send(&mut self, now: Now, message: &Message) {
        self.feed(now, &frame(message)).expect("legal");
    }

    /// Begins a call and queues it.
    pub(crate) fn call(&mut self, now: Now, mut message: Message, waiter: u32) -> Message {
        self.core.begin_call(now, &mut message, None, waiter);
        self.core.enqueue(now, &message).expect("small enough");
        message
    }

    pub(crate) fn events(&mut self) -> Vec<ClientEvent<u32>> {
        std::iter::from_fn(|| self.core.poll_event()).collect()
    }

    /// What the client has sent since the last call.
    pub(crate) fn sent(&mut self) -> Vec<Received> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.core.poll_transmit() {
            bytes.extend_from_slice(&piece);
            self.core.written(piece.len());
        }
        assert_eq!(self.core.unsent(), 0);
        read_frames(&bytes).expect("a core writes whole frames")
    }

    /// The messages of [`sent`](Self::sent).
    pub(crate) fn messages(&mut self) -> Vec<Message> {
        self.sent()
            .into_iter()
            .map(|received| received.message)
            .collect()
    }

    /// The one message that was sent.
    pub(crate) fn message(&mut self) -> Message {
        let mut messages = self.messages();
        assert_eq!(messages.len(), 1, "{messages:?}");
        messages.remove(0)
    }
}

impl From<Client<u32>> for ClientPeer {
    fn from(core: Client<u32>) -> Self {
        Self {
            core,
            reader: FrameReader::new(),
            input: BytesMut::new(),
        }
    }
}
