//! The echo call: what was sent comes back with the time.

use std::convert::Infallible;
use std::time::{Duration, Instant, SystemTime};

use towline_rpc::Message;
use towline_rpc::server::ServerBuilder;

use crate::part::ECHO_CALL_SERVICE;
use crate::stamp;

/// Adds the service `customEcho`, which answers with the body of the request, a line break and the
/// time (docs/wire T28).
///
/// ```
/// let server = towline_sync::serve_echo(towline_rpc::Server::builder()).build();
/// ```
#[must_use]
pub fn serve_echo(builder: ServerBuilder) -> ServerBuilder {
    let (_, started) = clocks();
    builder.call(ECHO_CALL_SERVICE, move |_, request: Message| {
        let (wall, now) = clocks();
        let text = echo(&request.body, wall, now.saturating_duration_since(started));
        std::future::ready(Ok::<_, Infallible>(Message::from_body(text)))
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "the time is what this service tells"
)]
fn clocks() -> (SystemTime, Instant) {
    (SystemTime::now(), Instant::now())
}

fn echo(body: &[u8], wall: SystemTime, running: Duration) -> Vec<u8> {
    let time = stamp::format_spaced(wall).unwrap_or_default();
    let tail = format!(
        "\n with time customEcho sees this: '{time} +0000 UTC m=+{}.{:09}'",
        running.as_secs(),
        running.subsec_nanos()
    );
    [body, tail.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reply_has_the_originals_form() {
        // docs/wire T28
        let wall = SystemTime::UNIX_EPOCH + Duration::new(1_795_170_158, 891_528_000);
        let text = echo(b"hi", wall, Duration::from_nanos(830_413_036));
        assert_eq!(
            text,
            b"hi\n with time customEcho sees this: '2026-11-20 10:22:38.891528 +0000 UTC \
              m=+0.830413036'"
        );
        let whole = echo(b"", SystemTime::UNIX_EPOCH, Duration::from_secs(61));
        assert_eq!(
            whole,
            b"\n with time customEcho sees this: '1970-01-01 00:00:00 +0000 UTC m=+61.000000000'"
        );
    }
}
