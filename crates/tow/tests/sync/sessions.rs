//! Syncs through a real nats-server, which is skipped where there is none.

use towline::swp::network::broker::Broker;

use crate::{resuming, trees};

/// As in the tests of sessions.
fn url(subject: &str) -> Option<(Broker, String)> {
    if Broker::program().is_none() && std::env::var_os("TOWLINE_REQUIRE_NATS").is_none() {
        return None;
    }
    let broker = Broker::start().expect("a nats-server");
    let url = format!("tls+nats://127.0.0.1:{}/{subject}", broker.port());
    Some((broker, url))
}

#[test]
fn a_tree_goes_there_and_back_through_a_broker() {
    if let Some((_broker, url)) = url("trees") {
        trees::there_and_back(&url);
    }
}

/// docs/wire D20
#[test]
fn a_file_that_somebody_else_receives_is_waited_for_through_a_broker() {
    if let Some((_broker, url)) = url("held") {
        resuming::held(&url);
    }
}
