//! Pools over seeded networks, in virtual time: connections are cut and made again, servers stop and come back, some take
//! their answers slowly, and nothing is left behind.
//!
//! `TOWLINE_SIM_SEEDS=N` runs N seeds (default 40), `TOWLINE_SEED=S` replays one.

use std::{collections::BTreeMap, sync::atomic::AtomicU32};

use towline_rpc::{
    StreamError,
    server::{DownloadSink, UploadParts},
};
use towline_sim::{Rng, Seeds};

use super::*;

const OPERATIONS: usize = 24;
const TROUBLES: usize = 12;
/// In which everything begins.
const SPAN: Duration = Duration::from_secs(20);
/// Longer than anything that was begun may take.
const LONG: Duration = Duration::from_secs(120);
const PARTS: usize = 12;

/// What the handlers of one run have seen.
#[derive(Debug, Default)]
struct Seen {
    /// How often each operation was begun.
    begun: [AtomicU32; OPERATIONS],
    running: AtomicUsize,
}

/// A handler while it runs.
struct Running(Arc<Seen>);

impl Running {
    fn begin(seen: &Arc<Seen>, request: &Message) -> (Self, usize, Duration) {
        let text = String::from_utf8_lossy(&request.body).into_owned();
        let (index, millis) = text.split_once(' ').expect("an index and a time");
        let index: usize = index.parse().expect("an index");
        seen.begun[index].fetch_add(1, SeqCst);
        seen.running.fetch_add(1, SeqCst);
        let pause = Duration::from_millis(millis.parse().expect("a time"));
        (Self(Arc::clone(seen)), index, pause)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, SeqCst);
    }
}

fn services(seen: &Arc<Seen>) -> ServerBuilder {
    let [call, upload, download] = [seen, seen, seen].map(Arc::clone);
    Server::builder()
        .call("work", move |_: Context, request: Message| {
            let (running, index, pause) = Running::begin(&call, &request);
            async move {
                tokio::time::sleep(pause).await;
                drop(running);
                Ok::<_, Infallible>(Message::from_body(index.to_string()))
            }
        })
        .upload(
            "up",
            move |_: Context, first: Message, mut parts: UploadParts| {
                let (running, index, pause) = Running::begin(&upload, &first);
                async move {
                    let mut count = 1;
                    while parts.next().await?.is_some() {
                        count += 1;
                        tokio::time::sleep(pause / PARTS as u32).await;
                    }
                    drop(running);
                    Ok::<_, StreamError>(Message::from_body(format!("{index}: {count}")))
                }
            },
        )
        .download(
            "down",
            move |_: Context, request: Message, mut sink: DownloadSink| {
                let (running, index, _) = Running::begin(&download, &request);
                async move {
                    for _ in 0..PARTS {
                        sink.send(Message::from_body(vec![7; 9000])).await?;
                    }
                    drop(running);
                    Ok::<_, towline_rpc::SendError>(Message::from_body(index.to_string()))
                }
            },
        )
}

/// One thing that the application does, and how it ended.
async fn operation(pool: Pool, index: usize, mut rng: Rng, seen: Arc<Seen>) -> &'static str {
    after(rng.duration(SPAN)).await;
    let pause = rng.duration(Duration::from_secs(3));
    let body = format!("{index} {}", pause.as_millis());
    match rng.below(4) {
        0 => ended(upload(&pool, body, index).await),
        1 => ended(download(&pool, body, pause, index).await),
        _ => {
            let limit = Duration::from_millis(200) + rng.duration(Duration::from_secs(9));
            let options = CallOptions::new()
                .timeout(Some(limit))
                .attempts(1 + rng.below(4) as u32);
            let is_idempotent = rng.chance(1, 2);
            let options = if is_idempotent {
                options.idempotent()
            } else {
                options
            };
            let begun = Instant::now();
            let result = pool
                .call_with(Message::request("work", body), options)
                .await;
            assert!(
                begun.elapsed() <= limit + Duration::from_millis(1),
                "{index} took {:?} of {limit:?}",
                begun.elapsed()
            );
            let times = seen.begun[index].load(SeqCst);
            assert!(
                is_idempotent || times <= 1,
                "{index} was begun {times} times"
            );
            match result {
                Ok(reply) => {
                    assert_eq!(reply.body, index.to_string(), "the answer of another");
                    "answered"
                }
                Err(CallError::Closed(_)) => "lost",
                Err(CallError::TimedOut(_)) => "timed out",
                Err(CallError::NoConnection(_)) => "no connection",
                Err(other) => panic!("{index}: {other}"),
            }
        }
    }
}

fn ended(result: Result<(), StreamError>) -> &'static str {
    match result {
        Ok(()) => "streamed",
        Err(StreamError::Closed(_)) => "stream lost",
        Err(StreamError::NoConnection(_)) => "no connection for a stream",
        Err(other) => panic!("{other}"),
    }
}

async fn upload(pool: &Pool, body: String, index: usize) -> Result<(), StreamError> {
    let mut upload = pool.upload(Message::request("up", body)).await?;
    for _ in 1..PARTS - 1 {
        if upload
            .send(Message::from_body(vec![5; 9000]))
            .await
            .is_err()
        {
            // The end of it says why.
            break;
        }
    }
    let reply = upload.finish(Message::from_body("last")).await?;
    assert_eq!(reply.body, format!("{index}: {PARTS}"));
    Ok(())
}

async fn download(
    pool: &Pool,
    body: String,
    pause: Duration,
    index: usize,
) -> Result<(), StreamError> {
    let mut download = pool.download(Message::request("down", body)).await?;
    let mut count = 0;
    while let Some(part) = download.next().await {
        assert_eq!(part.body.len(), 9000);
        count += 1;
        // A slow taker.
        after(pause / PARTS as u32).await;
    }
    let reply = download.finish().await?;
    assert_eq!((reply.body, count), (index.to_string().into(), PARTS));
    Ok(())
}

/// Cuts connections, and takes servers away for a while.
async fn trouble(network: StreamNet, seen: Arc<Seen>, mut rng: Rng) -> Vec<At> {
    let serve = |name: &str| At::serve(&network, name, services(&seen));
    let mut servers = vec![serve("a"), serve("b")];
    for _ in 0..TROUBLES {
        after(rng.duration(SPAN / 8)).await;
        if rng.chance(2, 3) {
            network.cut();
        } else {
            let which = rng.below(servers.len());
            servers.swap_remove(which).stop().await;
            after(rng.duration(Duration::from_secs(2))).await;
            // Whoever it was: with both names taken, there are both again.
            for name in ["a", "b"] {
                if let Ok(listener) = network.listen(name) {
                    drop(listener);
                    servers.push(serve(name));
                }
            }
        }
    }
    servers
}

async fn story(seed: u64) -> BTreeMap<&'static str, usize> {
    let mut rng = Rng::from_seed(seed);
    let conditions = Conditions::default()
        .delay(rng.duration(Duration::from_millis(80)))
        .jitter(rng.duration(Duration::from_millis(40)))
        .chop([60, 1000, 16 << 10][rng.below(3)]);
    let network = StreamNet::new(conditions, rng.any());
    let seen: Arc<Seen> = Arc::default();
    let troubles = tokio::spawn(trouble(network.clone(), Arc::clone(&seen), rng.fork()));
    let pool = pool(&network)
        .address("a")
        .address("b")
        .connections(1 + rng.below(3))
        .seed(rng.seed())
        .build()
        .expect("valid");
    let operations: Vec<_> = (0..OPERATIONS)
        .map(|index| {
            let work = operation(pool.clone(), index, rng.fork(), Arc::clone(&seen));
            tokio::spawn(work)
        })
        .collect();
    let mut met = BTreeMap::new();
    for (index, operation) in operations.into_iter().enumerate() {
        // Ended for certain: a join handle gives one result.
        let how = tokio::time::timeout(LONG, operation)
            .await
            .unwrap_or_else(|_| panic!("operation {index} never ended"))
            .expect("no panic");
        *met.entry(how).or_default() += 1;
    }
    let servers = troubles.await.expect("no panic");
    for connection in pool.connections() {
        assert_eq!(connection.in_flight, 0, "{connection:?}");
    }
    assert_eq!(pool.waiting(), 0);
    pool.close().await;
    drop(pool);
    for server in servers {
        let reached = &server.accepted;
        *met.entry("connections").or_default() += reached.load(SeqCst);
        server.stop().await;
    }
    after(LONG).await;
    assert_eq!(seen.running.load(SeqCst), 0, "handlers are left");
    met
}

fn run(seed: u64) -> BTreeMap<&'static str, usize> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let met = runtime.block_on(story(seed));
    assert_eq!(runtime.metrics().num_alive_tasks(), 0, "tasks are left");
    met
}

/// Whatever becomes of connections and servers: every call and stream ends once, with its own answer or a typed error;
/// nothing is begun twice that must not be; and no task, handler, or entry of a table is left.
#[test]
fn simulated_pools_keep_their_promises() {
    let seeds = Seeds::from_env(40);
    let mut met: BTreeMap<&str, usize> = BTreeMap::new();
    seeds.run(|seed| {
        for (how, times) in run(seed) {
            *met.entry(how).or_default() += times;
        }
    });
    println!("{met:?}");
    // A simulation that no longer meets what it is for would pass for ever.
    for how in ["answered", "streamed", "lost", "stream lost", "timed out"] {
        assert!(
            !seeds.are_usual() || met.get(how).is_some_and(|&times| times > 10),
            "{how} is missing in {met:?}"
        );
    }
}
