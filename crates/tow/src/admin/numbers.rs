//! The same numbers as JSON, for the page and for scripts.

use std::time::UNIX_EPOCH;

use serde_json::{Map, Value, json};
use towline::server::Socket;

use super::Shown;

/// Everything that the page plots.
pub(super) fn now(shown: &Shown) -> Value {
    let metrics = shown.sockets.metrics();
    let activity = shown.services.activity();
    let refused: Map<String, Value> = metrics
        .accepts
        .refused()
        .into_iter()
        .map(|(cause, count)| (cause.to_owned(), count.into()))
        .collect();
    let closed: Map<String, Value> = metrics
        .closed
        .iter()
        .map(|(reason, count)| (reason.to_string(), count.into()))
        .collect();
    json!({
        "url": &*shown.url,
        "version": env!("CARGO_PKG_VERSION"),
        "stopping": shown.sockets.is_stopping(),
        "connections": metrics.connections,
        "connections_peak": metrics.max_connections,
        "tasks": metrics.goroutines,
        "accepted": metrics.accepts.accepted,
        "read_bytes": metrics.total_read,
        "written_bytes": metrics.total_written,
        "calls": activity.calls,
        "streams": activity.streams,
        "open_streams": activity.open_streams,
        "requests_refused": activity.refused,
        "requests_cancelled": activity.cancelled,
        "refused": refused,
        "closed": closed,
        "handler_panics": metrics.accepts.handler_panics,
        "accept_errors": metrics.accepts.accept_errors,
    })
}

/// The first so many sessions, in the order in which they came, and how many there are.
pub(super) fn sessions(shown: &Shown, limit: usize) -> Value {
    let sockets = shown.sockets.sockets();
    let listed: Vec<Value> = sockets.iter().take(limit).map(session).collect();
    json!({ "total": sockets.len(), "sessions": listed })
}

fn session(socket: &Socket) -> Value {
    let peer = socket.peer();
    let since = socket.connected_at().duration_since(UNIX_EPOCH);
    json!({
        "id": socket.id(),
        "remote": socket.remote().to_string(),
        "key": peer.public_key().map(|key| key.to_string()),
        "connected_at": since.map_or(0, |since| since.as_secs()),
        "read_bytes": socket.total_read(),
        "written_bytes": socket.total_written(),
        "read_per_second": socket.read_per_interval(),
        "written_per_second": socket.written_per_interval(),
        "queued_bytes": socket.queued(),
    })
}
