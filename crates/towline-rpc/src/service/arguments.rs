//! The arguments of a method as one body.

use bytes::{Bytes, BytesMut};
use towline_codec::greenpack::{DecodeError, Form, Greenpack, Reader};

/// The arguments of a method: one is its own form, several are an array of them, none is nothing (docs/wire
/// V2).
pub trait Arguments: Sized + Send + 'static {
    /// Appends the arguments.
    fn encode(&self, form: Form, out: &mut BytesMut);

    /// Reads the arguments.
    ///
    /// # Errors
    ///
    /// Whatever in the body is not of their types.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// The arguments as a body.
    #[doc(hidden)]
    fn to_body(&self, form: Form) -> Bytes {
        let mut out = BytesMut::new();
        self.encode(form, &mut out);
        out.freeze()
    }
}

impl Arguments for () {
    fn encode(&self, _: Form, _: &mut BytesMut) {}

    /// Whatever is there was meant for another version of the method.
    fn decode(_: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(())
    }
}

impl<A: Greenpack + Send + 'static> Arguments for (A,) {
    fn encode(&self, form: Form, out: &mut BytesMut) {
        self.0.encode_as(form, out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        // An empty body reads as the zero value, as a body of Go's that was left out.
        if reader.rest().is_empty() {
            return Ok((A::decode(&mut Reader::new(&[0xc0]))?,));
        }
        A::decode(reader).map(|argument| (argument,))
    }
}

macro_rules! several {
    ($($($name:ident)*;)*) => {$(
        impl<$($name: Greenpack + Send + 'static),*> Arguments for ($($name,)*) {
            fn encode(&self, form: Form, out: &mut BytesMut) {
                self.encode_as(form, out);
            }

            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Greenpack::decode(reader)
            }
        }
    )*};
}

several! {
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
}
