//! The example `typed_service`, over TCP.

#![cfg(feature = "macros")]

#[path = "../examples/typed_service.rs"]
#[expect(dead_code, reason = "its main is for users")]
mod typed_service;

use futures_util::{StreamExt as _, stream};
use towline::rpc::{Client, server::ListenConfig, service::ServiceError};
use typed_service::{Filter, Line, Refusal, RoomClient, server};

fn line(who: &str, text: &str) -> Line {
    Line {
        who: who.to_owned(),
        text: text.to_owned(),
    }
}

#[tokio::test]
async fn the_room_of_the_example_is_talked_in() {
    let listening = server()
        .unwrap()
        .listen("tcp://127.0.0.1:0", ListenConfig::new())
        .await
        .unwrap();
    let endpoint = listening.endpoint().to_string();
    let client = Client::builder().connect(&endpoint).await.unwrap();
    let room = RoomClient::new(client);
    assert_eq!(room.say(line("ada", "good morning")).await.unwrap(), 1);
    match room.say(line("ada", &"x".repeat(2000))).await {
        Err(ServiceError::Failed(Refusal::TooLong { limit: 1000 })) => {}
        other => panic!("{other:?}"),
    }
    let more = stream::iter([line("bob", "hello"), line("ada", "bye"), line("bob", "")]);
    assert!(matches!(
        room.say_all(more).await,
        Err(ServiceError::Failed(Refusal::Empty))
    ));
    let filter = Filter {
        who: Some("ada".to_owned()),
        limit: 0,
    };
    let said: Vec<_> = room
        .said(filter)
        .await
        .unwrap()
        .map(Result::unwrap)
        .collect()
        .await;
    assert_eq!(said, [line("ada", "good morning"), line("ada", "bye")]);
    let lines = stream::iter((0..100).map(|number| line("eve", &number.to_string())));
    let echoed: Vec<_> = room
        .echo(lines)
        .await
        .unwrap()
        .map(Result::unwrap)
        .collect()
        .await;
    assert_eq!(echoed.len(), 100);
    assert_eq!(echoed[99], line("eve", "99"));
}
