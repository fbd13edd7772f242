//! Numbers for the recorder of the `metrics` facade; without the feature `metrics` nothing.
//!
//! Their names and labels are in the documentation of the crate.

#[cfg(feature = "metrics")]
use std::time::Instant;

use towline_codec::Text;

/// Which end of a call is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    Client,
    Server,
}

/// A call that runs, from its beginning to its end.
#[derive(Debug)]
pub(crate) struct Measured {
    #[cfg(feature = "metrics")]
    end: End,
    #[cfg(feature = "metrics")]
    service: String,
    #[cfg(feature = "metrics")]
    begun: Instant,
    #[cfg(feature = "metrics")]
    outcome: &'static str,
}

impl Measured {
    /// Begins. Unless told otherwise the call will have been cancelled.
    #[cfg_attr(
        not(feature = "metrics"),
        expect(unused_variables, reason = "without the feature nothing is measured")
    )]
    pub(crate) fn begin(end: End, service: &Text) -> Self {
        #[cfg(feature = "metrics")]
        {
            match end {
                End::Client => metrics::gauge!("towline_rpc_client_in_flight").increment(1.0),
                End::Server => metrics::gauge!("towline_rpc_server_running").increment(1.0),
            }
            Self {
                end,
                service: service.to_string(),
                begun: crate::driver::now().instant,
                outcome: "cancelled",
            }
        }
        #[cfg(not(feature = "metrics"))]
        Self {}
    }

    /// Says how it ended.
    #[cfg_attr(
        not(feature = "metrics"),
        expect(unused_variables, reason = "without the feature nothing is measured")
    )]
    pub(crate) const fn ends(&mut self, outcome: &'static str) {
        #[cfg(feature = "metrics")]
        {
            self.outcome = outcome;
        }
    }
}

#[cfg(feature = "metrics")]
impl Drop for Measured {
    fn drop(&mut self) {
        use metrics::{counter, gauge, histogram};

        let service = std::mem::take(&mut self.service);
        let outcome = self.outcome;
        let seconds = crate::driver::now()
            .instant
            .saturating_duration_since(self.begun)
            .as_secs_f64();
        match self.end {
            End::Client => {
                gauge!("towline_rpc_client_in_flight").decrement(1.0);
                histogram!("towline_rpc_client_call_seconds", "service" => service.clone())
                    .record(seconds);
                counter!("towline_rpc_client_calls_total", "service" => service, "outcome" => outcome)
                    .increment(1);
            }
            End::Server => {
                gauge!("towline_rpc_server_running").decrement(1.0);
                histogram!("towline_rpc_server_call_seconds", "service" => service.clone())
                    .record(seconds);
                counter!("towline_rpc_server_calls_total", "service" => service, "outcome" => outcome)
                    .increment(1);
            }
        }
    }
}

/// Counts a request that was refused, by why.
#[cfg_attr(
    not(feature = "metrics"),
    expect(unused_variables, reason = "without the feature nothing is measured")
)]
pub(crate) fn refused(why: &'static str) {
    #[cfg(feature = "metrics")]
    metrics::counter!("towline_rpc_server_refused_total", "reason" => why).increment(1);
}

/// Counts what becomes of a pool's connections.
#[cfg_attr(
    not(feature = "metrics"),
    expect(unused_variables, reason = "without the feature nothing is measured")
)]
pub(crate) fn pool_event(what: &'static str) {
    #[cfg(feature = "metrics")]
    metrics::counter!("towline_rpc_pool_events_total", "event" => what).increment(1);
}
