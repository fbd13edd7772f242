//! `tow connect`: streams to an endpoint, joined to standard input and output or to a service.

use std::convert::Infallible;

use tokio::task::JoinSet;
use towline::{
    identity::{KnownKeys, Trust},
    mux::Session,
    rpc,
    transport::{self, ConnectOptions},
};

use super::netcat::{Counted, Link, Service, Stripes, Tally, broken, counted, join_stdio, link};
use crate::{
    cli::Connect,
    connection::{endpoint_without_path, identity, trust},
    failure::{Failure, failed},
    output::Output,
};

pub(crate) async fn run(args: Connect, output: Output) -> Result<(), Failure> {
    let tally = Tally::start();
    let result = converse(&args, &tally).await;
    if args.behind.stats {
        tally.tell(output);
    }
    result
}

async fn converse(args: &Connect, tally: &Tally) -> Result<(), Failure> {
    let endpoint = endpoint_without_path(&args.url)?;
    let service = Service::of(&args.behind)?;
    let mut options = ConnectOptions::new().connect_timeout(args.timeout);
    if let Some(loaded) = identity(&endpoint, &args.keys, "client").await? {
        let trust = if args.server_key.is_empty() {
            trust(&args.keys, KnownKeys::for_client, true)?
        } else {
            Trust::keys(args.server_key.iter().copied())
        };
        options = options.identity(loaded.identity).trust(trust);
    }
    if endpoint.has_streams() {
        let session = transport::connect_session(&endpoint, &options)
            .await
            .map_err(rpc::ConnectError::from)?;
        return on_session(&session, args.streams, service, tally).await;
    }
    let mut links = Vec::new();
    for _ in 0..args.streams {
        let connection = transport::connect(&endpoint, &options)
            .await
            .map_err(rpc::ConnectError::from)?;
        links.push(counted(connection, tally));
    }
    serve_all(links, service).await
}

/// Opens the streams, and closes the session when all that was sent has arrived.
async fn on_session(
    session: &Session,
    streams: u16,
    service: Option<Service>,
    tally: &Tally,
) -> Result<(), Failure> {
    let mut links = Vec::new();
    for _ in 0..streams {
        // At once, in this order, where that can be: the other end may be the first to send.
        let opened = match session.dialect() {
            Some(_) => session.open_eager().await,
            None => session.open().await,
        };
        links.push(link(opened.map_err(failed)?, tally));
    }
    tokio::select! {
        ended = serve_all(links, service) => ended?,
        // What the other end opens is nothing that was asked for.
        never = refuse(session) => match never {},
    }
    session.close().await.map(drop).map_err(failed)
}

async fn serve_all(links: Vec<Counted<Link>>, service: Option<Service>) -> Result<(), Failure> {
    let Some(service) = service else {
        return join_stdio(Stripes::new(links)).await;
    };
    let mut tasks = JoinSet::new();
    for link in links {
        let service = service.clone();
        tasks.spawn(async move { service.serve(link).await });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(failed)?.map_err(|error| broken(&error))?;
    }
    Ok(())
}

/// Resets what the other end opens; never ends, as the streams tell how the session did.
async fn refuse(session: &Session) -> Infallible {
    while let Ok(Some(stream)) = session.accept().await {
        drop(stream);
    }
    std::future::pending().await
}
