//! What is counted and shown of every frame.

use super::{
    Dialect, Engine, FrameInfo, FrameKind, Transmit,
    frame::{Inbound, Outbound},
    muxado, yamux,
};

impl Engine {
    /// Puts a frame's head behind what is to be written.
    pub(crate) fn emit(&mut self, out: &mut Transmit, frame: Outbound) {
        let before = out.len();
        match self.settings.dialect {
            Dialect::Yamux => out.push_inline(&yamux::Header::from_outbound(frame).encode()),
            Dialect::Muxado => out.push_inline(muxado::encode(frame, &mut [0; 16])),
        }
        self.note_sent(frame);
        self.stats.bytes_sent += (out.len() - before) as u64;
    }

    /// Counts and shows a frame that is about to be written.
    pub(crate) fn note_sent(&mut self, frame: Outbound) {
        self.stats.frames_sent += 1;
        let Some(tap) = &self.settings.tap else {
            return;
        };
        let (kind, stream, length) = match frame {
            Outbound::Data { id, len, .. } => (FrameKind::Data, id, len),
            Outbound::Fin { id } => (FrameKind::Data, id, 0),
            Outbound::Open { id, credit }
            | Outbound::Acknowledge { id, credit }
            | Outbound::Credit { id, credit } => (FrameKind::Credit, id, credit),
            Outbound::Reset { id, code } => (FrameKind::Reset, id, code),
            Outbound::Ping { value } => (FrameKind::Ping, 0, value),
            Outbound::Pong { value } => (FrameKind::Pong, 0, value),
            Outbound::GoAway { code, .. } => (FrameKind::GoAway, 0, code),
        };
        let flags = match self.settings.dialect {
            Dialect::Yamux => yamux::Header::from_outbound(frame).flags.0,
            Dialect::Muxado => u16::from(muxado::encode(frame, &mut [0; 16])[3] & 15),
        };
        tap.frame(&FrameInfo {
            sent: true,
            kind,
            stream,
            flags,
            length,
        });
    }

    /// Counts and shows a frame that came.
    pub(crate) fn note_received(&mut self, frame: &Inbound) {
        self.stats.frames_received += 1;
        let Some(tap) = &self.settings.tap else {
            return;
        };
        let (kind, stream, flags, length) = match *frame {
            Inbound::Stream(frame) => {
                let (kind, length) = if let Some(code) = frame.reset {
                    (FrameKind::Reset, code)
                } else if frame.data {
                    (FrameKind::Data, frame.body as u32)
                } else {
                    (FrameKind::Credit, frame.credit)
                };
                let flags = match self.settings.dialect {
                    Dialect::Yamux => {
                        u16::from(frame.syn)
                            | u16::from(frame.ack) << 1
                            | u16::from(frame.fin) << 2
                            | u16::from(frame.reset.is_some()) << 3
                    }
                    Dialect::Muxado => u16::from(frame.fin) | u16::from(frame.syn) << 1,
                };
                (kind, frame.id, flags, length)
            }
            Inbound::Ping { value } => (FrameKind::Ping, 0, 1, value),
            Inbound::Pong { value } => (FrameKind::Pong, 0, 2, value),
            Inbound::GoAway { code, .. } => (FrameKind::GoAway, 0, 0, code),
            Inbound::Unknown { body } => (FrameKind::Unknown, 0, 0, body as u32),
        };
        tap.frame(&FrameInfo {
            sent: false,
            kind,
            stream,
            flags,
            length,
        });
    }
}
