//! `tow serve --admin`: what a server does, for Prometheus, for health checks and for people.

mod numbers;
mod prometheus;

use std::{convert::Infallible, net::IpAddr, net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderValue,
        X_CONTENT_TYPE_OPTIONS,
    },
    http::response::Builder,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use towline::{
    rpc,
    server::{Outcome, Server, ServerHandle, SocketStream, TaskPerConnection},
    transport::{Endpoint, ListenOptions, Listener},
};

use crate::failure::{Exit, Failure, failed};

/// Connections to the page and its like at once: people, and programs that collect numbers.
const MOST: usize = 64;
/// How long a request may take to come, and a connection may be idle.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much of a request is read, in bytes.
const REQUEST: usize = 16 << 10;
/// Sessions that are listed unless `?limit=` says otherwise.
const SESSIONS: usize = 1000;

const PAGE: &str = include_str!("admin/page.html");

/// What is shown: the server's sockets, and what it was asked for.
#[derive(Clone)]
pub(crate) struct Shown {
    pub(crate) sockets: ServerHandle,
    pub(crate) services: rpc::Server,
    /// Where it listens.
    pub(crate) url: Arc<str>,
}

/// A bound address, not yet served: a server that cannot have it does not start.
pub(crate) struct Admin {
    listener: Listener,
}

impl Admin {
    /// Binds the address. What is shown is for whoever reaches it: other than on this machine it must be
    /// asked for.
    pub(crate) async fn bind(address: SocketAddr, insecure: bool) -> Result<Self, Failure> {
        if !(insecure || address.ip().is_loopback()) {
            let text = format!(
                "--admin {address}: whoever reaches that address would see who is connected, without a key"
            );
            return Err(Failure::new(Exit::Refused, text).hint(
                "use an address of this machine such as 127.0.0.1:9100, or say --insecure if the network is yours alone",
            ));
        }
        let endpoint: Endpoint = format!("tcp://{address}").parse().map_err(failed)?;
        let bound = Listener::bind(&endpoint, &ListenOptions::new()).await;
        let listener = bound.map_err(rpc::server::ListenError::from)?;
        Ok(Self { listener })
    }

    /// Where the page is.
    pub(crate) fn url(&self) -> String {
        let local = self.listener.local_endpoint().to_string();
        format!("{}/", local.replacen("tcp", "http", 1))
    }

    /// Serves it until the returned server is dropped.
    pub(crate) fn serve(self, shown: Shown) -> Result<Server, Failure> {
        let strategy = TaskPerConnection::new(move |stream: SocketStream| {
            let shown = shown.clone();
            async move {
                let answer = service_fn(|request| {
                    let answer = answer(&shown, &request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                let served = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(PATIENCE)
                    .max_buf_size(REQUEST)
                    .serve_connection(TokioIo::new(stream), answer)
                    .await;
                if let Err(error) = served {
                    tracing::debug!(%error, "a connection to the admin page ended badly");
                }
                Outcome::Done
            }
        });
        Server::builder()
            .max_connections(MOST)
            .first_byte_timeout(PATIENCE)
            .idle_timeout(PATIENCE)
            .start([self.listener], strategy)
            .map_err(failed)
    }
}

fn answer(shown: &Shown, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if !is_meant(request.headers().get(HOST)) {
        return text(
            StatusCode::MISDIRECTED_REQUEST,
            "ask for it by its address\n",
        );
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return finish(
            builder(StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8")
                .header(ALLOW, "GET, HEAD"),
            "only GET and HEAD\n",
        );
    }
    match request.uri().path() {
        "/" => finish(
            builder(StatusCode::OK, "text/html; charset=utf-8").header(
                CONTENT_SECURITY_POLICY,
                "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                 frame-ancestors 'none'",
            ),
            PAGE,
        ),
        "/healthz" if shown.sockets.is_stopping() => {
            text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
        }
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/metrics" => finish(
            builder(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8"),
            prometheus::text(&shown.sockets.metrics(), &shown.services.activity()),
        ),
        "/numbers" => json(&numbers::now(shown)),
        "/sessions" => json(&numbers::sessions(shown, limit(request.uri().query()))),
        _ => text(
            StatusCode::NOT_FOUND,
            "there are /, /metrics, /healthz, /sessions and /numbers\n",
        ),
    }
}

/// Whether the request names this server by an address, or as this machine. A page from elsewhere whose
/// name was made to point here does not.
fn is_meant(host: Option<&HeaderValue>) -> bool {
    let Some(Ok(host)) = host.map(HeaderValue::to_str) else {
        return false;
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    name.eq_ignore_ascii_case("localhost") || bare.unwrap_or(name).parse::<IpAddr>().is_ok()
}

fn limit(query: Option<&str>) -> usize {
    let pairs = query.unwrap_or_default().split('&');
    pairs
        .filter_map(|pair| pair.strip_prefix("limit=")?.parse().ok())
        .next()
        .unwrap_or(SESSIONS)
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    finish(builder(status, "text/plain; charset=utf-8"), body)
}

fn json(value: &serde_json::Value) -> Response<Full<Bytes>> {
    finish(
        builder(StatusCode::OK, "application/json"),
        value.to_string(),
    )
}

fn builder(status: StatusCode, kind: &'static str) -> Builder {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, kind)
        .header(CACHE_CONTROL, "no-store")
        .header(X_CONTENT_TYPE_OPTIONS, "nosniff")
}

fn finish(builder: Builder, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let body = Full::new(body.into());
    // Only header values that are none are refused; these are constants.
    builder.body(body).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_others_can_point_here_are_not_answered() {
        let meant = |host: &'static str| is_meant(Some(&HeaderValue::from_static(host)));
        for host in [
            "127.0.0.1:9100",
            "[::1]:9100",
            "localhost",
            "LOCALHOST:1",
            "10.0.0.7",
        ] {
            assert!(meant(host), "{host}");
        }
        for host in [
            "rebound.example:9100",
            "localhost.example",
            "",
            "[127.0.0.1",
        ] {
            assert!(!meant(host), "{host}");
        }
        assert!(!is_meant(None));
    }

    #[test]
    fn a_limit_is_read_from_the_query() {
        assert_eq!(limit(None), SESSIONS);
        assert_eq!(limit(Some("limit=5")), 5);
        assert_eq!(limit(Some("a=b&limit=7")), 7);
        assert_eq!(limit(Some("limit=many")), SESSIONS);
    }
}
