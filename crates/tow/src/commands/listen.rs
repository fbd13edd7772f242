//! `tow listen`: the streams of those who connect, joined to standard input and output or to a service.

use std::time::Duration;

use serde_json::json;
use towline::{
    identity::{Authorisation, KnownKeys},
    rpc,
    server::Server,
    transport::{Connection, Endpoint, ListenOptions, Listener},
};

use super::{
    interrupted,
    netcat::{Service, Stripes, Tally, counted, join_stdio},
    serve::stop_signal,
};
use crate::{
    cli::Listen,
    connection::{endpoint_without_path, identity, trust},
    failure::{Failure, failed},
    output::Output,
};

/// How long streams may go on after the first interrupt.
const DRAIN: Duration = Duration::from_secs(10);
/// How long to wait after the system could not accept a connection.
const PAUSE: Duration = Duration::from_millis(100);

pub(crate) async fn run(args: Listen, output: Output) -> Result<(), Failure> {
    let endpoint = endpoint_without_path(&args.url)?;
    let service = Service::of(&args.behind)?;
    let mut options = ListenOptions::new();
    if let Some(loaded) = identity(&endpoint, &args.keys, "node").await? {
        let trust = trust(&args.keys, KnownKeys::for_server)?;
        options = options.identity(loaded.identity).trust(trust);
    }
    if !args.allow.is_empty() {
        options = options.authorise(Authorisation::keys(args.allow.iter().copied()));
    }
    let listener = bind(&endpoint, &options).await?;
    let url = listener.local_endpoint().to_string();
    let fields = json!({ "url": url });
    let line = format!("listening on {url}");
    let tally = Tally::start();
    let result = match service {
        Some(service) => {
            output.result("listening", fields, &line);
            serve(listener, service, &args, &tally, output).await
        }
        None => {
            // Standard output belongs to the other end's bytes.
            output.aside("listening", fields, &line);
            let stop = stop_signal(false).map_err(failed)?;
            tokio::select! {
                biased;
                () = stop => Err(interrupted()),
                ended = answer_one(listener, &args, &tally) => ended,
            }
        }
    };
    if args.behind.stats {
        tally.tell(output);
    }
    result
}

async fn bind(endpoint: &Endpoint, options: &ListenOptions) -> Result<Listener, Failure> {
    let bound = Listener::bind(endpoint, options).await;
    Ok(bound.map_err(rpc::server::ListenError::from)?)
}

/// Serves everybody until an interrupt.
async fn serve(
    listener: Listener,
    service: Service,
    args: &Listen,
    tally: &Tally,
    output: Output,
) -> Result<(), Failure> {
    let stop = stop_signal(false).map_err(failed)?;
    let counting = tally.clone();
    let server = Server::builder()
        .max_connections(args.max_connections as usize)
        .serve([listener], move |connection, _stopping| {
            let (service, tally) = (service.clone(), counting.clone());
            async move {
                let remote = connection.remote_addr().to_owned();
                let link = counted(connection, &tally);
                if let Err(error) = service.serve(link).await {
                    tracing::warn!(%remote, %error, "a stream broke off");
                }
            }
        })
        .map_err(failed)?;
    stop.await;
    let again = stop_signal(false).map_err(failed)?;
    let counters = server.counters();
    let cut_off = tokio::select! {
        biased;
        drained = server.shutdown(DRAIN) => drained.cut_off,
        () = again => counters.active as usize,
    };
    let fields = json!({ "accepted": counters.accepted, "cut_off": cut_off });
    let line = format!(
        "stopped: {} connections served, {cut_off} cut off",
        counters.accepted
    );
    output.note("stopped", fields, &line);
    Ok(())
}

/// Joins the first clients that get through their handshakes to standard input and output.
async fn answer_one(listener: Listener, args: &Listen, tally: &Tally) -> Result<(), Failure> {
    let mut links = Vec::new();
    while links.len() < usize::from(args.streams) {
        links.push(counted(next_client(&listener).await, tally));
    }
    // Nobody else is let in.
    drop(listener);
    join_stdio(Stripes::new(links)).await
}

async fn next_client(listener: &Listener) -> Connection {
    loop {
        match listener.accept().await {
            // Whoever is slow with its handshake holds up those behind it, at most for the handshake's limit.
            Ok(incoming) => match incoming.handshake().await {
                Ok(connection) => return connection,
                Err(error) => tracing::warn!("{error}"),
            },
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
