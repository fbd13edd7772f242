//! Echoes: a call that comes back with the time, and a stream that comes back part by part.

use std::convert::Infallible;
use std::time::{Duration, Instant, SystemTime};

use towline_rpc::Message;
use towline_rpc::server::{ServerBuilder, echo_bistream};

use crate::stamp;
use crate::transfer::part::{ECHO_CALL_SERVICE, ECHO_STREAM_SERVICE};

/// Adds two services. `customEcho` answers a call with the body of the request, a line break and the
/// time (docs/wire T28). `echoBistreamFunc` sends every part of a bistream back (docs/wire T30).
///
/// ```
/// let server = towline_sync::serve_echo(towline_rpc::Server::builder()).build();
/// ```
#[must_use]
pub fn serve_echo(builder: ServerBuilder) -> ServerBuilder {
    let (_, started) = clocks();
    builder
        .call(ECHO_CALL_SERVICE, move |_, request: Message| {
            let (wall, now) = clocks();
            let text = echo(&request.body, wall, now.saturating_duration_since(started));
            std::future::ready(Ok::<_, Infallible>(Message::from_body(text)))
        })
        .bistream(ECHO_STREAM_SERVICE, echo_bistream)
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
    use tokio_util::sync::CancellationToken;
    use towline_identity::Peer;
    use towline_rpc::proto::CallType;
    use towline_rpc::{Client, Server};

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

    #[tokio::test]
    async fn every_part_of_a_stream_comes_back() {
        // docs/wire T30
        let server = serve_echo(Server::builder()).build();
        let (here, there) = tokio::io::duplex(1 << 10);
        let peer = Peer::unauthenticated("mem://peer");
        let served = tokio::spawn({
            let peer = peer.clone();
            async move {
                let never = CancellationToken::new();
                server
                    .serve_io(there, peer, "mem://s", "mem://c", never)
                    .await
            }
        });
        let client = Client::builder().from_io(here, peer, "mem://c", "mem://s");
        let (mut sender, mut receiver) = client
            .bistream(Message::request(ECHO_STREAM_SERVICE, "0").with_arg("name", "value"))
            .await
            .expect("sent");
        for part in 1..20 {
            let part = Message::from_body(part.to_string());
            sender.send(part).await.expect("sent");
        }
        sender.finish(Message::new()).await.expect("sent");
        for number in 0..=20 {
            let part = receiver.next().await.expect("an echo");
            let (typ, body) = match number {
                0 => (CallType::DOWNLOAD_BEGIN, "0".to_owned()),
                20 => (CallType::DOWNLOAD_END, String::new()),
                _ => (CallType::DOWNLOAD_MORE, number.to_string()),
            };
            assert_eq!((part.hdr.typ, &part.body), (typ, &body.into()));
            assert_eq!(part.arg("name"), (number == 0).then_some("value"));
        }
        assert!(receiver.next().await.is_none());
        receiver.finish().await.expect("a reply");
        client.close().await;
        served.await.expect("no panic");
    }
}
