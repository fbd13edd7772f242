//! A network of byte streams in the runtime's time: what a driver runs on instead of TCP.

use std::{
    collections::{HashMap, VecDeque},
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::{Buf as _, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use crate::{Conditions, Delivery, Link, Rng};

/// Streams that wait to be accepted at one name; the next is refused.
const BACKLOG: usize = 128;

/// A network of names and of byte streams between them, which delays, cuts up, stalls and breaks them as its
/// conditions and its seed say. Clones are the same network.
///
/// It runs on the clock of the tokio runtime. Paused, that is virtual time: a run over minutes of network takes
/// milliseconds, and every run of one seed on one thread is the same.
///
/// ```
/// use std::time::Duration;
/// use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
/// use towline_sim::{Conditions, StreamNet};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> std::io::Result<()> {
/// let far = Conditions::default().delay(Duration::from_millis(80)).chop(100);
/// let net = StreamNet::new(far, 7);
/// let mut listener = net.listen("b")?;
/// let mut here = net.connect("b").await?;
/// let mut there = listener.accept().await?;
/// here.write_all(b"hello").await?;
/// here.shutdown().await?;
/// let mut text = String::new();
/// there.read_to_string(&mut text).await?;
/// assert_eq!(text, "hello");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct StreamNet {
    inner: Arc<Mutex<Net>>,
}

#[derive(Debug)]
struct Net {
    conditions: Conditions,
    rng: Rng,
    connected: u64,
    listeners: HashMap<String, Weak<Mutex<Backlog>>>,
    cables: Vec<Weak<Mutex<Cable>>>,
}

#[derive(Debug, Default)]
struct Backlog {
    waiting: VecDeque<SimStream>,
    waker: Option<Waker>,
}

impl StreamNet {
    /// A network whose streams have these conditions in both directions.
    pub fn new(conditions: Conditions, seed: u64) -> Self {
        let net = Net {
            conditions,
            rng: Rng::from_seed(seed),
            connected: 0,
            listeners: HashMap::new(),
            cables: Vec::new(),
        };
        Self {
            inner: Arc::new(Mutex::new(net)),
        }
    }

    /// Changes the conditions of streams that are connected from now on.
    pub fn set_conditions(&self, conditions: Conditions) {
        lock(&self.inner).conditions = conditions;
    }

    /// Listens at a name, until the listener is dropped.
    ///
    /// # Errors
    ///
    /// `AddrInUse` if somebody listens there.
    pub fn listen(&self, name: &str) -> io::Result<StreamListener> {
        let mut net = lock(&self.inner);
        if net
            .listeners
            .get(name)
            .is_some_and(|listener| listener.strong_count() > 0)
        {
            let text = format!("somebody listens at {name} already");
            return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
        }
        let backlog = Arc::new(Mutex::new(Backlog::default()));
        net.listeners
            .insert(name.to_owned(), Arc::downgrade(&backlog));
        Ok(StreamListener { backlog })
    }

    /// Connects to a name. It takes the time of one way there and back, without jitter.
    ///
    /// # Errors
    ///
    /// `ConnectionRefused` if nobody listens there, or 128 streams wait to be accepted.
    ///
    /// # Cancel safety
    ///
    /// Dropped, nothing was connected.
    pub async fn connect(&self, name: &str) -> io::Result<SimStream> {
        let round_trip = lock(&self.inner).conditions.delay * 2;
        if !round_trip.is_zero() {
            tokio::time::sleep(round_trip).await;
        }
        let refused = |why: &str| {
            io::Error::new(io::ErrorKind::ConnectionRefused, format!("{why} at {name}"))
        };
        let mut net = lock(&self.inner);
        let Some(backlog) = net.listeners.get(name).and_then(Weak::upgrade) else {
            return Err(refused("nobody listens"));
        };
        let mut backlog = lock(&backlog);
        if backlog.waiting.len() >= BACKLOG {
            return Err(refused("too many streams wait to be accepted"));
        }
        let (here, there) = net.pair(name);
        backlog.waiting.push_back(there);
        if let Some(waker) = backlog.waker.take() {
            waker.wake();
        }
        Ok(here)
    }

    /// Two ends of one stream, without a name to listen at.
    pub fn pair(&self) -> (SimStream, SimStream) {
        lock(&self.inner).pair("pair")
    }

    /// Breaks every stream that is connected now, as when the network fails: a random part of what is on its way
    /// is lost, and both ends then see `ConnectionReset`. Returns how many there were.
    pub fn cut(&self) -> usize {
        let cables: Vec<_> = lock(&self.inner).cables.drain(..).collect();
        let mut count = 0;
        for cable in cables.iter().filter_map(Weak::upgrade) {
            let mut cable = lock(&cable);
            if !cable.broken {
                count += 1;
                cable.cut();
            }
        }
        count
    }
}

impl Net {
    fn pair(&mut self, name: &str) -> (SimStream, SimStream) {
        self.connected += 1;
        let link = |net: &mut Self| Link::new(net.conditions.clone(), net.rng.fork());
        let cable = Cable {
            links: [link(self), link(self)],
            closed: [false; 2],
            broken: false,
            readers: [None, None],
            writers: [None, None],
        };
        let cable = Arc::new(Mutex::new(cable));
        self.cables.retain(|cable| cable.strong_count() > 0);
        self.cables.push(Arc::downgrade(&cable));
        let client: Arc<str> = format!("sim://{name}@{}", self.connected).into();
        let server: Arc<str> = format!("sim://{name}").into();
        let end = |side, local: &Arc<str>, peer: &Arc<str>| SimStream {
            cable: Arc::clone(&cable),
            side,
            came: Bytes::new(),
            timer: None,
            local: Arc::clone(local),
            peer: Arc::clone(peer),
        };
        (end(0, &client, &server), end(1, &server, &client))
    }
}

/// Takes the streams that are connected to a name of a [`StreamNet`]. Dropped, it refuses them.
#[derive(Debug)]
pub struct StreamListener {
    backlog: Arc<Mutex<Backlog>>,
}

impl StreamListener {
    /// The next stream.
    ///
    /// # Errors
    ///
    /// None; it has the form of a socket's.
    ///
    /// # Cancel safety
    ///
    /// Safe: no stream is lost.
    pub async fn accept(&mut self) -> io::Result<SimStream> {
        std::future::poll_fn(|cx| {
            let mut backlog = lock(&self.backlog);
            match backlog.waiting.pop_front() {
                Some(stream) => Poll::Ready(Ok(stream)),
                None => {
                    backlog.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

/// One end of a byte stream over a [`StreamNet`].
///
/// `shutdown` ends this side's data behind what was written. Dropped, the stream ends at both sides: what was
/// written still arrives, and the other end's writes fail.
#[derive(Debug)]
pub struct SimStream {
    cable: Arc<Mutex<Cable>>,
    side: usize,
    /// What has arrived and was not read.
    came: Bytes,
    timer: Option<Pin<Box<Sleep>>>,
    local: Arc<str>,
    peer: Arc<str>,
}

/// Both directions: `links[0]` leads from side 0.
#[derive(Debug)]
struct Cable {
    links: [Link; 2],
    /// By whom its own direction was ended.
    closed: [bool; 2],
    broken: bool,
    readers: [Option<Waker>; 2],
    writers: [Option<Waker>; 2],
}

impl SimStream {
    /// This end's address, such as `sim://db@3`.
    pub fn local_addr(&self) -> &str {
        &self.local
    }

    /// The other end's address, such as `sim://db`.
    pub fn peer_addr(&self) -> &str {
        &self.peer
    }

    /// Breaks this stream, as [`StreamNet::cut`] does all of them.
    pub fn cut(&self) {
        lock(&self.cable).cut();
    }
}

impl Cable {
    fn cut(&mut self) {
        let now = now();
        for link in &mut self.links {
            link.cut(now);
        }
        self.break_both(now);
    }

    /// A connection whose one direction has ended unasked is dead in both.
    fn break_both(&mut self, now: Instant) {
        self.broken = true;
        for link in &mut self.links {
            link.end(now);
        }
        self.wake_all();
    }

    fn wake_all(&mut self) {
        let all = self.readers.iter_mut().chain(&mut self.writers);
        all.filter_map(Option::take).for_each(Waker::wake);
    }
}

impl AsyncRead for SimStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let side = this.side;
        loop {
            if !this.came.is_empty() {
                let len = this.came.len().min(buf.remaining());
                buf.put_slice(&this.came[..len]);
                this.came.advance(len);
                return Poll::Ready(Ok(()));
            }
            let next = {
                let mut cable = lock(&this.cable);
                let other = 1 - side;
                match cable.links[other].receive(now()) {
                    Some(Delivery::Bytes(bytes)) => {
                        this.came = bytes.into();
                        // There is room behind them.
                        if let Some(waker) = cable.writers[other].take() {
                            waker.wake();
                        }
                        continue;
                    }
                    Some(Delivery::End) => {}
                    None => {
                        cable.readers[side] = Some(cx.waker().clone());
                    }
                }
                match cable.links[other].next_arrival() {
                    Some(at) => Some(at),
                    None if !cable.links[other].is_ending() => None,
                    None if cable.broken && !cable.closed[other] => {
                        return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                    }
                    None => return Poll::Ready(Ok(())),
                }
            };
            let Some(at) = next else {
                return Poll::Pending;
            };
            let at = tokio::time::Instant::from_std(at);
            let timer = this
                .timer
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
            timer.as_mut().reset(at);
            std::task::ready!(timer.as_mut().poll(cx));
        }
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let side = self.side;
        let now = now();
        let mut cable = lock(&self.cable);
        if cable.broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if cable.closed[side] || cable.links[side].is_ending() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if !cable.links[side].has_room() {
            cable.writers[side] = Some(cx.waker().clone());
            return Poll::Pending;
        }
        cable.links[side].send(now, Bytes::copy_from_slice(buf));
        if cable.links[side].is_ending() {
            // The conditions have cut it.
            cable.break_both(now);
        } else if let Some(waker) = cable.readers[1 - side].take() {
            waker.wake();
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut cable = lock(&self.cable);
        cable.closed[self.side] = true;
        cable.links[self.side].end(now());
        if let Some(waker) = cable.readers[1 - self.side].take() {
            waker.wake();
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        let mut cable = lock(&self.cable);
        cable.closed[self.side] = true;
        let now = now();
        for link in &mut cable.links {
            link.end(now);
        }
        cable.wake_all();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "streams live in the time of the runtime"
)]
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// No statement under this lock leaves the state half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn conditions() -> Conditions {
        Conditions::default()
            .delay(Duration::from_millis(20))
            .jitter(Duration::from_millis(30))
            .chop(500)
    }

    /// When each piece arrived, and how long it was.
    async fn run(seed: u64) -> Vec<(Duration, usize)> {
        let start = now();
        let net = StreamNet::new(conditions().buffer(4096), seed);
        let (mut here, mut there) = net.pair();
        let sent = Rng::from_seed(seed).bytes(50_000);
        let copy = sent.clone();
        let writing = tokio::spawn(async move {
            here.write_all(&copy).await.unwrap();
            here.shutdown().await.unwrap();
            // It reads on: the other direction is open.
            here.read_u8().await
        });
        let (mut arrivals, mut got) = (Vec::new(), Vec::new());
        loop {
            let count = there.read_buf(&mut got).await.unwrap();
            if count == 0 {
                break;
            }
            arrivals.push((now() - start, count));
        }
        assert_eq!(got, sent);
        there.write_u8(7).await.unwrap();
        assert_eq!(writing.await.unwrap().unwrap(), 7);
        arrivals
    }

    #[tokio::test(start_paused = true)]
    async fn streams_carry_bytes_whole_and_in_the_time_of_their_seed() {
        let first = run(1).await;
        assert!(first.len() > 20 && first[0].0 >= Duration::from_millis(20));
        assert_eq!(first, run(1).await);
        assert_ne!(first, run(2).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cut_is_a_reset_at_both_ends_and_a_drop_is_an_end() {
        let net = StreamNet::new(conditions(), 3);
        let mut listener = net.listen("b").unwrap();
        assert!(net.listen("b").is_err());
        let mut here = net.connect("b").await.unwrap();
        let mut there = listener.accept().await.unwrap();
        assert_eq!(
            (here.peer_addr(), there.peer_addr()),
            ("sim://b", "sim://b@1")
        );
        assert_eq!(net.cut(), 1);
        assert_eq!(net.cut(), 0);
        let kind = here.read_u8().await.unwrap_err().kind();
        assert_eq!(kind, io::ErrorKind::ConnectionReset);
        assert!(there.write_all(b"x").await.is_err());

        let mut here = net.connect("b").await.unwrap();
        let mut there = listener.accept().await.unwrap();
        here.write_all(b"last words").await.unwrap();
        drop(here);
        let mut text = String::new();
        there.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "last words");
        assert!(there.write_all(b"x").await.is_err());

        // The conditions may cut, too.
        net.set_conditions(conditions().cut_after(3));
        let mut here = net.connect("b").await.unwrap();
        let mut there = listener.accept().await.unwrap();
        here.write_all(b"12345").await.unwrap();
        let mut got = Vec::new();
        assert!(there.read_to_end(&mut got).await.is_err());
        assert_eq!(got, b"123");

        drop(listener);
        let refused = net.connect("b").await.unwrap_err().kind();
        assert_eq!(refused, io::ErrorKind::ConnectionRefused);
    }
}
