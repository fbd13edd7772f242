//! Our server gives the recorded answers.

use towline_codec::Text;
use towline_rpc::proto::{
    CallKey, CallType, Compression, Concurrency, Limits, Message, PartTaken, Server, ServerEvent,
    ServiceKind,
};

use crate::{
    FILES, exchanges,
    support::{
        peer::ServerPeer,
        start,
        vectors::{Played, Vector},
    },
};

/// docs/wire C7, M4, E2, E3, S3 to S8
#[test]
fn our_server_gives_the_recorded_answers() {
    let mut count = Played::none_of(&FILES);
    for file in FILES {
        for (exchange, frames) in exchanges(file) {
            let mut server = server_of(&frames);
            let mut sent = Vec::new();
            for vector in frames.iter().filter(|vector| vector.is_from_client()) {
                count.played(vector);
                server
                    .feed(start(), &vector.bytes)
                    .expect("the original's frames are legal");
                serve(&mut server, &exchange);
                sent.extend(server.messages());
            }
            let recorded: Vec<&Vector> = frames
                .iter()
                .filter(|vector| !vector.is_from_client())
                .collect();
            assert_eq!(sent.len(), recorded.len(), "{exchange}: {sent:?}");
            for (ours, vector) in sent.into_iter().zip(recorded) {
                assert_same_answer(ours, vector);
                count.played(vector);
            }
            assert_eq!(server.core.in_flight(), 0, "{exchange}");
        }
    }
    count.finish(&[]);
}

/// Field by field, but for the fields whose value is the moment's or the host's.
fn assert_same_answer(mut ours: Message, vector: &Vector) {
    let mut recorded = vector.message();
    match recorded.hdr.typ {
        // docs/wire M4, E2: all of a refusal repeats the request
        CallType::ERROR => {
            // docs/wire E5
            let stays = ours.hdr.args.remove(&b"towline.stays"[..]);
            assert_eq!(stays, Some(Text::from("1")), "{}", vector.name);
        }
        typ => {
            assert!(
                ours.hdr.created.is_some() && ours.hdr.serial > 0,
                "{}",
                vector.name
            );
            ours.hdr.created = recorded.hdr.created;
            ours.hdr.serial = recorded.hdr.serial;
            if typ.is_download_part() {
                // docs/wire M5: From and To of these are swapped by the original, and by nobody else
                recorded.hdr.from = ours.hdr.from.clone();
                recorded.hdr.to = ours.hdr.to.clone();
            }
        }
    }
    assert_eq!(ours, recorded, "{}", vector.name);
}

/// A server at the addresses that the recorded one had.
fn server_of(frames: &[Vector]) -> ServerPeer {
    let reply = frames
        .iter()
        .map(Vector::message)
        .find(|message| matches!(message.hdr.typ, CallType::REPLY | CallType::ERROR));
    let hdr = reply.map_or_else(|| frames[0].message().hdr, |message| message.hdr);
    ServerPeer::from(Server::new(
        Limits::default().credit(false),
        Concurrency::default(),
        Compression::None,
        true,
        hdr.from,
        hdr.to,
        start(),
    ))
}

/// The services that the recorded server had, as its owner runs them.
fn serve(server: &mut ServerPeer, exchange: &str) {
    for event in server.events() {
        match event {
            ServerEvent::Start { key, kind, request } => {
                begin(server, key, kind, &request, exchange)
            }
            ServerEvent::PartReady { key } if exchange == "bistream-ok" => echo_parts(server, key),
            ServerEvent::PartReady { key } => take_parts(server, key),
            ServerEvent::Cancelled { key } if exchange.starts_with("bistream") => {
                fail(server, key, "context canceled", "bye");
            }
            ServerEvent::Cancelled { key } if exchange == "upload-cancel" => {
                fail(server, key, "context cancelled", "");
            }
            ServerEvent::Cancelled { key } => fail(server, key, "context canceled", ""),
            ServerEvent::MaySend { .. } => panic!("the original knows no credit"),
        }
    }
}

fn begin(
    server: &mut ServerPeer,
    key: CallKey,
    kind: ServiceKind,
    request: &Message,
    exchange: &str,
) {
    let answer = match (kind, request.hdr.service_name.to_str().expect("UTF-8")) {
        (_, "nosuch") => return server.core.refuse(start(), key, &request.hdr),
        (ServiceKind::Call, "customEcho") => {
            Message::from_body([b"echo:", &request.body[..]].concat())
        }
        (ServiceKind::Call, "failing") => return fail(server, key, "user func failed", "partial"),
        (ServiceKind::Call, "subjArgs") => Message::new()
            .with_subject("user subject")
            .with_arg("a", "b"),
        (ServiceKind::Call, "hang") if exchange == "timeout" => {
            return fail(server, key, "context deadline exceeded", "");
        }
        (ServiceKind::Call, "hang") => return,
        (ServiceKind::OneWay, "oneway") => return server.core.finish(key),
        (ServiceKind::Upload, "up") | (ServiceKind::Bistream, "hangbi") => return,
        (ServiceKind::Bistream, "echobi") => {
            let part = Message::from_body(request.body.clone()).with_last(server, key, false);
            return server.enqueue(start(), &part);
        }
        (ServiceKind::Download, "down") => {
            let parts = match request.arg("downloadRequestedPath") {
                Some("three") => 3,
                Some("one") => 1,
                other => panic!("{other:?}: a new path"),
            };
            for part in 0..parts {
                let part = Message::from_body(format!("part{part}")).with_last(
                    server,
                    key,
                    part + 1 == parts,
                );
                server.enqueue(start(), &part);
            }
            Message::new().with_subject("the end")
        }
        (ServiceKind::Download, "downerr") => {
            let part = Message::from_body("p0").with_last(server, key, false);
            server.enqueue(start(), &part);
            return fail(server, key, "download func error", "");
        }
        (kind, service) => panic!("{service}: a new service of kind {kind:?}"),
    };
    let reply = server
        .core
        .reply(start(), key, answer)
        .expect("the call is open");
    server.enqueue(start(), &reply);
}

fn echo_parts(server: &mut ServerPeer, key: CallKey) {
    while let PartTaken::Part(part, last) = server.core.take_part(start(), key) {
        let echo = Message::from_body(part.body).with_last(server, key, last);
        server.enqueue(start(), &echo);
        if last {
            let reply = server.core.reply(start(), key, Message::new());
            server.enqueue(start(), &reply.expect("the stream is open"));
        }
    }
}

fn take_parts(server: &mut ServerPeer, key: CallKey) {
    while let PartTaken::Part(part, last) = server.core.take_part(start(), key) {
        if part.body == "bad" {
            return fail(server, key, "upload func error", "");
        }
        if last {
            let thanks = Message::from_body("thanks").with_arg("sum", "123");
            let reply = server
                .core
                .reply(start(), key, thanks)
                .expect("the upload is open");
            server.enqueue(start(), &reply);
        }
    }
}

fn fail(server: &mut ServerPeer, key: CallKey, error: &str, body: &'static str) {
    let answer = Message {
        error: error.into(),
        ..Message::from_body(body)
    };
    let reply = server
        .core
        .reply(start(), key, answer)
        .expect("the call is open");
    server.enqueue(start(), &reply);
}

trait WithLast {
    fn with_last(self, server: &mut ServerPeer, key: CallKey, last: bool) -> Message;
}

impl WithLast for Message {
    fn with_last(mut self, server: &mut ServerPeer, key: CallKey, last: bool) -> Message {
        assert!(server.core.stamp_part(start(), key, &mut self, last));
        self
    }
}
