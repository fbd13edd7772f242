//! What the accepting side does: the first byte of a stream is its command.

use std::sync::Arc;

use anyhow::{Error, Result, bail, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::Mutex,
};

use crate::session::{Options, Session, Stream};

/// Send back everything, this byte too, then close.
pub(crate) const ECHO: u8 = b'e';
/// Read to the end, then send how many bytes there were, and their FNV-1a sum.
pub(crate) const COUNT: u8 = b'c';
/// Reset the stream.
pub(crate) const RESET: u8 = b'r';
/// Send "ready", read to the end and keep in mind which end it was.
pub(crate) const WATCH: u8 = b'R';
/// Send what `WATCH` kept in mind.
pub(crate) const TELL_END: u8 = b'q';
/// Ping the opener, send "ok" or the error.
pub(crate) const PING_BACK: u8 = b'p';
/// Send a go-away, then "gone", then go on as for `ECHO`.
pub(crate) const GO_AWAY: u8 = b'g';
/// Send "ready", read one byte, then try to open a stream: "opened" or "refused: …".
pub(crate) const OPEN_UNDER: u8 = b'G';
/// Open a stream with `ECHO` and 64 KiB, send "ok" or the error.
pub(crate) const OPEN_BACK: u8 = b'o';
/// Accept nothing more, send "held", and go on once this stream has ended.
pub(crate) const HOLD: u8 = b'h';

/// One end of a session, with what it does for its peer.
pub(crate) struct Side {
    pub(crate) session: Box<dyn Session>,
    options: Options,
    /// Held by whoever keeps streams from being accepted.
    accepting: Mutex<()>,
    /// Taken by `WATCH` before it is ready, so that `TELL_END` finds the end and not the beginning.
    end: Mutex<&'static str>,
}

impl Side {
    pub(crate) fn new(session: Box<dyn Session>, options: Options) -> Self {
        Self {
            session,
            options,
            accepting: Mutex::new(()),
            end: Mutex::new("nothing"),
        }
    }

    /// Serves streams until the session ends, and returns why it ended.
    pub(crate) async fn accept_all(self: Arc<Self>) -> Error {
        loop {
            drop(self.accepting.lock().await);
            match self.session.accept().await {
                Ok(stream) => {
                    let side = Arc::clone(&self);
                    tokio::spawn(async move { side.serve(stream).await });
                }
                Err(error) => return error,
            }
        }
    }

    async fn serve(&self, mut stream: Box<dyn Stream>) -> Result<()> {
        match stream.read_u8().await? {
            ECHO => echo(stream, &[ECHO]).await,
            COUNT => {
                let (mut count, mut sum) = (0, Fnv::default());
                let mut block = vec![0; 32 << 10];
                loop {
                    match stream.read(&mut block).await? {
                        0 => break,
                        n => {
                            sum.add(&block[..n]);
                            count += n;
                        }
                    }
                }
                reply(stream, &format!("{count} {:016x}", sum.0)).await
            }
            RESET => stream.reset().await,
            WATCH => {
                let mut end = self.end.lock().await;
                stream.write_all(b"ready").await?;
                stream.flush().await?;
                let mut ignored = Vec::new();
                *end = match stream.read_to_end(&mut ignored).await {
                    Ok(_) => "eof",
                    Err(_) => "reset",
                };
                Ok(())
            }
            TELL_END => {
                let end = *self.end.lock().await;
                reply(stream, end).await
            }
            PING_BACK => {
                let answered = self.session.ping().await;
                reply(stream, &verdict(answered)).await
            }
            GO_AWAY => {
                if let Err(error) = self.session.go_away().await {
                    return reply(stream, &format!("{error:#}")).await;
                }
                echo(stream, b"gone").await
            }
            OPEN_UNDER => {
                stream.write_all(b"ready").await?;
                stream.flush().await?;
                stream.read_u8().await?;
                let text = match self.round_trip(1).await {
                    Ok(()) => "opened".to_owned(),
                    Err(error) => format!("refused: {error:#}"),
                };
                reply(stream, &text).await
            }
            OPEN_BACK => {
                let opened = self.round_trip(64 << 10).await;
                reply(stream, &verdict(opened)).await
            }
            HOLD => {
                let _held = self.accepting.lock().await;
                stream.write_all(b"held").await?;
                stream.flush().await?;
                tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
                Ok(stream.shutdown().await?)
            }
            other => bail!("no command {other}"),
        }
    }

    /// Has one stream's bytes echoed, from its opening to both ends.
    pub(crate) async fn round_trip(&self, size: usize) -> Result<()> {
        let stream = self.session.open().await?;
        let mut data = vec![ECHO];
        data.extend(pattern(size));
        let (mut reader, mut writer) = tokio::io::split(stream);
        let late = self.options.close_late;
        let write = async {
            writer.write_all(&data).await?;
            if late {
                writer.flush().await
            } else {
                writer.shutdown().await
            }
        };
        let mut back = Vec::with_capacity(data.len() + 1);
        let read = async {
            while !late || back.len() < data.len() {
                if reader.read_buf(&mut back).await? == 0 {
                    break;
                }
            }
            Ok::<_, std::io::Error>(())
        };
        let (written, read) = tokio::join!(write, read);
        read?;
        written?;
        if late {
            writer.shutdown().await?;
            reader.read_to_end(&mut back).await?;
        }
        ensure!(
            back.len() == data.len(),
            "{} of {} bytes came back",
            back.len(),
            data.len()
        );
        ensure!(back == data, "the echo differs from what was sent");
        Ok(())
    }
}

/// Sends these bytes, then back what comes until the peer closes its direction.
async fn echo(mut stream: Box<dyn Stream>, first: &[u8]) -> Result<()> {
    stream.write_all(first).await?;
    stream.flush().await?;
    let mut block = vec![0; 32 << 10];
    loop {
        match stream.read(&mut block).await? {
            0 => break,
            n => {
                stream.write_all(&block[..n]).await?;
                stream.flush().await?;
            }
        }
    }
    Ok(stream.shutdown().await?)
}

async fn reply(mut stream: Box<dyn Stream>, text: &str) -> Result<()> {
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await?;
    // What the peer sends until its own end is read: some crates reset a stream that is dropped before.
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
    Ok(())
}

fn verdict(result: Result<()>) -> String {
    match result {
        Ok(()) => "ok".to_owned(),
        Err(error) => format!("{error:#}"),
    }
}

/// Bytes that differ by position, the same for the same size.
pub(crate) fn pattern(size: usize) -> impl Iterator<Item = u8> {
    let mut state = size as u32 | 1;
    (0..size).map(move |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
}

/// FNV-1a, 64 bits.
pub(crate) struct Fnv(pub(crate) u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
