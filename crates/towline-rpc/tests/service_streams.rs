//! Typed streams whose other end is through before the client is.

#![cfg(feature = "macros")]

use std::time::Duration;

use futures_util::{Stream, StreamExt as _, stream};
use towline_rpc::{
    Client, Context, Server, StreamError,
    service::{Incoming, ServiceError},
};

#[towline_rpc::service]
trait Numbers {
    async fn sum(&self, cx: &Context, numbers: Incoming<u64>) -> Result<u64, String>;
    fn three(
        &self,
        cx: &Context,
        numbers: Incoming<u64>,
    ) -> impl Stream<Item = Result<u64, String>>;
}

struct Calculator;

impl Numbers for Calculator {
    async fn sum(&self, _: &Context, mut numbers: Incoming<u64>) -> Result<u64, String> {
        let mut sum = 0;
        while let Some(number) = numbers.next().await {
            match number.map_err(|error| error.to_string())? {
                13 => return Err("13 is unlucky".to_owned()),
                number => sum += number,
            }
        }
        Ok(sum)
    }

    fn three(
        &self,
        _: &Context,
        numbers: Incoming<u64>,
    ) -> impl Stream<Item = Result<u64, String>> {
        numbers
            .take(3)
            .map(|number| number.map_err(|error| error.to_string()))
            .chain(stream::iter([Err("enough".to_owned())]))
    }
}

fn served() -> (Client, NumbersClient) {
    let server = Server::builder()
        .service(NumbersServer::new(Calculator))
        .expect("the only one")
        .build();
    let connection = server.connect_here();
    (connection.clone(), NumbersClient::new(connection))
}

/// Items of which no more come for now.
fn then_nothing(numbers: impl IntoIterator<Item = u64>) -> impl Stream<Item = u64> {
    let numbers: Vec<_> = numbers.into_iter().collect();
    stream::iter(numbers).chain(stream::pending())
}

/// What an upload ends with that nobody ends at this end.
async fn sum_of(
    client: &NumbersClient,
    numbers: impl Stream<Item = u64> + Send,
) -> Result<u64, ServiceError<String>> {
    tokio::time::timeout(Duration::from_secs(60), client.sum(numbers))
        .await
        .expect("it ends without another item")
}

/// docs/wire S4, V4
#[tokio::test(start_paused = true)]
async fn an_answer_ends_an_upload_whose_items_do_not_come() {
    let (connection, client) = served();
    let failed = sum_of(&client, then_nothing([13])).await;
    assert!(
        matches!(&failed, Err(ServiceError::Failed(text)) if text == "13 is unlucky"),
        "{failed:?}"
    );
    assert_eq!(connection.in_flight(), 0);
}

/// docs/wire C11: the server holds the same deadline, and may be first to say so.
#[tokio::test(start_paused = true)]
async fn a_deadline_ends_an_upload_whose_items_do_not_come() {
    let (connection, client) = served();
    let client = client.with_timeout(Some(Duration::from_millis(500)));
    let late = sum_of(&client, then_nothing([1])).await;
    match late {
        Err(ServiceError::Stream(StreamError::TimedOut)) => {}
        Err(ServiceError::Remote(text)) => assert_eq!(text, "context deadline exceeded"),
        other => panic!("{other:?}"),
    }
    assert_eq!(connection.in_flight(), 0);
}

/// docs/wire C18
#[tokio::test(start_paused = true)]
async fn the_end_of_its_connection_ends_an_upload_whose_items_do_not_come() {
    let (connection, client) = served();
    let closing = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        connection.close().await;
    });
    let cut = sum_of(&client, then_nothing([1])).await;
    assert!(
        matches!(cut, Err(ServiceError::Stream(StreamError::Closed(_)))),
        "{cut:?}"
    );
    closing.await.expect("no panic");
}

/// docs/wire S8, S19, V4
#[tokio::test(start_paused = true)]
async fn what_came_before_the_server_ended_a_bistream_is_taken_and_its_error_is_told() {
    let (connection, client) = served();
    for numbers in [
        stream::iter(1..).left_stream(),
        then_nothing([1, 2, 3]).right_stream(),
    ] {
        let got: Vec<_> = client.three(numbers).await.expect("sent").collect().await;
        match &got[..] {
            [Ok(1), Ok(2), Ok(3), Err(ServiceError::Failed(text))] => assert_eq!(text, "enough"),
            other => panic!("{other:?}"),
        }
        assert_eq!(connection.in_flight(), 0);
    }
}
