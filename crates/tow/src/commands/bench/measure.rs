//! What is measured, one thing after the other.

use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use towline::{
    rpc::{Client, Compression, Message, StreamError, client::ClientBuilder},
    transport::Endpoint,
};

use crate::{
    clock,
    failure::{Exit, Failure, failed},
};

/// Sizes of calls, and how many are in flight.
pub(super) const CALLS: [(usize, usize); 6] = [
    (64, 1),
    (64, 64),
    (64, 512),
    (581, 1),
    (581, 64),
    (581, 512),
];
/// A large call, and how many of them are in flight.
const BULK: (usize, usize) = (1 << 20, 4);
/// A part of a stream.
const PART: usize = 64 << 10;

const ECHO: &str = "customEcho";
const ECHO_STREAM: &str = "echoBistreamFunc";

/// All figures of one compression.
pub(super) struct Row {
    pub(super) compression: Compression,
    /// Connecting and one call.
    pub(super) connect: Cell,
    /// In the order of [`CALLS`].
    pub(super) calls: Vec<Cell>,
    /// Bytes a second one way, or why there are none.
    pub(super) stream: Result<f64, String>,
    /// Bytes a second one way.
    pub(super) bulk: f64,
}

/// How many of one kind there were, and how long they took.
pub(super) struct Cell {
    pub(super) bytes: usize,
    pub(super) in_flight: usize,
    pub(super) count: u64,
    pub(super) per_second: f64,
    pub(super) p50_us: u64,
    pub(super) p99_us: u64,
}

impl Cell {
    fn new(bytes: usize, in_flight: usize, took: &Histogram<u64>, elapsed: Duration) -> Self {
        Self {
            bytes,
            in_flight,
            count: took.len(),
            per_second: took.len() as f64 / elapsed.as_secs_f64(),
            p50_us: took.value_at_quantile(0.5),
            p99_us: took.value_at_quantile(0.99),
        }
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "bytes": self.bytes, "in_flight": self.in_flight, "count": self.count, "per_second": self.per_second,
            "p50_us": self.p50_us, "p99_us": self.p99_us,
        })
    }
}

pub(super) struct Measuring<'a> {
    pub(super) builder: ClientBuilder,
    pub(super) endpoint: &'a Endpoint,
    /// How long each measurement takes.
    pub(super) time: Duration,
    /// How much longer it may.
    pub(super) patience: Duration,
}

impl Measuring<'_> {
    pub(super) async fn row(&self, compression: Compression) -> Result<Row, Failure> {
        let client = self.connect().await?;
        // A server that has just lost many connections may be busy with their memory for a while, as the original is.
        self.calls(&client, 581, 64).await?;
        let mut calls = Vec::new();
        for (bytes, in_flight) in CALLS {
            calls.push(self.calls(&client, bytes, in_flight).await?);
        }
        let stream = tokio::time::timeout(self.time + self.patience, self.stream(&client));
        let stream = match stream.await {
            Ok(result) => result?,
            Err(_) => Err(format!(
                "the server did not send back a stream within {:?}",
                self.patience
            )),
        };
        let (bytes, in_flight) = BULK;
        let bulk = self.calls(&client, bytes, in_flight).await?;
        client.close().await;
        let connect = self.connecting().await?;
        Ok(Row {
            compression,
            connect,
            calls,
            stream,
            bulk: bulk.per_second * bulk.bytes as f64,
        })
    }

    async fn connect(&self) -> Result<Client, Failure> {
        Ok(self.builder.connect_endpoint(self.endpoint).await?)
    }

    /// Connects, makes one call and closes, again and again.
    async fn connecting(&self) -> Result<Cell, Failure> {
        let mut took = histogram()?;
        let (start, body) = (clock::now(), content(CALLS[0].0));
        while took.is_empty() || since(start) < self.time {
            let begun = clock::now();
            let client = self.connect().await?;
            call(&client, &body).await?;
            record(&mut took, begun);
            client.close().await;
        }
        Ok(Cell::new(body.len(), 1, &took, since(start)))
    }

    /// Makes calls, so many at once, until the time is up.
    async fn calls(
        &self,
        client: &Client,
        bytes: usize,
        in_flight: usize,
    ) -> Result<Cell, Failure> {
        let (start, body) = (clock::now(), content(bytes));
        let mut callers = JoinSet::new();
        for _ in 0..in_flight {
            let (client, body, time) = (client.clone(), body.clone(), self.time);
            callers.spawn(async move {
                let mut took = histogram()?;
                while took.is_empty() || since(start) < time {
                    let begun = clock::now();
                    call(&client, &body).await?;
                    record(&mut took, begun);
                }
                Ok::<_, Failure>(took)
            });
        }
        let mut took = histogram()?;
        while let Some(caller) = callers.join_next().await {
            took.add(caller.map_err(failed)??).map_err(failed)?;
        }
        Ok(Cell::new(bytes, in_flight, &took, since(start)))
    }

    /// Has parts of one stream sent back until the time is up; an error of the server is no failure of ours.
    async fn stream(&self, client: &Client) -> Result<Result<f64, String>, Failure> {
        let (start, part) = (clock::now(), content(PART));
        let first = Message::request(ECHO_STREAM, part.clone());
        let (mut sender, mut receiver) = client.bistream(first).await?;
        let sending = async {
            while since(start) < self.time {
                if sender.send(Message::from_body(part.clone())).await.is_err() {
                    break;
                }
            }
            // Behind an early end, too: dropped, the half would cancel the stream, and its reply would be lost.
            sender.finish(Message::from_body(part.clone())).await
        };
        let receiving = async {
            let mut bytes = 0;
            while let Some(came) = receiver.next().await {
                bytes += came.body.len();
            }
            (bytes, receiver.finish().await)
        };
        let (_, (bytes, ended)) = tokio::join!(sending, receiving);
        let elapsed = since(start);
        Ok(match ended {
            Ok(reply) if reply.error.is_empty() => Ok(bytes as f64 / elapsed.as_secs_f64()),
            Ok(reply) => Err(reply.error.to_string()),
            Err(StreamError::NoSuchService(_)) => Err(format!(
                "the server has no service {ECHO_STREAM} (of the original's: `srv -echo`)"
            )),
            Err(StreamError::Closed(reason)) => return Err(failed(reason)),
            Err(error) => Err(error.to_string()),
        })
    }
}

/// One call, whose reply must begin with its own body.
async fn call(client: &Client, body: &Bytes) -> Result<(), Failure> {
    let reply = client.call(Message::request(ECHO, body.clone())).await?;
    let reply = reply.into_result().map_err(failed)?;
    if reply.body.starts_with(body) {
        return Ok(());
    }
    let text = format!(
        "{ECHO} answered a call of {} bytes with something else",
        body.len()
    );
    Err(Failure::new(Exit::Verification, text))
}

/// Half text, half noise: what compression makes of a body is neither all nor nothing.
fn content(len: usize) -> Bytes {
    const TEXT: &[u8] =
        b"It was a bright cold day in April, and the clocks were striking thirteen. ";
    let text = TEXT.iter().copied().cycle().take(len / 2);
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let noise = std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    });
    text.chain(noise.take(len - len / 2)).collect()
}

/// 1 us to a minute, three digits.
fn histogram() -> Result<Histogram<u64>, Failure> {
    Histogram::new_with_bounds(1, 60_000_000, 3).map_err(failed)
}

fn record(took: &mut Histogram<u64>, begun: Instant) {
    took.saturating_record(u64::try_from(since(begun).as_micros()).unwrap_or(u64::MAX));
}

fn since(start: Instant) -> Duration {
    clock::now().saturating_duration_since(start)
}
