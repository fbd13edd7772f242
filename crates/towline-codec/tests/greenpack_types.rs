//! Types whose form in greenpack is derived: the original's bytes, evolution, and JSON.

#![cfg(all(feature = "derive", feature = "json"))]

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use serde_json::{Value, json};
use towline_codec::greenpack::{
    Any, Complex, DecodeError, Extension, Form, Greenpack, MAX_DEPTH, Nanoseconds, Reader,
    Timestamp, json, write,
};

#[derive(Greenpack, Debug, Clone, PartialEq, Default)]
struct Inner {
    #[zid(0)]
    #[greenpack(clue = "int")]
    x: i64,
    #[zid(1)]
    y: String,
}

#[derive(Greenpack, Debug, Clone, PartialEq)]
#[greenpack(name = "Gap")]
struct Renamed {
    #[zid(1)]
    #[greenpack(name = "renamed", clue = "int")]
    second: i64,
    #[zid(0)]
    #[greenpack(clue = "int")]
    first: i64,
    #[greenpack(skip)]
    cache: Option<String>,
}

/// Declares the same fields in map form and in tuple form.
macro_rules! all {
    ($($(#[$attribute:meta])* $field:ident: $ty:ty = $zid:literal $name:literal,)*) => {
        #[derive(Greenpack, Debug, Clone, PartialEq)]
        struct All<I> {
            $(#[zid($zid)] #[greenpack(name = $name)] $(#[$attribute])* $field: $ty,)*
        }

        #[derive(Greenpack, Debug, Clone, PartialEq)]
        #[greenpack(tuple)]
        struct AllTuple<I> {
            $($field: $ty,)*
        }
    };
}

all! {
    s: String = 0 "S",
    #[greenpack(clue = "int")]
    i: i64 = 1 "I",
    i8: i8 = 2 "I8",
    i16: i16 = 3 "I16",
    i32: i32 = 4 "I32",
    i64: i64 = 5 "I64",
    #[greenpack(clue = "unt")]
    u: u64 = 6 "U",
    u8: u8 = 7 "U8",
    u16: u16 = 8 "U16",
    u32: u32 = 9 "U32",
    u64: u64 = 10 "U64",
    b: bool = 11 "B",
    f32: f32 = 12 "F32",
    f64: f64 = 13 "F64",
    bin: Bytes = 14 "Bin",
    t: Timestamp = 15 "T",
    d: Nanoseconds = 16 "D",
    sl: Vec<i64> = 17 "Sl",
    sl_s: Vec<String> = 18 "SlS",
    m: BTreeMap<String, i64> = 19 "M",
    mss: BTreeMap<String, String> = 20 "MSS",
    arr: [i64; 3] = 21 "Arr",
    inner: I = 22 "In",
    p: Option<I> = 23 "P",
    sl_in: Vec<I> = 24 "SlIn",
    sl_p: Vec<Option<I>> = 25 "SlP",
    c64: Complex<f32> = 26 "C64",
    c128: Complex<f64> = 27 "C128",
    #[greenpack(clue = "byt")]
    by: u8 = 28 "By",
    mi: BTreeMap<i64, String> = 29 "MI",
    #[greenpack(clue = "rct")]
    named: i64 = 30 "Named",
}

fn inner(x: i64, y: &str) -> Inner {
    Inner { x, y: y.to_owned() }
}

/// The recorded value, with structs in one form or the other inside.
fn all<I>(inner: impl Fn(i64, &str) -> I) -> All<I> {
    All {
        s: "str".into(),
        i: -7,
        i8: -8,
        i16: 300,
        i32: 70_000,
        i64: -5_000_000_000,
        u: 200,
        u8: 250,
        u16: 60_000,
        u32: 4_000_000_000,
        u64: 18_000_000_000_000_000_000,
        b: true,
        f32: 1.5,
        f64: -2.25,
        bin: Bytes::from_static(&[1, 2]),
        t: Timestamp::new(0x6782_83e1, 5),
        d: Nanoseconds(1_500_000_000),
        sl: vec![1, -1, 200],
        sl_s: vec!["a".into(), String::new()],
        m: BTreeMap::from([("k".into(), 9)]),
        mss: BTreeMap::from([("a".into(), "b".into())]),
        arr: [1, 0, 3],
        inner: inner(5, "y"),
        p: Some(inner(6, "")),
        sl_in: vec![inner(1, "p"), inner(0, "")],
        sl_p: vec![Some(inner(2, "q")), None],
        c64: Complex { re: 1.0, im: 2.0 },
        c128: Complex { re: 3.0, im: 4.0 },
        by: 77,
        mi: BTreeMap::from([(3, "three".into())]),
        named: 42,
    }
}

macro_rules! as_tuple {
    ($all:expr, $($field:ident)*) => {{
        let all = $all;
        AllTuple { $($field: all.$field,)* }
    }};
}

fn tuple<I>(all: All<I>) -> AllTuple<I> {
    as_tuple!(
        all, s i i8 i16 i32 i64 u u8 u16 u32 u64 b f32 f64 bin t d sl sl_s m mss arr inner p sl_in
        sl_p c64 c128 by mi named
    )
}

fn zero<T: Greenpack>() -> T {
    T::decode(&mut Reader::new(&[0xc0])).expect("every type here has a zero value")
}

fn encoded<T: Greenpack>(value: &T, form: Form) -> Vec<u8> {
    let mut out = BytesMut::new();
    value.encode_as(form, &mut out);
    out.to_vec()
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal"))
        .collect()
}

fn vectors() -> Vec<Value> {
    serde_json::from_str(include_str!("vectors/greenpack-user-types.json")).expect("it is JSON")
}

fn recorded(name: &str) -> Option<Vec<u8>> {
    let vectors = vectors();
    let vector = vectors.iter().find(|vector| vector["name"] == *name)?;
    vector["hex"].as_str().map(hex)
}

/// Writes a value in both forms as recorded, and reads both.
fn plays<T: Greenpack + PartialEq + std::fmt::Debug>(
    played: &mut Vec<String>,
    name: &str,
    value: &T,
) {
    for (form, suffix) in [(Form::Streaming, "encodemsg"), (Form::Plain, "marshalmsg")] {
        let name = format!("{name}-{suffix}");
        let recorded = recorded(&name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(encoded(value, form), recorded, "{name}");
        let mut reader = Reader::new(&recorded);
        assert_eq!(T::decode(&mut reader).as_ref(), Ok(value), "{name}");
        assert!(reader.rest().is_empty());
        played.push(name);
    }
}

#[derive(Greenpack, Debug, PartialEq)]
#[greenpack(name = "Shw")]
struct Shared {
    #[zid(0)]
    p: Option<In>,
    #[zid(1)]
    q: Option<In>,
    #[zid(2)]
    s: Vec<Option<In>>,
}

#[derive(Greenpack, Debug, PartialEq)]
struct In {
    #[zid(0)]
    #[greenpack(name = "X", clue = "int")]
    x: i64,
}

#[derive(Greenpack, Debug, Clone, PartialEq)]
struct InnerTuple(i64, String);

/// docs/wire G8 to G15
#[test]
fn derived_types_are_written_byte_for_byte_as_the_original_writes_them() {
    let mut played = Vec::new();
    plays(&mut played, "inner", &inner(5, "y"));
    plays(&mut played, "inner-zero", &inner(0, ""));
    let renamed = Renamed {
        first: 1,
        second: 2,
        cache: None,
    };
    plays(&mut played, "renamed", &renamed);
    plays(&mut played, "all-types", &all(inner));
    plays(&mut played, "all-types-zero", &zero::<All<Inner>>());
    let inner_tuple = |x, y: &str| InnerTuple(x, y.to_owned());
    plays(&mut played, "tuple-inner", &inner_tuple(5, "y"));
    plays(&mut played, "tuple-inner-zero", &zero::<InnerTuple>());
    plays(&mut played, "tuple-all-types", &tuple(all(inner_tuple)));
    plays(
        &mut played,
        "tuple-all-types-zero",
        &zero::<AllTuple<InnerTuple>>(),
    );

    // docs/wire G15: pointers that were shared are written out, and read where they are.
    let shared = || In { x: 5 };
    let value = Shared {
        p: Some(shared()),
        q: Some(shared()),
        s: vec![Some(shared()), Some(In { x: 6 }), Some(shared())],
    };
    let [with_references, plain] = ["shared-pointers-encodemsg", "shared-pointers-marshalmsg"]
        .map(|name| recorded(name).expect("it is there"));
    assert_eq!(encoded(&value, Form::Plain), plain);
    assert_eq!(Shared::decode(&mut Reader::new(&plain)), Ok(value));
    let refused = Shared::decode(&mut Reader::new(&with_references));
    assert!(
        matches!(refused, Err(DecodeError::WrongType { .. })),
        "{refused:?}"
    );
    assert_eq!(vectors().len(), played.len() + 2, "a new vector");
}

/// docs/wire G16, G18: old and new versions of a type understand each other.
#[test]
fn fields_come_and_go() {
    #[derive(Greenpack, Debug, PartialEq)]
    struct Old {
        #[zid(0)]
        name: String,
    }
    #[derive(Greenpack, Debug, PartialEq)]
    struct New {
        #[zid(0)]
        name: String,
        #[zid(1)]
        tags: Vec<String>,
        #[zid(2)]
        limit: Option<u32>,
    }
    let new = New {
        name: "n".into(),
        tags: vec!["t".into()],
        limit: Some(3),
    };
    let old = Old { name: "n".into() };
    for form in [Form::Plain, Form::Streaming] {
        assert_eq!(
            Old::decode(&mut Reader::new(&encoded(&new, form))),
            Ok(old.clone())
        );
        let read = New::decode(&mut Reader::new(&encoded(&old, form)));
        assert_eq!(
            read,
            Ok(New {
                name: "n".into(),
                tags: vec![],
                limit: None
            })
        );
    }
    impl Clone for Old {
        fn clone(&self) -> Self {
            Self {
                name: self.name.clone(),
            }
        }
    }
}

#[derive(Greenpack, Debug, PartialEq)]
enum Change {
    #[zid(0)]
    Gone,
    #[zid(1)]
    Renamed(String),
    #[zid(2)]
    Moved {
        #[zid(0)]
        from: u32,
        #[zid(1)]
        to: Vec<u32>,
    },
}

#[derive(Greenpack, Debug, Clone, Copy, PartialEq)]
#[greenpack(int)]
enum Colour {
    Red = 1,
    Green,
    Blue = 200,
}

/// docs/wire G31
#[test]
fn enums_are_maps_with_one_entry_or_integers() {
    let moved = Change::Moved {
        from: 1,
        to: vec![2],
    };
    for (change, bytes) in [
        (Change::Gone, &b"\x81\xaeGone_zid00_ptr\x80"[..]),
        (
            Change::Renamed("x".into()),
            b"\x81\xb1Renamed_zid01_ptr\xa1x",
        ),
        (
            moved,
            b"\x81\xafMoved_zid02_ptr\x82\xaeFrom_zid00_u32\x01\xacTo_zid01_slc\x91\x02",
        ),
    ] {
        assert_eq!(encoded(&change, Form::Plain), bytes);
        for form in [Form::Plain, Form::Streaming] {
            let read = Change::decode(&mut Reader::new(&encoded(&change, form)));
            assert_eq!(read.as_ref(), Ok(&change));
        }
    }
    let unknown = Change::decode(&mut Reader::new(b"\x81\xaeNova_zid07_ptr\x80"));
    assert_eq!(unknown, Err(DecodeError::UnknownVariant));

    for (colour, bytes) in [
        (Colour::Red, &[1][..]),
        (Colour::Green, &[2]),
        (Colour::Blue, &[0xd1, 0, 200]),
    ] {
        assert_eq!(encoded(&colour, Form::Plain), bytes);
        assert_eq!(Colour::decode(&mut Reader::new(bytes)), Ok(colour));
    }
    assert_eq!(
        Colour::decode(&mut Reader::new(&[3])),
        Err(DecodeError::OutOfRange)
    );
}

#[derive(Greenpack, Debug, PartialEq)]
struct Tree {
    #[zid(0)]
    children: Vec<Self>,
    #[zid(1)]
    next: Option<Box<Self>>,
}

/// docs/wire G27: a peer cannot use up the stack by a type that holds itself.
#[test]
fn types_that_hold_themselves_are_read_to_a_depth() {
    let nested = |levels: usize| {
        let mut bytes = b"\x81\xaeNext_zid01_ptr".repeat(levels);
        bytes.push(0x80);
        bytes
    };
    assert!(Tree::decode(&mut Reader::new(&nested(MAX_DEPTH - 1))).is_ok());
    for levels in [MAX_DEPTH, 1_000_000] {
        let refused = Tree::decode(&mut Reader::new(&nested(levels)));
        assert_eq!(refused, Err(DecodeError::TooDeep));
    }
}

/// docs/wire G32, and values of any type
#[test]
fn extensions_and_any_values_are_carried() {
    #[derive(Greenpack, Debug, PartialEq)]
    struct Holder {
        #[zid(0)]
        value: Any,
        #[zid(1)]
        extension: Extension,
    }
    for (len, header, streaming) in [
        (4, &b"\xc7\x04\x09"[..], &b"\xd6\x09"[..]),
        (5, b"\xc7\x05\x09", b"\xc7\x05\x09"),
        (255, b"\xc8\0\xff\x09", b"\xc8\0\xff\x09"),
        (65_536, b"\xc9\0\x01\0\0\x09", b"\xc9\0\x01\0\0\x09"),
    ] {
        let extension = Extension {
            number: 9,
            data: vec![7; len].into(),
        };
        assert!(encoded(&extension, Form::Plain).starts_with(header));
        assert!(encoded(&extension, Form::Streaming).starts_with(streaming));
        let holder = Holder {
            value: Any::new(&inner(5, "y")),
            extension,
        };
        for form in [Form::Plain, Form::Streaming] {
            let read = Holder::decode(&mut Reader::new(&encoded(&holder, form))).expect("ours");
            assert_eq!(read, holder);
            assert_eq!(read.value.get(), Ok(inner(5, "y")));
        }
    }
    assert_eq!(encoded(&zero::<Holder>(), Form::Plain), b"\x80");
}

#[test]
fn json_says_the_same_as_greenpack() {
    let value = all(inner);
    let shown = json::of(&value).expect("greenpack");
    assert_eq!(
        shown,
        json!({
            "S": "str", "I": -7, "I8": -8, "I16": 300, "I32": 70000, "I64": -5_000_000_000_i64,
            "U": 200, "U8": 250, "U16": 60000, "U32": 4_000_000_000_u64,
            "U64": 18_000_000_000_000_000_000_u64, "B": true, "F32": 1.5, "F64": -2.25, "Bin": "AQI=",
            "T": "2025-01-11T14:44:49.000000005Z", "D": 1_500_000_000, "Sl": [1, -1, 200],
            "SlS": ["a", ""], "M": {"k": 9}, "MSS": {"a": "b"}, "Arr": [1, 0, 3],
            "In": {"X": 5, "Y": "y"}, "P": {"X": 6, "Y": ""},
            "SlIn": [{"X": 1, "Y": "p"}, {"X": 0, "Y": ""}], "SlP": [{"X": 2, "Y": "q"}, null],
            "C64": [1.0, 2.0], "C128": [3.0, 4.0], "By": 77, "MI": {"3": "three"}, "Named": 42
        })
    );
    assert_eq!(json::read(&shown), Ok(value));
    // By the names of Rust, with whole numbers for floats, and with fields missing.
    let read: All<Inner> =
        json::read(&json!({ "f64": 2, "sl_s": ["x"], "inner": {"x": 1} })).expect("read");
    assert_eq!(
        read,
        All {
            f64: 2.0,
            sl_s: vec!["x".into()],
            inner: inner(1, ""),
            ..zero()
        }
    );
    assert_eq!(json::of(&Change::Gone), Ok(json!({ "Gone": {} })));
    assert_eq!(
        json::read(&json!({ "Renamed": "x" })),
        Ok(Change::Renamed("x".into()))
    );
    // On the wire, names alone are unknown keys, and types never convert (docs/wire G16, G22).
    let bytes = json::to_bytes(&json!({ "X": 5, "Y": "y" }));
    assert_eq!(Inner::decode(&mut Reader::new(&bytes)), Ok(inner(0, "")));
    assert_eq!(
        Inner::decode(&mut Reader::with_names(&bytes)),
        Ok(inner(5, "y"))
    );
    for (wrong, why) in [
        (json!({ "T": "yesterday" }), DecodeError::Text("a time")),
        (json!({ "Bin": "!" }), DecodeError::Text("bytes")),
        (json!({ "I8": 200 }), DecodeError::OutOfRange),
    ] {
        assert_eq!(json::read::<All<Inner>>(&wrong), Err(why));
    }
    // Of bytes of which nothing is known, the keys as they are.
    let mut bytes = Vec::new();
    write::map_header(&mut bytes, 1);
    write::str(&mut bytes, b"X_zid00_int");
    write::time(&mut bytes, Timestamp::ZERO);
    assert_eq!(
        json::of_bytes(&bytes),
        Ok(json!({ "X_zid00_int": "0001-01-01T00:00:00Z" }))
    );
}

proptest! {
    /// Nothing panics, whatever the bytes are, and what is read is written and read alike.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        drop(json::of_bytes(&bytes));
        drop(AllTuple::<InnerTuple>::decode(&mut Reader::lenient(&bytes)));
        if let Ok(change) = Change::decode(&mut Reader::lenient(&bytes)) {
            let again = Change::decode(&mut Reader::new(&encoded(&change, Form::Plain)));
            prop_assert_eq!(again, Ok(change));
        }
    }

    #[test]
    fn values_survive_both_forms_and_json(x: i64, y: String, bin: Vec<u8>, nanos: i64, seconds in -10_000_000_000_i64..100_000_000_000) {
        let value = All {
            i: x,
            s: y.clone(),
            bin: bin.into(),
            d: Nanoseconds(nanos),
            t: Timestamp::new(seconds, nanos.rem_euclid(1_000_000_000)),
            inner: inner(x, &y),
            ..zero()
        };
        for form in [Form::Plain, Form::Streaming] {
            let read = All::decode(&mut Reader::new(&encoded(&value, form)));
            prop_assert_eq!(read.as_ref(), Ok(&value));
        }
        let named = encoded(&value, Form::Named);
        let read = All::decode(&mut Reader::with_names(&named));
        prop_assert_eq!(read.as_ref(), Ok(&value));
        let shown = json::of(&value).expect("greenpack");
        prop_assert_eq!(json::read(&shown), Ok(value));
    }
}
