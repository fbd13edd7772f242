//! `tow call`: one call, its reply on stdout.

mod typed;

use serde_json::json;
use tokio::io::AsyncReadExt as _;
use towline::rpc::{CallError, Message, proto::MAX_BODY};

use crate::{
    cli::Call,
    connection::{Purpose, connect, endpoint_without_path},
    failure::{Exit, Failure, failed},
    output::Output,
};

/// What `tow serve` takes by default, in bytes.
const USUAL_MESSAGE: usize = 8 << 20;

pub(crate) async fn run(args: Call, output: Output) -> Result<(), Failure> {
    let endpoint = endpoint_without_path(&args.url)?;
    let Some(name) = &args.name else {
        let client = connect(&endpoint, &args.client, Purpose::Calls).await?;
        let listed = typed::list(&client, output).await;
        client.close().await;
        return listed;
    };
    // What could be a method of a typed service may be one: the server says.
    if name.contains('.') && typed::is_json(&args.body) {
        let client = connect(&endpoint, &args.client, Purpose::Calls).await?;
        if let Some(kind) = typed::find(&client, name).await {
            let called = typed::call(&client, name, kind, &args.body, output).await;
            client.close().await;
            return called;
        }
        client.close().await;
    }
    let body = match args.body.as_str() {
        "-" => read_stdin().await?,
        text => text.as_bytes().to_vec(),
    };
    let client = connect(&endpoint, &args.client, Purpose::Calls).await?;
    let size = body.len();
    let reply = client.call(Message::request(name.as_str(), body)).await;
    client.close().await;
    let reply = reply
        .map_err(|error| match error {
            CallError::Closed(_) if size > USUAL_MESSAGE => Failure::from(error).hint(format!(
                "a server takes messages of no more than its own limit, {USUAL_MESSAGE} bytes where `tow serve` is not \
                 given --max-message: this is one of {size}"
            )),
            error => error.into(),
        })?
        .into_result()
        .map_err(|error| Failure::new(Exit::Failed, format!("`{name}` failed: {error}")))?;
    if output.is_json() {
        let args: serde_json::Map<_, _> = reply
            .hdr
            .args
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string().into()))
            .collect();
        let mut fields = json!({ "subject": reply.hdr.subject.to_string(), "args": args, "bytes": reply.body.len() });
        match std::str::from_utf8(&reply.body) {
            Ok(text) => fields["body"] = text.into(),
            // A body that is not text is given byte by byte: nothing is lost.
            Err(_) => fields["body_bytes"] = reply.body.to_vec().into(),
        }
        output.result("reply", fields, "");
    } else {
        let mut body = reply.body.to_vec();
        if !body.is_empty()
            && !body.ends_with(b"\n")
            && std::io::IsTerminal::is_terminal(&std::io::stdout())
        {
            body.push(b'\n');
        }
        output.raw(&body);
    }
    Ok(())
}

async fn read_stdin() -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    tokio::io::stdin()
        .take(MAX_BODY as u64 + 1)
        .read_to_end(&mut body)
        .await
        .map_err(failed)?;
    if body.len() > MAX_BODY {
        return Err(Failure::new(
            Exit::Failed,
            format!("standard input is larger than a call may be: {MAX_BODY} bytes"),
        )
        .hint("send it as a file with `tow push`"));
    }
    Ok(body)
}
