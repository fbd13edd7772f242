//! Raw TCP with questions between the frames of a bulk transfer on the same connection: what the kernel's own
//! queues cost whoever shares them.

use anyhow::ensure;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    sync::mpsc,
};

use super::{Figures, client::Timer};

/// A type and a length.
const HEADER: usize = 5;
const BULK: u8 = 0;
const QUESTION: u8 = 1;
const FRAME: usize = 64 << 10;
const SMALL: usize = 64;

/// Swallows bulk frames and sends questions back.
pub(super) async fn serve(stream: TcpStream) -> anyhow::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::with_capacity(2 * FRAME, read);
    let mut body = vec![0; FRAME];
    loop {
        // The client leaves in the middle of a frame when it has measured.
        let Ok(kind) = read.read_u8().await else {
            return Ok(());
        };
        let length = read.read_u32().await? as usize;
        ensure!(length <= FRAME, "a frame of {length} bytes");
        if read.read_exact(&mut body[..length]).await.is_err() {
            return Ok(());
        }
        if kind == QUESTION {
            write.write_all(&body[..length]).await?;
        }
    }
}

pub(super) async fn client(stream: TcpStream, seconds: f64) -> anyhow::Result<Figures> {
    let (mut read, mut write) = stream.into_split();
    let (ask, mut asked) = mpsc::channel::<()>(1);
    let sending = tokio::spawn(async move {
        let (bulk, question) = (frame(BULK, FRAME), frame(QUESTION, SMALL));
        loop {
            if asked.try_recv().is_ok() {
                write.write_all(&question).await?;
            }
            write.write_all(&bulk).await?;
        }
        #[expect(unreachable_code, reason = "names the error")]
        anyhow::Ok(())
    });
    let mut answer = [0; SMALL];
    let mut timer = Timer::new(seconds);
    while timer.goes_on() {
        timer.start();
        ask.send(()).await?;
        read.read_exact(&mut answer).await?;
        timer.stop();
    }
    sending.abort();
    timer.figures()
}

fn frame(kind: u8, length: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEADER + length);
    frame.push(kind);
    frame.extend((length as u32).to_be_bytes());
    frame.resize(HEADER + length, 0x5a);
    frame
}
