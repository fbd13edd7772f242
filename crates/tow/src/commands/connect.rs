//! `tow connect`: streams to an endpoint, joined to standard input and output or to a service.

use tokio::task::JoinSet;
use towline::{
    identity::{KnownKeys, Trust},
    rpc,
    transport::{self, ConnectOptions},
};

use super::netcat::{Service, Stripes, Tally, broken, counted, join_stdio};
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
            trust(&args.keys, KnownKeys::for_client)?
        } else {
            Trust::keys(args.server_key.iter().copied())
        };
        options = options.identity(loaded.identity).trust(trust);
    }
    let mut links = Vec::new();
    for _ in 0..args.streams {
        let connection = transport::connect(&endpoint, &options)
            .await
            .map_err(rpc::ConnectError::from)?;
        links.push(counted(connection, tally));
    }
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
