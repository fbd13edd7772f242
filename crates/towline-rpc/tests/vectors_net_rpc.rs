//! Captured net/rpc calls of the original: our server gives the recorded answers, our client makes the
//! recorded calls and understands the answers.

mod support;

use support::{
    peer::{ClientPeer, ServerPeer, frame},
    start,
    vectors::{Played, Vector, load, play, read_frame},
};
use towline_codec::greenpack::{Greenpack, Reader};
use towline_rpc::proto::{
    CallKey, CallType, Client, ClientEvent, Compression, Concurrency, Limits, Message,
    NetRpcRequest, NetRpcResponse, Server, ServerEvent, ServiceKind,
};

/// The exchanges, in order: the frames whose names share what stands before the number.
fn exchanges() -> Vec<(String, Vec<Vector>)> {
    let mut exchanges: Vec<(String, Vec<Vector>)> = Vec::new();
    for vector in load("netrpc") {
        let name = vector
            .name
            .rsplitn(4, '-')
            .last()
            .expect("a name")
            .to_owned();
        match exchanges.last_mut() {
            Some((last, frames)) if *last == name => frames.push(vector),
            _ => exchanges.push((name, vec![vector])),
        }
    }
    assert_eq!(exchanges.len(), 7);
    exchanges
}

#[test]
fn captured_net_rpc_frames_are_read_and_written_alike() {
    play("netrpc", &[], |vector| {
        let message = read_frame(&vector.bytes);
        assert_eq!(message, vector.message(), "{}", vector.name);
        assert_eq!(frame(&message), vector.bytes, "{}", vector.name);
    });
}

/// docs/wire C23: header and value of every body, to the byte.
#[test]
fn captured_bodies_are_split_and_made_alike() {
    play("netrpc", &[], |vector| {
        let message = vector.message();
        match message.hdr.typ {
            CallType::NET_RPC => {
                let (header, argument) = NetRpcRequest::split(&message.body).expect("a call");
                assert_eq!(header.method, message.hdr.service_name);
                assert_eq!(header.with_argument(&argument), message.body);
                let arguments = <(i64, i64)>::decode(&mut Reader::new(&argument));
                assert!(arguments.is_ok(), "{}", vector.name);
            }
            CallType::REPLY => {
                let (header, value) = NetRpcResponse::split(&message.body).expect("an answer");
                assert_eq!(header.with_value(&value), message.body, "{}", vector.name);
                assert_eq!(value.len() > 2, header.error.is_empty() && value[1] > 0x7f);
            }
            typ => assert_eq!(typ, CallType::CANCEL),
        }
    });
}

fn serve(server: &mut ServerPeer, key: CallKey, request: &Message) {
    let method = request.hdr.service_name.to_str().expect("UTF-8").to_owned();
    let (a, b) = <(i64, i64)>::decode(&mut Reader::new(&request.body)).expect("arguments");
    let result = match &*method {
        "Arith.Add" => Ok(a + b),
        "net.rpc.Arith.Mul" => Ok(a * b),
        "Arith.Div" => a.checked_div(b).ok_or_else(|| "divide by zero".to_owned()),
        "Arith.BadOperation" => Err(format!("rpc: can't find method {method}")),
        "Nope.BadOperation" => Err(format!("rpc: can't find service {method}")),
        "nodots" => Err(format!("rpc: service/method request ill-formed: {method}")),
        // It waits for its cancel.
        "MustBeCancelled.WillHangUntilCancel" => return,
        other => panic!("{other} is new"),
    };
    answer(server, key, result);
}

fn answer(server: &mut ServerPeer, key: CallKey, result: Result<i64, String>) {
    let reply = match result {
        Ok(value) => {
            let mut body = bytes::BytesMut::new();
            (value,).encode(&mut body);
            Message::from_body(body.freeze())
        }
        Err(text) => Message {
            error: text.into(),
            ..Message::new()
        },
    };
    let reply = server.core.reply(start(), key, reply).expect("open");
    server.enqueue(start(), &reply);
}

/// docs/wire C23, E13, C13
#[test]
fn our_server_gives_the_recorded_net_rpc_answers() {
    let mut count = Played::none_of(&["netrpc"]);
    for (exchange, frames) in exchanges() {
        let answers = frames.iter().filter(|vector| !vector.is_from_client());
        let recorded: Vec<Message> = answers.clone().map(Vector::message).collect();
        let mut server = ServerPeer::from(Server::new(
            Limits::default(),
            Concurrency::default(),
            Compression::None,
            true,
            recorded[0].hdr.from.clone(),
            recorded[0].hdr.to.clone(),
            start(),
        ));
        let mut sent = Vec::new();
        for vector in frames.iter().filter(|vector| vector.is_from_client()) {
            count.played(vector);
            server.feed(start(), &vector.bytes).expect("legal");
            for event in server.events() {
                match event {
                    ServerEvent::Start { key, kind, request } => {
                        assert_eq!(kind, ServiceKind::NetRpc);
                        serve(&mut server, key, &request);
                    }
                    ServerEvent::Cancelled { key } => answer(&mut server, key, Ok(0)),
                    ServerEvent::PartReady { .. } | ServerEvent::MaySend { .. } => {
                        panic!("no stream")
                    }
                }
            }
            sent.extend(server.messages());
        }
        assert_eq!(sent.len(), recorded.len(), "{exchange}");
        answers.for_each(|vector| count.played(vector));
        for (mut ours, recorded) in sent.into_iter().zip(recorded) {
            assert!(ours.hdr.created.is_some() && ours.hdr.serial > 0);
            ours.hdr.created = recorded.hdr.created;
            ours.hdr.serial = recorded.hdr.serial;
            assert_eq!(ours, recorded, "{exchange}");
        }
        assert_eq!(server.core.in_flight(), 0);
    }
    count.finish(&[]);
}

/// docs/wire C23, C12, M6, X16
#[test]
fn our_client_makes_the_recorded_net_rpc_calls_and_understands_the_answers() {
    let exchanges = exchanges();
    let first = exchanges[0].1[0].message().hdr;
    let mut client = ClientPeer::from(Client::new(
        Limits::default(),
        Compression::None,
        first.from,
        first.to,
        [0; 32],
        start(),
    ));
    // The recorded client had made calls before.
    for _ in 0..11 {
        client.core.stamp_one_way(start(), &mut Message::new());
    }
    let mut count = Played::none_of(&["netrpc"]);
    for (exchange, frames) in exchanges {
        let request = frames[0].message();
        let (header, argument) = NetRpcRequest::split(&request.body).expect("a call");
        let mut ours = Message::request(header.method, argument);
        ours.hdr.call_id = request.hdr.call_id.clone();
        ours.hdr.created = request.hdr.created;
        ours.hdr.deadline = request.hdr.deadline;
        let seqno = client.core.begin_net_rpc(start(), &mut ours, None, true, 1);
        client.core.enqueue(start(), &ours).expect("small");
        let mut ours = client.message();
        ours.hdr.serial = request.hdr.serial;
        // Both numbers, that of the body too, are the recorded ones.
        assert_eq!(ours, request, "{exchange}");
        count.played(&frames[0]);

        let cancelled = frames.len() == 3;
        if cancelled {
            client.core.cancel(start(), seqno);
            let mut cancel = client.message();
            cancel.hdr.serial = request.hdr.serial;
            assert_eq!(cancel, frames[1].message());
            count.played(&frames[1]);
            assert!(client.events().is_empty(), "the turn is not over");
        }
        let answer = frames.last().expect("an answer");
        client.feed(start(), &answer.bytes).expect("legal");
        match &client.events()[..] {
            [ClientEvent::NetRpcAnswered] => assert!(cancelled, "{exchange}"),
            [
                ClientEvent::NetRpcAnswered,
                ClientEvent::Ended {
                    waiter: 1,
                    result: Ok(reply),
                },
            ] => {
                assert_eq!(*reply, answer.message(), "{exchange}");
            }
            other => panic!("{exchange}: {other:?}"),
        }
        count.played(answer);
        assert_eq!(client.core.in_flight(), 0);
    }
    count.finish(&[]);
}
