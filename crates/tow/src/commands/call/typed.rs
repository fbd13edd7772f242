//! Methods of typed services: what there is, and calls of it in JSON.

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use towline::rpc::{
    Client, Message, SendError,
    service::{Caller, MethodKind},
};

use crate::{
    failure::{Exit, Failure, failed},
    output::Output,
};

/// Shows the typed services of a server.
pub(super) async fn list(client: &Client, output: Output) -> Result<(), Failure> {
    let services = Caller::from(client.clone())
        .services()
        .await
        .map_err(|error| {
            Failure::new(
                Exit::Failed,
                format!("the server lists no typed services: {error}"),
            )
            .hint("services by name alone can be called, but are not listed")
        })?;
    if services.is_empty() {
        let text = "the server has no typed services; services by name alone can be called, but are not listed";
        output.aside("services", json!({ "count": 0 }), text);
    }
    for service in services {
        for line in service.docs.lines().filter(|_| !output.is_json()) {
            output.raw(format!("# {line}\n").as_bytes());
        }
        for method in service.methods {
            let name = format!("{}.{}", service.name, method.name);
            let mut line = format!(
                "{name}({}) -> {}",
                method.arguments.join(", "),
                method.returns
            );
            for docs in method.docs.lines() {
                line.push_str("\n    ");
                line.push_str(docs);
            }
            let fields = json!({
                "name": name, "kind": method.kind.name(), "arguments": method.arguments,
                "returns": method.returns, "docs": method.docs,
            });
            output.result("method", fields, &line);
        }
    }
    Ok(())
}

/// The kind of a method, if the server lists it.
pub(super) async fn find(client: &Client, name: &str) -> Option<MethodKind> {
    let (service, method) = name.rsplit_once('.')?;
    let services = Caller::from(client.clone()).services().await.ok()?;
    let service = services.into_iter().find(|listed| listed.name == service)?;
    let method = service
        .methods
        .into_iter()
        .find(|listed| listed.name == method)?;
    Some(method.kind)
}

/// True for what may be the arguments of a typed method.
pub(super) fn is_json(body: &str) -> bool {
    body.is_empty() || serde_json::from_str::<Value>(body).is_ok()
}

/// Calls a method, and shows what it returns: the value, or the items of its stream, a line each.
pub(super) async fn call(
    client: &Client,
    name: &str,
    kind: MethodKind,
    body: &str,
    output: Output,
) -> Result<(), Failure> {
    let request = Message::request(name, body.to_owned()).with_arg("encoding", "json");
    let reply = match kind {
        MethodKind::Upload => {
            let mut upload = client.upload(request).await.map_err(failed)?;
            let mut lines = BufReader::new(tokio::io::stdin()).lines();
            while let Some(line) = lines.next_line().await.map_err(failed)? {
                match upload.send(Message::from_body(line)).await {
                    Ok(()) => {}
                    // The reply says why.
                    Err(SendError::Ended) => break,
                    Err(error) => return Err(failed(error)),
                }
            }
            upload.finish(Message::new()).await.map_err(failed)?
        }
        MethodKind::Download => {
            let mut download = client.download(request).await.map_err(failed)?;
            while let Some(item) = download.next().await {
                show(output, "item", &item);
            }
            download.finish().await.map_err(failed)?
        }
        MethodKind::Bistream => both_ways(client, request, output).await?,
        _ => client.call(request).await?,
    };
    if reply.error.is_empty() {
        show(output, "reply", &reply);
        return Ok(());
    }
    let mut text = format!("`{name}` failed: {}", reply.error);
    if !reply.body.is_empty() {
        text.push_str(&format!(" {}", String::from_utf8_lossy(&reply.body)));
    }
    Err(Failure::new(Exit::Failed, text))
}

/// Sends lines while it shows items.
async fn both_ways(client: &Client, request: Message, output: Output) -> Result<Message, Failure> {
    let (mut sender, mut receiver) = client.bistream(request).await.map_err(failed)?;
    let sending = async move {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if sender.send(Message::from_body(line)).await.is_err() {
                break;
            }
        }
        sender.finish(Message::new()).await
    };
    let receiving = async {
        while let Some(item) = receiver.next().await {
            show(output, "item", &item);
        }
        receiver.finish().await
    };
    // Of a stream that the server has ended, sending ends by itself at the next line; there need be none.
    let mut sending = std::pin::pin!(sending);
    let mut receiving = std::pin::pin!(receiving);
    let mut sent = false;
    loop {
        tokio::select! {
            biased;
            reply = &mut receiving => return reply.map_err(failed),
            _ = &mut sending, if !sent => sent = true,
        }
    }
}

fn show(output: Output, event: &str, message: &Message) {
    let text = String::from_utf8_lossy(&message.body);
    if output.is_json() {
        let value =
            serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.into_owned()));
        output.result(event, json!({ "value": value }), "");
    } else if !text.is_empty() {
        output.raw(format!("{text}\n").as_bytes());
    }
}
