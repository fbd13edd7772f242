//! How the values of typed calls become bodies.

use bytes::{Bytes, BytesMut};
use towline_codec::greenpack::{DecodeError, Form, Greenpack, Reader};

use crate::proto::{Hdr, Message};

/// The parameter that names the encoding.
const ARG: &str = "encoding";

/// How the values of a typed call become bodies (docs/wire V5). The answer has the encoding of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Encoding {
    /// Greenpack: what Go programs with generated types understand.
    #[default]
    Greenpack,
    /// MessagePack with bare field names.
    MessagePack,
    /// JSON.
    #[cfg(feature = "json")]
    Json,
}

impl Encoding {
    const fn name(self) -> Option<&'static str> {
        match self {
            Self::Greenpack => None,
            Self::MessagePack => Some("msgpack"),
            #[cfg(feature = "json")]
            Self::Json => Some("json"),
        }
    }

    /// The encoding that a request names; the name, if it is unknown.
    pub(super) fn of(hdr: &Hdr) -> Result<Self, String> {
        match hdr.args.get(ARG.as_bytes()) {
            None => Ok(Self::Greenpack),
            Some(name) => match &*name.to_string_lossy() {
                "greenpack" => Ok(Self::Greenpack),
                "msgpack" => Ok(Self::MessagePack),
                #[cfg(feature = "json")]
                "json" => Ok(Self::Json),
                name => Err(name.to_owned()),
            },
        }
    }

    /// Names the encoding in a request.
    pub(super) fn put(self, message: Message) -> Message {
        match self.name() {
            None => message,
            Some(name) => message.with_arg(ARG, name),
        }
    }

    /// The body of a value, or of anything that is written like one.
    pub(super) fn body(self, write: impl FnOnce(Form, &mut BytesMut)) -> Bytes {
        let form = match self {
            Self::Greenpack => Form::Plain,
            _ => Form::Named,
        };
        let mut out = BytesMut::new();
        write(form, &mut out);
        match self {
            #[cfg(feature = "json")]
            Self::Json if !out.is_empty() => match towline_codec::greenpack::json::of_bytes(&out) {
                Ok(json) => json.to_string().into(),
                // A form written by hand that is no greenpack: the reader says so.
                Err(_) => out.freeze(),
            },
            _ => out.freeze(),
        }
    }

    pub(super) fn value<T: Greenpack>(self, value: &T) -> Bytes {
        self.body(|form, out| value.encode_as(form, out))
    }

    /// Reads a body.
    pub(super) fn read<T>(
        self,
        body: &[u8],
        read: impl FnOnce(&mut Reader<'_>) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        match self {
            Self::Greenpack => read(&mut Reader::new(body)),
            Self::MessagePack => read(&mut Reader::with_names(body)),
            #[cfg(feature = "json")]
            Self::Json if body.is_empty() => read(&mut Reader::new(body)),
            #[cfg(feature = "json")]
            Self::Json => {
                let json = serde_json::from_slice(body).map_err(|_| DecodeError::Text("JSON"))?;
                let bytes = towline_codec::greenpack::json::to_bytes(&json);
                read(&mut Reader::lenient(&bytes))
            }
        }
    }
}
