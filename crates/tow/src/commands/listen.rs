//! `tow listen`: the streams of those who connect, joined to standard input and output or to a service.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use serde_json::json;
use tokio::task::JoinSet;
use towline::{
    identity::{Authorisation, KnownKeys, LiveIdentity},
    mux::{Role, Session},
    rpc::server::ListenError,
    server::{Outcome, Server, SocketStream, TaskPerConnection},
    transport::{AcceptError, Endpoint, Incoming, ListenOptions, Listener, Multiplexer},
};

use super::{
    interrupted,
    netcat::{Counted, Link, Service, Stripes, Tally, counted, join_stdio, link},
    serve::stop_signal,
};
use crate::{
    cli::Listen,
    connection::{endpoint_without_path, identity, trust},
    failure::{Exit, Failure, failed},
    output::Output,
    reload::{Reloading, keep_current},
};

/// How long streams may go on after the first interrupt.
const DRAIN: Duration = Duration::from_secs(10);
/// What is read ahead of a TLS client's records, in bytes: streams here are few and long.
const TLS_READ_BUFFER: usize = 128 << 10;
/// How long to wait after the system could not accept a connection.
const PAUSE: Duration = Duration::from_millis(100);

pub(crate) async fn run(args: Listen, output: Output) -> Result<(), Failure> {
    let endpoint = endpoint_without_path(&args.url)?;
    let service = Service::of(&args.behind)?;
    let mut options = ListenOptions::new().tls_read_buffer(TLS_READ_BUFFER);
    let reloading = match identity(&endpoint, &args.keys, "node").await? {
        Some(loaded) => {
            let trust = trust(
                &args.keys,
                KnownKeys::for_server,
                args.warn_on_address_reuse,
            )?;
            let live = LiveIdentity::new(Arc::clone(&loaded.identity));
            options = options.identity(live.clone()).trust(trust);
            Some(Reloading::new(live, loaded, service.is_some()).map_err(failed)?)
        }
        None => None,
    };
    if !args.allow.is_empty() {
        options = options.authorise(Authorisation::keys(args.allow.iter().copied()));
    }
    let multiplexer = endpoint.multiplexer();
    let carried = match multiplexer {
        Some(multiplexer) => Carried::By(multiplexer),
        None if endpoint.has_streams() => Carried::ByTransport,
        None => Carried::Singly,
    };
    let listeners = bind(&endpoint.with_multiplexer(None), &options, args.inherited).await?;
    let urls: Vec<String> = listeners
        .iter()
        .map(|listener| listener.local_endpoint().clone())
        .map(|local| local.with_multiplexer(multiplexer).to_string())
        .collect();
    let tally = Tally::start();
    let listening = async {
        match service {
            Some(service) => {
                for url in &urls {
                    let line = format!("listening on {url}");
                    output.result("listening", json!({ "url": url }), &line);
                }
                serve(listeners, multiplexer, service, &args, &tally, output).await
            }
            None => {
                let [listener] = <[Listener; 1]>::try_from(listeners).map_err(|several| {
                    let what = format!(
                        "standard input and output serve one socket, and {} were inherited",
                        several.len()
                    );
                    Failure::new(Exit::Usage, what)
                        .hint("serve all of them with --echo or --forward")
                })?;
                for url in &urls {
                    let line = format!("listening on {url}");
                    // Standard output belongs to the other end's bytes.
                    output.aside("listening", json!({ "url": url }), &line);
                }
                let stop = stop_signal(false).map_err(failed)?;
                tokio::select! {
                    biased;
                    () = stop => Err(interrupted("")),
                    ended = answer_one(listener, carried, &args, &tally) => ended,
                }
            }
        }
    };
    let result = tokio::select! {
        biased;
        ended = listening => ended,
        () = keep_current(reloading) => Ok(()),
    };
    if args.behind.stats {
        tally.tell(output);
    }
    result
}

async fn bind(
    endpoint: &Endpoint,
    options: &ListenOptions,
    inherited: bool,
) -> Result<Vec<Listener>, Failure> {
    if !inherited {
        let bound = Listener::bind(endpoint, options).await;
        return Ok(vec![bound.map_err(ListenError::from)?]);
    }
    let listeners = Listener::inherited(endpoint, options).await;
    let listeners = listeners.map_err(ListenError::from)?;
    if listeners.is_empty() {
        let endpoint = Box::new(endpoint.clone());
        return Err(ListenError::NothingInherited(endpoint).into());
    }
    Ok(listeners)
}

/// Serves everybody until an interrupt.
async fn serve(
    listeners: Vec<Listener>,
    multiplexer: Option<Multiplexer>,
    service: Service,
    args: &Listen,
    tally: &Tally,
    output: Output,
) -> Result<(), Failure> {
    let stop = stop_signal(false).map_err(failed)?;
    let counting = tally.clone();
    let strategy = TaskPerConnection::new(move |stream: SocketStream| {
        let (service, tally) = (service.clone(), counting.clone());
        async move {
            let (remote, stopping) = (stream.remote().to_string(), stream.stopping_token());
            let Some(multiplexer) = multiplexer else {
                serve_one(service, tally.count(Box::new(stream)), &remote).await;
                return Outcome::Done;
            };
            let connection = match stream.into_connection() {
                Ok(connection) => connection,
                Err(error) => return Outcome::Failed(format!("{remote}: {error}")),
            };
            let session = connection.into_session(multiplexer, Role::Server);
            let stopping = async move { stopping.cancelled().await };
            serve_session(&session, &service, &tally, stopping).await;
            Outcome::Done
        }
    });
    let server = Server::builder()
        .max_connections(args.max_connections as usize)
        .start(listeners, strategy)
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

async fn serve_one(service: Service, link: Counted<Link>, remote: &str) {
    if let Err(error) = service.serve(link).await {
        tracing::warn!(%remote, %error, "a stream broke off");
    }
}

/// Serves every stream of a session; told to stop, those that are there. Their number is bounded by the
/// session.
async fn serve_session(
    session: &Session,
    service: &Service,
    tally: &Tally,
    stopping: impl Future<Output = ()>,
) {
    let remote: Arc<str> = session.peer_addr().into();
    let mut tasks = JoinSet::new();
    let mut stopping = pin!(stopping);
    let mut stopped = false;
    loop {
        tokio::select! {
            biased;
            () = &mut stopping, if !stopped => {
                stopped = true;
                if session.go_away().await.is_err() || tasks.is_empty() {
                    break;
                }
            }
            Some(ended) = tasks.join_next() => {
                drop(ended);
                if stopped && tasks.is_empty() {
                    break;
                }
            }
            accepted = session.accept() => match accepted {
                Ok(Some(stream)) => {
                    let (link, service) = (link(stream, tally), service.clone());
                    let remote = Arc::clone(&remote);
                    tasks.spawn(async move { serve_one(service, link, &remote).await });
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(%remote, %error, "a session broke off");
                    break;
                }
            },
        }
    }
    // Streams of a session that has ended end by themselves.
    tasks.join_all().await;
    if let Err(error) = session.close().await {
        tracing::debug!(%remote, %error, "a session ended before it was closed");
    }
}

/// How a client's streams come.
#[derive(Debug, Clone, Copy)]
enum Carried {
    /// Each on a connection of its own.
    Singly,
    By(Multiplexer),
    ByTransport,
}

/// Joins the first streams that come to standard input and output.
async fn answer_one(
    listener: Listener,
    carried: Carried,
    args: &Listen,
    tally: &Tally,
) -> Result<(), Failure> {
    let wanted = usize::from(args.streams);
    let mut links = Vec::new();
    let session = match carried {
        Carried::Singly => {
            while links.len() < wanted {
                let connection = next_client(&listener, Incoming::handshake).await;
                links.push(counted(connection, tally));
            }
            // Nobody else is let in.
            drop(listener);
            return join_stdio(Stripes::new(links)).await;
        }
        Carried::By(multiplexer) => {
            let connection = next_client(&listener, Incoming::handshake).await;
            connection.into_session(multiplexer, Role::Server)
        }
        Carried::ByTransport => next_client(&listener, Incoming::session).await,
    };
    drop(listener);
    while links.len() < wanted {
        let stream = session.accept().await.map_err(failed)?;
        let stream = stream.ok_or_else(|| {
            let opened = links.len();
            failed(format_args!(
                "the client left after it had opened {opened} of {wanted} streams"
            ))
            .hint("use the same --streams at both ends")
        })?;
        links.push(link(stream, tally));
    }
    join_stdio(Stripes::new(links)).await?;
    session.close().await.map(drop).map_err(failed)
}

/// The next client that finishes its handshake.
async fn next_client<T>(
    listener: &Listener,
    handshake: impl AsyncFn(Incoming) -> Result<T, AcceptError>,
) -> T {
    loop {
        match listener.accept().await {
            // Whoever is slow with its handshake holds up those behind it, at most for the handshake's limit.
            Ok(incoming) => match handshake(incoming).await {
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
