//! Which trace a call belongs to: W3C trace contexts in headers, and spans.

use std::{
    cell::RefCell,
    fmt,
    future::Future,
    str::FromStr,
    sync::{Mutex, PoisonError},
};

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng as _, SeedableRng as _};
use tracing::Instrument as _;

use crate::proto::{Args, Message};

/// docs/wire C24: the parameter of Args.
pub(crate) const TRACEPARENT: &str = "traceparent";

/// Which trace a call belongs to, and which part of it: what W3C's Trace Context has as `traceparent` (docs/wire C24).
///
/// A client sends one with a call or stream if it runs within a trace, which is so in a handler whose caller sent one and in
/// [`TraceContext::scope`], or if the client's span is recorded by a subscriber of `tracing`. A handler has that of
/// its own span by [`TraceContext::current`], and what it calls in turn belongs to the same trace, in every process on the way.
///
/// ```
/// use towline_rpc::{Client, Context, Message, Server, TraceContext};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::builder()
///     .call("trace", |_: Context, _: Message| async move {
///         let trace = TraceContext::current().map(|trace| trace.trace_id());
///         Ok::<_, std::convert::Infallible>(Message::from_body(trace.unwrap_or_default()))
///     })
///     .build();
/// let client = server.connect_here();
///
/// let outer: TraceContext = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse()?;
/// let reply = outer.scope(client.call(Message::request("trace", ""))).await?;
/// assert_eq!(reply.body, "0af7651916cd43dd8448eb211c80319c");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace: u128,
    span: u64,
    flags: u8,
}

/// A text that is no `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "no traceparent: it is 00-, 32 hexadecimal digits that are not all 0, -, 16 such digits, -, and 2"
)]
pub struct NoTraceContext;

impl TraceContext {
    /// The 32 hexadecimal digits that all parts of the trace share.
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace)
    }

    /// The 16 hexadecimal digits of this part.
    pub fn span_id(&self) -> String {
        format!("{:016x}", self.span)
    }

    /// Whether somebody records the trace.
    pub const fn is_sampled(&self) -> bool {
        self.flags & 1 != 0
    }

    /// The one that this task runs within: in a handler that of its own part of the trace, in [`scope`](Self::scope) that which
    /// was given.
    pub fn current() -> Option<Self> {
        CURRENT.with(|current| *current.borrow())
    }

    /// Runs a future within this trace: calls that it makes belong to it.
    pub fn scope<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        Scoped {
            trace: self,
            future,
        }
    }

    /// Runs a function within this trace.
    pub(crate) fn enter<T>(self, run: impl FnOnce() -> T) -> T {
        let _restore = Restore(CURRENT.with(|current| current.replace(Some(self))));
        run()
    }

    pub(crate) fn of(args: &Args) -> Option<Self> {
        args.get(TRACEPARENT.as_bytes())?
            .to_str()
            .ok()?
            .parse()
            .ok()
    }
}

thread_local! {
    static CURRENT: RefCell<Option<TraceContext>> = const { RefCell::new(None) };
}

/// Puts back what was there before, also when a handler panics.
struct Restore(Option<TraceContext>);

impl Drop for Restore {
    fn drop(&mut self) {
        let before = self.0;
        CURRENT.with(|current| current.replace(before));
    }
}

pin_project_lite::pin_project! {
    struct Scoped<F> {
        trace: TraceContext,
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<F::Output> {
        let this = self.project();
        this.trace.enter(|| this.future.poll(cx))
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace, span, flags } = self;
        write!(f, "00-{trace:032x}-{span:016x}-{flags:02x}")
    }
}

impl FromStr for TraceContext {
    type Err = NoTraceContext;

    /// A version above 00 is read as far as 00 goes, as the standard has it.
    fn from_str(text: &str) -> Result<Self, NoTraceContext> {
        let mut parts = text.split('-');
        let mut part = |len: usize| {
            parts
                .next()
                .filter(|part| part.len() == len)
                .filter(|part| {
                    part.bytes()
                        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
                })
                .ok_or(NoTraceContext)
        };
        let version = part(2)?;
        let number = |text: &str| u128::from_str_radix(text, 16).map_err(|_| NoTraceContext);
        let (trace, span, flags) = (number(part(32)?)?, number(part(16)?)?, number(part(2)?)?);
        let more = parts.next().is_some();
        if trace == 0 || span == 0 || version == "ff" || (version == "00" && more) {
            return Err(NoTraceContext);
        }
        Ok(Self {
            trace,
            span: u64::try_from(span).map_err(|_| NoTraceContext)?,
            flags: u8::try_from(flags).map_err(|_| NoTraceContext)?,
        })
    }
}

/// Draws the ids of traces and their parts.
#[derive(Debug)]
pub(crate) struct TraceIds(Mutex<ChaCha12Rng>);

impl TraceIds {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        // The CallIDs of the connection are drawn from the same seed.
        let mut random = ChaCha12Rng::from_seed(seed);
        random.set_stream(1);
        Self(Mutex::new(random))
    }

    /// A new part of a trace, or of a new one.
    fn part_of(&self, parent: Option<TraceContext>) -> TraceContext {
        let mut random = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut id = || random.next_u64().max(1);
        match parent {
            Some(parent) => TraceContext {
                span: id(),
                ..parent
            },
            None => TraceContext {
                trace: u128::from(id()) << 64 | u128::from(id()),
                span: id(),
                flags: 1,
            },
        }
    }

    /// The span of a call that is made, which is put into its header.
    pub(crate) fn begin_call(&self, message: &mut Message) -> tracing::Span {
        let span = tracing::debug_span!(
            "call",
            otel.kind = "client",
            service = %message.hdr.service_name,
            trace_id = tracing::field::Empty,
            span_id = tracing::field::Empty,
            parent_id = tracing::field::Empty,
        );
        if message.hdr.args.contains_key(TRACEPARENT.as_bytes()) {
            // The application has said where it belongs.
            return span;
        }
        let parent = TraceContext::current();
        if parent.is_some() || !span.is_disabled() {
            let part = self.part_of(parent);
            record(&span, part, parent);
            let text = part.to_string();
            message.hdr.args.insert(TRACEPARENT.into(), text.into());
        }
        span
    }

    /// What a handler runs within.
    pub(crate) fn begin_handler(&self, request: &Message, peer: &towline_identity::Peer) -> Traced {
        let span = tracing::debug_span!(
            "handle",
            otel.kind = "server",
            service = %request.hdr.service_name,
            peer = %peer,
            trace_id = tracing::field::Empty,
            span_id = tracing::field::Empty,
            parent_id = tracing::field::Empty,
        );
        let parent = match request.hdr.args.is_empty() {
            true => None,
            false => TraceContext::of(&request.hdr.args),
        };
        let trace = (parent.is_some() || !span.is_disabled()).then(|| {
            let part = self.part_of(parent);
            record(&span, part, parent);
            part
        });
        Traced { span, trace }
    }
}

/// What a handler runs within: a span that is recorded, or a trace, or nothing.
#[derive(Debug)]
pub(crate) struct Traced {
    span: tracing::Span,
    trace: Option<TraceContext>,
}

impl Traced {
    pub(crate) const fn is_nothing(&self) -> bool {
        // A span that is recorded makes a trace.
        self.trace.is_none()
    }

    /// Runs something within it.
    pub(crate) fn run<T>(&self, run: impl FnOnce() -> T) -> T {
        match self.trace {
            None => run(),
            Some(trace) => self.span.in_scope(|| trace.enter(run)),
        }
    }

    /// Runs a future within it.
    pub(crate) async fn wrap<F: Future>(self, future: F) -> F::Output {
        match self.trace {
            None => future.await,
            Some(trace) => trace.scope(future).instrument(self.span).await,
        }
    }
}

fn record(span: &tracing::Span, part: TraceContext, parent: Option<TraceContext>) {
    if span.is_disabled() {
        return;
    }
    span.record("trace_id", part.trace_id());
    span.record("span_id", part.span_id());
    if let Some(parent) = parent {
        span.record("parent_id", parent.span_id());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// docs/wire C24
    #[test]
    fn a_traceparent_is_read_and_written_as_w3c_has_it() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let trace: TraceContext = text.parse().expect("well-formed");
        assert_eq!(trace.to_string(), text);
        assert_eq!(trace.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(
            (&*trace.span_id(), trace.is_sampled()),
            ("b7ad6b7169203331", true)
        );
        // A later version may have more behind it.
        let later =
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00-what-the-future-brings";
        assert!(
            later
                .parse::<TraceContext>()
                .is_ok_and(|trace| !trace.is_sampled())
        );
        for wrong in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b71692033310-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(
                wrong.parse::<TraceContext>(),
                Err(NoTraceContext),
                "{wrong}"
            );
        }
    }

    #[test]
    fn ids_follow_from_their_seed_and_parts_stay_in_their_trace() {
        let ids = || TraceIds::new([7; 32]);
        let root = ids().part_of(None);
        assert_eq!(root, ids().part_of(None));
        let part = ids().part_of(Some(root));
        assert_eq!(part.trace_id(), root.trace_id());
        assert_ne!(part.span_id(), root.span_id());
    }
}
