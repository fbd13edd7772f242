//! Our client sends the recorded requests and understands the recorded answers.

use bytes::Bytes;
use towline_codec::Text;
use towline_rpc::proto::{
    CallType, Client, ClientEvent, Compression, Failed, Limits, Message, StreamEnd, Taken,
};

use crate::{
    FILES, exchanges,
    support::{
        peer::ClientPeer,
        start,
        vectors::{Exceptions, Played, Vector},
    },
};

/// Frames of the client that our client does not send, or not so.
const DIFFERENCES: Exceptions<'_> = &[
    // docs/wire E4: the refusal has ended the call
    ("callerror-rpc-02-c2s-CallCancelPrevious", "P36"),
    // docs/wire C12, S16: the stream has ended
    ("download-close-00-c2s-CallCancelPrevious", "P37"),
    // docs/wire S16: Seqno and ServiceName are the stream's
    ("upload-cancel-01-c2s-CallCancelPrevious", "P37"),
    // docs/wire S4: the reply stops the uploader
    ("upload-func-error-03-c2s-CallUploadEnd", "P38"),
    // docs/wire S3: the Begin has the Deadline, too
    ("upload-ok-00-c2s-CallUploadBegin", "P39"),
];

fn differs(vector: &Vector) -> bool {
    DIFFERENCES.iter().any(|(name, _)| *name == vector.name)
}

/// docs/wire C6 to C8, C12, E4, S3, S6 to S8, M4, M6
#[test]
fn our_client_sends_the_recorded_requests_and_understands_the_recorded_answers() {
    let mut count = Played::none_of(&FILES);
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
            play_client(&mut client, exchange, frames, &mut count);
            assert_eq!(client.core.in_flight(), 0, "{exchange}");
        }
    }
    count.finish(DIFFERENCES);
}

fn play_client(client: &mut ClientPeer, exchange: &str, frames: &[Vector], count: &mut Played) {
    let now = start();
    let mut seqno = 0;
    let mut ends: Vec<StreamEnd> = Vec::new();
    let mut parts: Vec<Bytes> = Vec::new();
    for vector in frames {
        let recorded = vector.message();
        if !differs(vector) {
            count.played(vector);
        }
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
                    assert!(differs(vector), "{}: not sent", vector.name);
                    continue;
                }
            }
            CallType::CANCEL => {
                client.core.cancel(now, seqno);
                let sent = client.messages();
                let Some(mut cancel) = sent.into_iter().next() else {
                    assert!(differs(vector), "{}: not sent", vector.name);
                    continue;
                };
                if differs(vector) {
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
        if differs(vector) {
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
