//! Many calls at once, measured.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use towline::rpc::{Client, Message};

use crate::{
    clock,
    failure::{Exit, Failure, failed},
};

/// How the calls went.
pub(super) struct Made {
    pub(super) seconds: f64,
    /// Microseconds.
    took: Histogram<u64>,
}

impl Made {
    /// How long calls took, as text and as numbers.
    pub(super) fn percentiles(&self) -> (String, Value) {
        let at = |quantile| self.took.value_at_quantile(quantile);
        let (p50, p99, p999, max) = (at(0.5), at(0.99), at(0.999), self.took.max());
        let text = format!("p50 {p50} us, p99 {p99} us, p99.9 {p999} us, longest {max} us");
        let fields = json!({
            "call_p50_us": p50, "call_p99_us": p99, "call_p99_9_us": p999, "call_max_us": max,
        });
        (text, fields)
    }
}

/// Makes `count` calls, `in_flight` at once; every reply must be the echo of its own request.
pub(super) async fn run(client: &Client, count: u32, in_flight: u32) -> Result<Made, Failure> {
    let next = Arc::new(AtomicU32::new(0));
    let start = clock::now();
    let mut callers = JoinSet::new();
    for _ in 0..in_flight.min(count) {
        callers.spawn(call_repeatedly(client.clone(), Arc::clone(&next), count));
    }
    let mut took = new_histogram()?;
    while let Some(caller) = callers.join_next().await {
        took.add(caller.map_err(failed)??).map_err(failed)?;
    }
    let seconds = clock::now().saturating_duration_since(start).as_secs_f64();
    Ok(Made { seconds, took })
}

async fn call_repeatedly(
    client: Client,
    next: Arc<AtomicU32>,
    count: u32,
) -> Result<Histogram<u64>, Failure> {
    let mut took = new_histogram()?;
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= count {
            return Ok(took);
        }
        let body = format!("call {number}");
        let start = clock::now();
        let reply = client
            .call(Message::request("customEcho", body.clone()))
            .await?;
        let micros = clock::now().saturating_duration_since(start).as_micros();
        took.saturating_record(u64::try_from(micros).unwrap_or(u64::MAX));
        let reply = reply.into_result().map_err(failed)?;
        let echoed = reply
            .body
            .strip_prefix(body.as_bytes())
            .is_some_and(|rest| rest.starts_with(b"\n"));
        if !echoed {
            return Err(Failure::new(
                Exit::Verification,
                format!("call {number} got the reply of another call"),
            ));
        }
    }
}

/// 1 us to a minute, three digits.
fn new_histogram() -> Result<Histogram<u64>, Failure> {
    Histogram::new_with_bounds(1, 60_000_000, 3).map_err(failed)
}
