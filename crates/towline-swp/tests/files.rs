//! Files through the byte stream of a session, compatible with the original's SendFile and RecvFile.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::Cursor,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use towline_swp::{
    RecvFileError, SendFileError, Session,
    network::sim::{PacketConditions, SimNet},
    proto::{BigFile, Config, DecodeError, FileMismatch, checksum},
};

async fn pair(extension: bool) -> (Session, Session) {
    let conditions = PacketConditions::default()
        .delay(Duration::from_millis(2))
        .loss(20_000);
    let net = SimNet::new(conditions, 11);
    let accepting = tokio::spawn(Session::accept(
        Arc::new(net.clone()),
        Config::new("B", "A"),
    ));
    let config = Config::new("A", "B").extension(extension);
    let opened = Session::connect(Arc::new(net), config).await.unwrap();
    (opened, accepting.await.unwrap().unwrap())
}

/// Some moment.
fn moment() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at ^ (at >> 8)) as u8).collect()
}

/// docs/wire W53: of every size, in both formats, one behind the other.
#[tokio::test(start_paused = true)]
async fn files_of_every_size_arrive() {
    const SIZES: [usize; 7] = [0, 1, 1900, 3000, 524_288, 524_388, 3 << 20];
    for extension in [true, false] {
        let (a, b) = pair(extension).await;
        let sending = tokio::spawn(async move {
            for size in SIZES {
                let info = a
                    .send_file(format!("{size}.bin"), bytes(size), moment())
                    .await
                    .unwrap();
                assert_eq!(info.blake2b, checksum(&bytes(size)));
            }
            a.close().await.unwrap();
        });
        for size in SIZES {
            let file = b.recv_file(4 << 20).await.unwrap();
            assert_eq!(file.path.to_str().unwrap(), format!("{size}.bin"));
            assert_eq!(
                file.sent.and_then(|sent| sent.to_system_time()),
                Some(moment())
            );
            assert!(file.data == bytes(size));
        }
        assert!(matches!(b.recv_file(1).await, Err(RecvFileError::Read(_))));
        sending.await.unwrap();
    }
}

/// docs/wire W53: neither end holds the file.
#[tokio::test(start_paused = true)]
async fn a_file_is_streamed_from_a_reader_into_a_writer() {
    let (a, mut b) = pair(true).await;
    let sending = tokio::spawn(async move {
        let mut file = Cursor::new(bytes(2_000_000));
        let info = a
            .send_file_from("streamed", &mut file, moment())
            .await
            .unwrap();
        (&a).write_all(b"what follows").await.unwrap();
        a.close().await.unwrap();
        info
    });
    let mut out = Vec::new();
    let received = b.recv_file_to(&mut out, 2_000_000).await.unwrap();
    assert_eq!(received, sending.await.unwrap());
    assert!(out == bytes(2_000_000));
    let mut rest = String::new();
    b.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "what follows");
}

/// docs/wire W53: a receiver that begins before anything was sent, and a sender that pauses.
#[tokio::test(start_paused = true)]
async fn receiving_waits_for_what_has_not_come() {
    let (a, b) = pair(false).await;
    let receiving = tokio::spawn(async move { b.recv_file(100_000).await });
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut wire = BytesMut::new();
    file(&bytes(50_000)).encode(&mut wire);
    let wire = wire.freeze();
    for part in [0..1, 1..100, 100..40_000, 40_000..wire.len()] {
        a.send(wire.slice(part)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    assert!(receiving.await.unwrap().unwrap().data == bytes(50_000));
}

/// docs/wire W53: what is wrong with a file is told, and the file comes with the error.
#[tokio::test(start_paused = true)]
async fn corrupt_files_are_told_apart() {
    let good = file(b"hello");
    let cases = [
        (
            BigFile {
                size: 6,
                ..good.clone()
            },
            FileMismatch::Size { got: 5, said: 6 },
        ),
        (
            BigFile {
                blake2b: Bytes::new(),
                ..good.clone()
            },
            FileMismatch::NoChecksum,
        ),
        (
            BigFile {
                blake2b: file(b"other").blake2b,
                ..good
            },
            FileMismatch::Checksum,
        ),
    ];
    let (a, b) = pair(true).await;
    for (sent, expected) in cases {
        let mut wire = BytesMut::new();
        sent.encode(&mut wire);
        a.send(wire.freeze()).await.unwrap();
        match b.recv_file(100).await {
            Err(RecvFileError::Mismatch { mismatch, file }) => {
                assert_eq!(mismatch, expected);
                assert_eq!(file.data, "hello");
            }
            other => panic!("{other:?}"),
        }
    }
    let mut wire = BytesMut::new();
    file(b"hello").encode(&mut wire);
    a.send(wire.freeze()).await.unwrap();
    let error = b.recv_file(4).await.unwrap_err();
    assert!(matches!(
        error,
        RecvFileError::Decode(DecodeError::DataTooLong(5))
    ));
}

/// docs/wire W53: a file that changes between its two readings is found out at both ends.
#[tokio::test(start_paused = true)]
async fn a_file_that_changes_while_it_is_sent_is_found_out() {
    struct Changing(Cursor<Vec<u8>>);
    impl tokio::io::AsyncRead for Changing {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
            buf: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            std::pin::Pin::new(&mut self.0).poll_read(cx, buf)
        }
    }
    impl tokio::io::AsyncSeek for Changing {
        fn start_seek(
            mut self: std::pin::Pin<&mut Self>,
            position: std::io::SeekFrom,
        ) -> std::io::Result<()> {
            if matches!(position, std::io::SeekFrom::Start(_)) {
                self.0.get_mut()[5] ^= 1;
            }
            std::pin::Pin::new(&mut self.0).start_seek(position)
        }
        fn poll_complete(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<std::io::Result<u64>> {
            std::pin::Pin::new(&mut self.0).poll_complete(cx)
        }
    }
    let (a, b) = pair(true).await;
    let receiving = tokio::spawn(async move { b.recv_file(1000).await });
    let mut changing = Changing(Cursor::new(bytes(1000)));
    let sent = a.send_file_from("x", &mut changing, moment()).await;
    assert!(matches!(sent, Err(SendFileError::Changed)));
    assert!(matches!(
        receiving.await.unwrap(),
        Err(RecvFileError::Mismatch {
            mismatch: FileMismatch::Checksum,
            ..
        })
    ));
}

fn file(data: &[u8]) -> BigFile {
    BigFile {
        path: "a".into(),
        size: data.len() as i64,
        blake2b: Bytes::copy_from_slice(&checksum(data)),
        sent: None,
        data: Bytes::copy_from_slice(data),
    }
}
