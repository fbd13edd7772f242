//! The text format of Prometheus, version 0.0.4.

use std::fmt::Write as _;

use towline::{rpc::server::Activity, server::ServerMetrics};

/// All numbers, under the names that the `metrics` facade gives them too.
pub(super) fn text(metrics: &ServerMetrics, activity: &Activity) -> String {
    let accepts = &metrics.accepts;
    let mut page = Page(String::new());
    page.gauge(
        "server_connections",
        "Connections that live now.",
        metrics.connections,
    );
    page.gauge(
        "server_connections_peak",
        "The most that ever lived at once.",
        metrics.max_connections,
    );
    page.gauge(
        "server_tasks",
        "Tasks that serve connections.",
        metrics.goroutines,
    );
    page.counter(
        "server_accepted_total",
        "Connections taken in.",
        accepts.accepted,
    );
    page.counter("server_read_bytes_total", "Bytes read.", metrics.total_read);
    page.counter(
        "server_written_bytes_total",
        "Bytes written.",
        metrics.total_written,
    );
    page.gauge(
        "server_read_bytes_per_interval",
        "Bytes read in the last full second.",
        metrics.reads_per_second,
    );
    page.gauge(
        "server_written_bytes_per_interval",
        "Bytes written in the last full second.",
        metrics.writes_per_second,
    );
    page.labelled(
        "server_closed_total",
        "Connections that have ended, by reason.",
        "reason",
        metrics
            .closed
            .iter()
            .map(|(reason, count)| (reason.as_str(), count)),
    );
    page.labelled(
        "server_refused_total",
        "Connections that were not served, by cause.",
        "cause",
        accepts.refused(),
    );
    page.counter(
        "server_accept_errors_total",
        "Accepts that failed.",
        accepts.accept_errors,
    );
    page.counter(
        "server_handler_panics_total",
        "Handlers that panicked.",
        accepts.handler_panics,
    );
    page.counter(
        "rpc_calls_total",
        "Requests of one message.",
        activity.calls,
    );
    page.counter(
        "rpc_streams_total",
        "Uploads, downloads and streams both ways.",
        activity.streams,
    );
    page.gauge(
        "rpc_open_streams",
        "Streams that are open now.",
        activity.open_streams,
    );
    page.counter(
        "rpc_requests_refused_total",
        "Requests without a service, or without leave.",
        activity.refused,
    );
    page.counter(
        "rpc_requests_cancelled_total",
        "Requests whose caller did not wait.",
        activity.cancelled,
    );
    page.0
}

struct Page(String);

impl Page {
    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, help, "gauge");
        self.line(format_args!("towline_{name} {value}"));
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, help, "counter");
        self.line(format_args!("towline_{name} {value}"));
    }

    /// The values of labels are words of our own: nothing in them is to be escaped.
    fn labelled<'a>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'a str, u64)>,
    ) {
        self.head(name, help, "counter");
        for (which, value) in values {
            self.line(format_args!(
                "towline_{name}{{{label}=\"{which}\"}} {value}"
            ));
        }
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        self.line(format_args!("# HELP towline_{name} {help}"));
        self.line(format_args!("# TYPE towline_{name} {kind}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        if writeln!(self.0, "{line}").is_err() {
            tracing::debug!("a line of the metrics was lost");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_comment_or_a_name_and_a_number_and_names_come_once() {
        let text = text(&ServerMetrics::default(), &Activity::default());
        assert!(text.ends_with('\n'));
        let mut kinds = std::collections::BTreeSet::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                assert!(kinds.insert(rest.to_owned()), "{line}");
            } else if !line.starts_with("# HELP ") {
                let (name, value) = line.rsplit_once(' ').unwrap();
                assert!(name.starts_with("towline_"), "{line}");
                assert!(value.parse::<u64>().is_ok(), "{line}");
            }
        }
        for part in [
            "towline_server_refused_total{cause=\"address_rate\"} 0",
            "towline_server_closed_total{reason=\"idle_timeout\"} 0",
            "# TYPE towline_rpc_calls_total counter",
        ] {
            assert!(text.lines().any(|line| line == part), "{part}");
        }
    }
}
