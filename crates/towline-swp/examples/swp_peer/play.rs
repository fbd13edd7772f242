//! What every peer does.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use towline_swp::Session;

use crate::Failure;

const FILE_NAME: &str = "a file";
/// Larger files are not played.
const MAX_FILE: u64 = 256 << 20;
/// What a slow receiver waits in front of each of its first messages.
const PAUSE: Duration = Duration::from_millis(50);
const SLOW_MESSAGES: usize = 20;

/// Both directions of a session, each with a pattern of bytes that a position tells.
struct Ends<'a> {
    session: &'a Session,
    piece: usize,
    sent: usize,
    received: usize,
    /// What came behind the end of a task.
    rest: Bytes,
}

pub(crate) async fn play(session: &Session, piece: usize, tasks: &[&str]) -> Result<(), Failure> {
    let mut ends = Ends {
        session,
        piece,
        sent: 0,
        received: 0,
        rest: Bytes::new(),
    };
    for task in tasks {
        ends.play(task)
            .await
            .map_err(|error| format!("{task}: {error}"))?;
        println!("ok {task}");
    }
    Ok(())
}

impl Ends<'_> {
    async fn play(&mut self, task: &str) -> Result<(), Failure> {
        let (name, number) = task.split_once(':').unwrap_or((task, "0"));
        let number: usize = number.parse()?;
        match name {
            "send" => self.send(number).await?,
            "recv" => self.receive(number, Duration::ZERO).await?,
            "slow" => self.receive(number, PAUSE).await?,
            "both" => {
                let mut other = Ends {
                    rest: Bytes::new(),
                    ..*self
                };
                tokio::try_join!(other.send(number), self.receive(number, Duration::ZERO))?;
                self.sent = other.sent;
            }
            "sendfile" => {
                let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
                self.session
                    .send_file(FILE_NAME, pattern(0, number), moment)
                    .await?;
            }
            "recvfile" => {
                let file = self.session.recv_file(MAX_FILE).await?;
                if file.path.as_bytes() != FILE_NAME.as_bytes() || file.data != pattern(0, number) {
                    return Err(
                        format!("another file: {}, {} bytes", file.path, file.data.len()).into(),
                    );
                }
            }
            "pause" => tokio::time::sleep(Duration::from_millis(number as u64)).await,
            "close" => self.session.close().await?,
            "closed" => {
                let reason = self.session.closed().await;
                println!("{reason}");
            }
            _ => return Err("no such task".into()),
        }
        Ok(())
    }

    async fn send(&mut self, mut number: usize) -> Result<(), Failure> {
        while number > 0 {
            let data = pattern(self.sent, number.min(self.piece));
            self.sent += data.len();
            number -= data.len();
            self.session.send(data).await?;
        }
        self.session.all_acknowledged().await?;
        Ok(())
    }

    async fn receive(&mut self, mut number: usize, pause: Duration) -> Result<(), Failure> {
        let mut messages = 0;
        while number > 0 {
            if !pause.is_zero() && messages < SLOW_MESSAGES {
                tokio::time::sleep(pause).await;
            }
            messages += 1;
            if self.rest.is_empty() {
                self.rest = self.session.recv().await?.ok_or("the end came early")?;
            }
            let data = self.rest.split_to(number.min(self.rest.len()));
            if data != pattern(self.received, data.len()) {
                return Err(format!("other bytes than were sent, after {}", self.received).into());
            }
            self.received += data.len();
            number -= data.len();
        }
        Ok(())
    }
}

/// The bytes of a stream from a position on.
fn pattern(from: usize, len: usize) -> Bytes {
    (from..from + len)
        .map(|at| (at ^ (at >> 9)) as u8)
        .collect()
}
