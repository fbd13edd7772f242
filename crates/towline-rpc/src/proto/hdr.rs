//! The header of a message.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes};
use towline_codec::{
    Text,
    greenpack::{DecodeError, Reader, Timestamp, write},
};

use super::{CallType, message::Source};

/// Small parameters of a call, text by text. Written in the order of their names (docs/wire M10).
pub type Args = BTreeMap<Text, Text>;

/// Most parameters of one message: one with more is not sent, and ends the connection that it comes over
/// (docs/wire M10).
pub const MAX_ARGS: usize = 4096;
/// What a parameter takes in memory beside long texts.
const ARG_OVERHEAD: usize = 160;

/// The header of every message (docs/wire M3). Fields that hold their zero value are not written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hdr {
    /// When the header was made, by the sender's clock.
    pub created: Option<Timestamp>,
    /// The sender's own address, as it sees it; proves nothing.
    pub from: Text,
    /// The receiver's address, as the sender sees it.
    pub to: Text,
    /// Free text; the error text of a refusal.
    pub subject: Text,
    /// Matches a reply to its request.
    pub seqno: u64,
    /// What the message is for.
    pub typ: CallType,
    /// Identity of a call or stream.
    pub call_id: Text,
    /// A counter of the sender's; matches nothing.
    pub serial: i64,
    /// A receiver's stamp; on the wire only if somebody sends a received message on.
    pub local_recv_tm: Option<Timestamp>,
    /// When the caller stops waiting, in wall time.
    pub deadline: Option<Timestamp>,
    /// Number of a part in its stream, from 0.
    pub stream_part: i64,
    /// The name of the service that is called.
    pub service_name: Text,
    /// Small parameters.
    pub args: Args,
    /// This message goes uncompressed whatever the connection does (docs/wire F12).
    pub no_system_compression: bool,
}

mod key {
    // Each key with its MessagePack string header before it (docs/wire G9).
    pub(super) const CREATED: &[u8] = b"\xb1Created_zid00_tim";
    pub(super) const FROM: &[u8] = b"\xaeFrom_zid01_str";
    pub(super) const TO: &[u8] = b"\xacTo_zid02_str";
    pub(super) const SUBJECT: &[u8] = b"\xb1Subject_zid03_str";
    pub(super) const SEQNO: &[u8] = b"\xafSeqno_zid04_u64";
    pub(super) const TYP: &[u8] = b"\xadTyp_zid05_rct";
    pub(super) const CALL_ID: &[u8] = b"\xb0CallID_zid06_str";
    pub(super) const SERIAL: &[u8] = b"\xb0Serial_zid07_i64";
    pub(super) const LOCAL_RECV_TM: &[u8] = b"\xb5LocalRecvTm_zid08_tim";
    pub(super) const DEADLINE: &[u8] = b"\xb2Deadline_zid09_tim";
    pub(super) const STREAM_PART: &[u8] = b"\xb4StreamPart_zid10_i64";
    pub(super) const SERVICE_NAME: &[u8] = b"\xb5ServiceName_zid11_str";
    pub(super) const ARGS: &[u8] = b"\xaeArgs_zid12_map";
    pub(super) const NO_SYSTEM_COMPRESSION: &[u8] = b"\xbdNoSystemCompression_zid13_boo";

    /// By their numbers, which is the order in which they are written.
    pub(super) const ALL: [&[u8]; 14] = [
        CREATED,
        FROM,
        TO,
        SUBJECT,
        SEQNO,
        TYP,
        CALL_ID,
        SERIAL,
        LOCAL_RECV_TM,
        DEADLINE,
        STREAM_PART,
        SERVICE_NAME,
        ARGS,
        NO_SYSTEM_COMPRESSION,
    ];
}

impl Hdr {
    /// An upper bound of the encoded length.
    pub(crate) fn encoded_bound(&self) -> usize {
        const FIXED: usize = 400;
        let texts = [
            &self.from,
            &self.to,
            &self.subject,
            &self.call_id,
            &self.service_name,
        ];
        let args: usize = self
            .args
            .iter()
            .map(|(name, value)| name.len() + value.len() + 10)
            .sum();
        FIXED + texts.iter().map(|text| text.len()).sum::<usize>() + args
    }

    /// About the memory that it takes, long texts included.
    pub(crate) fn held(&self) -> usize {
        self.encoded_bound() + ARG_OVERHEAD * self.args.len()
    }

    /// Appends the header as a greenpack map (docs/wire M3, G11, G12).
    pub fn encode(&self, out: &mut impl BufMut) {
        write::map_header(out, self.written_fields());
        put_time(out, key::CREATED, self.created);
        put_text(out, key::FROM, &self.from);
        put_text(out, key::TO, &self.to);
        put_text(out, key::SUBJECT, &self.subject);
        if self.seqno != 0 {
            out.put_slice(key::SEQNO);
            write::uint(out, self.seqno);
        }
        put_int(out, key::TYP, self.typ.0);
        put_text(out, key::CALL_ID, &self.call_id);
        put_int(out, key::SERIAL, self.serial);
        put_time(out, key::LOCAL_RECV_TM, self.local_recv_tm);
        put_time(out, key::DEADLINE, self.deadline);
        put_int(out, key::STREAM_PART, self.stream_part);
        put_text(out, key::SERVICE_NAME, &self.service_name);
        let args = self.written_args();
        if args > 0 {
            out.put_slice(key::ARGS);
            write::map_header(out, args);
            for (name, value) in self.args.iter().filter(|(name, _)| !name.is_empty()) {
                write::str(out, name.as_bytes());
                write::str(out, value.as_bytes());
            }
        }
        if self.no_system_compression {
            out.put_slice(key::NO_SYSTEM_COMPRESSION);
            write::bool(out, true);
        }
    }

    /// Reads a header by itself, as [`encode`](Self::encode) writes one; its texts share the memory of `source`. Bytes behind
    /// it are ignored (docs/wire G19).
    ///
    /// # Errors
    ///
    /// Whatever in the input is not greenpack, or not of its field's type.
    pub fn decode(source: &Bytes) -> Result<Self, DecodeError> {
        let mut hdr = Self::default();
        hdr.read(&mut Reader::new(source), Source::Shared(source))?;
        Ok(hdr)
    }

    /// True if both are the header of the same message: all fields alike but those that a receiver or a caller's options
    /// set, `local_recv_tm`, `deadline` and `no_system_compression`. The original's `HDR.Equal`; `==` compares every field.
    ///
    /// ```
    /// use std::time::SystemTime;
    /// use towline_rpc::Message;
    ///
    /// let sent = Message::request("work", "");
    /// let timed = sent.clone().with_deadline(SystemTime::UNIX_EPOCH);
    /// assert!(sent.hdr.same_message(&timed.hdr) && sent.hdr != timed.hdr);
    /// assert!(!sent.hdr.same_message(&sent.clone().with_subject("x").hdr));
    /// ```
    pub fn same_message(&self, other: &Self) -> bool {
        // By name, so that a new field has to be decided on.
        let Self {
            created,
            from,
            to,
            subject,
            seqno,
            typ,
            call_id,
            serial,
            local_recv_tm: _,
            deadline: _,
            stream_part,
            service_name,
            args,
            no_system_compression: _,
        } = self;
        *created == other.created
            && *from == other.from
            && *to == other.to
            && *subject == other.subject
            && *seqno == other.seqno
            && *typ == other.typ
            && *call_id == other.call_id
            && *serial == other.serial
            && *stream_part == other.stream_part
            && *service_name == other.service_name
            && *args == other.args
    }

    /// Reads a header from the front of `reader`, which reads from `source`. Nil reads as an empty header (docs/wire G17).
    ///
    /// # Errors
    ///
    /// Whatever in the input is not greenpack, or not of its field's type.
    pub(crate) fn read(
        &mut self,
        reader: &mut Reader<'_>,
        source: Source<'_>,
    ) -> Result<(), DecodeError> {
        let hdr = self;
        // A second header replaces the first wholly (docs/wire G18).
        *hdr = Self::default();
        let Some(entries) = reader.map_header()? else {
            return Ok(());
        };
        let text = |bytes: &[u8]| source.text(bytes);
        // Nearly always the fields come in their order: each is looked for behind the last.
        let mut next = 0;
        for _ in 0..entries {
            let number = match reader.take_literal(&key::ALL[next..]) {
                Some(further) => Some(next + further),
                None => reader.key()?.and_then(|name| {
                    let is_named = |key: &&[u8]| key.get(1..) == Some(name);
                    key::ALL.iter().position(is_named)
                }),
            };
            match number {
                Some(0) => hdr.created = reader.time()?,
                Some(1) => hdr.from = text(reader.str()?),
                Some(2) => hdr.to = text(reader.str()?),
                Some(3) => hdr.subject = text(reader.str()?),
                Some(4) => hdr.seqno = reader.uint()?,
                Some(5) => hdr.typ = CallType(reader.int()?),
                Some(6) => hdr.call_id = text(reader.str()?),
                Some(7) => hdr.serial = reader.int()?,
                Some(8) => hdr.local_recv_tm = reader.time()?,
                Some(9) => hdr.deadline = reader.time()?,
                Some(10) => hdr.stream_part = reader.int()?,
                Some(11) => hdr.service_name = text(reader.str()?),
                Some(12) => {
                    hdr.args.clear();
                    for _ in 0..reader.map_header()?.unwrap_or(0) {
                        match reader.key()? {
                            Some(name) => {
                                let name = text(name);
                                hdr.args.insert(name, text(reader.str()?));
                                if hdr.args.len() > MAX_ARGS {
                                    return Err(DecodeError::TooManyEntries(MAX_ARGS as u32));
                                }
                            }
                            None => reader.skip()?,
                        }
                    }
                }
                Some(13) => hdr.no_system_compression = reader.bool()?,
                _ => reader.skip()?,
            }
            next = number.map_or(next, |number| number + 1);
        }
        Ok(())
    }

    /// An empty name kills a process of the original: such a parameter is not written (docs/wire X5).
    fn written_args(&self) -> usize {
        self.args.keys().filter(|name| !name.is_empty()).count()
    }

    fn written_fields(&self) -> usize {
        let texts = [
            &self.from,
            &self.to,
            &self.subject,
            &self.call_id,
            &self.service_name,
        ];
        let others = [
            self.created.is_some(),
            self.seqno != 0,
            self.typ.0 != 0,
            self.serial != 0,
            self.local_recv_tm.is_some(),
            self.deadline.is_some(),
            self.stream_part != 0,
            self.written_args() > 0,
            self.no_system_compression,
        ];
        texts.iter().filter(|text| !text.is_empty()).count()
            + others.iter().filter(|&&set| set).count()
    }
}

fn put_text(out: &mut impl BufMut, key: &[u8], text: &Text) {
    if !text.is_empty() {
        out.put_slice(key);
        write::str(out, text.as_bytes());
    }
}

fn put_int(out: &mut impl BufMut, key: &[u8], value: i64) {
    if value != 0 {
        out.put_slice(key);
        write::int(out, value);
    }
}

fn put_time(out: &mut impl BufMut, key: &[u8], time: Option<Timestamp>) {
    if let Some(time) = time {
        out.put_slice(key);
        write::time(out, time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_one_message_may_differ_in_what_is_not_the_messages() {
        let sent = Hdr {
            created: Some(Timestamp::new(7, 0)),
            from: "a".into(),
            args: Args::from([("name".into(), "value".into())]),
            ..Hdr::default()
        };
        let with = |change: fn(&mut Hdr)| {
            let mut other = sent.clone();
            change(&mut other);
            assert_ne!(other, sent);
            other.same_message(&sent) && sent.same_message(&other)
        };
        assert!(sent.same_message(&sent.clone()));
        assert!(with(|hdr| hdr.local_recv_tm = Some(Timestamp::new(8, 0))));
        assert!(with(|hdr| hdr.deadline = Some(Timestamp::new(9, 0))));
        assert!(with(|hdr| hdr.no_system_compression = true));
        let changes: [fn(&mut Hdr); 11] = [
            |hdr| hdr.created = None,
            |hdr| hdr.from = "b".into(),
            |hdr| hdr.to = "b".into(),
            |hdr| hdr.subject = "x".into(),
            |hdr| hdr.seqno = 2,
            |hdr| hdr.typ = CallType::CALL,
            |hdr| hdr.call_id = "id".into(),
            |hdr| hdr.serial = 1,
            |hdr| hdr.stream_part = 1,
            |hdr| hdr.service_name = "s".into(),
            |hdr| hdr.args.clear(),
        ];
        for change in changes {
            assert!(!with(change));
        }
    }
}
