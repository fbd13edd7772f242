//! What a driver needs of a protocol core.

use std::time::Instant;

use bytes::Bytes;

use crate::proto::{Compression, EncodedFrame, Message, Now, Received, TooLarge, Violation};

/// What a driver needs of a protocol core.
pub(crate) trait Core: Send + 'static {
    /// What the core tells its owner.
    type Event: Send;
    /// Names a stream.
    type Stream: std::hash::Hash + Eq + Copy + Send;

    fn handle_message(&mut self, now: Now, received: Received) -> Result<(), Violation>;
    fn note_input(&mut self, now: Now, inside_frame: bool);
    fn poll_transmit(&mut self) -> Option<Bytes>;
    fn written(&mut self, len: usize);
    fn unsent(&self) -> usize;
    fn has_room(&self) -> bool;
    fn wants_input(&self) -> bool;
    fn poll_event(&mut self) -> Option<Self::Event>;
    fn has_events(&self) -> bool;
    fn deadline(&self) -> Option<Instant>;
    fn handle_timeout(&mut self, now: Now) -> Result<(), Violation>;
    fn compression(&self) -> Compression;
    fn enqueue(&mut self, now: Now, message: &Message) -> Result<(), TooLarge>;
    fn enqueue_encoded(&mut self, now: Now, frame: EncodedFrame);
}

/// Implements [`Core`] by the inherent methods of the same names.
macro_rules! delegate_core {
    ($core:ty, $event:ty, $stream:ty) => {
        impl $crate::driver::Core for $core {
            type Event = $event;
            type Stream = $stream;

            fn handle_message(&mut self, now: Now, received: Received) -> Result<(), Violation> {
                <$core>::handle_message(self, now, received)
            }
            fn note_input(&mut self, now: Now, inside_frame: bool) {
                <$core>::note_input(self, now, inside_frame);
            }
            fn poll_transmit(&mut self) -> Option<bytes::Bytes> {
                <$core>::poll_transmit(self)
            }
            fn written(&mut self, len: usize) {
                <$core>::written(self, len);
            }
            fn unsent(&self) -> usize {
                <$core>::unsent(self)
            }
            fn has_room(&self) -> bool {
                <$core>::has_room(self)
            }
            fn wants_input(&self) -> bool {
                <$core>::wants_input(self)
            }
            fn poll_event(&mut self) -> Option<Self::Event> {
                <$core>::poll_event(self)
            }
            fn has_events(&self) -> bool {
                <$core>::has_events(self)
            }
            fn deadline(&self) -> Option<std::time::Instant> {
                <$core>::deadline(self)
            }
            fn handle_timeout(&mut self, now: Now) -> Result<(), Violation> {
                <$core>::handle_timeout(self, now)
            }
            fn compression(&self) -> Compression {
                <$core>::compression(self)
            }
            fn enqueue(&mut self, now: Now, message: &Message) -> Result<(), TooLarge> {
                <$core>::enqueue(self, now, message)
            }
            fn enqueue_encoded(&mut self, now: Now, frame: EncodedFrame) {
                <$core>::enqueue_encoded(self, now, frame);
            }
        }
    };
}
pub(crate) use delegate_core;
