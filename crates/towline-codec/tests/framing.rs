//! Packets out of any stream, cut anywhere.

#![cfg(feature = "tokio")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use proptest::prelude::*;
use tokio_util::codec::{Framed, FramedRead};
use towline_codec::framing::{
    EncodeError, Framing, FramingError, LengthPrefix, Oversize, PacketCodec, PacketError,
    PacketReader, Received, Separator,
};
use towline_codec::primitives::{ReadExt, ValueError};

use crate::support::{Dribble, receive};

const MAX: usize = 64;

/// What a stream gave: packets as `Ok`, those passed over as `Err`; why it stopped; what was dropped.
type Told = (
    Vec<Result<Bytes, Option<u64>>>,
    Option<FramingError>,
    (u64, u64),
);

fn told(mut codec: PacketCodec, reads: &[&[u8]]) -> Told {
    let (mut buffer, mut told) = (BytesMut::new(), Vec::new());
    for read in reads {
        buffer.extend_from_slice(read);
        loop {
            match codec.next_packet(&mut buffer) {
                Ok(Some(Received::Packet(packet))) => told.push(Ok(packet.freeze())),
                Ok(Some(Received::Oversized { announced })) => told.push(Err(announced)),
                Ok(None) => break,
                Err(error) => return (told, Some(error), (codec.skipped(), 0)),
            }
        }
    }
    codec.finish(&mut buffer);
    (told, None, (codec.skipped(), codec.dropped()))
}

fn any_framing() -> impl Strategy<Value = Framing> {
    prop_oneof![
        prop::sample::select(LengthPrefix::ALL.to_vec()).prop_map(Framing::length_prefixed),
        prop::collection::vec(0u8..3, 1..4).prop_map(|bytes| Framing::separator(bytes).unwrap()),
    ]
}

/// Streams of good packets, of packets that are too big, and of anything.
fn any_stream(framing: &Framing) -> impl Strategy<Value = Vec<u8>> + use<> {
    let framing = framing.clone();
    let pieces = prop::collection::vec(
        (any::<bool>(), prop::collection::vec(0u8..4, 0..2 * MAX)),
        0..12,
    );
    pieces.prop_map(move |pieces| {
        let codec = PacketCodec::new(framing.clone(), usize::MAX);
        let mut stream = BytesMut::new();
        for (whole, bytes) in pieces {
            if !whole || codec.encode_packet(&bytes, &mut stream).is_err() {
                stream.extend_from_slice(&bytes);
            }
        }
        stream.to_vec()
    })
}

fn any_case() -> impl Strategy<Value = (Framing, Vec<u8>, Vec<prop::sample::Index>, bool)> {
    any_framing().prop_flat_map(|framing| {
        let stream = any_stream(&framing);
        (
            Just(framing),
            stream,
            prop::collection::vec(any::<prop::sample::Index>(), 0..20),
            any::<bool>(),
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// docs/wire L21: every split of a stream gives the same packets, the same complaints, the same end.
    #[test]
    fn every_split_of_a_stream_gives_the_same_packets((framing, stream, cuts, skip) in any_case()) {
        let policy = if skip { Oversize::Skip } else { Oversize::Close };
        let codec = PacketCodec::new(framing, MAX).oversize(policy);
        let whole = told(codec.clone(), &[&stream]);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.sort_unstable();
        let (mut reads, mut from) = (Vec::new(), 0);
        for cut in cuts {
            reads.push(&stream[from..cut]);
            from = cut;
        }
        reads.push(&stream[from..]);
        prop_assert_eq!(&told(codec.clone(), &reads), &whole);
        let bytes: Vec<_> = stream.chunks(1).collect();
        prop_assert_eq!(&told(codec, &bytes), &whole);
    }

    /// docs/wire L13, L14, L16: what is sent as a packet comes out as that packet.
    #[test]
    fn what_is_sent_comes_out(framing in any_framing(), payloads in prop::collection::vec(prop::collection::vec(0u8..5, 0..MAX), 0..8)) {
        let codec = PacketCodec::new(framing, MAX);
        let (mut stream, mut sent) = (BytesMut::new(), Vec::new());
        for payload in payloads {
            let before = stream.len();
            match codec.encode_packet(&payload, &mut stream) {
                Ok(()) => sent.push(Bytes::from(payload)),
                Err(EncodeError::ContainsSeparator { .. }) => prop_assert_eq!(stream.len(), before),
                Err(error) => panic!("{error}"),
            }
        }
        prop_assert_eq!(receive(codec, &[stream.freeze()]), (sent, Ok(())));
    }
}

/// docs/wire L19: the payload alone counts; one byte more is too big.
#[test]
fn the_limit_counts_the_payload_alone() {
    for prefix in LengthPrefix::ALL {
        let framing = Framing::length_prefixed(prefix);
        let codec = PacketCodec::new(framing.clone(), MAX);
        let sender = PacketCodec::new(framing, 2 * MAX);
        for (len, fits) in [(0, true), (MAX, true), (MAX + 1, false)] {
            let mut stream = BytesMut::new();
            sender.encode_packet(&vec![7; len], &mut stream).unwrap();
            let (packets, end) = receive(codec.clone(), &[stream.freeze()]);
            if fits {
                assert_eq!((packets, end), (vec![Bytes::from(vec![7; len])], Ok(())));
            } else {
                let (max, announced) = (MAX, Some(len as u64));
                assert_eq!(end, Err(FramingError::PacketTooBig { max, announced }));
                assert!(packets.is_empty());
            }
        }
    }
    let lines = PacketCodec::new(Framing::separator("\r\n").unwrap(), 4).oversize(Oversize::Close);
    assert_eq!(
        receive(lines.clone(), &["1234\r\n".into()]),
        (vec!["1234".into()], Ok(()))
    );
    let too_big = FramingError::PacketTooBig {
        max: 4,
        announced: None,
    };
    assert_eq!(
        receive(lines, &["12345\r\n".into()]),
        (vec![], Err(too_big))
    );
}

/// docs/wire L20: before a single byte of the payload is waited for.
#[test]
fn announced_lengths_beyond_the_limit_are_refused_at_once() {
    let cases: [(LengthPrefix, &[u8]); 5] = [
        (LengthPrefix::U32Be, &[0xff; 4]),
        (LengthPrefix::U32Le, &[0xff; 4]),
        (
            LengthPrefix::U64Be,
            &[0x7f, 255, 255, 255, 255, 255, 255, 255],
        ),
        (LengthPrefix::VarInt, &[0xff, 0xff, 0xff, 0xff, 0x7f]),
        (
            LengthPrefix::VarLong,
            &[255, 255, 255, 255, 255, 255, 255, 255, 0x7f],
        ),
    ];
    for (prefix, bytes) in cases {
        let mut codec = PacketCodec::new(prefix, 1 << 20);
        let refused = codec.step(bytes);
        assert!(
            matches!(refused, Err(FramingError::PacketTooBig { .. })),
            "{prefix:?}: {refused:?}"
        );
    }
    // docs/wire L17: 2^63 is negative to the original, which panics.
    let mut codec = PacketCodec::new(LengthPrefix::U64Be, 1 << 20);
    let length = i64::MIN;
    assert_eq!(
        codec.step(&[0x80, 0, 0, 0, 0, 0, 0, 0]),
        Err(FramingError::NegativeLength { length })
    );
}

/// docs/wire L18: at the fifth or tenth byte, whatever follows.
#[test]
fn a_length_that_does_not_end_is_refused_at_its_last_byte() {
    for (prefix, last) in [(LengthPrefix::VarInt, 5), (LengthPrefix::VarLong, 10)] {
        let mut codec = PacketCodec::new(prefix, MAX);
        let mut bytes = Vec::new();
        for _ in 1..last {
            bytes.push(0x80);
            assert!(codec.step(&bytes).is_ok());
        }
        bytes.push(0x80);
        assert!(matches!(
            codec.step(&bytes),
            Err(FramingError::OverlongPrefix(_))
        ));
    }
}

/// docs/wire L23: told once, and the next packet is whole.
#[test]
fn a_packet_that_is_passed_over_leaves_the_stream_in_step() {
    let lines = PacketCodec::new(Framing::separator("\n").unwrap(), 4);
    assert_eq!(
        told(lines, &[b"one\nfar too long", b" and more\ntwo\n"]),
        (
            vec![Ok("one".into()), Err(None), Ok("two".into())],
            None,
            (1, 22)
        )
    );
    let lengths =
        PacketCodec::new(Framing::length_prefixed(LengthPrefix::U16Be), 4).oversize(Oversize::Skip);
    assert_eq!(
        told(lengths, &[b"\0\x05abcde\0\x02ok"]),
        (vec![Err(Some(5)), Ok("ok".into())], None, (1, 7))
    );
}

/// docs/wire L19, L21: many small packets in one read are not one large one.
#[test]
fn pipelined_packets_are_all_delivered_whatever_they_add_up_to() {
    let stream: Bytes = "12345678\n".repeat(100).into();
    for policy in [Oversize::Skip, Oversize::Close] {
        let lines = PacketCodec::new(Framing::separator("\n").unwrap(), 8).oversize(policy);
        let (packets, end) = receive(lines, std::slice::from_ref(&stream));
        assert_eq!((packets.len(), end), (100, Ok(())));
    }
}

/// docs/wire L13: a separator of several bytes, with false starts, over several reads.
#[test]
fn separators_with_false_starts_are_found_across_reads() {
    let codec = PacketCodec::new(Framing::separator("aab").unwrap(), 16);
    let stream = b"xaaab-aaaab";
    let whole = told(codec.clone(), &[stream]);
    assert_eq!(whole.0, vec![Ok(Bytes::from("xa")), Ok(Bytes::from("-aa"))]);
    for first in 0..stream.len() {
        for second in first..stream.len() {
            let reads = [&stream[..first], &stream[first..second], &stream[second..]];
            assert_eq!(told(codec.clone(), &reads), whole);
        }
    }
}

/// docs/wire L14: a payload that would arrive as two packets is not sent.
#[test]
fn a_payload_with_the_separator_in_it_is_not_sent() {
    let codec = PacketCodec::new(Framing::separator("aa").unwrap(), 16);
    let mut out = BytesMut::from("before");
    for (payload, at) in [("xaay", 1), ("xa", 1), ("aa", 0)] {
        let refused = codec.encode_packet(payload.as_bytes(), &mut out);
        assert_eq!(refused, Err(EncodeError::ContainsSeparator { at }));
        assert_eq!(&out[..], b"before");
    }
    let too_long = LengthPrefix::U16Le.prefix(65_536);
    assert_eq!(
        too_long,
        Err(EncodeError::TooLong {
            len: 65_536,
            max: 65_535
        })
    );
}

/// docs/wire L25: through tokio-util's `Framed`, what is unfinished at the end is dropped and counted.
#[tokio::test]
async fn framed_streams_end_without_an_error() {
    let lines = PacketCodec::new(Framing::separator("\n").unwrap(), 8);
    let mut framed = FramedRead::new(&b"one\nmuch too long\ntwo\nthr"[..], lines);
    assert_eq!(framed.next().await.unwrap().unwrap(), "one");
    assert_eq!(framed.next().await.unwrap().unwrap(), "two");
    assert!(framed.next().await.is_none());
    assert_eq!(framed.decoder().skipped(), 1);
    assert_eq!(framed.decoder().dropped(), 14 + 3);

    let (here, there) = tokio::io::duplex(64);
    let codec = PacketCodec::new(Framing::length_prefixed(LengthPrefix::VarInt), 8);
    let (mut here, mut there) = (Framed::new(here, codec.clone()), Framed::new(there, codec));
    here.send(Bytes::from("hello")).await.unwrap();
    assert_eq!(there.next().await.unwrap().unwrap(), "hello");
    assert!(here.send(Bytes::from("too long for it")).await.is_err());
}

/// docs/wire L26: packets of both kinds, values and raw reads take turns on one stream.
#[tokio::test]
async fn packets_values_and_raw_reads_can_be_mixed() {
    use tokio::io::AsyncReadExt;

    let newline = Separator::new("\n").unwrap();
    let bytes = Bytes::from_static(b"one\n\xac\x02\x03\0two\0\x2araw\nmuch too long\nlast\n");
    let mut stream = PacketReader::new(Dribble::new(bytes));
    assert_eq!(stream.read_separated(&newline, 8).await.unwrap(), "one");
    assert_eq!(stream.read_var_int().await.unwrap(), 300);
    let packet = stream.read_length_prefixed(LengthPrefix::U16Le, 8).await;
    assert_eq!(packet.unwrap(), "two");
    assert_eq!(stream.read_int16().await.unwrap(), 42);
    let mut raw = [0; 3];
    stream.read_exact(&mut raw).await.unwrap();
    assert_eq!(&raw, b"raw");
    assert_eq!(stream.read_separated(&newline, 8).await.unwrap(), "");
    let refused = stream.read_separated(&newline, 8).await;
    assert!(matches!(
        refused,
        Err(PacketError::Framing(FramingError::PacketTooBig { .. }))
    ));
    stream.resync(&newline).await.unwrap();
    assert_eq!(stream.read_separated(&newline, 8).await.unwrap(), "last");
    let end = stream.read_separated(&newline, 8).await;
    assert!(matches!(end, Err(PacketError::Ended(ValueError::End))));
}

/// docs/wire L26: a reader that was given up has taken nothing.
#[tokio::test(start_paused = true)]
async fn a_packet_that_was_waited_for_in_vain_is_not_lost() {
    use tokio::io::AsyncWriteExt;

    let (mut here, there) = tokio::io::duplex(64);
    let mut stream = PacketReader::new(there);
    here.write_all(b"\x05\0he").await.unwrap();
    let wait = std::time::Duration::from_secs(1);
    let read = stream.read_length_prefixed(LengthPrefix::U16Le, 8);
    assert!(tokio::time::timeout(wait, read).await.is_err());
    here.write_all(b"llo").await.unwrap();
    let packet = stream.read_length_prefixed(LengthPrefix::U16Le, 8).await;
    assert_eq!(packet.unwrap(), "hello");
}
