//! Messages and headers as JSON, in the original's two views.

use bytes::BytesMut;
use serde_json::{Map, Value, json};
use towline_codec::{
    Text,
    greenpack::{Timestamp, json as greenpack_json},
};

use super::{Args, CallType, Hdr, Message};

/// Why JSON is no header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// It is not JSON, or not an object.
    #[error("the text is not a JSON object")]
    NoObject,
    /// A field holds something that cannot stand in it.
    #[error("the field {0} holds something of another type")]
    Field(&'static str),
}

impl Message {
    /// The message as its greenpack form says it: keys as on the wire, the body in base64, times as RFC 3339
    /// in UTC with nanoseconds (docs/wire M1, M3).
    ///
    /// ```
    /// use towline_rpc::Message;
    ///
    /// let shown = Message::request("echo", "hi").to_json();
    /// assert_eq!(shown["HDR_zid00_rct"]["ServiceName_zid11_str"], "echo");
    /// assert_eq!(shown["JobSerz_zid01_bin"], "aGk=");
    /// ```
    pub fn to_json(&self) -> Value {
        let mut bytes = BytesMut::new();
        self.encode(&mut bytes);
        greenpack_json::of_bytes(&bytes).unwrap_or_else(|_| {
            debug_assert!(false, "what we write can be read");
            Value::Null
        })
    }
}

impl Hdr {
    /// The header as the original's `HDR.JSON` shows it: fields by their names in Go, all of them, the type as
    /// a number, unset times as year 1.
    pub fn to_json(&self) -> Value {
        let time =
            |time: Option<Timestamp>| greenpack_json::rfc3339(time.unwrap_or(Timestamp::ZERO));
        let args: Map<String, Value> = self
            .args
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string().into()))
            .collect();
        json!({
            "Nc": null,
            "Created": time(self.created),
            "From": self.from.to_string(),
            "To": self.to.to_string(),
            "Subject": self.subject.to_string(),
            "Seqno": self.seqno,
            "Typ": self.typ.0,
            "CallID": self.call_id.to_string(),
            "Serial": self.serial,
            "LocalRecvTm": time(self.local_recv_tm),
            "Ctx": null,
            "Deadline": time(self.deadline),
            "StreamPart": self.stream_part,
            "ServiceName": self.service_name.to_string(),
            "Args": args,
            "NoSystemCompression": self.no_system_compression,
        })
    }

    /// Reads what [`to_json`](Self::to_json) writes. Fields that are missing or null are unset, others are
    /// passed over.
    ///
    /// # Errors
    ///
    /// [`JsonError`].
    pub fn from_json(json: &str) -> Result<Self, JsonError> {
        let Ok(Value::Object(fields)) = serde_json::from_str(json) else {
            return Err(JsonError::NoObject);
        };
        let value = |name: &'static str| fields.get(name).filter(|value| !value.is_null());
        let text = |name| match value(name) {
            None => Ok(Text::EMPTY),
            Some(Value::String(text)) => Ok(Text::from(text.as_str())),
            Some(_) => Err(JsonError::Field(name)),
        };
        let int =
            |name| value(name).map_or(Ok(0), |value| value.as_i64().ok_or(JsonError::Field(name)));
        let time = |name| match value(name) {
            None => Ok(None),
            Some(Value::String(text)) => greenpack_json::time_of(text.as_bytes())
                .map(|time| (time != Timestamp::ZERO).then_some(time))
                .map_err(|_| JsonError::Field(name)),
            Some(_) => Err(JsonError::Field(name)),
        };
        let args = match value("Args") {
            None => Args::new(),
            Some(Value::Object(args)) => args
                .iter()
                .map(|(name, value)| Some((Text::from(name.as_str()), value.as_str()?.into())))
                .collect::<Option<Args>>()
                .ok_or(JsonError::Field("Args"))?,
            Some(_) => return Err(JsonError::Field("Args")),
        };
        Ok(Self {
            created: time("Created")?,
            from: text("From")?,
            to: text("To")?,
            subject: text("Subject")?,
            seqno: value("Seqno").map_or(Ok(0), |value| {
                value.as_u64().ok_or(JsonError::Field("Seqno"))
            })?,
            typ: CallType(int("Typ")?),
            call_id: text("CallID")?,
            serial: int("Serial")?,
            local_recv_tm: time("LocalRecvTm")?,
            deadline: time("Deadline")?,
            stream_part: int("StreamPart")?,
            service_name: text("ServiceName")?,
            args,
            no_system_compression: value("NoSystemCompression")
                .map_or(Some(false), Value::as_bool)
                .ok_or(JsonError::Field("NoSystemCompression"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_the_way_through_json() {
        let mut hdr = *Message::request("svc", "").with_arg("k", "v").hdr;
        hdr.created = Some(Timestamp::new(1_800_000_000, 5));
        hdr.typ = CallType::UPLOAD_BEGIN;
        hdr.seqno = u64::MAX;
        hdr.serial = -1;
        let json = hdr.to_json();
        assert_eq!(json["Typ"], 15);
        assert_eq!(json["Created"], "2027-01-15T08:00:00.000000005Z");
        assert_eq!(json["Deadline"], "0001-01-01T00:00:00Z");
        assert_eq!(json["Args"], json!({ "k": "v" }));
        assert_eq!(Hdr::from_json(&json.to_string()), Ok(hdr));
        assert_eq!(Hdr::from_json("{}"), Ok(Hdr::default()));
    }

    #[test]
    fn what_is_no_header_is_an_error_that_names_the_field() {
        assert_eq!(Hdr::from_json("[]"), Err(JsonError::NoObject));
        for (json, field) in [
            (r#"{"Seqno": -1}"#, "Seqno"),
            (r#"{"Deadline": "soon"}"#, "Deadline"),
            (r#"{"Args": {"a": 1}}"#, "Args"),
            (r#"{"From": 1}"#, "From"),
        ] {
            assert_eq!(Hdr::from_json(json), Err(JsonError::Field(field)));
        }
    }

    /// docs/wire M1, M3
    #[test]
    fn a_message_is_shown_with_its_keys_on_the_wire() {
        let mut message = Message::request("svc", "hi").with_deadline(Timestamp::new(0, 0));
        message.error = Text::from_static("no");
        assert_eq!(
            message.to_json(),
            json!({
                "HDR_zid00_rct": {
                    "Deadline_zid09_tim": "1970-01-01T00:00:00Z",
                    "ServiceName_zid11_str": "svc",
                },
                "JobSerz_zid01_bin": "aGk=",
                "JobErrs_zid02_str": "no",
            })
        );
    }
}
