//! What a server tells of its typed services (docs/wire V8).

use towline_codec::greenpack::{DecodeError, Form, Greenpack, Reader, write};

use bytes::BytesMut;

/// The name under which a server lists its typed services.
pub const LISTING: &str = "towline.services";

/// A typed service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceInfo {
    /// Its name.
    pub name: String,
    /// What its author says of it.
    pub docs: String,
    /// Its methods, in the order of the trait.
    pub methods: Vec<MethodInfo>,
}

/// A method of a typed service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MethodInfo {
    /// Its name behind the dot.
    pub name: String,
    /// What its author says of it.
    pub docs: String,
    /// Which way streams go.
    pub kind: MethodKind,
    /// Its arguments as the trait declares them: `order: Order`.
    pub arguments: Vec<String>,
    /// What it returns, as the trait declares it.
    pub returns: String,
}

/// Which way the streams of a method go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum MethodKind {
    /// One value each way.
    #[default]
    Unary,
    /// The client sends a stream.
    Upload,
    /// The server sends a stream.
    Download,
    /// Both do.
    Bistream,
}

impl MethodKind {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Unary, "unary"),
        (Self::Upload, "upload"),
        (Self::Download, "download"),
        (Self::Bistream, "bistream"),
    ];

    /// As the listing calls it.
    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(kind, _)| *kind == self)
            .map_or("unary", |(_, name)| name)
    }
}

/// Structs of few fields, written and read as the derive does; the derive is a feature that may be off.
macro_rules! forms {
    ($($type:ident { $($field:ident $key:literal $name:literal,)* })*) => {$(
        impl Greenpack for $type {
            fn encode_as(&self, form: Form, out: &mut BytesMut) {
                let fields = [$(&$key[..]),*].len();
                write::map_header(out, fields);
                $(
                    write::str(out, if form == Form::Named { &$name[..] } else { &$key[..] });
                    self.$field.encode_as(form, out);
                )*
            }

            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                let mut value = Self::default();
                for _ in 0..reader.map_header()?.unwrap_or(0) {
                    match reader.key()? {
                        $(Some($key) => value.$field = Greenpack::decode(reader)?,)*
                        $(Some($name) if reader.takes_names() => {
                            value.$field = Greenpack::decode(reader)?;
                        })*
                        _ => reader.skip()?,
                    }
                }
                Ok(value)
            }
        }
    )*};
}

forms! {
    ServiceInfo {
        name b"Name_zid00_str" b"Name",
        docs b"Docs_zid01_str" b"Docs",
        methods b"Methods_zid02_slc" b"Methods",
    }
    MethodInfo {
        name b"Name_zid00_str" b"Name",
        docs b"Docs_zid01_str" b"Docs",
        kind b"Kind_zid02_str" b"Kind",
        arguments b"Arguments_zid03_slc" b"Arguments",
        returns b"Returns_zid04_str" b"Returns",
    }
}

impl Greenpack for MethodKind {
    fn encode_as(&self, _: Form, out: &mut BytesMut) {
        write::str(out, self.name().as_bytes());
    }

    /// A kind of a later version reads as a call.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let name = reader.str()?;
        let known = Self::ALL.iter().find(|(_, known)| known.as_bytes() == name);
        Ok(known.map_or_else(Self::default, |&(kind, _)| kind))
    }
}
