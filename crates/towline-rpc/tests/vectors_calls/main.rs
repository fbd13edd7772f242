//! Captured calls, refusals and streams of the original: our server gives the recorded answers, our
//! client sends the recorded requests and understands the recorded answers.

mod support;

use std::collections::BTreeSet;

use bytes::Bytes;
use support::{
    peer::{ClientPeer, ServerPeer},
    start,
    vectors::{Vector, assert_present, load, read_frame},
};
use towline_codec::Text;
use towline_rpc::proto::{
    CallKey, CallType, Client, ClientEvent, Compression, Concurrency, Failed, Limits, Message,
    PartTaken, Server, ServerEvent, ServiceKind, StreamEnd, Taken,
};

const FILES: [&str; 5] = [
    "calls",
    "callerror-oneway",
    "callerror-rpc",
    "callerror-upload",
    "streams",
];

/// A frame of the client that our client does not send, or not so.
const CLIENT_DIFFERENCES: [(&str, &str); 5] = [
    (
        "callerror-rpc-02-c2s-CallCancelPrevious",
        "docs/wire E4: the refusal has ended the call",
    ),
    (
        "download-close-00-c2s-CallCancelPrevious",
        "docs/wire C12, S16: the stream has ended",
    ),
    (
        "upload-cancel-01-c2s-CallCancelPrevious",
        "docs/wire S16: Seqno and ServiceName are the stream's",
    ),
    (
        "upload-func-error-03-c2s-CallUploadEnd",
        "docs/wire S4: the reply stops the uploader",
    ),
    (
        "upload-ok-00-c2s-CallUploadBegin",
        "docs/wire S3: the Begin has the Deadline, too",
    ),
];

/// The exchanges of a file, in order: the frames whose names share what stands before the number.
fn exchanges(file: &str) -> Vec<(String, Vec<Vector>)> {
    let mut exchanges: Vec<(String, Vec<Vector>)> = Vec::new();
    for vector in load(file) {
        let (name, _) = vector
            .name
            .rsplitn(4, '-')
            .last()
            .map(|name| (name.to_owned(), ()))
            .expect("a name");
        match exchanges.last_mut() {
            Some((last, frames)) if *last == name => frames.push(vector),
            _ => exchanges.push((name, vec![vector])),
        }
    }
    exchanges
}

/// Every frame is what the file says it is, and is written by us byte for byte.
#[test]
fn captured_frames_are_read_and_written_alike() {
    for vector in FILES.iter().flat_map(|file| load(file)) {
        let message = read_frame(&vector.bytes);
        assert_eq!(message, vector.message(), "{}", vector.name);
        assert_eq!(
            support::peer::frame(&message),
            vector.bytes,
            "{}",
            vector.name
        );
    }
}

#[test]
fn the_lists_of_differences_name_existing_frames() {
    let vectors: Vec<Vector> = FILES.iter().flat_map(|file| load(file)).collect();
    assert_present(&vectors, CLIENT_DIFFERENCES.iter().map(|&(name, _)| name));
    assert!(
        CLIENT_DIFFERENCES
            .iter()
            .all(|(_, rule)| rule.starts_with("docs/wire"))
    );
}

/// docs/wire C7, M4, E2, E3, S3 to S8
#[test]
fn our_server_gives_the_recorded_answers() {
    for file in FILES {
        for (exchange, frames) in exchanges(file) {
            let mut server = server_of(&frames);
            let mut sent = Vec::new();
            for vector in frames.iter().filter(|vector| vector.is_from_client()) {
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
            }
            assert_eq!(server.core.in_flight(), 0, "{exchange}");
        }
    }
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

/// docs/wire C6 to C8, C12, E4, S3, S6 to S8, M4, M6
#[test]
fn our_client_sends_the_recorded_requests_and_understands_the_recorded_answers() {
    let mut differences: BTreeSet<&str> =
        CLIENT_DIFFERENCES.iter().map(|&(name, _)| name).collect();
    for file in FILES {
        let exchanges = exchanges(file);
        let first = exchanges[0].1[0].message().hdr;
        let mut client = ClientPeer::from(Client::new(
            Limits::default().credit(false),
            Compression::None,
            first.from,
            first.to,
            [0; 32],
            start(),
        ));
        for (exchange, frames) in &exchanges {
            play_client(&mut client, exchange, frames, &mut differences);
            assert_eq!(client.core.in_flight(), 0, "{exchange}");
        }
    }
    assert!(
        differences.is_empty(),
        "listed but not met: {differences:?}"
    );
}

fn play_client(
    client: &mut ClientPeer,
    exchange: &str,
    frames: &[Vector],
    differences: &mut BTreeSet<&str>,
) {
    let now = start();
    let mut seqno = 0;
    let mut ends: Vec<StreamEnd> = Vec::new();
    let mut parts: Vec<Bytes> = Vec::new();
    for vector in frames {
        let recorded = vector.message();
        if !vector.is_from_client() {
            let unclaimed = client.core.unclaimed();
            client
                .feed(now, &vector.bytes)
                .expect("the original's frames are legal");
            // docs/wire C9, C12: the caller has left before these come
            let late = matches!(
                exchange,
                "cancel"
                    | "upload-cancel"
                    | "callerror-oneway"
                    | "bistream-close"
                    | "bistream-nil-request"
            );
            assert_eq!(client.core.unclaimed() > unclaimed, late, "{}", vector.name);
            if late {
                continue;
            }
            match client.events().pop() {
                Some(ClientEvent::Ended { waiter: 1, result }) => assert_ended(result, &recorded),
                Some(ClientEvent::StreamReady { seqno: ready }) => {
                    assert_eq!(ready, seqno);
                    loop {
                        match client.core.take_part(now, seqno) {
                            Taken::Part(part) => parts.push(part.body),
                            Taken::End(end) => ends.push(end),
                            Taken::Nothing => break,
                        }
                    }
                }
                other => panic!("{}: {other:?}", vector.name),
            }
            continue;
        }
        let mut ours = request_like(&recorded);
        match recorded.hdr.typ {
            CallType::CALL => seqno = client.core.begin_call(now, &mut ours, None, 1),
            CallType::ONE_WAY => client.core.stamp_one_way(now, &mut ours),
            CallType::UPLOAD_BEGIN => {
                // docs/wire S3: the later parts show which deadline the stream had
                ours.hdr.deadline = frames
                    .iter()
                    .find_map(|vector| vector.message().hdr.deadline);
                seqno = client.core.begin_upload(now, &mut ours);
            }
            CallType::DOWNLOAD => seqno = client.core.begin_download(now, &mut ours),
            CallType::BISTREAM => seqno = client.core.begin_bistream(now, &mut ours),
            CallType::UPLOAD_MORE | CallType::UPLOAD_END => {
                ours.hdr.deadline = None;
                let last = recorded.hdr.typ == CallType::UPLOAD_END;
                if !client.core.stamp_part(now, seqno, &mut ours, last) {
                    assert!(
                        differences.remove(&*vector.name),
                        "{}: not sent",
                        vector.name
                    );
                    continue;
                }
            }
            CallType::CANCEL => {
                client.core.cancel(now, seqno);
                let sent = client.messages();
                let Some(mut cancel) = sent.into_iter().next() else {
                    assert!(
                        differences.remove(&*vector.name),
                        "{}: not sent",
                        vector.name
                    );
                    continue;
                };
                if differences.remove(&*vector.name) {
                    assert_eq!(
                        (cancel.hdr.typ, cancel.hdr.call_id),
                        (CallType::CANCEL, recorded.hdr.call_id)
                    );
                    assert_eq!(
                        (cancel.hdr.seqno, &cancel.hdr.service_name),
                        (seqno, &"up".into())
                    );
                    continue;
                }
                let request = frames[0].message().hdr;
                if request.typ == CallType::BISTREAM {
                    // docs/wire S16: a new Serial; ours keeps Created
                    assert!(cancel.hdr.serial > 1 && recorded.hdr.serial > request.serial);
                    cancel.hdr.serial = recorded.hdr.serial;
                    cancel.hdr.created = recorded.hdr.created;
                    assert_eq!(cancel, recorded, "{}", vector.name);
                    continue;
                }
                // docs/wire C12: Serial and Created are the request's, and the request had its own
                assert_eq!(
                    (recorded.hdr.serial, recorded.hdr.created),
                    (request.serial, request.created)
                );
                cancel.hdr.serial = request.serial;
                assert_eq!(cancel, recorded, "{}", vector.name);
                continue;
            }
            typ => panic!("{}: {typ} is new", vector.name),
        }
        client.core.enqueue(now, &ours).expect("small enough");
        let mut ours = client.message();
        assert!(ours.hdr.serial > 0);
        ours.hdr.serial = recorded.hdr.serial;
        if differences.remove(&*vector.name) {
            assert_ne!(ours.hdr.deadline, recorded.hdr.deadline, "{}", vector.name);
            ours.hdr.deadline = recorded.hdr.deadline;
        }
        assert_eq!(ours, recorded, "{}", vector.name);
    }
    assert_streamed(exchange, frames, &parts, &ends);
}

/// What a caller who sent `recorded` gave.
fn request_like(recorded: &Message) -> Message {
    let mut request = Message::request(recorded.hdr.service_name.clone(), recorded.body.clone())
        .with_subject(recorded.hdr.subject.clone());
    request.hdr.args = recorded.hdr.args.clone();
    request.hdr.call_id = recorded.hdr.call_id.clone();
    request.hdr.created = recorded.hdr.created;
    request.hdr.deadline = recorded.hdr.deadline;
    request
}

fn assert_ended(result: Result<Message, Failed>, recorded: &Message) {
    match recorded.hdr.typ {
        // docs/wire E1: a function's error is a reply
        CallType::REPLY => assert_eq!(result.expect("a reply"), *recorded),
        CallType::ERROR => {
            let text: Text = recorded.hdr.subject.clone();
            assert_eq!(result, Err(Failed::Refused(text)));
        }
        typ => panic!("{typ} ended a call"),
    }
}

fn assert_streamed(exchange: &str, frames: &[Vector], parts: &[Bytes], ends: &[StreamEnd]) {
    let recorded: Vec<Message> = frames
        .iter()
        .filter(|vector| !vector.is_from_client())
        .map(Vector::message)
        .collect();
    let bodies: Vec<Bytes> = recorded
        .iter()
        .filter(|message| message.hdr.typ.is_download_part())
        .map(|message| message.body.clone())
        .collect();
    assert_eq!(parts, bodies, "{exchange}");
    let opens = frames[0].message().hdr.typ;
    let is_stream = matches!(
        opens,
        CallType::UPLOAD_BEGIN | CallType::DOWNLOAD | CallType::BISTREAM
    );
    let cancelled = matches!(
        exchange,
        "upload-cancel" | "bistream-close" | "bistream-nil-request"
    );
    if !is_stream || cancelled {
        assert!(ends.is_empty(), "{exchange}");
        return;
    }
    let last = recorded.last().expect("an answer").clone();
    let expected = match last.hdr.typ {
        CallType::REPLY => StreamEnd::Reply(last),
        CallType::ERROR => StreamEnd::Refused(last.hdr.subject),
        typ => panic!("{exchange}: {typ} ended a stream"),
    };
    assert_eq!(ends, [expected], "{exchange}");
}
